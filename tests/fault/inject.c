/* Makes the n-th request to the system fail, in any program: preloaded (LD_PRELOAD) by
 * tests/fault/sweep.py. Unlike the fault points inside of the library (lib/util/fault.h) it also
 * reaches the program, Python, and the libraries below ours.
 *
 *   MOCO_INJECT          KIND:N[+][:HOW]   the N-th request of KIND (from 0) fails, with +
 *                                          all later ones too; without it they are only counted
 *   MOCO_INJECT_FOLDER   files count that lie below this folder
 *   MOCO_INJECT_CALLERS  memory counts that is asked for from these libraries, by parts of their
 *                        names with commas between; without it none counts
 *   MOCO_INJECT_REPORT   file that gets "hit" when a request was made to fail, and at the end the
 *                        numbers of requests
 *
 * KIND is alloc, mmap, thread, open, close, read, write, fsync, truncate, rename, mkdir, readdir,
 * lock or stat. HOW is a name of errno, or "short": a read or a write transfers half. A close that
 * fails has closed, as on Linux. Streams of stdio are made here of the same reads and writes
 * (fopencookie), so that what the C library buffers can fail, too. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ALLOC, MMAP, THREAD, OPEN, CLOSE, READ, WRITE, FSYNC, TRUNCATE, RENAME, MKDIR, READDIR, LOCK, STAT, KINDS };
static const char *const kinds[KINDS] = {"alloc", "mmap",     "thread", "open",  "close",   "read", "write",
                                         "fsync", "truncate", "rename", "mkdir", "readdir", "lock", "stat"};
static const struct {
    const char *name;
    int number;
} errors[] = {{"EINTR", EINTR},         {"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EMFILE", EMFILE},
              {"ENOMEM", ENOMEM},       {"EAGAIN", EAGAIN}, {"EACCES", EACCES}, {"ESTALE", ESTALE},
              {"ETIMEDOUT", ETIMEDOUT}, {"ENOLCK", ENOLCK}, {"EDQUOT", EDQUOT}};

static atomic_long seen[KINDS];
static atomic_int hit;
static int wanted_kind = -1, from_then_on, error_number = EIO, half, report = -1;
static long wanted_number = -1;
static const char *folder, *callers;
static atomic_int ready;

/* ---- what is to happen ---- */

static void say(const char *text)
{
    if (report >= 0 && syscall(SYS_write, report, text, strlen(text)) < 0)
        report = -1;
}

static void read_wish(const char *wish)
{
    char *end;
    for (int i = 0; i < KINDS; i++)
        if (strncmp(wish, kinds[i], strlen(kinds[i])) == 0 && wish[strlen(kinds[i])] == ':')
            wanted_kind = i;
    wish = strchr(wish, ':');
    if (wanted_kind < 0 || wish == NULL)
        return;
    wanted_number = strtol(wish + 1, &end, 10);
    from_then_on = *end == '+';
    end += from_then_on;
    for (size_t i = 0; *end == ':' && i < sizeof errors / sizeof *errors; i++)
        if (strcmp(end + 1, errors[i].name) == 0)
            error_number = errors[i].number;
    half = strcmp(end, ":short") == 0;
}

__attribute__((constructor)) static void begin(void)
{
    const char *wish = getenv("MOCO_INJECT"), *path = getenv("MOCO_INJECT_REPORT");
    folder = getenv("MOCO_INJECT_FOLDER");
    callers = getenv("MOCO_INJECT_CALLERS");
    if (path != NULL) {
        const long opened = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        report = (int)syscall(SYS_fcntl, opened, F_DUPFD_CLOEXEC, 700); /* out of the way of tests with few numbers */
        report = report < 0 ? (int)opened : report;
    }
    if (wish != NULL)
        read_wish(wish);
    atomic_store(&ready, 1);
}

__attribute__((destructor)) static void end(void)
{
    char line[64];
    for (int i = 0; i < KINDS; i++) {
        snprintf(line, sizeof line, "%s %ld\n", kinds[i], atomic_load(&seen[i]));
        say(line);
    }
}

/* Counts a request; whether it is the one to fail. */
static int fails(int kind)
{
    if (!atomic_load(&ready))
        return 0;
    const long number = atomic_fetch_add(&seen[kind], 1);
    if (kind != wanted_kind || (from_then_on ? number < wanted_number : number != wanted_number) || wanted_number < 0)
        return 0;
    if (atomic_fetch_add(&hit, 1) == 0)
        say("hit\n");
    errno = error_number;
    return 1;
}

/* ---- memory, by who asks for it ---- */

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);

#define RANGES 16
static struct {
    uintptr_t low, high;
} ranges[RANGES];
static atomic_int range_count;
static __thread int looking;

static int note_library(struct dl_phdr_info *info, size_t size, void *count)
{
    (void)size;
    const char *name = strrchr(info->dlpi_name, '/');
    char part[64];
    for (const char *at = callers; name != NULL && *at != '\0'; at += strcspn(at, ",") + (strchr(at, ',') != NULL)) {
        snprintf(part, sizeof part, "%.*s", (int)strcspn(at, ","), at);
        if (strstr(name, part) == NULL)
            continue;
        for (int i = 0; i < info->dlpi_phnum && *(int *)count < RANGES; i++)
            if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
                ranges[*(int *)count].low = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
                ranges[*(int *)count].high = ranges[*(int *)count].low + info->dlpi_phdr[i].p_memsz;
                ++*(int *)count;
            }
    }
    return 0;
}

/* Libraries may come late, by dlopen: while none is known it is looked for now and then. */
static int counts(const void *caller)
{
    static atomic_uint calls;
    if (callers == NULL || !atomic_load(&ready) || looking)
        return 0;
    int known = atomic_load(&range_count);
    if (known == 0 && atomic_fetch_add(&calls, 1) % 64 == 0) {
        looking = 1;
        dl_iterate_phdr(note_library, &known);
        looking = 0;
        atomic_store(&range_count, known);
    }
    for (int i = 0; i < known; i++)
        if ((uintptr_t)caller >= ranges[i].low && (uintptr_t)caller < ranges[i].high)
            return 1;
    return 0;
}

static int no_memory(const void *caller)
{
    if (!counts(caller) || !fails(ALLOC))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return no_memory(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return no_memory(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return no_memory(__builtin_return_address(0)) ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    return no_memory(__builtin_return_address(0)) ? NULL : __libc_memalign(align, size);
}

int posix_memalign(void **out, size_t align, size_t size)
{
    if (no_memory(__builtin_return_address(0)))
        return ENOMEM;
    void *made = __libc_memalign(align, size);
    if (made == NULL)
        return ENOMEM;
    *out = made;
    return 0;
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (counts(__builtin_return_address(0)) && fails(MMAP)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    const long made = syscall(SYS_mmap, at, size, protection, flags, fd, offset);
    return made == -1 ? MAP_FAILED : (void *)made;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return fails(THREAD) ? EAGAIN : real(thread, attributes, start, argument);
}

/* ---- files, by where they lie ---- */

#define NUMBERS 2048
static atomic_char inside[NUMBERS]; /* whether a descriptor's file lies below the folder */

static int is_inside(int fd)
{
    return fd >= 0 && fd < NUMBERS && atomic_load(&inside[fd]);
}

static void note(int fd, int lies_inside)
{
    if (fd >= 0 && fd < NUMBERS)
        atomic_store(&inside[fd], (char)lies_inside);
}

static int path_inside(int at, const char *path)
{
    char here[4096];
    if (folder == NULL || path == NULL)
        return 0;
    if (path[0] == '/')
        return strncmp(path, folder, strlen(folder)) == 0;
    if (at != AT_FDCWD)
        return is_inside(at);
    return syscall(SYS_getcwd, here, sizeof here) > 0 && strncmp(here, folder, strlen(folder)) == 0;
}

static int open_at(int at, const char *path, int flags, mode_t mode)
{
    const int counted = path_inside(at, path);
    if (counted && fails(OPEN))
        return -1;
    const int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    note(fd, counted);
    return fd;
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_at(at, path, flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));
int openat64(int at, const char *path, int flags, ...) __attribute__((alias("openat")));

int fcntl(int fd, int command, ...)
{
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    const int result = (int)syscall(SYS_fcntl, fd, command, argument);
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
        note(result, is_inside(fd));
    return result;
}

int fcntl64(int fd, int command, ...) __attribute__((alias("fcntl")));

static size_t part_of(size_t size)
{
    return half && size > 1 ? size / 2 : size;
}

/* With "short" the request goes on with half of its bytes. */
#define TRANSFER(kind)                  \
    if (is_inside(fd) && fails(kind)) { \
        if (!half)                      \
            return -1;                  \
        size = part_of(size);           \
    }

ssize_t read(int fd, void *to, size_t size)
{
    TRANSFER(READ)
    return syscall(SYS_read, fd, to, size);
}

ssize_t pread(int fd, void *to, size_t size, off_t offset)
{
    TRANSFER(READ)
    return syscall(SYS_pread64, fd, to, size, offset);
}

ssize_t pread64(int fd, void *to, size_t size, off_t offset) __attribute__((alias("pread")));

ssize_t write(int fd, const void *from, size_t size)
{
    TRANSFER(WRITE)
    return syscall(SYS_write, fd, from, size);
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t offset)
{
    TRANSFER(WRITE)
    return syscall(SYS_pwrite64, fd, from, size, offset);
}

ssize_t pwrite64(int fd, const void *from, size_t size, off_t offset) __attribute__((alias("pwrite")));

int fsync(int fd)
{
    return is_inside(fd) && fails(FSYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

int close(int fd)
{
    const int counted = is_inside(fd);
    note(fd, 0);
    const int result = (int)syscall(SYS_close, fd);
    return counted && fails(CLOSE) ? -1 : result;
}

int ftruncate(int fd, off_t size)
{
    return is_inside(fd) && fails(TRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate64(int fd, off64_t size) __attribute__((alias("ftruncate")));

int flock(int fd, int operation)
{
    return is_inside(fd) && fails(LOCK) ? -1 : (int)syscall(SYS_flock, fd, operation);
}

int mkdirat(int at, const char *path, mode_t mode)
{
    return path_inside(at, path) && fails(MKDIR) ? -1 : (int)syscall(SYS_mkdirat, at, path, mode);
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

struct dirent *readdir(DIR *of)
{
    static struct dirent *(*real)(DIR *);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "readdir");
    return is_inside(dirfd(of)) && fails(READDIR) ? NULL : real(of);
}

struct dirent64 *readdir64(DIR *) __attribute__((alias("readdir")));

int rename(const char *from, const char *to)
{
    return path_inside(AT_FDCWD, to) && fails(RENAME) ? -1 : (int)syscall(SYS_rename, from, to);
}

int renameat(int at, const char *from, int to_at, const char *to)
{
    return path_inside(to_at, to) && fails(RENAME) ? -1 : (int)syscall(SYS_renameat, at, from, to_at, to);
}

int renameat2(int at, const char *from, int to_at, const char *to, unsigned flags)
{
    return path_inside(to_at, to) && fails(RENAME) ? -1 : (int)syscall(SYS_renameat2, at, from, to_at, to, flags);
}

int fstat(int fd, struct stat *info)
{
    return is_inside(fd) && fails(STAT) ? -1 : (int)syscall(SYS_fstat, fd, info);
}

int fstatat(int at, const char *path, struct stat *info, int flags)
{
    return path_inside(at, path) && fails(STAT) ? -1 : (int)syscall(SYS_newfstatat, at, path, info, flags);
}

int stat(const char *path, struct stat *info)
{
    return fstatat(AT_FDCWD, path, info, 0);
}

/* ---- streams ---- */

typedef struct stream {
    FILE *file;
    int fd;
    struct stream *next;
} stream_t;
static stream_t *streams;
static pthread_mutex_t streams_lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t stream_read(void *cookie, char *to, size_t size)
{
    return read(((stream_t *)cookie)->fd, to, size);
}

/* As the C library does: goes on after a part of the bytes, and gives up at an error. */
static ssize_t stream_write(void *cookie, const char *from, size_t size)
{
    size_t done = 0;
    while (done < size) {
        const ssize_t written = write(((stream_t *)cookie)->fd, from + done, size - done);
        if (written < 0)
            break;
        done += (size_t)written;
    }
    return (ssize_t)done;
}

static int stream_seek(void *cookie, off64_t *offset, int whence)
{
    const off_t at = lseek(((stream_t *)cookie)->fd, *offset, whence);
    if (at < 0)
        return -1;
    *offset = at;
    return 0;
}

static int stream_close(void *cookie)
{
    stream_t *stream = cookie;
    pthread_mutex_lock(&streams_lock);
    for (stream_t **at = &streams; *at != NULL; at = &(*at)->next)
        if (*at == stream) {
            *at = stream->next;
            break;
        }
    pthread_mutex_unlock(&streams_lock);
    const int result = close(stream->fd);
    free(stream);
    return result;
}

static FILE *stream_of(int fd, const char *mode)
{
    const cookie_io_functions_t calls = {stream_read, stream_write, stream_seek, stream_close};
    stream_t *stream = __libc_calloc(1, sizeof *stream);
    if (stream == NULL)
        return NULL;
    stream->fd = fd;
    stream->file = fopencookie(stream, mode, calls);
    if (stream->file == NULL) {
        free(stream);
        return NULL;
    }
    pthread_mutex_lock(&streams_lock);
    stream->next = streams;
    streams = stream;
    pthread_mutex_unlock(&streams_lock);
    return stream->file;
}

FILE *fdopen(int fd, const char *mode)
{
    static FILE *(*real)(int, const char *);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "fdopen");
    return is_inside(fd) ? stream_of(fd, mode) : real(fd, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    static FILE *(*real)(const char *, const char *);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "fopen");
    if (!path_inside(AT_FDCWD, path))
        return real(path, mode);
    const int update = strchr(mode, '+') != NULL;
    const int flags = mode[0] == 'r'   ? (update ? O_RDWR : O_RDONLY)
                      : mode[0] == 'w' ? (update ? O_RDWR : O_WRONLY) | O_CREAT | O_TRUNC
                                       : (update ? O_RDWR : O_WRONLY) | O_CREAT | O_APPEND;
    const int fd = open_at(AT_FDCWD, path, flags | O_CLOEXEC, 0666);
    if (fd < 0)
        return NULL;
    FILE *file = stream_of(fd, mode);
    if (file == NULL)
        close(fd);
    return file;
}

FILE *fopen64(const char *path, const char *mode) __attribute__((alias("fopen")));

int fileno(FILE *file)
{
    static int (*real)(FILE *);
    int fd = -1;
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "fileno");
    pthread_mutex_lock(&streams_lock);
    for (stream_t *at = streams; at != NULL && fd < 0; at = at->next)
        fd = at->file == file ? at->fd : -1;
    pthread_mutex_unlock(&streams_lock);
    return fd >= 0 ? fd : real(file);
}
