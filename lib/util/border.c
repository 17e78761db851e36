/* The state of the calling thread inside a public function. */
#include "util/border.h"

#include <pthread.h>

mo_border_t mo_border_enter(void)
{
    mo_border_t border;
    pthread_testcancel(); /* a thread that only calls this library can be cancelled, too */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &border.cancel);
    fegetenv(&border.host);
    fesetenv(FE_DFL_ENV);
    return border;
}

void mo_border_leave(const mo_border_t *border)
{
    int inside;
    fesetenv(&border->host);
    pthread_setcancelstate(border->cancel, &inside);
}
