/* The machine's multiply-add peak, measured: what the shares in results are shares of. */
#ifndef PROGRAM_PEAK_H
#define PROGRAM_PEAK_H

/* Multiply-adds per second (float32) of `threads` threads at once over about `seconds`; 0 where no
 * thread starts. */
double peak_rate(int threads, double seconds);

#endif
