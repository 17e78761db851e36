/* .npy: rows that arrive in pieces read back as one matrix; foreign headers are read, hostile ones
 * refused. */
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "persist/npy.h"
#include "util/alloc.h"
#include "util/fault.h"
#include "util/status.h"

static char folder[64], path[96];

static void setup(void)
{
    strcpy(folder, "/tmp/moco-npy-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/matrix.npy", folder);
}

static void teardown(void)
{
    mo_fault_arm(MO_FAULT_FILE, -1);
    mo_fault_arm(MO_FAULT_ALLOC, -1);
    unlink(path);
    ck_assert_int_eq(rmdir(folder), 0);
}

static const float matrix[4][3] = {{1, 2, 3}, {-4, 5e-40f, 6}, {7, 8, 9}, {10, 11, 12}};

static moco_status_t write_pieces(void)
{
    moco_status_t status = MOCO_OK;
    mo_npy_writer_t npy = {0};
    TRY(mo_npy_open(&npy, path, 3));
    TRY(mo_npy_rows(&npy, matrix[0], 1));
    TRY(mo_npy_rows(&npy, NULL, 0));
    TRY(mo_npy_rows(&npy, matrix[1], 3));
    TRY(mo_npy_commit(&npy));
cleanup:
    mo_npy_abort(&npy);
    return status;
}

static moco_status_t read_back(float **values, int64_t *rows, int64_t *dimension)
{
    *values = NULL;
    *rows = *dimension = -1;
    return mo_npy_read(path, values, rows, dimension);
}

START_TEST(test_round_trip)
{
    float *values;
    int64_t rows, dimension;
    ck_assert_int_eq(write_pieces(), MOCO_OK);
    ck_assert_int_eq(read_back(&values, &rows, &dimension), MOCO_OK);
    ck_assert_int_eq(rows, 4);
    ck_assert_int_eq(dimension, 3);
    ck_assert_mem_eq(values, matrix, sizeof matrix);
    mo_free(values);
    FILE *stream = fopen(path, "rb");
    char start[129] = {0};
    ck_assert_uint_eq(fread(start, 1, 128, stream), 128);
    fclose(stream);
    ck_assert_mem_eq(start, "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3), } ",
                     69);
    ck_assert_int_eq(start[127], '\n');
}
END_TEST

START_TEST(test_no_rows)
{
    float *values;
    int64_t rows, dimension;
    mo_npy_writer_t npy = {0};
    ck_assert_int_eq(mo_npy_open(&npy, path, 128), MOCO_OK);
    ck_assert_int_eq(mo_npy_commit(&npy), MOCO_OK);
    ck_assert_int_eq(read_back(&values, &rows, &dimension), MOCO_OK);
    ck_assert_int_eq(rows, 0);
    ck_assert_int_eq(dimension, 128);
    mo_free(values);
    ck_assert_int_eq(mo_npy_commit(&npy), MOCO_ERR_STATE);
    ck_assert_int_eq(mo_npy_open(&npy, path, -1), MOCO_ERR_ARGUMENT);
}
END_TEST

/* A file of any version from a dictionary and `data` bytes. */
static moco_status_t read_made(int version, const char *dictionary, int data)
{
    float *values;
    int64_t rows, dimension;
    FILE *stream = fopen(path, "wb");
    size_t length = strlen(dictionary);
    fwrite("\x93NUMPY", 1, 6, stream);
    fputc(version, stream);
    fputc(0, stream);
    for (int i = 0; i < (version == 1 ? 2 : 4); i++)
        fputc((int)(length >> (8 * i) & 255), stream);
    fwrite(dictionary, 1, length, stream);
    for (int i = 0; i < data; i++)
        fputc(0, stream);
    fclose(stream);
    moco_status_t status = read_back(&values, &rows, &dimension);
    if (status == MOCO_OK)
        ck_assert_int_eq(rows * dimension * 4, data);
    else
        ck_assert_ptr_null(values);
    mo_free(values);
    return status;
}

START_TEST(test_foreign)
{
    ck_assert_int_eq(read_made(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n", 24), MOCO_OK);
    ck_assert_int_eq(read_made(2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", 24), MOCO_OK);
    ck_assert_int_eq(read_made(3, "{\"shape\":(2,3,),\"descr\":\"<f4\",\"fortran_order\":False}", 24), MOCO_OK);
}
END_TEST

START_TEST(test_hostile)
{
    static const char *const damaged[] = {
        "",
        "{",
        "{}",
        "}",
        "()",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } x",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'other': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3)}",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (2, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 3)}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
        "{'descr': '<f4\x01', 'fortran_order': False, 'shape': (2, 3)}",
        "{'descr': '<f4",
        "{'descr': '<f44444444444444444444444', 'fortran_order': False, 'shape': (2, 3)}",
    };
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        ck_assert_msg(read_made(1, damaged[i], 24) == MOCO_ERR_FORMAT, "%s was read", damaged[i]);
        ck_assert_ptr_nonnull(strstr(moco_last_message(), "damaged .npy header"));
    }
    static const char *const unwanted[] = {
        "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 3)}",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807)}",
    };
    for (size_t i = 0; i < sizeof unwanted / sizeof unwanted[0]; i++) {
        ck_assert_msg(read_made(1, unwanted[i], 24) == MOCO_ERR_FORMAT, "%s was read", unwanted[i]);
        ck_assert_ptr_null(strstr(moco_last_message(), "damaged"));
    }
    ck_assert_int_eq(read_made(4, "{}", 0), MOCO_ERR_VERSION);
    ck_assert_int_eq(read_made(0, "{}", 0), MOCO_ERR_VERSION);
}
END_TEST

/* What lies at the path by mistake is named. */
START_TEST(test_other_files)
{
    static const struct {
        const char *bytes, *reason;
    } rows[] = {{"", "not a .npy file: it is empty"},
                {"<html><body>", "not a .npy file: it is a web page"},
                {"\xff\xd8\xff\xe0....", "not a .npy file: it is a JPEG file"},
                {"\x93NUMPY\1", "ends inside its header"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        float *values;
        int64_t count, dimension;
        FILE *stream = fopen(path, "wb");
        fwrite(rows[i].bytes, 1, strlen(rows[i].bytes), stream);
        fclose(stream);
        ck_assert_int_eq(read_back(&values, &count, &dimension), MOCO_ERR_FORMAT);
        ck_assert_msg(strstr(moco_last_message(), rows[i].reason) != NULL, "%s", moco_last_message());
    }
}
END_TEST

/* Every prefix of a good file is refused without a read past its end. */
START_TEST(test_truncated)
{
    for (int version = 1; version <= 2; version++) {
        ck_assert_int_eq(read_made(version, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", 24),
                         MOCO_OK);
        for (int size = (version == 1 ? 10 : 12) + 60 + 23; size >= 0; size--) {
            float *values;
            int64_t rows, dimension;
            ck_assert_int_eq(truncate(path, size), 0);
            ck_assert_int_eq(read_back(&values, &rows, &dimension), MOCO_ERR_FORMAT);
        }
    }
}
END_TEST

/* A header that claims to go on past the end of the file, whose last page is full. */
START_TEST(test_header_past_the_end)
{
    for (int version = 1; version <= 2; version++) {
        char dictionary[8001];
        memset(dictionary, ' ', 8000);
        dictionary[8000] = '\0';
        ck_assert_int_eq(read_made(version, dictionary, 0), MOCO_ERR_FORMAT);
        ck_assert_int_eq(truncate(path, 4096), 0);
        float *values;
        int64_t rows, dimension;
        ck_assert_int_eq(read_back(&values, &rows, &dimension), MOCO_ERR_FORMAT);
        ck_assert_ptr_nonnull(strstr(moco_last_message(), "header of 8000 bytes claimed in a file of 4096"));
    }
}
END_TEST

START_TEST(test_faults)
{
    for (int kind = MO_FAULT_ALLOC; kind <= MO_FAULT_FILE; kind += MO_FAULT_FILE - MO_FAULT_ALLOC) {
        int n = 0;
        for (moco_status_t status = MOCO_ERR_IO; status != MOCO_OK; n++) {
            float *values = NULL;
            int64_t rows, dimension;
            ck_assert_int_lt(n, 100);
            mo_fault_arm(kind, n);
            status = write_pieces();
            if (status == MOCO_OK)
                status = read_back(&values, &rows, &dimension);
            mo_fault_arm(kind, -1);
            mo_free(values);
        }
        ck_assert_int_gt(n, 3);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("npy");
    TCase *tc = tcase_create("npy");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_round_trip);
    tcase_add_test(tc, test_no_rows);
    tcase_add_test(tc, test_foreign);
    tcase_add_test(tc, test_hostile);
    tcase_add_test(tc, test_other_files);
    tcase_add_test(tc, test_truncated);
    tcase_add_test(tc, test_header_past_the_end);
    tcase_add_test(tc, test_faults);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
