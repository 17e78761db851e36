/* What signals do: see signals.h. The handler asks through moco_cancel_t, which every long call
 * looks at, and says so at once: the call may still be at work for a while. */
#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

static moco_cancel_t *cancel;
static const char *volatile saves; /* what is said instead of "stopping"; NULL: there is nothing to save */
static volatile sig_atomic_t interrupted, terminal;
static struct timespec first; /* when the first signal came */

static void say(const char *text)
{
    static const char clear_line[] = "\r\033[K";
    ssize_t written = terminal ? write(STDERR_FILENO, clear_line, sizeof clear_line - 1) : 0;

    if (written >= 0)
        written = write(STDERR_FILENO, text, strlen(text));
    (void)written; /* where nobody reads there is nobody to tell */
}

/* Programs that signal a child and then its whole group, and impatient fingers, send the same
 * signal twice within milliseconds: that is one request. */
static int much_later(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - first.tv_sec) + 1e-9 * (double)(now.tv_nsec - first.tv_nsec) >= 1;
}

static void on_signal(int number)
{
    const int error = errno;
    const char *text = saves;

    (void)number;
    if (!interrupted) {
        clock_gettime(CLOCK_MONOTONIC, &first);
        interrupted = 1;
        moco_cancel_request(cancel);
        say(text != NULL ? text : "moco: stopping; interrupt again after a second to end at once\n");
    } else if (much_later()) {
        if (text == NULL)
            _exit(EXIT_INTERRUPTED);
        say("moco: still saving; kill -9 would lose it\n");
    }
    errno = error;
}

moco_status_t signals_catch(void)
{
    static const int stopping[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action, before;
    const moco_status_t status = moco_cancel_create(&cancel);

    if (status != MOCO_OK)
        return status;
    terminal = isatty(STDERR_FILENO);
    memset(&action, 0, sizeof action);
    sigfillset(&action.sa_mask);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    for (int i = 0; i < 3; i++) /* nohup has SIGHUP ignored, and means it */
        if (stopping[i] != SIGHUP || sigaction(SIGHUP, NULL, &before) != 0 || before.sa_handler != SIG_IGN)
            sigaction(stopping[i], &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);
    return MOCO_OK;
}

int signals_pending(void)
{
    return interrupted != 0;
}

moco_cancel_t *signals_cancel(void)
{
    return cancel;
}

moco_status_t signals_check(void)
{
    return interrupted ? MOCO_ERR_CANCELLED : MOCO_OK;
}

void signals_begin(const char *text)
{
    saves = text;
}

void signals_end(void)
{
    saves = NULL;
}
