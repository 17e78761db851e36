/* How the examples treat a status: print where and why, then leave through the cleanup label. */
#ifndef EXAMPLES_CHECK_H
#define EXAMPLES_CHECK_H

#include <stdio.h>
#include <moco/moco.h>

/* For functions with `moco_status_t status` and a label `cleanup` that frees everything. */
#define CHECK(call)                                                                                                \
    do {                                                                                                           \
        if ((status = (call)) != MOCO_OK) {                                                                        \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, moco_status_name(status), moco_last_message()); \
            goto cleanup;                                                                                          \
        }                                                                                                          \
    } while (0)

#endif
