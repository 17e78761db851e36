/* The machine's multiply-add peak, measured: what shares in docs/results.md are shares of. */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

/* Multiply-adds per second (float32) of `threads` threads at once over about `seconds`. */
double bench_peak(int threads, double seconds);
double bench_now(void);

#endif
