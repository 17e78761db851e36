/* The struct_size rule, once for all options structs. Assumes that the structs have no padding and
 * only grow at the end. */
#include "util/structsize.h"

#include <string.h>

#include "util/status.h"

static moco_status_t check_size(uint64_t struct_size)
{
    if (struct_size < sizeof(uint64_t) || struct_size > MO_STRUCT_SIZE_MAX)
        return mo_fail(MOCO_ERR_ARGUMENT, "struct_size is %llu, wanted sizeof the struct: fill it with its _init first",
                       (unsigned long long)struct_size);
    return MOCO_OK;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

moco_status_t mo_struct_init(void *options, uint64_t struct_size, const void *defaults, uint64_t size)
{
    if (options == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "options is NULL");
    moco_status_t status = check_size(struct_size);
    if (status != MOCO_OK)
        return status;
    uint64_t known = smaller(struct_size, size);
    memset(options, 0, struct_size);
    memcpy(options, defaults, known);
    memcpy(options, &struct_size, sizeof struct_size);
    return MOCO_OK;
}

moco_status_t mo_struct_overlay(const void *caller, void *full, const void *defaults, uint64_t size)
{
    uint64_t struct_size = size;
    if (caller != NULL) {
        memcpy(&struct_size, caller, sizeof struct_size);
        moco_status_t status = check_size(struct_size);
        if (status != MOCO_OK)
            return status;
        for (uint64_t i = size; i < struct_size; i++) {
            if (((const uint8_t *)caller)[i] != 0)
                return mo_fail(MOCO_ERR_VERSION,
                               "this libmoco is older than your header: options byte %llu is set, it knows %llu bytes",
                               (unsigned long long)i, (unsigned long long)size);
        }
    }
    memmove(full, defaults, size);
    if (caller != NULL)
        memcpy((uint8_t *)full + sizeof size, (const uint8_t *)caller + sizeof size,
               smaller(struct_size, size) - sizeof size);
    memcpy(full, &size, sizeof size);
    return MOCO_OK;
}

moco_status_t mo_report_check(const void *report)
{
    uint64_t struct_size;
    if (report == NULL)
        return MOCO_OK;
    memcpy(&struct_size, report, sizeof struct_size);
    if (struct_size < sizeof struct_size || struct_size > MO_STRUCT_SIZE_MAX)
        return mo_fail(MOCO_ERR_ARGUMENT, "struct_size of the report is %llu, wanted its sizeof",
                       (unsigned long long)struct_size);
    return MOCO_OK;
}

void mo_report_out(const void *full, uint64_t size, void *report)
{
    uint64_t struct_size;
    if (report == NULL)
        return;
    memcpy(&struct_size, report, sizeof struct_size);
    memset((uint8_t *)report + sizeof struct_size, 0, struct_size - sizeof struct_size);
    memcpy((uint8_t *)report + sizeof struct_size, (const uint8_t *)full + sizeof struct_size,
           smaller(struct_size, size) - sizeof struct_size);
}
