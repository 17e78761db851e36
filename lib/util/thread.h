/* Threads of the library: all of them start here, whatever state the host's thread is in. */
#ifndef MO_UTIL_THREAD_H
#define MO_UTIL_THREAD_H

#include <pthread.h>
#include <stddef.h>

/* Starts `run(argument)` on a thread that
 * - takes no signal meant for the process, so that the host's handlers run on the host's threads;
 *   signals that the thread itself causes (a crash) and SIGPROF reach the host's handlers,
 * - begins with the default floating-point environment: nearest rounding, no traps, subnormal
 *   numbers kept,
 * - may run on every processor that the process may use (util/processors.h).
 * stack: bytes; 0 = the system's usual size. Returns 0 or an error number, as pthread_create. */
int mo_thread_start(pthread_t *thread, size_t stack, void *(*run)(void *), void *argument);

#endif
