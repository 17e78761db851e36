/* A host that takes the library in and out again: dlopen, some work, dlclose, many times. Neither
 * threads, descriptors nor memory may grow. usage: reload LIBMOCO [TIMES]; needs no libmoco
 * itself. */
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <moco/moco.h>

#include "../process_numbers.h"

static void *call(void *library, const char *name)
{
    void *found = dlsym(library, name);
    if (found == NULL) {
        fprintf(stderr, "reload: %s\n", dlerror());
        exit(1);
    }
    return found;
}

/* A device with lanes and a queue with keys. */
static int work(void *library)
{
    moco_status_t (*options_init)(moco_queue_options_t *, uint64_t);
    moco_status_t (*device_create)(const moco_device_options_t *, moco_device_t **);
    moco_status_t (*queue_create)(const moco_queue_options_t *, moco_device_t *, moco_queue_t **);
    void (*queue_free)(moco_queue_t *), (*device_free)(moco_device_t *);
    *(void **)&options_init = call(library, "moco_queue_options_init");
    *(void **)&device_create = call(library, "moco_device_create");
    *(void **)&queue_create = call(library, "moco_queue_create");
    *(void **)&queue_free = call(library, "moco_queue_free");
    *(void **)&device_free = call(library, "moco_device_free");
    moco_queue_options_t options;
    moco_device_t *device = NULL;
    moco_queue_t *queue = NULL;
    const int good = options_init(&options, sizeof options) == MOCO_OK && device_create(NULL, &device) == MOCO_OK &&
                     queue_create(&options, device, &queue) == MOCO_OK;
    queue_free(queue);
    device_free(device);
    return good;
}

int main(int argc, char **argv)
{
    const int times = argc > 2 ? atoi(argv[2]) : 9;
    long threads = 0, memory = 0;
    for (int i = 0; i < times; i++) {
        void *library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW | RTLD_LOCAL);
        if (library == NULL || !work(library)) {
            fprintf(stderr, "reload: %s\n", library == NULL ? dlerror() : "a call failed");
            return 1;
        }
        dlclose(library);
        if (i == times / 3) {
            threads = of_status("Threads:");
            memory = of_status("VmRSS:");
        }
    }
    printf("taken in %d times: %ld threads and %ld KiB after a third, %ld and %ld at the end\n", times, threads, memory,
           of_status("Threads:"), of_status("VmRSS:"));
    return of_status("Threads:") > threads || of_status("VmRSS:") > memory + memory / 20 + 2048;
}
