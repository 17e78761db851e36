/* Whole reads, views and atomic writes: what a failing disk leaves behind. */
#define _GNU_SOURCE
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/atomic_file.h"
#include "util/fault.h"
#include "util/file.h"
#include "util/status.h"

static char folder[64], target[96];

/* The library under test calls these instead of the system's. */
static int folder_sync_error; /* 0: none */
static int write_limit;       /* bytes taken by one request, every second one is interrupted; 0: all */
static int close_error;       /* of every close, which closes nevertheless; 0: none */

int close(int fd)
{
    const int result = (int)syscall(SYS_close, fd);
    if (close_error == 0)
        return result;
    errno = close_error;
    return -1;
}

int fsync(int fd)
{
    struct stat info;
    if (folder_sync_error != 0 && fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
        errno = folder_sync_error;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    static int turn;
    if (write_limit > 0 && turn++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return syscall(SYS_write, fd, bytes, write_limit > 0 && size > (size_t)write_limit ? (size_t)write_limit : size);
}

static int stat_error; /* of every question about an open file; 0: none */

int fstat(int fd, struct stat *info)
{
    if (stat_error == 0)
        return (int)syscall(SYS_fstat, fd, info);
    errno = stat_error;
    return -1;
}

static int renames_left = -1; /* before every rename fails; -1: none does */

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    if (renames_left == 0) {
        errno = EACCES;
        return -1;
    }
    renames_left -= renames_left > 0;
    return (int)syscall(SYS_renameat2, from_at, from, to_at, to, 0);
}

static const char *finished_first; /* before a lock, the part file gets this name; NULL: it keeps its own */

int flock(int fd, int operation)
{
    if (finished_first != NULL && (operation & LOCK_EX) != 0) {
        char part[128];
        snprintf(part, sizeof part, "%s.moco-part", finished_first);
        ck_assert_int_eq(rename(part, finished_first), 0);
        finished_first = NULL;
    }
    return (int)syscall(SYS_flock, fd, operation);
}

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
    folder_sync_error = write_limit = 0;
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

static void make_file(const char *ending)
{
    char path[128];
    snprintf(path, sizeof path, "%s%s", target, ending);
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

/* What a killed writer has left goes with the next save; a living writer's file stays. */
START_TEST(test_leftover)
{
    mo_atomic_file_t living = {0};
    make_file(".moco-part-0");
    ck_assert_int_eq(save(target, "text", 4), MOCO_OK);
    assert_content("text");
    ck_assert_int_eq(entries(), 1);
    ck_assert_int_eq(mo_atomic_open(&living, target), MOCO_OK);
    ck_assert_int_eq(mo_atomic_write(&living, "last", 4), MOCO_OK);
    ck_assert_int_eq(save(target, "next", 4), MOCO_OK);
    assert_content("next");
    ck_assert_int_eq(mo_atomic_commit(&living), MOCO_OK);
    assert_content("last");
}
END_TEST

/* The names of killed saves of today and of before, and what only looks like them. */
START_TEST(test_sweep)
{
    static const char *const names[] = {"target", "other", NULL};
    static const char *const kept[] = {".moco-part", ".moco-part-",   ".moco-part-x",
                                       ".part-1",    ".part-0-0.npy", "2.part-1-0"};
    mo_folder_t opened = {0};
    mo_atomic_file_t living = {0};
    make_file("");
    make_file(".moco-part-7");
    make_file(".part-123-0");
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        make_file(kept[i]);
    ck_assert_int_eq(mo_folder_open(&opened, NULL, folder), MOCO_OK);
    ck_assert_int_eq(mo_atomic_open_in(&living, &opened, "target"), MOCO_OK);
    ck_assert_int_eq(mo_folder_sweep(&opened, names), MOCO_OK);
    ck_assert_int_eq(entries(), 1 + 1 + sizeof kept / sizeof kept[0]);
    mo_atomic_abort(&living);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", target, kept[i]);
        ck_assert_int_eq(unlink(path), 0);
    }
    mo_folder_close(&opened);
}
END_TEST

/* A link stays one, and the file that it leads to is written: relative, absolute, to another link,
 * and to nothing yet. */
START_TEST(test_links)
{
    char inner[128], second[128], real[160];
    snprintf(inner, sizeof inner, "%s/inner", folder);
    snprintf(second, sizeof second, "%s/second", folder);
    snprintf(real, sizeof real, "%s/real", inner);
    ck_assert_int_eq(mkdir(inner, 0700), 0);
    ck_assert_int_eq(symlink("inner/real", target), 0);
    ck_assert_int_eq(symlink(target, second), 0);
    ck_assert_int_eq(save(target, "through", 7), MOCO_OK);
    ck_assert_int_eq(chmod(real, 0600), 0);
    ck_assert_int_eq(save(second, "again", 5), MOCO_OK);
    struct stat info;
    ck_assert_int_eq(lstat(target, &info), 0);
    ck_assert(S_ISLNK(info.st_mode));
    ck_assert_int_eq(lstat(real, &info), 0);
    ck_assert(S_ISREG(info.st_mode));
    ck_assert_uint_eq(info.st_mode & 0777, 0600); /* of the file that was there */
    assert_content("again");
    ck_assert_int_eq(unlink(second), 0);
    ck_assert_int_eq(unlink(target), 0);
    ck_assert_int_eq(symlink("target", target), 0);
    ck_assert_int_eq(save(target, "x", 1), MOCO_ERR_IO);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), strerror(ELOOP)));
    ck_assert_int_eq(unlink(real), 0);
    ck_assert_int_eq(rmdir(inner), 0); /* nothing else was left in it */
}
END_TEST

/* A folder that was opened stays the one, whatever it is called and wherever the process goes. */
START_TEST(test_folder_moves)
{
    char inner[160], moved[128], before[512];
    mo_folder_t opened = {0};
    mo_atomic_file_t file = {0};
    snprintf(inner, sizeof inner, "%s/inner", folder);
    snprintf(moved, sizeof moved, "%s/moved", folder);
    ck_assert_ptr_nonnull(getcwd(before, sizeof before));
    ck_assert_int_eq(chdir(folder), 0);
    ck_assert_int_eq(mo_folder_make(&opened, "inner/"), MOCO_OK);
    mo_folder_close(&opened);
    ck_assert_int_eq(mo_folder_make(&opened, "inner"), MOCO_OK); /* it is there */
    ck_assert_int_eq(mo_atomic_open_in(&file, &opened, "target"), MOCO_OK);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(rename(inner, moved), 0);
    ck_assert_int_eq(mo_atomic_write(&file, "text", 4), MOCO_OK);
    ck_assert_int_eq(mo_atomic_commit(&file), MOCO_OK);
    mo_folder_close(&opened);
    ck_assert_int_eq(chdir(before), 0);
    snprintf(inner, sizeof inner, "%s/target", moved);
    ck_assert_int_eq(rename(inner, target), 0);
    ck_assert_int_eq(rmdir(moved), 0);
    assert_content("text");
    ck_assert_int_eq(mo_folder_make(&opened, target), MOCO_ERR_IO);
    ck_assert_int_eq(mo_folder_make(&opened, "/no/such/folder"), MOCO_ERR_IO);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), strerror(ENOENT)));
}
END_TEST

static int warnings;

static void count_line(void *user, int32_t level, const char *line)
{
    (void)user;
    warnings += level == MOCO_LOG_WARNING && strstr(line, folder) != NULL;
}

/* The file is in place: a file system that cannot sync folders is worth a warning, once. */
START_TEST(test_folder_sync)
{
    static const int able[] = {EINVAL, EBADF, ENOSYS, ENOTSUP, EOPNOTSUPP, EACCES};
    moco_set_log(count_line, NULL, MOCO_LOG_WARNING);
    for (size_t i = 0; i < sizeof able / sizeof able[0]; i++) {
        folder_sync_error = able[i];
        ck_assert_int_eq(save(target, "text", 4), MOCO_OK);
    }
    ck_assert_int_eq(warnings, 1);
    folder_sync_error = EIO;
    ck_assert_int_eq(save(target, "newer", 5), MOCO_ERR_IO);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "new file is in place"));
    folder_sync_error = 0;
    assert_content("newer");
    moco_set_log(NULL, NULL, 0);
}
END_TEST

START_TEST(test_short_writes)
{
    static char text[300000], want[300001];
    for (size_t i = 0; i < sizeof text; i++)
        want[i] = text[i] = (char)('a' + i % 23);
    write_limit = 1000;
    ck_assert_int_eq(save(target, text, sizeof text), MOCO_OK);
    write_limit = 0;
    assert_content(want);
}
END_TEST

/* Network file systems tell of lost bytes at a close; a signal that comes then loses nothing. */
START_TEST(test_close)
{
    ck_assert_int_eq(save(target, "old", 3), MOCO_OK);
    close_error = EINTR;
    const moco_status_t interrupted = save(target, "new", 3);
    close_error = EIO;
    const moco_status_t lost = save(target, "newer", 5);
    close_error = 0;
    ck_assert_int_eq(interrupted, MOCO_OK);
    ck_assert_int_eq(lost, MOCO_ERR_IO);
    assert_content("new");
    ck_assert_int_eq(entries(), 1);
}
END_TEST

/* The temporary file is ours although nothing can be asked about it: none is left. */
START_TEST(test_stat_fails)
{
    ck_assert_int_eq(save(target, "old", 3), MOCO_OK);
    stat_error = EIO;
    save(target, "new", 3);
    stat_error = 0;
    ck_assert_int_eq(entries(), 1);
}
END_TEST

/* A process without standard streams: what it, or its children, print must not go into a file. */
START_TEST(test_standard_streams)
{
    const pid_t child = fork();
    if (child == 0) {
        mo_atomic_file_t file = {0};
        close(0), close(1), close(2);
        int bad = mo_atomic_open(&file, target) != MOCO_OK || file.fd < 3 || file.folder.fd < 3;
        bad |= fcntl(0, F_GETFD) != -1 || fcntl(1, F_GETFD) != -1 || fcntl(2, F_GETFD) != -1;
        bad |= mo_atomic_write(&file, "text", 4) != MOCO_OK || mo_atomic_commit(&file) != MOCO_OK;
        _exit(bad);
    }
    int code = -1;
    ck_assert_int_eq(waitpid(child, &code, 0), child);
    ck_assert_int_eq(code, 0);
    assert_content("text");
}
END_TEST

static void set_pair(char other[112], const char *a, const char *b)
{
    snprintf(other, 112, "%s/other", folder);
    ck_assert_int_eq(save(target, a, strlen(a)), MOCO_OK);
    ck_assert_int_eq(save(other, b, strlen(b)), MOCO_OK);
}

/* Two files of one commit: whichever request fails, both are old or both are new. */
START_TEST(test_together)
{
    char other[112];
    int failures = 0, done = 0;
    for (int n = 0; !done; n++) {
        mo_atomic_file_t a = {0}, b = {0}, *const both[] = {&a, &b};
        uint8_t *data = NULL;
        uint64_t size = 0;
        ck_assert_int_lt(n, 100);
        set_pair(other, "old", "old");
        ck_assert_int_eq(mo_atomic_open(&a, target), MOCO_OK);
        ck_assert_int_eq(mo_atomic_open(&b, other), MOCO_OK);
        ck_assert_int_eq(mo_atomic_write(&a, "new", 3), MOCO_OK);
        ck_assert_int_eq(mo_atomic_write(&b, "new", 3), MOCO_OK);
        mo_fault_arm(MO_FAULT_FILE, n);
        const moco_status_t status = mo_atomic_commit_all(both, 2);
        mo_fault_arm(MO_FAULT_FILE, -1);
        done = status == MOCO_OK;
        failures += !done;
        const int placed = done || strstr(moco_last_message(), "new file is in place") != NULL;
        assert_content(placed ? "new" : "old");
        ck_assert_int_eq(mo_file_read(other, 100, &data, &size), MOCO_OK);
        ck_assert_mem_eq(data, placed ? "new" : "old", 3);
        mo_free(data);
        ck_assert_int_eq(entries(), 2);
    }
    ck_assert_int_ge(failures, 10); /* write, sync, close; rename; sync of the folder: of each */
    unlink(other);
}
END_TEST

/* Where nothing can be renamed any more, the first of two new files cannot go back, and goes. */
START_TEST(test_together_no_way_back)
{
    mo_atomic_file_t a = {0}, b = {0}, *const both[] = {&a, &b};
    char other[112];
    snprintf(other, sizeof other, "%s/other", folder);
    ck_assert_int_eq(mo_atomic_open(&a, target), MOCO_OK);
    ck_assert_int_eq(mo_atomic_open(&b, other), MOCO_OK);
    renames_left = 1;
    const moco_status_t status = mo_atomic_commit_all(both, 2);
    renames_left = -1;
    ck_assert_int_eq(status, MOCO_ERR_IO);
    mo_atomic_abort(&a);
    mo_atomic_abort(&b);
    ck_assert_int_eq(entries(), 0);
}
END_TEST

/* A part file outlives its process, belongs to one process at a time, and is cut back to what its
 * owner knows of it. */
START_TEST(test_resume)
{
    mo_atomic_file_t file = {0}, second = {0};
    ck_assert_int_eq(mo_atomic_resume(&file, target, 0), MOCO_OK);
    ck_assert_int_eq(mo_atomic_write(&file, "first", 5), MOCO_OK);
    ck_assert_int_eq(mo_atomic_sync(&file), MOCO_OK);
    ck_assert_int_eq(mo_atomic_write(&file, "lost", 4), MOCO_OK);
    ck_assert_int_eq(mo_atomic_resume(&second, target, 0), MOCO_ERR_STATE);
    mo_atomic_keep(&file);
    ck_assert_int_ne(access(target, F_OK), 0);
    ck_assert_int_eq(mo_atomic_resume(&file, target, 6), MOCO_ERR_FORMAT);
    ck_assert_int_eq(mo_atomic_resume(&file, target, 4), MOCO_OK);
    ck_assert_int_eq(mo_atomic_write(&file, "+", 1), MOCO_OK);
    ck_assert_int_eq(mo_atomic_commit(&file), MOCO_OK);
    assert_content("firs+");
    ck_assert_int_eq(entries(), 1);
    ck_assert_int_eq(mo_atomic_resume(&file, target, 0), MOCO_OK);
    mo_atomic_abort(&file);
    ck_assert_int_eq(entries(), 1);
}
END_TEST

/* Another process finishes the part file after it was opened here and before it was locked: the
 * finished file is nobody's part. */
START_TEST(test_resume_too_late)
{
    mo_atomic_file_t file = {0};
    ck_assert_int_eq(mo_atomic_resume(&file, target, 0), MOCO_OK);
    ck_assert_int_eq(mo_atomic_write(&file, "finished", 8), MOCO_OK);
    ck_assert_int_eq(mo_atomic_sync(&file), MOCO_OK);
    mo_atomic_keep(&file);
    finished_first = target;
    ck_assert_int_eq(mo_atomic_resume(&file, target, 0), MOCO_OK);
    ck_assert_ptr_null(finished_first);
    assert_content("finished");
    ck_assert_int_eq(mo_atomic_write(&file, "next", 4), MOCO_OK);
    ck_assert_int_eq(mo_atomic_commit(&file), MOCO_OK);
    assert_content("next");
}
END_TEST

/* Files that are in place although their folder cannot be synced leave nothing beside them. */
START_TEST(test_resumed_without_folder_sync)
{
    char second[128];
    snprintf(second, sizeof second, "%s-2", target);
    ck_assert_int_eq(save(target, "old", 3), MOCO_OK);
    mo_atomic_file_t files[2] = {{0}, {0}}, *const both[] = {&files[0], &files[1]};
    ck_assert_int_eq(mo_atomic_resume(&files[0], target, 0), MOCO_OK);
    ck_assert_int_eq(mo_atomic_resume(&files[1], second, 0), MOCO_OK);
    ck_assert_int_eq(mo_atomic_write(&files[0], "new", 3), MOCO_OK);
    folder_sync_error = EIO;
    ck_assert_int_eq(mo_atomic_commit_all(both, 2), MOCO_ERR_IO);
    folder_sync_error = 0;
    assert_content("new");
    ck_assert_int_eq(entries(), 2);
    unlink(second);
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
    ck_assert_int_ge(failing_saves(MO_FAULT_FILE), 10);
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

/* A write that the system itself refuses: the size limit of the process stands for a full disk. Its
 * signal, whose default is to end the process, does not reach the host. */
START_TEST(test_size_limit)
{
    struct rlimit before, small;
    ck_assert_int_eq(save(target, "old", 3), MOCO_OK);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    sigset_t pending;
    small = before;
    small.rlim_cur = 4096;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    char *text = calloc(1, 100000);
    moco_status_t status = save(target, text, 100000);
    setrlimit(RLIMIT_FSIZE, &before);
    sigpending(&pending);
    ck_assert(!sigismember(&pending, SIGXFSZ));
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
    tcase_add_test(tc, test_sweep);
    tcase_add_test(tc, test_links);
    tcase_add_test(tc, test_folder_moves);
    tcase_add_test(tc, test_folder_sync);
    tcase_add_test(tc, test_short_writes);
    tcase_add_test(tc, test_close);
    tcase_add_test(tc, test_stat_fails);
    tcase_add_test(tc, test_standard_streams);
    tcase_add_test(tc, test_together);
    tcase_add_test(tc, test_together_no_way_back);
    tcase_add_test(tc, test_resume);
    tcase_add_test(tc, test_resume_too_late);
    tcase_add_test(tc, test_resumed_without_folder_sync);
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
