/* Numbers of buffers as tests want them: copies on the host. */
#ifndef TESTS_BUFFER_FIXTURES_H
#define TESTS_BUFFER_FIXTURES_H

#include <check.h>
#include <stdlib.h>

#include "engine/buffer.h"

/* A copy, to be freed. */
static inline float *floats_of(mo_buffer_t buffer)
{
    float *to = malloc(buffer.bytes + 1);
    ck_assert_int_eq(mo_buffer_read(buffer, to), MOCO_OK);
    return to;
}

/* A buffer of the host's memory with these numbers. */
static inline mo_buffer_t buffer_of(const float *from, int64_t count)
{
    mo_buffer_t buffer;
    ck_assert_int_eq(mo_buffer_create(NULL, (size_t)count * sizeof *from, &buffer), MOCO_OK);
    ck_assert_int_eq(mo_buffer_write(buffer, from), MOCO_OK);
    return buffer;
}

static inline void assert_buffer(mo_buffer_t buffer, const float *wanted, int64_t count)
{
    float *found = floats_of(buffer);
    ck_assert_uint_ge(buffer.bytes, (size_t)count * sizeof *wanted);
    ck_assert_mem_eq(found, wanted, (size_t)count * sizeof *wanted);
    free(found);
}

#endif
