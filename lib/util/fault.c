/* Counters behind the fault points; empty in the shipped library. */
#include "util/fault.h"

#ifdef MOCO_FAULTS
#include <stdatomic.h>

static atomic_long seen[MO_FAULT_KINDS];
static atomic_long target[MO_FAULT_KINDS] = {-1, -1, -1};

int mo_fault(int kind)
{
    long number = atomic_fetch_add(&seen[kind], 1);
    return number == atomic_load(&target[kind]);
}

long mo_fault_arm(int kind, long n)
{
    atomic_store(&target[kind], -1);
    long before = atomic_exchange(&seen[kind], 0);
    atomic_store(&target[kind], n);
    return before;
}
#else
typedef int mo_fault_unused; /* ISO C wants a declaration */
#endif
