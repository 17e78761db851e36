/* Fault points: every fallible thing the library asks of the system passes one, so a test can make
 * the n-th fail. */
#ifndef MO_UTIL_FAULT_H
#define MO_UTIL_FAULT_H

#include <errno.h>

enum { MO_FAULT_ALLOC = 0, MO_FAULT_ENGINE = 1, MO_FAULT_FILE = 2, MO_FAULT_KINDS = 3 };

#ifdef MOCO_FAULTS
/* True when this call must fail. Built into the test library only. */
int mo_fault(int kind);
/* Make the n-th (from 0) call of `kind` from now fail once; -1 = never. Returns how many were seen
 * since the last call.
 */
__attribute__((visibility("default"))) long mo_fault_arm(int kind, long n);
#else
#define mo_fault(kind) 0
#endif

/* One failing request of a file: pretends a disk that failed. */
static inline int mo_fault_file(void)
{
    return mo_fault(MO_FAULT_FILE) ? (errno = EIO, 1) : 0;
}

#endif
