/* What a public function does first, as a declaration in its first line: MO_BORDER. It puts the
 * calling thread into the state that the library computes in, until the function returns:
 * - the default floating-point environment, whatever rounding mode, traps or flushing of subnormal
 *   numbers the host has set; the host's own, exception flags included, comes back at the end,
 * - no cancellation: a thread that is cancelled inside a call (pthread_cancel) ends after it, when
 *   nothing of the call is left behind; the begin of the next call is a cancellation point.
 * tests/check_border.sh sees that every public function of lib/api has it; those that only hand out
 * a stored value, or may be called in a signal handler, do not. */
#ifndef MO_UTIL_BORDER_H
#define MO_UTIL_BORDER_H

#include <fenv.h>

typedef struct mo_border {
    fenv_t host;
    int cancel;
} mo_border_t;

mo_border_t mo_border_enter(void);
void mo_border_leave(const mo_border_t *border);

#define MO_BORDER __attribute__((cleanup(mo_border_leave), unused)) const mo_border_t mo_border = mo_border_enter()

#endif
