/* How much memory this process may still take, and what says so: limits of control groups and of
 * the process, and what the machine has left. Asked before large memory is touched, because the
 * system hands out more than there is and then ends a process without a word. */
#ifndef MO_UTIL_HEADROOM_H
#define MO_UTIL_HEADROOM_H

#include <stddef.h>
#include <stdint.h>
#include <moco/status.h>

typedef struct mo_headroom {
    uint64_t left;    /* bytes; UINT64_MAX where nothing says                        */
    uint64_t limit;   /* of these they are the rest                                  */
    char source[256]; /* "/sys/fs/cgroup/job/memory.max", "RLIMIT_AS (ulimit -v)", … */
} mo_headroom_t;

/* The smallest of all that can be read; what cannot be read limits nothing. The environment
 * variable MOCO_MEMORY_LIMIT ("6G", "none") stands in place of all of it. */
void mo_headroom_read(mo_headroom_t *memory);
/* The same without the limits of the process itself and the variable, from the files under `root`
 * in place of "/": tests put other machines there. */
void mo_headroom_read_under(const char *root, mo_headroom_t *memory);
/* What of it a plan may take: a little is kept for what no plan counts, such as stacks of threads
 * and the buffers of decoders and of oneDNN. */
uint64_t mo_headroom_spare(const mo_headroom_t *memory);

/* `refused`, with a message, where `bytes` more do not fit. `what` begins the message: "the model
 * needs"; `advice` ends it and may be "". */
moco_status_t mo_headroom_check(moco_status_t refused, const char *what, uint64_t bytes, const char *advice);

/* A limit found: it counts where it leaves less than what is known so far. */
void mo_headroom_offer(mo_headroom_t *memory, uint64_t left, uint64_t limit, const char *source);
/* The same as mo_headroom_check with what was read before. */
moco_status_t mo_headroom_check_in(const mo_headroom_t *memory, moco_status_t refused, const char *what, uint64_t bytes,
                                   const char *advice);

/* Whether the system hands out so many bytes of address space at this moment. */
int mo_headroom_probe(size_t bytes);

/* One large allocation (util/alloc.c): MOCO_ERR_MEMORY where it does not fit. */
moco_status_t mo_headroom_admit(uint64_t bytes);
/* Between the two, allocations of this thread are not asked about: they belong to a plan that was
 * accepted as a whole, perhaps because the host has set a memory cap of its own. */
void mo_headroom_planned_begin(void);
void mo_headroom_planned_end(void);

#endif
