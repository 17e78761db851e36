/* Whole reads, views and atomic writes: what a failing disk leaves behind. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fault.h"
#include "util/file.h"
#include "util/status.h"

static char folder[64], target[96];

static void setup(void)
{
    strcpy(folder, "/tmp/moco-file-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(target, sizeof target, "%s/target", folder);
}

static int entries(void)
{
    int count = 0;
    DIR *dir = opendir(folder);
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void teardown(void)
{
    mo_fault_arm(MO_FAULT_FILE, -1);
    mo_fault_arm(MO_FAULT_ALLOC, -1);
    unlink(target);
    ck_assert_int_eq(entries(), 0); /* no temporary is ever left */
    ck_assert_int_eq(rmdir(folder), 0);
}

static moco_status_t save(const char *path, const char *text, uint64_t size)
{
    moco_status_t status = MOCO_OK;
    mo_atomic_file_t file = {0};
    TRY(mo_atomic_open(&file, path));
    TRY(mo_atomic_write(&file, text, size));
    TRY(mo_atomic_seek(&file, 0));
    TRY(mo_atomic_write(&file, text, 1));
    TRY(mo_atomic_commit(&file));
cleanup:
    mo_atomic_abort(&file);
    return status;
}

static void assert_content(const char *want)
{
    uint8_t *data = NULL;
    uint64_t size = 0;
    ck_assert_int_eq(mo_file_read(target, 1 << 20, &data, &size), MOCO_OK);
    ck_assert_uint_eq(size, strlen(want));
    ck_assert_mem_eq(data, want, size);
    mo_free(data);
}

START_TEST(test_write_then_read)
{
    mode_t mask = umask(027);
    ck_assert_int_eq(save(target, "first", 5), MOCO_OK);
    umask(mask);
    assert_content("first");
    struct stat info;
    ck_assert_int_eq(stat(target, &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0640);
    ck_assert_int_eq(save(target, "second one", 10), MOCO_OK);
    assert_content("second one");
}
END_TEST

START_TEST(test_empty)
{
    ck_assert_int_eq(save(target, "x", 1), MOCO_OK);
    ck_assert_int_eq(truncate(target, 0), 0);
    assert_content("");
}
END_TEST

START_TEST(test_refusals)
{
    uint8_t *data = NULL;
    uint64_t size = 0;
    mo_atomic_file_t file = {0};
    ck_assert_int_eq(mo_file_read(target, 10, &data, &size), MOCO_ERR_IO);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), target));
    ck_assert_ptr_nonnull(strstr(moco_last_message(), strerror(ENOENT)));
    ck_assert_int_eq(mo_file_read(folder, 10, &data, &size), MOCO_ERR_IO);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "folder"));
    ck_assert_int_eq(mkfifo(target, 0600), 0);
    ck_assert_int_eq(mo_file_read(target, 10, &data, &size), MOCO_ERR_IO); /* and does not wait for a writer */
    ck_assert_int_eq(mo_atomic_open(&file, target), MOCO_ERR_IO);
    unlink(target);
    ck_assert_int_eq(save(target, "12345", 5), MOCO_OK);
    ck_assert_int_eq(mo_file_read(target, 4, &data, &size), MOCO_ERR_IO);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "5 bytes, the limit is 4"));
    ck_assert_int_eq(mo_atomic_open(&file, folder), MOCO_ERR_IO);
    ck_assert_int_eq(mo_atomic_open(&file, ""), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_atomic_open(&file, NULL), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_atomic_open(&file, "/no/such/folder/file"), MOCO_ERR_IO);
    ck_assert_int_eq(mo_file_read(NULL, 10, &data, &size), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_atomic_commit(&file), MOCO_ERR_STATE);
    mo_atomic_abort(&file);
    ck_assert_ptr_null(data);
}
END_TEST

/* Abort: the older file is as it was. */
START_TEST(test_abort)
{
    mo_atomic_file_t file = {0};
    ck_assert_int_eq(save(target, "old", 3), MOCO_OK);
    ck_assert_int_eq(mo_atomic_open(&file, target), MOCO_OK);
    ck_assert_int_eq(mo_atomic_write(&file, "newer", 5), MOCO_OK);
    ck_assert_int_eq(entries(), 2);
    mo_atomic_abort(&file);
    mo_atomic_abort(&file);
    assert_content("old");
    ck_assert_int_eq(entries(), 1);
}
END_TEST

/* A leftover of a killed process of the same number does not stop the next one. */
START_TEST(test_leftover)
{
    char leftover[128];
    snprintf(leftover, sizeof leftover, "%s.part-%ld-0", target, (long)getpid());
    FILE *stream = fopen(leftover, "w");
    ck_assert_ptr_nonnull(stream);
    fclose(stream);
    ck_assert_int_eq(save(target, "text", 4), MOCO_OK);
    assert_content("text");
    ck_assert_int_eq(unlink(leftover), 0);
}
END_TEST

/* Every request of a save fails once, in turn. */
static int failing_saves(int kind)
{
    int n = 0;
    for (;; n++) {
        ck_assert_int_lt(n, 100);
        ck_assert_int_eq(save(target, "old", 3), MOCO_OK);
        mo_fault_arm(kind, n);
        moco_status_t status = save(target, "newer", 5);
        mo_fault_arm(kind, -1);
        ck_assert_int_eq(entries(), 1);
        if (status == MOCO_OK)
            break;
        ck_assert_int_eq(status, kind == MO_FAULT_FILE ? MOCO_ERR_IO : MOCO_ERR_MEMORY);
        if (kind == MO_FAULT_FILE) {
            ck_assert_ptr_nonnull(strstr(moco_last_message(), folder));
            ck_assert_ptr_nonnull(strstr(moco_last_message(), strerror(EIO)));
        }
        int in_place = strstr(moco_last_message(), "new file is in place") != NULL;
        assert_content(in_place ? "newer" : "old");
    }
    assert_content("newer");
    return n;
}

START_TEST(test_faults_while_writing)
{
    ck_assert_int_ge(failing_saves(MO_FAULT_FILE), 11);
    ck_assert_int_ge(failing_saves(MO_FAULT_ALLOC), 3);
}
END_TEST

START_TEST(test_faults_while_reading)
{
    ck_assert_int_eq(save(target, "content", 7), MOCO_OK);
    int failures = 0;
    for (int kind = 0; kind < MO_FAULT_KINDS; kind++) {
        for (int n = 0; n < 6; n++) {
            uint8_t *data = NULL;
            uint64_t size = 0;
            mo_fault_arm(kind, n);
            failures += mo_file_read(target, 100, &data, &size) != MOCO_OK;
            mo_fault_arm(kind, -1);
            mo_free(data);
        }
    }
    ck_assert_int_eq(failures, 1 + 3); /* memory; open, size, read */
}
END_TEST

/* A write that the system itself refuses: the size limit of the process stands for a full disk. */
START_TEST(test_size_limit)
{
    struct rlimit before, small;
    ck_assert_int_eq(save(target, "old", 3), MOCO_OK);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    small = before;
    small.rlim_cur = 4096;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    char *text = calloc(1, 100000);
    moco_status_t status = save(target, text, 100000);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    free(text);
    ck_assert_int_eq(status, MOCO_ERR_IO);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), strerror(EFBIG)));
    assert_content("old");
    ck_assert_int_eq(entries(), 1);
}
END_TEST

START_TEST(test_full_disk)
{
    if (mount("tmpfs", folder, "tmpfs", 0, "size=64k") != 0) {
        printf("test_full_disk skipped: mounting a small tmpfs here: %s\n", strerror(errno));
        return;
    }
    ck_assert_int_eq(save(target, "old", 3), MOCO_OK);
    char *text = calloc(1, 1000000);
    moco_status_t status = save(target, text, 1000000);
    free(text);
    int left = entries();
    if (left == 1)
        assert_content("old");
    ck_assert_int_eq(umount(folder), 0);
    ck_assert_int_eq(status, MOCO_ERR_IO);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), strerror(ENOSPC)));
    ck_assert_int_eq(left, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("file");
    TCase *tc = tcase_create("file");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_write_then_read);
    tcase_add_test(tc, test_empty);
    tcase_add_test(tc, test_refusals);
    tcase_add_test(tc, test_abort);
    tcase_add_test(tc, test_leftover);
    tcase_add_test(tc, test_faults_while_writing);
    tcase_add_test(tc, test_faults_while_reading);
    tcase_add_test(tc, test_size_limit);
    tcase_add_test(tc, test_full_disk);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
