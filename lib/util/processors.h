/* Which processors the threads of the library may run on. */
#ifndef MO_UTIL_PROCESSORS_H
#define MO_UTIL_PROCESSORS_H

#include <sched.h> /* cpu_set_t, with _GNU_SOURCE */

/* The processors that a thread started now may run on: the calling thread's own, except where the
 * OpenMP runtime has pinned that thread (OMP_PROC_BIND and its relatives): then those that the
 * process was given. Returns 0 where the system does not say; *set is empty then. */
int mo_processors(cpu_set_t *set);

#endif
