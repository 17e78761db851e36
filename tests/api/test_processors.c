/* Lanes where an OpenMP runtime has pinned the first thread: as many as without it, and on all
 * processors, but no more than taskset or a batch system gave to the process. The test runs itself
 * with other environments. */
#define _GNU_SOURCE
#include <dirent.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api.h"
#include "draw.h"

/* What a child is run with, and on how many of the processors. */
static const struct {
    const char *name, *value;
    int processors; /* 0 = all of them */
} cases[] = {
    {"OMP_PROC_BIND", "true", 0},  {"OMP_PROC_BIND", "spread", 0}, {"OMP_PLACES", "cores", 0},
    {"GOMP_CPU_AFFINITY", "0", 0}, {"OMP_PROC_BIND", "false", 0},  {"OMP_PLACES", "{0}", 0},
    {"OMP_PROC_BIND", "true", 1},  {"OMP_PLACES", "threads", 1},   {"GOMP_CPU_AFFINITY", "0", 1},
};

static cpu_set_t given(int processors)
{
    cpu_set_t mine, set;
    ck_assert_int_eq(sched_getaffinity(0, sizeof mine, &mine), 0);
    CPU_ZERO(&set);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &mine) && (processors == 0 || CPU_COUNT(&set) < processors))
            CPU_SET(i, &set);
    return set;
}

/* In the child: "LANES THREADS", the second the number of threads beside the first one that may not
 * run on exactly `wanted` processors. */
static int report(int wanted)
{
    char text[4096];
    int wrong = 0;
    cpu_set_t set;
    moco_device_t *device = NULL;
    if (moco_device_create(NULL, &device) != MOCO_OK || moco_device_info(device, text, sizeof text, NULL) != MOCO_OK)
        return 1;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks != NULL && (task = readdir(tasks)) != NULL;) {
        const pid_t id = (pid_t)atoi(task->d_name);
        if (id > 0 && id != getpid() && sched_getaffinity(id, sizeof set, &set) == 0)
            wrong += CPU_COUNT(&set) != wanted;
    }
    if (tasks != NULL)
        closedir(tasks);
    printf("%d %d\n", (int)json_number(text, "lanes"), wrong);
    moco_device_free(device);
    return 0;
}

typedef struct answer {
    int lanes, wrong;
} answer_t;

static answer_t ask(const cpu_set_t *set, const char *name, const char *value)
{
    int out[2], state = 0;
    answer_t answer = {0};
    ck_assert_int_eq(pipe(out), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        char number[16];
        snprintf(number, sizeof number, "%d", CPU_COUNT(set));
        sched_setaffinity(0, sizeof *set, set);
        unsetenv("OMP_PROC_BIND");
        unsetenv("OMP_PLACES");
        unsetenv("GOMP_CPU_AFFINITY");
        if (name != NULL)
            setenv(name, value, 1);
        dup2(out[1], STDOUT_FILENO);
        execl("/proc/self/exe", "test_processors", "report", number, (char *)NULL);
        _exit(99);
    }
    close(out[1]);
    FILE *from = fdopen(out[0], "r");
    ck_assert_int_eq(fscanf(from, "%d %d", &answer.lanes, &answer.wrong), 2);
    fclose(from);
    ck_assert_int_eq(waitpid(pid, &state, 0), pid);
    ck_assert_int_eq(state, 0);
    return answer;
}

START_TEST(test_pinned)
{
    const cpu_set_t set = given(cases[_i].processors);
    const answer_t plain = ask(&set, NULL, NULL), pinned = ask(&set, cases[_i].name, cases[_i].value);
    ck_assert_int_ge(plain.lanes, 1);
    ck_assert_int_le(plain.lanes, CPU_COUNT(&set)); /* fewer under a quota */
    ck_assert_msg(pinned.lanes == plain.lanes, "%s=%s: %d lanes, without it %d", cases[_i].name, cases[_i].value,
                  pinned.lanes, plain.lanes);
    ck_assert_msg(pinned.wrong == 0, "%s=%s: %d lanes may not run everywhere", cases[_i].name, cases[_i].value,
                  pinned.wrong);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "report") == 0)
        return report(atoi(argv[2]));
    Suite *suite = suite_create("processors");
    TCase *tc = tcase_create("pinned");
    tcase_add_loop_test(tc, test_pinned, 0, sizeof cases / sizeof cases[0]);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
