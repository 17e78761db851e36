/* Search and the weighted kNN classifier against brute force in double precision. */
#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <moco/index.h>

#include "eval/dot.h"
#include "eval/embedding_record.h"
#include "util/alloc.h"
#include "util/fault.h"
#include "util/file.h"
#include "call_options.h"
#include "device_of_tests.h"

static uint64_t state;

static double unit(void)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(state >> 11) * 0x1p-53;
}

static float *random_rows(int64_t count, int32_t dim, uint64_t seed)
{
    float *rows = malloc((size_t)(count * dim) * sizeof *rows);
    state = seed;
    for (int64_t i = 0; i < count * dim; i++)
        rows[i] = (float)(2 * unit() - 1);
    return rows;
}

static void assert_message(const char *want)
{
    ck_assert_msg(strstr(moco_last_message(), want) != NULL, "'%s' does not say '%s'", moco_last_message(), want);
}

/* ---- products ---- */

START_TEST(test_dot_tile)
{
    static const int32_t dims[] = {1, 2, 15, 16, 17, 31, 33, 128, 130, 512};
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        const int32_t dim = dims[i];
        const int64_t nq = 7, nv = 9;
        float *q = random_rows(nq, dim, 1), *v = random_rows(nv, dim, 2), out[7 * 9], one;
        mo_dot_tile(q, nq, v, nv, dim, out);
        for (int64_t r = 0; r < nq; r++) {
            for (int64_t c = 0; c < nv; c++) {
                double want = 0, size = 0;
                for (int32_t d = 0; d < dim; d++) {
                    want += (double)q[r * dim + d] * v[c * dim + d];
                    size += fabs((double)q[r * dim + d] * v[c * dim + d]);
                }
                /* partial sums of dim/16 products, then four additions: their rounding bounds the
                 * error */
                ck_assert_double_le(fabs(out[r * nv + c] - want), (dim / 16 + 6) * 0x1p-24 * size);
                mo_dot_tile(q + r * dim, 1, v + c * dim, 1, dim, &one);
                ck_assert_mem_eq(&one, &out[r * nv + c], sizeof one); /* the same bits alone as in a tile */
            }
        }
        free(q);
        free(v);
    }
}
END_TEST

/* ---- search ---- */

typedef struct scored {
    double similarity;
    int64_t id;
} scored_t;

static int by_similarity(const void *left, const void *right)
{
    const scored_t *a = left, *b = right;
    if (a->similarity != b->similarity)
        return a->similarity > b->similarity ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static double cosine(const float *a, const float *b, int32_t dim)
{
    double dot = 0, aa = 0, bb = 0;
    for (int32_t d = 0; d < dim; d++) {
        dot += (double)a[d] * b[d];
        aa += (double)a[d] * a[d];
        bb += (double)b[d] * b[d];
    }
    return dot / fmax(sqrt(aa), 1e-12) / fmax(sqrt(bb), 1e-12);
}

/* All vectors by true cosine, best first. */
static scored_t *brute_force(const float *query, const float *vectors, int64_t count, int32_t dim)
{
    scored_t *all = malloc((size_t)count * sizeof *all);
    for (int64_t i = 0; i < count; i++)
        all[i] = (scored_t){cosine(query, vectors + i * dim, dim), i};
    qsort(all, (size_t)count, sizeof *all, by_similarity);
    return all;
}

static moco_index_t *filled(const float *vectors, const int32_t *labels, int64_t count, int32_t dim)
{
    moco_index_t *index = NULL;
    moco_device_t *device = NULL;
    int64_t first = count / 3, one; /* in two pieces, and asked between them */
    ck_assert_int_eq(device_of_tests(0, &device), MOCO_OK);
    ck_assert_int_eq(moco_index_create(dim, NULL, device, &index), MOCO_OK);
    mo_device_release(device);
    ck_assert_int_eq(moco_index_add(index, first, vectors, labels), MOCO_OK);
    if (first > 0) {
        ck_assert_int_eq(moco_index_search(index, 1, vectors, SEARCH(1), &one, NULL), MOCO_OK);
        ck_assert(one >= 0 && one < first);
    }
    ck_assert_int_eq(moco_index_add(index, count - first, vectors + first * dim, labels ? labels + first : NULL),
                     MOCO_OK);
    ck_assert_int_eq(moco_index_count(index), count);
    ck_assert_int_eq(moco_index_dimension(index), dim);
    return index;
}

static void compare_search(int64_t count, int32_t dim, int64_t queries, int64_t k)
{
    float *v = random_rows(count, dim, 3), *q = random_rows(queries, dim, 4);
    moco_index_t *index = filled(v, NULL, count, dim);
    int64_t *ids = malloc((size_t)(queries * k) * sizeof *ids), one[1];
    float *near = malloc((size_t)(queries * k) * sizeof *near);
    ck_assert_int_eq(moco_index_search(index, queries, q, SEARCH(k), ids, near), MOCO_OK);
    const double error = ((on_gpu() ? dim : dim / 16) + 8) * 0x1p-24; /* a GPU may sum one by one */
    for (int64_t i = 0; i < queries; i++) {
        scored_t *all = brute_force(q + i * dim, v, count, dim);
        char *seen = calloc((size_t)count, 1);
        for (int64_t n = 0; n < k; n++) {
            int64_t id = ids[i * k + n];
            ck_assert(id >= 0 && id < count && !seen[id]);
            seen[id] = 1;
            double mine = cosine(q + i * dim, v + id * dim, dim);
            ck_assert_double_le(fabs(near[i * k + n] - mine), error);
            ck_assert_double_le(fabs(mine - all[n].similarity), 2 * error); /* the n-th best, up to rounding */
            if (n > 0)
                ck_assert(near[i * k + n - 1] > near[i * k + n] ||
                          (near[i * k + n - 1] == near[i * k + n] && ids[i * k + n - 1] < id));
        }
        free(seen);
        free(all);
    }
    /* A query alone finds what it found in company: another cut of the work, the same result. */
    ck_assert_int_eq(moco_index_search(index, 1, q + (queries - 1) * dim, SEARCH(1), one, NULL), MOCO_OK);
    ck_assert_int_eq(one[0], ids[(queries - 1) * k]);
    moco_index_free(index);
    free(near);
    free(ids);
    free(q);
    free(v);
}

START_TEST(test_search)
{
    compare_search(1, 1, 1, 1);
    compare_search(50, 7, 33, 50);
    compare_search(300, 128, 20, 5);
    compare_search(700, 33, 3, 200);
    compare_search(9000, 16, 2, 40);  /* several segments */
    compare_search(5000, 4, 1, 5000); /* all of them, ordered */
    compare_search(40, 16, 1100, 3);  /* several chunks of queries */
}
END_TEST

/* Equal similarities come in order of their numbers, also across segments. */
START_TEST(test_ties)
{
    const int64_t count = 9001;
    float *v = malloc((size_t)count * 2 * sizeof *v);
    for (int64_t i = 0; i < count; i++) {
        v[2 * i] = i % 3 == 0 ? 2.0f : 0.0f; /* every third points at the query; lengths do not matter */
        v[2 * i + 1] = i % 3 == 0 ? 0.0f : 1.0f + (float)i;
    }
    const float q[2] = {5, 0};
    moco_index_t *index = filled(v, NULL, count, 2);
    int64_t *ids = malloc((size_t)count * sizeof *ids);
    const int64_t ks[] = {1, 7, 3001, 3002, 9001};
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(moco_index_search(index, 1, q, SEARCH(ks[i]), ids, NULL), MOCO_OK);
        for (int64_t n = 0; n < ks[i] && n < 3001; n++)
            ck_assert_int_eq(ids[n], 3 * n);
        if (ks[i] > 3001)
            ck_assert_int_eq(ids[3001], 1);
    }
    ck_assert_int_eq(ids[9000], 8999);
    moco_index_free(index);
    free(ids);
    free(v);
}
END_TEST

/* All of the best in one of the lists that a GPU keeps, in an order that moves every entry. */
START_TEST(test_one_list)
{
    enum { COUNT = 19200, APART = 32, K = 201 };
    float *v = malloc(COUNT * 2 * sizeof *v), near[K];
    const float q[2] = {1, 0};
    int64_t ids[K];
    state = 9;
    for (int i = 0; i < COUNT; i++) {
        const double angle = i % APART == 0 ? 1.5 * unit() : 3.0;
        v[2 * i] = (float)cos(angle);
        v[2 * i + 1] = (float)sin(angle);
    }
    moco_index_t *index = filled(v, NULL, COUNT, 2);
    ck_assert_int_eq(moco_index_search(index, 1, q, SEARCH(K), ids, near), MOCO_OK);
    scored_t *all = brute_force(q, v, COUNT, 2);
    for (int n = 0; n < K; n++) {
        ck_assert_double_le(fabs(near[n] - all[n].similarity), 1e-6);
        ck_assert_int_eq(ids[n] % APART, 0);
        ck_assert_double_le(fabs(cosine(q, v + 2 * ids[n], 2) - all[n].similarity), 1e-6);
        ck_assert(n == 0 || near[n - 1] > near[n] || (near[n - 1] == near[n] && ids[n - 1] < ids[n]));
    }
    free(all);
    moco_index_free(index);
    free(v);
}
END_TEST

START_TEST(test_lengths)
{
    const float v[4][2] = {{0, 0}, {1e-30f, 0}, {3e38f, 3e38f}, {1e-3f, 0}}, q[2] = {7e37f, 0};
    moco_index_t *index = filled(v[0], NULL, 4, 2);
    int64_t ids[4];
    float near[4];
    ck_assert_int_eq(moco_index_search(index, 1, q, SEARCH(4), ids, near), MOCO_OK);
    ck_assert(ids[0] == 3 && near[0] == 1.0f && ids[1] == 2 && fabsf(near[1] - 0.70710678f) < 1e-6f);
    ck_assert(ids[2] == 1 && near[2] == (float)(1e-30f / 1e-12) && ids[3] == 0 && near[3] == 0.0f);
    moco_index_free(index);
}
END_TEST

/* ---- classification ---- */

START_TEST(test_classify)
{
    const int64_t count = 400, queries = 60, k = 37;
    const int32_t dim = 24, classes = 9;
    const double temperature = 0.1;
    float *v = random_rows(count, dim, 5), *q = random_rows(queries, dim, 6);
    int32_t labels[400], top[60 * 5];
    for (int64_t i = 0; i < count; i++)
        labels[i] = (int32_t)(i * i % classes);
    moco_index_t *index = filled(v, labels, count, dim);
    ck_assert_int_eq(moco_index_classify(index, queries, q, CLASSIFY(k, temperature, classes), top), MOCO_OK);
    for (int64_t i = 0; i < queries; i++) {
        scored_t *all = brute_force(q + i * dim, v, count, dim), votes[9];
        for (int32_t c = 0; c < classes; c++)
            votes[c] = (scored_t){0, c};
        for (int64_t n = 0; n < k; n++)
            votes[labels[all[n].id]].similarity += exp(all[n].similarity / temperature);
        qsort(votes, (size_t)classes, sizeof votes[0], by_similarity);
        for (int n = 0; n < 5; n++)
            ck_assert_int_eq(top[i * 5 + n], votes[n].id);
        free(all);
    }
    int32_t more[60 * 5]; /* more neighbours than vectors means all */
    ck_assert_int_eq(moco_index_classify(index, queries, q, CLASSIFY(count, temperature, classes), top), MOCO_OK);
    ck_assert_int_eq(moco_index_classify(index, queries, q, CLASSIFY(INT64_MAX, temperature, classes), more), MOCO_OK);
    ck_assert_mem_eq(top, more, sizeof top);
    moco_index_free(index);
    free(q);
    free(v);
}
END_TEST

/* Few classes, no votes, extreme temperatures. */
START_TEST(test_classify_edges)
{
    const float v[3][2] = {{1, 0}, {0.9f, 0.1f}, {-1, 0}}, q[2][2] = {{1, 0}, {-1, 0}};
    const int32_t labels[3] = {2, 2, 0};
    int32_t top[10];
    moco_index_t *index = filled(v[0], labels, 3, 2);
    ck_assert_int_eq(moco_index_classify(index, 2, q[0], CLASSIFY(1, 1e-3, 3), top), MOCO_OK);
    const int32_t want[6] = {2, 0, 1, 0, 1, 2}; /* classes without a vote in order of their numbers */
    ck_assert_mem_eq(top, want, sizeof want);
    ck_assert_int_eq(moco_index_classify(index, 2, q[0], CLASSIFY(3, 1e3, 7), top), MOCO_OK);
    const int32_t many[10] = {2, 0, 1, 3, 4, 2, 0, 1, 3, 4}; /* two votes of nearly 1 against one */
    ck_assert_mem_eq(top, many, sizeof many);
    moco_index_free(index);
    index = filled(v[0], (const int32_t[3]){1, 0, 0}, 3, 2); /* exp(1000) and exp(994) are both past a double */
    ck_assert_int_eq(moco_index_classify(index, 1, q[0], CLASSIFY(3, 1e-3, 2), top), MOCO_OK);
    ck_assert(top[0] == 1 && top[1] == 0);
    moco_index_free(index);
    index = filled(v[0], (const int32_t[3]){0, 0, 0}, 3, 2);
    ck_assert_int_eq(moco_index_classify(index, 2, q[0], CLASSIFY(2, 0.1, 1), top), MOCO_OK);
    ck_assert(top[0] == 0 && top[1] == 0);
    moco_index_free(index);
}
END_TEST

/* ---- wrong use ---- */

START_TEST(test_refusals)
{
    moco_index_t *index = NULL;
    const float good[2] = {1, 2}, bad[4] = {1, 2, NAN, 1}, infinite[2] = {1, INFINITY};
    const int32_t negative[1] = {-1}, seven[1] = {7};
    int64_t id;
    int32_t top[5];
    ck_assert_int_eq(moco_index_create(0, NULL, NULL, &index), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_index_create(65537, NULL, NULL, &index), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_index_create(2, NULL, NULL, NULL), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_index_create(2, NULL, NULL, &index), MOCO_OK);
    ck_assert_int_eq(moco_index_search(index, 1, good, SEARCH(1), &id, NULL), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_index_classify(index, 1, good, CLASSIFY(1, 0.1, 8), top), MOCO_ERR_NO_DATA);
    ck_assert_int_eq(moco_index_add(index, 2, bad, NULL), MOCO_ERR_ARGUMENT);
    assert_message("row 1");
    ck_assert_int_eq(moco_index_add(index, 1, infinite, NULL), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_index_add(index, 1, good, negative), MOCO_ERR_ARGUMENT);
    assert_message("label 0 is -1");
    ck_assert_int_eq(moco_index_add(index, -1, good, NULL), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_index_add(index, 1, NULL, NULL), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_index_add(NULL, 1, good, NULL), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_index_add(index, INT64_MAX / 4, good, NULL), MOCO_ERR_MEMORY);
    ck_assert_int_eq(moco_index_count(index), 0);
    ck_assert_int_eq(moco_index_add(index, 0, NULL, NULL), MOCO_OK);
    ck_assert_int_eq(moco_index_add(index, 1, good, seven), MOCO_OK);
    ck_assert_int_eq(moco_index_add(index, INT64_MAX, good, NULL), MOCO_ERR_MEMORY); /* with one more: beyond 64 bits */
    assert_message("9223372036854775807 more vectors are more than memory can hold");
    ck_assert_int_eq(moco_index_add(index, INT64_MAX / 16, good, NULL), MOCO_ERR_MEMORY);
    assert_message("more vectors are more than memory can hold");
    ck_assert_int_eq(moco_index_search(index, 1, good, SEARCH(2), &id, NULL), MOCO_ERR_ARGUMENT);
    assert_message("k is 2, wanted 1 to the 1 vectors");
    ck_assert_int_eq(moco_index_search(index, 1, bad + 2, SEARCH(1), &id, NULL), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_index_search(index, 1, good, SEARCH(1), NULL, NULL), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_index_search(index, 0, NULL, SEARCH(1), NULL, NULL), MOCO_OK);
    ck_assert_int_eq(moco_index_classify(index, 1, good, CLASSIFY(1, 0.1, 7), top), MOCO_ERR_ARGUMENT);
    assert_message("largest label 7");
    ck_assert_int_eq(moco_index_classify(index, 1, good, CLASSIFY(0, 0.1, 8), top), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_index_classify(index, 1, good, CLASSIFY(1, 0, 8), top), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_index_classify(index, 1, good, CLASSIFY(1, NAN, 8), top), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_index_classify(index, 1, good, CLASSIFY(1, 0.1, INT32_MAX), top), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_index_classify(index, 1, good, CLASSIFY(1, 0.1, 8), NULL), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_index_classify(index, 1, good, CLASSIFY(1, 0.1, 8), top), MOCO_OK);
    ck_assert_int_eq(top[0], 7);
    ck_assert_int_eq(moco_index_add(index, 1, good, NULL), MOCO_OK);
    ck_assert_int_eq(moco_index_classify(index, 1, good, CLASSIFY(1, 0.1, 8), top), MOCO_ERR_STATE);
    assert_message("1 of the 2 vectors");
    ck_assert_int_eq(moco_index_count(NULL), 0);
    ck_assert_int_eq(moco_index_dimension(NULL), 0);
    moco_index_free(NULL);
    moco_index_free(index);
}
END_TEST

START_TEST(test_npy)
{
    char folder[] = "/tmp/moco-index-XXXXXX", path[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/index.npy", folder);
    float *v = random_rows(30, 11, 7), *q = random_rows(2, 11, 8);
    moco_index_t *index = filled(v, NULL, 30, 11), *back = NULL;
    int64_t ids[2][10];
    ck_assert_int_eq(moco_index_save_npy(index, path), MOCO_OK);
    ck_assert_int_eq(moco_index_load_npy(path, NULL, NULL, &back), MOCO_OK);
    ck_assert_int_eq(moco_index_count(back), 30);
    ck_assert_int_eq(moco_index_search(index, 1, q, SEARCH(10), ids[0], NULL), MOCO_OK);
    ck_assert_int_eq(moco_index_search(back, 1, q, SEARCH(10), ids[1], NULL), MOCO_OK);
    ck_assert_mem_eq(ids[0], ids[1], sizeof ids[0]);
    moco_index_free(back);
    back = NULL;
    uint8_t *bytes = NULL;
    uint64_t size = 0;
    ck_assert_int_eq(mo_file_read(path, 1 << 20, &bytes, &size), MOCO_OK);
    ck_assert_uint_eq(size, 128 + 30 * 11 * 4);
    mo_free(bytes);
    FILE *stream = fopen(path, "r+b");
    const float nan = NAN;
    fseek(stream, 128 + 4 * 11 * 4, SEEK_SET);
    fwrite(&nan, sizeof nan, 1, stream);
    fclose(stream);
    ck_assert_int_eq(moco_index_load_npy(path, NULL, NULL, &back), MOCO_ERR_FORMAT);
    assert_message("row 4");
    unlink(path);
    ck_assert_int_eq(moco_index_load_npy(path, NULL, NULL, &back), MOCO_ERR_IO);
    ck_assert_ptr_null(back);
    ck_assert_int_eq(moco_index_save_npy(NULL, path), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(rmdir(folder), 0);
    moco_index_free(index);
    free(q);
    free(v);
}
END_TEST

/* The record and the names that an embedding of `rows` has beside them. */
static void put_beside(const char *path, const float *rows, int64_t count, int32_t dim)
{
    static const char text[] = "one\ntwo\n";
    mo_embedding_record_t record = {
        .version = MO_RECORD_VERSION, .images = count, .position = count, .rows = count, .dimension = dim};
    char *record_path = NULL, *names = NULL, *written = NULL;
    mo_checksum_t sum;
    mo_checksum_start(&sum);
    mo_checksum_add(&sum, rows, (uint64_t)(count * dim) * sizeof *rows);
    mo_checksum_text(mo_checksum_value(&sum), record.rows_sum);
    mo_checksum_start(&sum);
    mo_checksum_add(&sum, text, sizeof text - 1);
    mo_checksum_text(mo_checksum_value(&sum), record.names_sum);
    ck_assert_int_eq(mo_embedding_record_text(&record, &written), MOCO_OK);
    ck_assert_int_eq(mo_embedding_beside(path, MO_RECORD_ENDING, &record_path), MOCO_OK);
    ck_assert_int_eq(mo_embedding_beside(path, MO_NAMES_ENDING, &names), MOCO_OK);
    FILE *file = fopen(record_path, "w");
    fputs(written, file);
    fclose(file);
    file = fopen(names, "w");
    fputs(text, file);
    fclose(file);
    mo_free(written);
    mo_free(record_path);
    mo_free(names);
}

/* Other rows under the name of an embedding, and the save fails at each request in turn: at no
 * moment are good rows called damaged, or tied to the names of others. */
START_TEST(test_save_over_embedding)
{
    char folder[] = "/tmp/moco-index-XXXXXX", path[64], beside[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.npy", folder);
    snprintf(beside, sizeof beside, "%s/x.names.txt", folder);
    const float older[2][2] = {{1, 0}, {0, 1}}, newer[3][2] = {{0, 1}, {1, 0}, {0, -1}};
    moco_index_t *first = filled(older[0], NULL, 2, 2), *second = filled(newer[0], NULL, 3, 2), *back = NULL;
    int failures = 0, kept = 0;
    for (moco_status_t status = MOCO_ERR_IO; status != MOCO_OK; failures++) {
        ck_assert_int_lt(failures, 200);
        ck_assert_int_eq(moco_index_save_npy(first, path), MOCO_OK);
        put_beside(path, older[0], 2, 2);
        mo_fault_arm(MO_FAULT_FILE, failures);
        status = moco_index_save_npy(second, path);
        mo_fault_arm(MO_FAULT_FILE, -1);
        const moco_status_t loaded = moco_index_load_npy(path, NULL, NULL, &back);
        if (loaded != MOCO_OK) {
            ck_assert_int_eq(loaded, MOCO_ERR_FORMAT);
            assert_message("x.names.txt");
            assert_message("cut short");
            unlink(beside);
            ck_assert_int_eq(moco_index_load_npy(path, NULL, NULL, &back), MOCO_OK);
            ck_assert_int_eq(moco_index_count(back), 3);
        } else if (moco_index_count(back) == 2) {
            ck_assert(mo_file_exists(beside));
            kept++;
        } else
            ck_assert(!mo_file_exists(beside));
        ck_assert_int_eq(status == MOCO_OK && moco_index_count(back) != 3, 0);
        moco_index_free(back);
        back = NULL;
        unlink(beside);
    }
    ck_assert_int_gt(kept, 5);
    /* The same rows keep their names. */
    ck_assert_int_eq(moco_index_save_npy(first, path), MOCO_OK);
    put_beside(path, older[0], 2, 2);
    ck_assert_int_eq(moco_index_save_npy(first, path), MOCO_OK);
    ck_assert(mo_file_exists(beside));
    unlink(beside);
    unlink(path);
    snprintf(beside, sizeof beside, "%s/x.embed.json", folder);
    unlink(beside);
    ck_assert_int_eq(rmdir(folder), 0);
    moco_index_free(first);
    moco_index_free(second);
}
END_TEST

/* The n-th allocation fails, for every n: an error, and the index is as it was. */
START_TEST(test_faults)
{
    const float v[3][2] = {{1, 0}, {0, 1}, {1, 1}};
    const int32_t labels[3] = {0, 1, 1};
    int failures = 0;
    moco_index_t *index = filled(v[0], labels, 3, 2);
    for (moco_status_t status = MOCO_ERR_MEMORY; status != MOCO_OK; failures++) {
        int64_t ids[2];
        int32_t top[2];
        ck_assert_int_lt(failures, 100);
        mo_fault_arm(MO_FAULT_ALLOC, failures);
        status = moco_index_add(index, failures < 2 ? 3 : 0, v[0], labels);
        ck_assert_int_eq(moco_index_count(index), 3);
        if (status == MOCO_OK)
            status = moco_index_search(index, 1, v[2], SEARCH(2), ids, NULL);
        if (status == MOCO_OK)
            status = moco_index_classify(index, 1, v[2], CLASSIFY(2, 0.1, 2), top);
        mo_fault_arm(MO_FAULT_ALLOC, -1);
        ck_assert(status == MOCO_OK || status == MOCO_ERR_MEMORY);
    }
    ck_assert_int_ge(failures, 10);
    moco_index_free(index);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("index");
    TCase *tc = tcase_create("index");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_dot_tile);
    tcase_add_test(tc, test_search);
    tcase_add_test(tc, test_ties);
    tcase_add_test(tc, test_one_list);
    tcase_add_test(tc, test_lengths);
    tcase_add_test(tc, test_classify);
    tcase_add_test(tc, test_classify_edges);
    tcase_add_test(tc, test_refusals);
    tcase_add_test(tc, test_npy);
    tcase_add_test(tc, test_save_over_embedding);
    tcase_add_test(tc, test_faults);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
