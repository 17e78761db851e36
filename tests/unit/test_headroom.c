/* How much memory a process may still take: trees of /proc and of control groups that stand for
 * other machines, limits of this process, the variable, and messages. */
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/headroom.h"
#include "util/size.h"
#include "util/status.h"

#define MIB ((uint64_t)1 << 20)
#define V1_MOUNT "35 31 0:32 %s /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
#define V2_MOUNT "31 23 0:28 %s /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define UNIFIED "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
#define V1 "/sys/fs/cgroup/memory"
#define V2 "/sys/fs/cgroup"

static char root[64];

static void setup(void)
{
    snprintf(root, sizeof root, "/tmp/moco-memory-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    ck_assert_int_eq(system(command), 0);
}

/* A file of the machine, its folders made on the way. */
static void put(const char *path, const char *text)
{
    char full[512];
    const int length = snprintf(full, sizeof full, "%s%s", root, path);
    ck_assert_int_lt(length, (int)sizeof full);
    for (char *at = full + strlen(root) + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
        *at = '\0';
        mkdir(full, 0700);
    }
    FILE *file = fopen(full, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void put_number(const char *path, uint64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%llu\n", (unsigned long long)number);
    put(path, text);
}

static void put_mount(const char *format, const char *mount_root)
{
    char text[512];
    snprintf(text, sizeof text, format, mount_root);
    put("/proc/self/mountinfo", text);
}

/* A machine of 16 GiB with 8 GiB available. */
static void put_machine(uint64_t swap_free)
{
    char text[512];
    snprintf(text, sizeof text,
             "MemTotal:       16777216 kB\nMemFree:         2000000 kB\nMemAvailable:    8388608 kB\n"
             "SwapTotal:       4194304 kB\nSwapFree:        %llu kB\nCommitLimit:     9000000 kB\n"
             "Committed_AS:    5000000 kB\n",
             (unsigned long long)(swap_free / 1024));
    put("/proc/meminfo", text);
}

static void assert_left(uint64_t left, uint64_t limit, const char *source)
{
    mo_headroom_t m;
    mo_headroom_read_under(root, &m);
    ck_assert_uint_eq(m.left, left);
    ck_assert_uint_eq(m.limit, limit);
    ck_assert_str_eq(m.source, source);
}

static void assert_machine(void)
{
    assert_left(8192 * MIB, 20480 * MIB, "MemAvailable and SwapFree of /proc/meminfo");
}

START_TEST(test_nothing)
{
    assert_left(UINT64_MAX, UINT64_MAX, "");
    put("/proc/meminfo", "MemTotal: many\nMemAvailable:\n");
    put("/proc/self/cgroup", "\n:\n0:\n0::\nnonsense\n:::::\n");
    put("/proc/self/mountinfo", "\n - \n1 2 3 - cgroup2\n31 23 0:28 / - cgroup2\n1 2 3 / /x - cgroup\n");
    assert_left(UINT64_MAX, UINT64_MAX, "");
}
END_TEST

START_TEST(test_machine)
{
    put_machine(0);
    assert_machine();
    put_machine(1024 * MIB);
    assert_left(9216 * MIB, 20480 * MIB, "MemAvailable and SwapFree of /proc/meminfo");
    put("/proc/sys/vm/overcommit_memory", "2\n");
    assert_left(UINT64_C(4000000) * 1024, UINT64_C(9000000) * 1024, "CommitLimit of /proc/meminfo");
    put("/proc/sys/vm/overcommit_memory", "1\n");
    assert_left(9216 * MIB, 20480 * MIB, "MemAvailable and SwapFree of /proc/meminfo");
}
END_TEST

/* The tightest group on the way to the root of the tree counts. */
START_TEST(test_version2_nested)
{
    put_machine(0);
    put("/proc/self/cgroup", "0::/work/job\n");
    put_mount(V2_MOUNT, "/");
    assert_machine();
    put(V2 "/work/job/memory.max", "max\n");
    put(V2 "/work/memory.max", "max\n");
    assert_machine();
    put_number(V2 "/work/memory.max", 400 * MIB);
    assert_left(400 * MIB, 400 * MIB, V2 "/work/memory.max");
    put_number(V2 "/work/memory.current", 150 * MIB);
    put(V2 "/work/memory.stat", "anon 100\nfile 52428800\ninactive_file 20971520\nactive_file 31457280\n");
    assert_left(300 * MIB, 400 * MIB, V2 "/work/memory.max"); /* the cache of files is given back */
    put_number(V2 "/work/job/memory.high", 200 * MIB);
    put_number(V2 "/work/job/memory.current", 60 * MIB);
    assert_left(140 * MIB, 200 * MIB, V2 "/work/job/memory.high");
    put_number(V2 "/work/job/memory.current", 201 * MIB);
    assert_left(0, 200 * MIB, V2 "/work/job/memory.high");
    put(V2 "/work/job/memory.high", "");
    put(V2 "/work/memory.max", "nonsense\n");
    assert_machine();
    put_number(V2 "/workshop/memory.max", 1); /* a neighbour */
    assert_machine();
}
END_TEST

START_TEST(test_version2_swap)
{
    put_machine(1024 * MIB);
    put("/proc/self/cgroup", "0::/job\n");
    put_mount(V2_MOUNT, "/");
    put_number(V2 "/job/memory.max", 400 * MIB);
    put_number(V2 "/job/memory.current", 100 * MIB);
    assert_left(1324 * MIB, 400 * MIB, V2 "/job/memory.max");
    put_number(V2 "/job/memory.swap.max", 50 * MIB);
    put_number(V2 "/job/memory.swap.current", 20 * MIB);
    assert_left(330 * MIB, 400 * MIB, V2 "/job/memory.max");
    put_number(V2 "/job/memory.swap.max", 0);
    assert_left(300 * MIB, 400 * MIB, V2 "/job/memory.max");
}
END_TEST

/* In a container the group is the root of what is mounted, whether its name is hidden or not. */
START_TEST(test_containers)
{
    put_machine(0);
    put_number(V2 "/memory.max", 400 * MIB);
    put("/proc/self/cgroup", "0::/\n");
    put_mount(V2_MOUNT, "/");
    assert_left(400 * MIB, 400 * MIB, V2 "/memory.max");
    put("/proc/self/cgroup", "0::/docker/ab\n");
    put_mount(V2_MOUNT, "/docker/ab");
    assert_left(400 * MIB, 400 * MIB, V2 "/memory.max");
    put_number(V2 "/inner/memory.max", 300 * MIB);
    put("/proc/self/cgroup", "0::/docker/ab/inner\n");
    assert_left(300 * MIB, 300 * MIB, V2 "/inner/memory.max");
    put("/proc/self/cgroup", "0::/docker/abc\n"); /* not below /docker/ab: what is mounted is all there is to see */
    assert_left(400 * MIB, 400 * MIB, V2 "/memory.max");
    put("/proc/self/cgroup", "0::/../elsewhere\n");
    put_mount(V2_MOUNT, "/");
    assert_left(400 * MIB, 400 * MIB, V2 "/memory.max");
    {
        char path[128];
        snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
        ck_assert_int_eq(unlink(path), 0);
    }
    assert_left(400 * MIB, 400 * MIB, V2 "/memory.max");
    /* A second mount of another part of the tree is not asked where one holds the group. */
    put("/proc/self/cgroup", "0::/job\n");
    put("/proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
                                "32 23 0:28 /other /other rw - cgroup2 cgroup2 rw\n");
    put_number("/other/memory.max", 1);
    assert_left(400 * MIB, 400 * MIB, V2 "/memory.max");
}
END_TEST

START_TEST(test_version1)
{
    put_machine(0);
    put("/proc/self/cgroup", "5:devices:/x\n4:cpu,memory:/docker/ab\n1:memory_like:/y\n");
    put_mount(V1_MOUNT, "/");
    put_number(V1 "/docker/ab/memory.limit_in_bytes", UINT64_C(9223372036854771712)); /* none */
    assert_machine();
    put_number(V1 "/docker/ab/memory.limit_in_bytes", 400 * MIB);
    put_number(V1 "/docker/ab/memory.usage_in_bytes", 200 * MIB);
    put(V1 "/docker/ab/memory.stat", "inactive_file 1\ntotal_inactive_file 41943040\ntotal_active_file 10485760\n");
    assert_left(250 * MIB, 400 * MIB, V1 "/docker/ab/memory.limit_in_bytes");
    put_number(V1 "/docker/memory.limit_in_bytes", 100 * MIB);
    put_number(V1 "/docker/memory.use_hierarchy", 1);
    assert_left(100 * MIB, 100 * MIB, V1 "/docker/memory.limit_in_bytes");
    put_number(V1 "/docker/memory.use_hierarchy", 0);
    assert_left(250 * MIB, 400 * MIB, V1 "/docker/ab/memory.limit_in_bytes");
    put_machine(1024 * MIB);
    assert_left(1274 * MIB, 400 * MIB, V1 "/docker/ab/memory.limit_in_bytes");
    put_number(V1 "/docker/ab/memory.memsw.limit_in_bytes", 500 * MIB);
    put_number(V1 "/docker/ab/memory.memsw.usage_in_bytes", 210 * MIB);
    assert_left(340 * MIB, 500 * MIB, V1 "/docker/ab/memory.memsw.limit_in_bytes");
    put_mount(V1_MOUNT, "/docker/ab"); /* seen from inside */
    put_number(V1 "/memory.limit_in_bytes", 90 * MIB);
    assert_left(90 * MIB + 1024 * MIB, 90 * MIB, V1 "/memory.limit_in_bytes");
}
END_TEST

/* Version 1 limits memory, version 2 is there without controllers. */
START_TEST(test_hybrid)
{
    char mounts[512];
    put_machine(0);
    put("/proc/self/cgroup", "4:memory:/job\n0::/\n");
    snprintf(mounts, sizeof mounts, UNIFIED V1_MOUNT, "/");
    put("/proc/self/mountinfo", mounts);
    put(V2 "/unified/cgroup.procs", "1\n");
    put_number(V1 "/job/memory.limit_in_bytes", 64 * MIB);
    assert_left(64 * MIB, 64 * MIB, V1 "/job/memory.limit_in_bytes");
    put_number(V2 "/unified/memory.max", 32 * MIB);
    assert_left(32 * MIB, 32 * MIB, V2 "/unified/memory.max");
}
END_TEST

START_TEST(test_odd_mounts)
{
    put_machine(0);
    put("/proc/self/cgroup", "0::/a b\n");
    put("/proc/self/mountinfo", "31 23 0:28 / /control\\040groups rw - cgroup2 cgroup2 rw\n");
    put_number("/control groups/a b/memory.max", 7 * MIB);
    assert_left(7 * MIB, 7 * MIB, "/control groups/a b/memory.max");
    put("/proc/self/mountinfo", "");
    assert_machine();
    char path[128];
    snprintf(path, sizeof path, "%s/proc/self/mountinfo", root);
    ck_assert_int_eq(unlink(path), 0); /* unreadable: where they usually are */
    put_number(V2 "/a b/memory.max", 6 * MIB);
    assert_left(6 * MIB, 6 * MIB, V2 "/a b/memory.max");
    snprintf(path, sizeof path, "%s" V2 "/a b/memory.max", root);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0); /* a folder where a number should be */
    assert_machine();
}
END_TEST

/* ---- this process ---- */

START_TEST(test_process)
{
    struct rlimit before, small;
    mo_headroom_t m;
    mo_headroom_read(&m);
    ck_assert_uint_gt(m.left, 0);
    ck_assert_int_eq(getrlimit(RLIMIT_DATA, &before), 0);
    small = before;
    small.rlim_cur = 64 * MIB;
    ck_assert_int_eq(setrlimit(RLIMIT_DATA, &small), 0);
    mo_headroom_read(&m);
    ck_assert_int_eq(setrlimit(RLIMIT_DATA, &before), 0);
    ck_assert_str_eq(m.source, "RLIMIT_DATA (ulimit -d)");
    ck_assert_uint_eq(m.limit, 64 * MIB);
    ck_assert_uint_lt(m.left, 64 * MIB);
}
END_TEST

START_TEST(test_variable)
{
    mo_headroom_t m;
    setenv("MOCO_MEMORY_LIMIT", "none", 1);
    mo_headroom_read(&m);
    ck_assert_uint_eq(m.left, UINT64_MAX);
    ck_assert_uint_eq(mo_headroom_spare(&m), UINT64_MAX);
    ck_assert_int_eq(mo_headroom_check(MOCO_ERR_MEMORY, "wanted:", UINT64_MAX, ""), MOCO_OK);
    setenv("MOCO_MEMORY_LIMIT", "1000T", 1);
    mo_headroom_read(&m);
    ck_assert_uint_eq(m.limit, UINT64_C(1000) << 40);
    ck_assert_uint_lt(m.left, m.limit); /* the process is in memory */
    ck_assert_str_eq(m.source, "MOCO_MEMORY_LIMIT of the environment");
    setenv("MOCO_MEMORY_LIMIT", "4096", 1);
    mo_headroom_read(&m);
    ck_assert_uint_eq(m.left, 0);
    static const char *const nonsense[] = {"", "much", "-1", "12Q", "1GG"};
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        setenv("MOCO_MEMORY_LIMIT", nonsense[i], 1);
        mo_headroom_read(&m);
        ck_assert_msg(strstr(m.source, "MOCO_MEMORY_LIMIT") == NULL, "'%s' was taken for a limit", nonsense[i]);
    }
    unsetenv("MOCO_MEMORY_LIMIT");
}
END_TEST

/* Nothing that large is touched: every allocation asks first. */
START_TEST(test_allocations)
{
    void *memory = NULL;
    setenv("MOCO_MEMORY_LIMIT", "8M", 1);
    ck_assert_int_eq(mo_block_create(40 * MIB, &memory), MOCO_ERR_MEMORY);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "40 MiB (41943040 bytes)"));
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "of 8 MiB"));
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "MOCO_MEMORY_LIMIT"));
    ck_assert_int_eq(mo_calloc(40, MIB, &memory), MOCO_ERR_MEMORY);
    ck_assert_int_eq(mo_grow(&memory, 40, MIB), MOCO_ERR_MEMORY);
    ck_assert_ptr_null(memory);
    mo_headroom_planned_begin();
    ck_assert_int_eq(mo_block_create(40 * MIB, &memory), MOCO_OK);
    mo_headroom_planned_end();
    mo_block_free(memory, 40 * MIB);
    memory = NULL;
    ck_assert_int_eq(mo_calloc(1, MIB, &memory), MOCO_OK); /* small ones are not asked about */
    mo_free(memory);
    unsetenv("MOCO_MEMORY_LIMIT");
}
END_TEST

START_TEST(test_sizes)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {0, "0 bytes"},
        {1023, "1023 bytes"},
        {1024, "1 KiB (1024 bytes)"},
        {1100, "1.07 KiB (1100 bytes)"},
        {10342, "10 KiB (10342 bytes)"},
        {10343, "10.1 KiB (10343 bytes)"}, /* 10.1006: a tenth is shown from a tenth on */
        {104857600, "100 MiB (104857600 bytes)"},
        {1031689108, "983 MiB (1031689108 bytes)"},
        {17855428928, "16.6 GiB (17855428928 bytes)"},
        {29480685142016, "26.8 TiB (29480685142016 bytes)"},
        {1734967296, "1.61 GiB (1734967296 bytes)"},
        {UINT64_MAX, "15.9 EiB (18446744073709551615 bytes)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const mo_size_text_t size = mo_size(rows[i].bytes); /* Check keeps a pointer to the text */
        ck_assert_str_eq(size.text, rows[i].text);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("headroom");
    TCase *tc = tcase_create("headroom");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_nothing);
    tcase_add_test(tc, test_machine);
    tcase_add_test(tc, test_version2_nested);
    tcase_add_test(tc, test_version2_swap);
    tcase_add_test(tc, test_containers);
    tcase_add_test(tc, test_version1);
    tcase_add_test(tc, test_hybrid);
    tcase_add_test(tc, test_odd_mounts);
    tcase_add_test(tc, test_process);
    tcase_add_test(tc, test_variable);
    tcase_add_test(tc, test_allocations);
    tcase_add_test(tc, test_sizes);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
