/* Errors inside the library: where a fault is first seen, `return mo_fail(...)`; callers above pass
 * the code on. */
#ifndef MO_UTIL_STATUS_H
#define MO_UTIL_STATUS_H

/* Files hold numbers as little-endian machines do, and are read and written without a swap. */
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "libmoco needs a little-endian machine: its files would have their numbers the wrong way round"
#endif

#include <stdarg.h>
#include <stddef.h>
#include <moco/status.h>

/* Fills this thread's message and returns `status`. No allocation. */
moco_status_t mo_fail(moco_status_t status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Worker threads hand their failure to the calling thread: copy text out there, put it back
 * here. */
#define MO_MESSAGE_SIZE 512
void mo_message_copy(char text[MO_MESSAGE_SIZE]);
moco_status_t mo_message_set(moco_status_t status, const char *text);
/* Puts "PATH: " in front of the message of a failure that does not name the file. */
void mo_message_of_file(const char *path);

/* Log lines go to the sink of the calling thread (moco_set_log); nothing without one. */
void mo_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Text results: the rule of moco_build_info. */
moco_status_t mo_text_out(const char *from, char *text, uint64_t capacity, uint64_t *needed);
/* The same rule for bytes that the caller writes itself: sets *needed and refuses a capacity that
 * is too small. With MOCO_OK and a capacity of 0 nothing is to be written. */
moco_status_t mo_capacity_check(uint64_t size, const void *bytes, uint64_t capacity, uint64_t *needed);

#define TRY(call)                         \
    do {                                  \
        if ((status = (call)) != MOCO_OK) \
            goto cleanup;                 \
    } while (0)

#endif
