/* Files of torch.save damaged at random, thousands of times from a fixed seed: the archive around
 * the pickle, the pickle inside a sound archive, and the older sequence. Whatever the reader
 * accepts must be coherent: every number that sizes and strides reach lies inside the file. Run it
 * under the address sanitizer too. */
#include <check.h>

#include "coherent.h"
#include "persist/tensor_file.h"
#include "torch_fixtures.h"
#include "util/status.h"

#define ROUNDS 20000

static const float numbers[12];
static const int64_t steps[1] = {7};
static const fixture_storage_t storages[] = {{"0", numbers, 12, 48}, {"1", steps, 1, 8}};
static const fixture_tensor_t tensors[] = {
    {"a", "FloatStorage", "0", 12, 0, 2, {3, 4}, {4, 1}},        {"b", "FloatStorage", "0", 12, 0, 2, {4, 3}, {1, 4}},
    {"c", "FloatStorage", "0", 12, 5, 3, {2, 1, 2}, {4, 77, 1}}, {"d", "LongStorage", "1", 1, 0, 0, {0}, {0}},
    {"e", "FloatStorage", "0", 12, 3, 2, {5, 7}, {0, 1}},
};
static const struct {
    const char *bytes;
    uint64_t size;
    /* clang-format off */
} scraps[] = {
    {"(", 1},        {"t", 1},       {"R", 1},      {"q\0", 2},      {"h\0", 2},       {"Nb", 2},        {"0", 1},
    {"2", 1},        {"]", 1},       {"}", 1},      {"u", 1},        {"e", 1},         {"a", 1},         {"s", 1},
    {"\x85", 1},     {"\x94", 1},    {"Q", 1},      {"K\xff", 2},    {"\x8a\x01\xff", 3}, {".", 1},      {"M\0\x80", 3},
    {"\x93", 1},     {"\x81", 1},    {"\x8f", 1},   {"\x90", 1},     {"J\xff\xff\xff\x7f", 5}, {"\x8c\x01" "0", 3},
    {"cnumpy\ndtype\n", 13}, {"ccollections\nCounter\n", 21}, {"c_codecs\nencode\n", 16}, {"ca\nB\n)R", 7},
    {"ctorch\nSize\n", 12}, {"cargparse\nNamespace\n)\x81", 22}, {"\xff\xff\xff\xff", 4}, {"PK\1\2", 4}, {"\0\0", 2},
};
/* clang-format on */

static uint64_t state = 88172645463325252u;

static uint64_t draw(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static void damage(buffer_t *b)
{
    for (uint64_t edits = 1 + draw(4); edits > 0 && b->size > 0; edits--) {
        uint64_t at = draw(b->size), pick = draw(sizeof scraps / sizeof *scraps), extra = scraps[pick].size;
        switch (draw(6)) {
        case 0: b->bytes[at] ^= (uint8_t)(1u << draw(8)); break;
        case 1: b->bytes[at] = (uint8_t)draw(256); break;
        case 2: /* insert */
            b->bytes = realloc(b->bytes, b->size + extra);
            memmove(b->bytes + at + extra, b->bytes + at, b->size - at);
            memcpy(b->bytes + at, scraps[pick].bytes, extra);
            b->size += extra;
            break;
        case 3: /* overwrite */
            memcpy(b->bytes + at, scraps[pick].bytes, extra < b->size - at ? extra : b->size - at);
            break;
        case 4: { /* take a piece out */
            uint64_t gone = 1 + draw(8);
            gone = gone < b->size - at ? gone : b->size - at;
            memmove(b->bytes + at, b->bytes + at + gone, b->size - at - gone);
            b->size -= gone;
            break;
        }
        default:
            if (draw(8) == 0)
                b->size = at;
        }
    }
}

/* An array as NumPy's __reduce__ has it; its bytes as they are, or as protocols before 3 keep
 * them. */
static void put_array(buffer_t *b, const char *module, int encoded)
{
    static const int64_t dims[2] = {2, 2}, none[1] = {0};
    put_global(b, module, "_reconstruct");
    put(b, "(", 1);
    put_global(b, "numpy", "ndarray");
    put_wholes(b, 1, none);
    put(b, "C\1btR(K\1", 8);
    put_wholes(b, 2, dims);
    put_global(b, "numpy", "dtype");
    put(b, "(X\2\0\0\0f4\x89\x88tR(K\3X\1\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89", 39);
    if (encoded) {
        put_global(b, "_codecs", "encode");
        put(b, "(", 1);
        put_text(b, "abcd\xc3\xbf"
                    "bcdabcdabcd");
        put_text(b, "latin1");
        put(b, "tR", 2);
    } else {
        put(b, "C\x10", 2);
        put(b, numbers, 16);
    }
    put(b, "tb", 2);
}

static buffer_t mutant(void)
{
    int form = (int)draw(5), legacy = form == 3, plain = form == 4;
    buffer_t pickle = {0}, file;
    put(&pickle, "\x80\x02}q\x01(", 6);
    put_text(&pickle, "epoch");
    put_whole(&pickle, 3);
    put_text(&pickle, "array");
    put_array(&pickle, draw(2) ? "numpy.core.multiarray" : "numpy._core.multiarray", (int)draw(2));
    put_text(&pickle, "state_dict");
    if (plain)
        put_array(&pickle, "numpy.core.multiarray", 1);
    else
        put_state_dict(&pickle, tensors, 5, legacy);
    put_text(&pickle, "args");
    put(&pickle, "cargparse\nNamespace\n)\x81}(", 24);
    put_text(&pickle, "lr");
    put(&pickle, "G?\xa9\x99\x99\x99\x99\x99\x9aubu.", 13);
    if (form <= 1)
        damage(&pickle);
    if (plain) {
        file = pickle;
        pickle.bytes = NULL;
    } else if (legacy) {
        file = make_legacy(&pickle, storages, 2);
    } else {
        const fixture_member_t members[] = {{"x/data.pkl", pickle.bytes, pickle.size},
                                            {"x/data/0", numbers, 48},
                                            {"x/data/1", steps, 8}};
        file = make_zip(members, 3, (int)draw(2));
    }
    if (form >= 2)
        damage(&file);
    free(pickle.bytes);
    file.bytes = realloc(file.bytes, file.size > 0 ? file.size : 1); /* exactly as large as its contents */
    return file;
}

START_TEST(test_mutants)
{
    int accepted = 0;
    for (int round = 0; round < ROUNDS; round++) {
        buffer_t b = mutant();
        mo_tensor_file_t file = {0};
        moco_status_t status = mo_tensor_file_open_memory(&file, b.bytes, b.size, "mutant");
        ck_assert_msg(status == MOCO_OK || status == MOCO_ERR_FORMAT || status == MOCO_ERR_UNSUPPORTED, "%s",
                      moco_last_message());
        if (status == MOCO_OK) {
            accepted++;
            ck_assert_ptr_null(incoherent(&file, b.size));
        }
        mo_tensor_file_close(&file);
        free(b.bytes);
    }
    ck_assert_int_gt(accepted, ROUNDS / 100); /* the mutants stay near enough to be interesting */
    ck_assert_int_lt(accepted, ROUNDS / 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("torch_fuzz");
    TCase *tc = tcase_create("mutants");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_mutants);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
