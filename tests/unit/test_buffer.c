/* Buffers: parts, maps and copies, on the host's own memory and on checked memory; what checked
 * memory catches. */
#include <check.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked_memory.h"
#include "engine/buffer.h"
#include "util/alloc.h"
#include "util/fault.h"

static const char *const kinds[] = {NULL, "pages", "copies"};
#define COUNT 100
#define BYTES (COUNT * sizeof(float))
#define OK(call) ck_assert_msg((call) == MOCO_OK, "%s: %s", #call, moco_last_message())

static moco_device_t *device;

static mo_buffer_t made(const char *kind)
{
    mo_buffer_t buffer;
    checked_memory(kind);
    OK(mo_device_open_lanes(1, &device));
    OK(mo_buffer_create(device, BYTES, &buffer));
    return buffer;
}

static void dropped(mo_buffer_t *buffer)
{
    mo_buffer_free(buffer);
    ck_assert_ptr_null(buffer->memory);
    mo_device_release(device);
}

START_TEST(test_parts_and_maps)
{
    mo_buffer_t all = made(kinds[_i]), part = mo_buffer_floats(all, 16, 32), tail = mo_buffer_floats(part, 16, 16);
    float *values, *other, there[COUNT];
    OK(mo_buffer_read(all, there));
    for (int i = 0; i < COUNT; i++)
        ck_assert_float_eq(there[i], 0);
    OK(mo_buffer_map(part, MO_WRITE, &values));
    OK(mo_buffer_map(mo_buffer_floats(all, 0, 16), MO_READ, &other)); /* its neighbour at the same time */
    for (int i = 0; i < 32; i++)
        values[i] = (float)i + other[0];
    mo_buffer_unmap(part, values);
    mo_buffer_unmap(mo_buffer_floats(all, 0, 16), other);
    OK(mo_buffer_map(tail, MO_UPDATE, &values));
    ck_assert_float_eq(values[3], 19);
    values[3] = -1;
    mo_buffer_unmap(tail, values);
    OK(mo_buffer_read(all, there));
    for (int i = 0; i < COUNT; i++)
        ck_assert_float_eq(there[i], i == 35 ? -1 : i >= 16 && i < 48 ? i - 16 : 0);
    mo_buffer_unmap(all, NULL);
    dropped(&all);
    mo_buffer_free(&all); /* none */
}
END_TEST

START_TEST(test_copies)
{
    mo_buffer_t all = made(kinds[_i]), second;
    float numbers[COUNT], there[COUNT];
    OK(mo_buffer_create(device, 2 * BYTES, &second));
    for (int i = 0; i < COUNT; i++)
        numbers[i] = (float)(i * i);
    OK(mo_buffer_write(all, numbers));
    OK(mo_buffer_copy(mo_buffer_floats(second, COUNT, COUNT), all));
    OK(mo_buffer_copy(mo_buffer_floats(second, 0, 2), all)); /* the smaller one counts */
    OK(mo_buffer_read(mo_buffer_floats(second, COUNT, COUNT), there));
    ck_assert_mem_eq(there, numbers, BYTES);
    OK(mo_buffer_read(mo_buffer_floats(second, 0, COUNT), there));
    ck_assert_float_eq(there[1], 1);
    ck_assert_float_eq(there[2], 0);
    mo_buffer_free(&second);
    dropped(&all);
}
END_TEST

START_TEST(test_no_buffer)
{
    float *values;
    ck_assert_int_eq(mo_buffer_map((mo_buffer_t){0}, MO_READ, &values), MOCO_ERR_ENGINE);
    ck_assert_str_eq(moco_last_message(), "there is no buffer to map");
}
END_TEST

START_TEST(test_no_memory)
{
    mo_buffer_t buffer;
    checked_memory(kinds[_i]);
    OK(mo_device_open_lanes(1, &device));
    for (long n = 0; n < 2; n++) {
        mo_fault_arm(MO_FAULT_ALLOC, n);
        ck_assert_int_eq(mo_buffer_create(device, BYTES, &buffer), MOCO_ERR_MEMORY);
        ck_assert_ptr_null(buffer.memory);
    }
    mo_fault_arm(MO_FAULT_ALLOC, -1);
    mo_device_release(device);
}
END_TEST

/* ---- mistakes that end the program ---- */

#ifndef __SANITIZE_ADDRESS__ /* which has its own answer to memory faults */
static float *address(mo_buffer_t buffer)
{
    return (float *)(void *)buffer.memory->at;
}

START_TEST(test_touched_unmapped)
{
    mo_buffer_t buffer = made("pages");
    *(volatile float *)address(buffer) = 1;
}
END_TEST

START_TEST(test_touched_after_unmap)
{
    mo_buffer_t buffer = made("pages");
    float *values;
    OK(mo_buffer_map(buffer, MO_UPDATE, &values));
    mo_buffer_unmap(buffer, values);
    *(volatile float *)values = 1;
}
END_TEST
#endif

START_TEST(test_written_through_a_map_for_reading)
{
    mo_buffer_t buffer = made("copies");
    float *values;
    OK(mo_buffer_map(buffer, MO_READ, &values));
    *(volatile float *)values = 1;
    mo_buffer_unmap(buffer, values);
}
END_TEST

START_TEST(test_mapped_twice)
{
    mo_buffer_t buffer = made(kinds[_i]);
    float *values;
    OK(mo_buffer_map(mo_buffer_floats(buffer, 0, 20), MO_READ, &values));
    OK(mo_buffer_map(mo_buffer_floats(buffer, 16, 16), MO_WRITE, &values));
}
END_TEST

/* What is not written of a map for writing is no number. */
START_TEST(test_unwritten)
{
    mo_buffer_t buffer = made("copies");
    float *values, there[COUNT];
    OK(mo_buffer_map(buffer, MO_WRITE, &values));
    values[0] = 1;
    mo_buffer_unmap(buffer, values);
    OK(mo_buffer_read(buffer, there));
    ck_assert_float_eq(there[0], 1);
    ck_assert(isnan(there[1]));
    dropped(&buffer);
}
END_TEST

/* Each ends its process, so they need one of their own. */
static void add_mistakes(TCase *tc)
{
    const char *forks = getenv("CK_FORK");
    if (forks != NULL && strcmp(forks, "no") == 0) {
        puts("skipped: mistakes that end the program, with CK_FORK=no");
        return;
    }
#ifndef __SANITIZE_ADDRESS__
    tcase_add_test_raise_signal(tc, test_touched_unmapped, SIGSEGV);
    tcase_add_test_raise_signal(tc, test_touched_after_unmap, SIGSEGV);
#endif
    tcase_add_test_raise_signal(tc, test_written_through_a_map_for_reading, SIGABRT);
    tcase_add_loop_test_raise_signal(tc, test_mapped_twice, SIGABRT, 1, 3);
}

int main(void)
{
    Suite *suite = suite_create("buffer");
    TCase *tc = tcase_create("buffer");
    tcase_add_loop_test(tc, test_parts_and_maps, 0, 3);
    tcase_add_loop_test(tc, test_copies, 0, 3);
    tcase_add_test(tc, test_no_buffer);
    tcase_add_loop_test(tc, test_no_memory, 0, 3);
    add_mistakes(tc);
    tcase_add_test(tc, test_unwritten);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
