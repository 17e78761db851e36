/* Threads of the library start in a clean state, whatever their host did to its own thread. */
#define _GNU_SOURCE
#include <check.h>
#include <fenv.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "util/processors.h"
#include "util/thread.h"

typedef struct seen {
    sigset_t blocked;
    int rounding, traps;
    float tenth; /* of the smallest normal number: 0 where subnormal numbers are flushed */
    cpu_set_t processors;
} seen_t;

static void *look(void *argument)
{
    seen_t *seen = argument;
    volatile float smallest = 1.17549435e-38f;
    pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked);
    seen->rounding = fegetround();
    seen->traps = fegetexcept();
    seen->tenth = smallest * 0.1f;
    sched_getaffinity(0, sizeof seen->processors, &seen->processors);
    return seen;
}

static seen_t look_from_here(void)
{
    seen_t seen;
    pthread_t thread;
    void *result = NULL;
    memset(&seen, 0, sizeof seen);
    ck_assert_int_eq(mo_thread_start(&thread, 0, look, &seen), 0);
    pthread_join(thread, &result);
    ck_assert_ptr_eq(result, &seen);
    return seen;
}

static int blocks(const seen_t *seen, int signal)
{
    return sigismember(&seen->blocked, signal);
}

START_TEST(test_signals)
{
    static const int kept_away[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGALRM, SIGCHLD, SIGPIPE};
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigset_t before, after, all;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    seen_t seen = look_from_here();
    for (size_t i = 0; i < sizeof kept_away / sizeof kept_away[0]; i++)
        ck_assert_int_eq(blocks(&seen, kept_away[i]), 1);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        ck_assert_int_eq(blocks(&seen, own[i]), 0);
    ck_assert_int_eq(blocks(&seen, SIGPROF), 0); /* profilers */
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int s = 1; s < SIGRTMAX; s++)
        ck_assert_int_eq(sigismember(&after, s), sigismember(&before, s));

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    seen = look_from_here();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    ck_assert_int_eq(blocks(&seen, SIGSEGV), 0);
    ck_assert_int_eq(blocks(&seen, SIGPROF), 1); /* the caller does not take it either */
}
END_TEST

START_TEST(test_floating_point)
{
    fesetround(FE_UPWARD);
    /* Not every processor can trap. */
    const int can_trap = feenableexcept(FE_INVALID | FE_OVERFLOW) != -1;
#ifdef __SSE__
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040); /* flush subnormal results and operands */
#endif
    seen_t seen = look_from_here();
    const int rounding = fegetround(), traps = fegetexcept();
    fesetenv(FE_DFL_ENV);
    ck_assert_int_eq(seen.rounding, FE_TONEAREST);
    ck_assert_int_eq(seen.traps, 0);
    ck_assert(seen.tenth > 0);
    ck_assert_int_eq(rounding, FE_UPWARD); /* the caller's own is left alone */
    ck_assert_int_eq(traps, can_trap ? FE_INVALID | FE_OVERFLOW : 0);
}
END_TEST

/* A mask that the host set is kept; tests/api/test_processors.c has those of an OpenMP runtime. */
START_TEST(test_processors)
{
    cpu_set_t mine, one, now;
    ck_assert_int_eq(sched_getaffinity(0, sizeof mine, &mine), 0);
    ck_assert_int_eq(mo_processors(&now), 1);
    ck_assert(CPU_EQUAL(&mine, &now));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &mine))
            CPU_SET(i, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    seen_t seen = look_from_here();
    ck_assert(CPU_EQUAL(&seen.processors, &one));
    ck_assert_int_eq(sched_setaffinity(0, sizeof mine, &mine), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("thread");
    TCase *tc = tcase_create("thread");
    tcase_add_test(tc, test_signals);
    tcase_add_test(tc, test_floating_point);
    tcase_add_test(tc, test_processors);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
