/* Options structs that grow: their first field, uint64_t struct_size, says how many bytes the
 * caller knows about. Called by every _init and by every call that takes options. */
#ifndef MO_UTIL_STRUCTSIZE_H
#define MO_UTIL_STRUCTSIZE_H

#include <stdint.h>
#include <moco/status.h>

/* More than any options struct will ever have: a larger size is one that no _init has set. */
#define MO_STRUCT_SIZE_MAX 65536

/* Fill the caller's struct of `struct_size` bytes from `defaults` (`size` bytes): what the caller
 * knows is copied, what the library does not know is zeroed. */
moco_status_t mo_struct_init(void *options, uint64_t struct_size, const void *defaults, uint64_t size);

/* full (`size` bytes) = defaults, then the bytes that the caller has laid over them. caller NULL =
 * the defaults. Non-zero bytes beyond `size` are wishes this library cannot know: MOCO_ERR_VERSION.
 * On failure `full` is as it was.
 */
moco_status_t mo_struct_overlay(const void *caller, void *full, const void *defaults, uint64_t size);

/* Reports go the other way: the host says in the first field how much of them it knows. */
moco_status_t mo_report_check(const void *report);                 /* before any work; NULL is fine */
void mo_report_out(const void *full, uint64_t size, void *report); /* checked; NULL is fine */

#endif
