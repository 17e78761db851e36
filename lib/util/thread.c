/* Starting threads that do not inherit what a host did to its own. */
#define _GNU_SOURCE /* pthread_attr_setaffinity_np */
#include "util/thread.h"

#include <errno.h>
#include <fenv.h>
#include <signal.h>
#include <stdlib.h>

#include "util/alloc.h"
#include "util/processors.h"

typedef struct start {
    void *(*run)(void *);
    void *argument;
} start_t;

static void *begin(void *argument)
{
    start_t start = *(start_t *)argument;
    mo_free(argument);
    fesetenv(FE_DFL_ENV);
    return start.run(start.argument);
}

/* What a new thread blocks: everything but the signals of its own faults, which would end the
 * process past the host's handler, and SIGPROF where the caller takes it. */
static void block_for_thread(sigset_t *before)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, before);
    if (!sigismember(before, SIGPROF)) {
        sigdelset(&blocked, SIGPROF);
        pthread_sigmask(SIG_SETMASK, &blocked, NULL);
    }
}

/* processors NULL: as the caller. */
static int create(pthread_t *thread, size_t stack, const cpu_set_t *processors, start_t *start)
{
    sigset_t before;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    if (stack > 0)
        pthread_attr_setstacksize(&attr, stack);
#ifdef __GLIBC__
    if (processors != NULL)
        pthread_attr_setaffinity_np(&attr, sizeof *processors, processors);
#endif
    block_for_thread(&before);
    const int error = pthread_create(thread, &attr, begin, start);
#ifndef __GLIBC__ /* without the attribute: a moment later */
    if (error == 0 && processors != NULL)
        pthread_setaffinity_np(*thread, sizeof *processors, processors);
#endif
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return error;
}

int mo_thread_start(pthread_t *thread, size_t stack, void *(*run)(void *), void *argument)
{
    cpu_set_t processors;
    start_t *start = NULL;
    if (mo_calloc(1, sizeof *start, &start) != MOCO_OK)
        return EAGAIN;
    *start = (start_t){run, argument};
    int error = create(thread, stack, mo_processors(&processors) ? &processors : NULL, start);
    if (error == EINVAL) /* those processors have left the process's set */
        error = create(thread, stack, NULL, start);
    if (error != 0)
        mo_free(start);
    return error;
}
