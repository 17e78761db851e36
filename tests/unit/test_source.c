/* Sources of bytes: exact reads, refusals, and files that shrink, are rewritten or fail while they
 * are read, directly and through the readers of tensor files and of .npy. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "persist/npy.h"
#include "persist/safetensors.h"
#include "util/alloc.h"
#include "util/fault.h"
#include "util/source.h"
#include "util/status.h"

static char folder[] = "/tmp/moco-source-XXXXXX", target[64];

static void setup(void)
{
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(target, sizeof target, "%s/file", folder);
}

static void teardown(void)
{
    unlink(target);
    rmdir(folder);
}

static void put(const void *bytes, size_t size)
{
    FILE *stream = fopen(target, "wb");
    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(bytes, 1, size, stream), size);
    ck_assert_int_eq(fclose(stream), 0);
}

static void assert_message(const char *part)
{
    ck_assert_msg(strstr(moco_last_message(), part) != NULL, "'%s' is not in: %s", part, moco_last_message());
}

/* Another time of change, whatever the clock's grain. */
static void change_time(void)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000}};
    ck_assert_int_eq(utimensat(AT_FDCWD, target, times, 0), 0);
}

static void assert_reads(const mo_source_t *source)
{
    char text[] = "........";
    uint8_t *taken = NULL;
    ck_assert_uint_eq(mo_source_size(source), 10);
    ck_assert_int_eq(mo_source_read(source, 2, 3, text), MOCO_OK);
    ck_assert_mem_eq(text, "cde.....", 8);
    ck_assert_int_eq(mo_source_read(source, 10, 0, text), MOCO_OK);
    ck_assert_int_eq(mo_source_read(source, 8, 3, text), MOCO_ERR_FORMAT);
    ck_assert_int_eq(mo_source_read(source, UINT64_MAX, 2, text), MOCO_ERR_FORMAT);
    ck_assert_int_eq(mo_source_read(source, 2, UINT64_MAX, text), MOCO_ERR_FORMAT);
    ck_assert_int_eq(mo_source_take(source, 0, 10, &taken), MOCO_OK);
    ck_assert_mem_eq(taken, "abcdefghij", 10);
    mo_free(taken);
    taken = NULL;
    ck_assert_int_eq(mo_source_take(source, 5, 6, &taken), MOCO_ERR_FORMAT);
    ck_assert_ptr_null(taken);
    ck_assert_int_eq(mo_source_check(source), MOCO_OK);
}

START_TEST(test_reads)
{
    mo_source_t *source = NULL;
    put("abcdefghij", 10);
    ck_assert_int_eq(mo_source_open(target, &source), MOCO_OK);
    ck_assert_str_eq(mo_source_path(source), target);
    assert_reads(source);
    mo_source_close(source);
    ck_assert_int_eq(mo_source_lend((const uint8_t *)"abcdefghij", 10, "memory", &source), MOCO_OK);
    ck_assert_str_eq(mo_source_path(source), "memory");
    assert_reads(source);
    mo_source_close(source);
    mo_source_close(NULL);
}
END_TEST

/* A program whose standard input is closed gets its number for the next file. */
START_TEST(test_descriptor_zero)
{
    mo_source_t *source = NULL;
    put("abcdefghij", 10);
    const int input = dup(0);
    close(0);
    ck_assert_int_eq(mo_source_open(target, &source), MOCO_OK);
    assert_reads(source);
    mo_source_close(source);
    if (input >= 0) {
        ck_assert_int_eq(dup2(input, 0), 0);
        close(input);
    }
}
END_TEST

START_TEST(test_refusals)
{
    mo_source_t *source = NULL;
    ck_assert_int_eq(mo_source_open(NULL, &source), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_source_open(target, &source), MOCO_ERR_IO);
    ck_assert_int_eq(mo_source_open(folder, &source), MOCO_ERR_IO);
    ck_assert_int_eq(mo_source_open("/dev/zero", &source), MOCO_ERR_IO);
    assert_message("not a regular file");
    ck_assert_int_eq(mkfifo(target, 0600), 0);
    ck_assert_int_eq(mo_source_open(target, &source), MOCO_ERR_IO); /* and does not wait for a writer */
    ck_assert_ptr_null(source);
}
END_TEST

START_TEST(test_shrinks)
{
    mo_source_t *source = NULL;
    char text[10];
    put("abcdefghij", 10);
    ck_assert_int_eq(mo_source_open(target, &source), MOCO_OK);
    ck_assert_int_eq(truncate(target, 4), 0);
    ck_assert_int_eq(mo_source_read(source, 0, 4, text), MOCO_OK);
    ck_assert_int_eq(mo_source_read(source, 0, 10, text), MOCO_ERR_IO);
    assert_message("ends at byte 4, it had 10 bytes");
    ck_assert_int_eq(mo_source_check(source), MOCO_ERR_IO);
    assert_message("changed while it was read");
    mo_source_close(source);
}
END_TEST

START_TEST(test_rewritten)
{
    mo_source_t *source = NULL;
    put("abcdefghij", 10);
    ck_assert_int_eq(mo_source_open(target, &source), MOCO_OK);
    change_time();
    ck_assert_int_eq(mo_source_check(source), MOCO_ERR_IO);
    mo_source_close(source);
    /* A file that another one replaces by a rename stays what it was. */
    ck_assert_int_eq(mo_source_open(target, &source), MOCO_OK);
    ck_assert_int_eq(unlink(target), 0);
    put("0123456789", 10);
    assert_reads(source);
    mo_source_close(source);
}
END_TEST

START_TEST(test_faults)
{
    put("abcdefghij", 10);
    int failures = 0;
    for (int kind = 0; kind < MO_FAULT_KINDS; kind++)
        for (int n = 0; n < 8; n++) {
            mo_source_t *source = NULL;
            uint8_t *bytes = NULL;
            mo_fault_arm(kind, n);
            moco_status_t status = mo_source_open(target, &source);
            if (status == MOCO_OK)
                status = mo_source_take(source, 0, 10, &bytes);
            mo_fault_arm(kind, -1);
            if (status != MOCO_OK) {
                ck_assert_int_eq(status, kind == MO_FAULT_FILE ? MOCO_ERR_IO : MOCO_ERR_MEMORY);
                ck_assert_ptr_null(bytes);
                failures++;
            }
            mo_free(bytes);
            mo_source_close(source);
        }
    ck_assert_int_eq(failures, 3 + 3); /* handle, path, bytes; open, size, read */
}
END_TEST

/* ---- through the readers ---- */

static void put_tensors(void)
{
    static const float a[6] = {1, 2, 3, 4, 5, 6};
    static const int64_t b[2] = {7, 8}, a_dims[2] = {2, 3}, b_dims[1] = {2};
    mo_st_writer_t writer = {0};
    ck_assert_int_eq(mo_st_add(&writer, "a", MO_F32, 2, a_dims, a), MOCO_OK);
    ck_assert_int_eq(mo_st_add(&writer, "b", MO_I64, 1, b_dims, b), MOCO_OK);
    ck_assert_int_eq(mo_st_write(&writer, target), MOCO_OK);
    mo_st_writer_free(&writer);
}

static void read_both(const mo_tensor_file_t *file, moco_status_t wanted)
{
    float floats[6];
    int64_t whole[2];
    ck_assert_int_eq(mo_file_floats(mo_tensor_file_find(file, "a"), floats, 6), wanted);
    ck_assert_int_eq(mo_file_ints(mo_tensor_file_find(file, "b"), whole, 2), wanted);
}

START_TEST(test_tensors)
{
    mo_tensor_file_t file = {0};
    put_tensors();
    ck_assert_int_eq(mo_tensor_file_open(&file, target), MOCO_OK);
    read_both(&file, MOCO_OK);
    change_time();
    read_both(&file, MOCO_ERR_IO);
    assert_message(target);
    ck_assert_int_eq(truncate(target, 16), 0);
    read_both(&file, MOCO_ERR_IO);
    ck_assert_int_eq(truncate(target, 0), 0);
    read_both(&file, MOCO_ERR_IO);
    mo_tensor_file_close(&file);
}
END_TEST

/* Numbers in other orders than C's, near to each other and so far apart that only some of them are
 * read at a time. */
START_TEST(test_strides)
{
    enum { FAR = 40 << 20 };
    mo_tensor_file_t file = {0};
    put_tensors();
    ck_assert_int_eq(mo_tensor_file_open(&file, target), MOCO_OK);
    mo_file_tensor_t t = *mo_tensor_file_find(&file, "a");
    static const float transposed[6] = {1, 4, 2, 5, 3, 6}, far[4] = {1, 2, 3, 4};
    float out[6];
    t.dims[0] = 3;
    t.dims[1] = 2;
    t.strides[0] = 1;
    t.strides[1] = 3;
    ck_assert_int_eq(mo_file_floats(&t, out, 6), MOCO_OK);
    ck_assert_mem_eq(out, transposed, sizeof out);
    mo_tensor_file_close(&file);

    int fd = open(target, O_RDWR | O_TRUNC);
    ck_assert_int_eq(ftruncate(fd, 2 * (off_t)FAR), 0); /* a hole: takes no space */
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pwrite(fd, &far[i], 4, (i / 2) * (off_t)4 * (FAR / 4) + (i % 2) * (off_t)FAR / 2), 4);
    close(fd);
    mo_source_t *source = NULL;
    ck_assert_int_eq(mo_source_open(target, &source), MOCO_OK);
    t = (mo_file_tensor_t){
        .name = (char *)"t", .rank = 2, .dims = {2, 2}, .strides = {FAR / 4, FAR / 8}, .source = source};
    ck_assert_int_eq(mo_file_floats(&t, out, 4), MOCO_OK);
    ck_assert_mem_eq(out, far, sizeof far);
    mo_source_close(source);
}
END_TEST

START_TEST(test_npy)
{
    static const float rows[6] = {1, 2, 3, 4, 5, 6};
    mo_npy_writer_t npy = {0};
    float *values = NULL;
    int64_t count = 0, width = 0;
    ck_assert_int_eq(mo_npy_open(&npy, target, 3), MOCO_OK);
    ck_assert_int_eq(mo_npy_rows(&npy, rows, 2), MOCO_OK);
    ck_assert_int_eq(mo_npy_commit(&npy), MOCO_OK);
    ck_assert_int_eq(mo_npy_read(target, &values, &count, &width), MOCO_OK);
    ck_assert_mem_eq(values, rows, sizeof rows);
    mo_free(values);
    values = NULL;
    int failures = 0;
    for (int n = 0; n < 8; n++) {
        mo_fault_arm(MO_FAULT_FILE, n);
        const moco_status_t status = mo_npy_read(target, &values, &count, &width);
        mo_fault_arm(MO_FAULT_FILE, -1);
        failures += status == MOCO_ERR_IO;
        ck_assert_int_eq(status == MOCO_OK, values != NULL);
        mo_free(values);
        values = NULL;
    }
    ck_assert_int_eq(failures, 5); /* open, size, head, header, numbers */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("source");
    TCase *tc = tcase_create("source");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_reads);
    tcase_add_test(tc, test_descriptor_zero);
    tcase_add_test(tc, test_refusals);
    tcase_add_test(tc, test_shrinks);
    tcase_add_test(tc, test_rewritten);
    tcase_add_test(tc, test_faults);
    tcase_add_test(tc, test_tensors);
    tcase_add_test(tc, test_strides);
    tcase_add_test(tc, test_npy);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
