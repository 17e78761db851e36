/* Processors, past the pin of an OpenMP runtime. With OMP_PROC_BIND, OMP_PLACES or
 * GOMP_CPU_AFFINITY set, libgomp, which oneDNN brings, ties the thread that loads it to its first
 * place, often one processor, and every thread started from there inherits that. The pin is meant
 * for OpenMP's threads, and lanes are none. It looks like the mask that taskset sets, but two
 * things tell it apart: it equals the runtime's first place, and the mask before it is known. The
 * library reads that mask as it is loaded, before any other library of the process is initialised
 * (the link option "initfirst"); where the host loaded the runtime earlier, its list of places
 * stands in. */
#define _GNU_SOURCE
#include "util/processors.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "util/alloc.h"

static cpu_set_t at_load; /* empty if unknown */

/* Functions of OpenMP 4.5; NULL without a runtime. */
static int (*place_count)(void);
static int (*place_size)(int place);
static void (*place_processors)(int place, int *ids);

__attribute__((constructor)) static void read_at_load(void)
{
    if (sched_getaffinity(0, sizeof at_load, &at_load) != 0)
        CPU_ZERO(&at_load);
    *(void **)&place_count = dlsym(RTLD_DEFAULT, "omp_get_num_places");
    *(void **)&place_size = dlsym(RTLD_DEFAULT, "omp_get_place_num_procs");
    *(void **)&place_processors = dlsym(RTLD_DEFAULT, "omp_get_place_proc_ids");
}

/* Whether a runtime has any reason to pin. Without one it is not asked, since a question can make
 * it set itself up. */
static int may_be_pinned(void)
{
    return (getenv("OMP_PROC_BIND") != NULL || getenv("OMP_PLACES") != NULL || getenv("GOMP_CPU_AFFINITY") != NULL) &&
           place_count != NULL && place_size != NULL && place_processors != NULL && place_count() > 0;
}

static void add_place(int place, cpu_set_t *set)
{
    const int count = place_size(place);
    int *ids = NULL;
    if (count <= 0 || mo_calloc((size_t)count, sizeof *ids, &ids) != MOCO_OK)
        return;
    place_processors(place, ids);
    for (int i = 0; i < count; i++)
        if (ids[i] >= 0 && ids[i] < CPU_SETSIZE)
            CPU_SET(ids[i], set);
    mo_free(ids);
}

int mo_processors(cpu_set_t *set)
{
    cpu_set_t first;
    CPU_ZERO(set);
    CPU_ZERO(&first);
    if (sched_getaffinity(0, sizeof *set, set) != 0 || CPU_COUNT(set) == 0) {
        CPU_ZERO(set);
        return 0;
    }
    if (!may_be_pinned())
        return 1;
    add_place(0, &first);
    if (!CPU_EQUAL(&first, set))
        return 1; /* somebody else's mask */
    if (CPU_COUNT(&at_load) > 0 && !CPU_EQUAL(&at_load, set)) {
        *set = at_load;
        return 1;
    }
    for (int place = 1, count = place_count(); place < count; place++)
        add_place(place, set);
    return 1;
}
