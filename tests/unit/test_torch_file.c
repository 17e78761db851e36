/* Files of torch.save: both containers give the same tensors, views come out in C order, and what
 * is damaged, hostile or a program is refused with its reason and without effect. */
#define _GNU_SOURCE /* memmem */
#include <check.h>
#include <stdio.h>
#include <unistd.h>

#include "persist/tensor_file.h"
#include "torch_fixtures.h"
#include "util/alloc.h"
#include "util/fault.h"
#include "util/status.h"

static const float numbers[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
static const int64_t count7[1] = {7};
static const fixture_storage_t storages[] = {{"0", numbers, 12, 48}, {"1", count7, 1, 8}};
static const fixture_tensor_t tensors[] = {
    {"plain", "FloatStorage", "0", 12, 0, 2, {3, 4}, {4, 1}},
    {"turned", "FloatStorage", "0", 12, 0, 2, {4, 3}, {1, 4}},
    {"cut", "FloatStorage", "0", 12, 5, 3, {2, 1, 2}, {4, 77, 1}},
    {"steps", "LongStorage", "1", 1, 0, 0, {0}, {0}},
    {"none", "FloatStorage", "0", 12, 12, 2, {0, 5}, {5, 1}},
};
#define TENSORS ((int)(sizeof tensors / sizeof *tensors))

static buffer_t pickle_of(const fixture_tensor_t *list, int count, int legacy)
{
    buffer_t b = {0};
    put(&b, "\x80\x02}(", 4);
    put_text(&b, "epoch");
    put_whole(&b, 200);
    put_text(&b, "arch");
    put_text(&b, "resnet50");
    put_text(&b, "lr");
    put(&b, "G\x3f\x9e\xb8\x51\xeb\x85\x1e\xb8", 9); /* 0.03 */
    put_text(&b, "done");
    put(&b, "\x88", 1);
    put_text(&b, "params");
    put(&b, "](", 2);
    put_whole(&b, 5);
    put_whole(&b, -3);
    put(&b, "e", 1);
    put_text(&b, "optimizer");
    put(&b, "N", 1);
    put_text(&b, "state_dict");
    put_state_dict(&b, list, count, legacy);
    put(&b, "u.", 2);
    return b;
}

static buffer_t archive_of(const buffer_t *pickle, int flags)
{
    const fixture_member_t members[] = {{"x/data.pkl", pickle->bytes, pickle->size},
                                        {"x/data/0", numbers, 48},
                                        {"x/data/1", count7, 8},
                                        {"x/version", "3\n", 2}};
    return make_zip(members, 4, flags);
}

static void assert_contents(const buffer_t *b, mo_container_t container)
{
    mo_tensor_file_t file = {0};
    float out[12];
    int64_t steps;
    ck_assert_msg(mo_tensor_file_open_memory(&file, b->bytes, b->size, "made") == MOCO_OK, "%s", moco_last_message());
    ck_assert_int_eq(file.container, container);
    ck_assert_int_eq(file.count, TENSORS);
    const mo_file_tensor_t *t = mo_tensor_file_find(&file, "state_dict.plain");
    ck_assert(t != NULL && t->order == 0 && t->rank == 2 && t->dims[1] == 4 && t->bytes == 48);
    ck_assert_int_eq(mo_file_floats(t, out, 12), MOCO_OK);
    ck_assert_mem_eq(out, numbers, sizeof numbers);
    t = mo_tensor_file_find(&file, "state_dict.turned");
    ck_assert_int_eq(t->order, 1);
    ck_assert_int_eq(mo_file_floats(t, out, 12), MOCO_OK);
    for (int i = 0; i < 12; i++)
        ck_assert_float_eq(out[i], (float)(i / 3 + i % 3 * 4));
    ck_assert_int_eq(mo_file_floats(mo_tensor_file_find(&file, "state_dict.cut"), out, 4), MOCO_OK);
    ck_assert(out[0] == 5 && out[1] == 6 && out[2] == 9 && out[3] == 10);
    ck_assert_int_eq(mo_file_ints(mo_tensor_file_find(&file, "state_dict.steps"), &steps, 1), MOCO_OK);
    ck_assert_int_eq(steps, 7);
    ck_assert_int_eq(mo_file_floats(mo_tensor_file_find(&file, "state_dict.none"), out, 0), MOCO_OK);
    ck_assert_str_eq(mo_tensor_file_text(&file, "epoch"), "200");
    ck_assert_str_eq(mo_tensor_file_text(&file, "arch"), "resnet50");
    ck_assert_str_eq(mo_tensor_file_text(&file, "lr"), "0.029999999999999999");
    ck_assert_str_eq(mo_tensor_file_text(&file, "done"), "true");
    ck_assert_str_eq(mo_tensor_file_text(&file, "params.1"), "-3");
    ck_assert_ptr_null(mo_tensor_file_text(&file, "optimizer"));
    mo_tensor_file_close(&file);
}

START_TEST(test_both_containers)
{
    buffer_t pickle = pickle_of(tensors, TENSORS, 0), old = pickle_of(tensors, TENSORS, 1);
    for (int flags = 0; flags <= (FIXTURE_WIDE | FIXTURE_SUMS); flags++) {
        buffer_t zip = archive_of(&pickle, flags);
        assert_contents(&zip, MO_TORCH_ZIP);
        free(zip.bytes);
    }
    buffer_t legacy = make_legacy(&old, storages, 2);
    assert_contents(&legacy, MO_TORCH_LEGACY);
    free(legacy.bytes);
    free(pickle.bytes);
    free(old.bytes);
}
END_TEST

/* Every type, read back through the two ways to numbers; a stride walks over what lies between. */
START_TEST(test_types)
{
    static const struct {
        const char *class;
        uint8_t bytes[16];
        int real;
        double wanted[2];
    } rows[] = {
        {"DoubleStorage", {0, 0, 0, 0, 0, 0, 0xe0, 0x3f, 0, 0, 0, 0, 0, 0, 0xf0, 0xbf}, 1, {0.5, -1}},
        {"FloatStorage", {0, 0, 0, 0x3f, 0, 0, 0x80, 0xbf}, 1, {0.5, -1}},
        {"HalfStorage", {0, 0x38, 0, 0xbc}, 1, {0.5, -1}},
        {"BFloat16Storage", {0, 0x3f, 0x80, 0xbf}, 1, {0.5, -1}},
        {"LongStorage", {1, 1, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 0, {257, -2}},
        {"IntStorage", {1, 1, 0, 0, 0xfe, 0xff, 0xff, 0xff}, 0, {257, -2}},
        {"ShortStorage", {1, 1, 0xfe, 0xff}, 0, {257, -2}},
        {"CharStorage", {5, 0xfe}, 0, {5, -2}},
        {"ByteStorage", {5, 0xfe}, 0, {5, 254}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fixture_tensor_t t = {"t", rows[i].class, "0", 2, 1, 2, {1, 2}, {9, 0}};
        t.offset = 0, t.strides[1] = 1;
        fixture_tensor_t second = {"second", rows[i].class, "0", 2, 1, 1, {1}, {5}};
        fixture_tensor_t both[] = {t, second};
        buffer_t pickle = {0};
        put(&pickle, "\x80\x02", 2);
        put_state_dict(&pickle, both, 2, 0);
        put(&pickle, ".", 1);
        fixture_member_t members[] = {{"a/data.pkl", pickle.bytes, pickle.size}, {"a/data/0", rows[i].bytes, 16}};
        buffer_t zip = make_zip(members, 2, 0);
        mo_tensor_file_t file = {0};
        float real[2] = {0};
        int64_t whole[2] = {0};
        ck_assert_msg(mo_tensor_file_open_memory(&file, zip.bytes, zip.size, "made") == MOCO_OK, "%s",
                      moco_last_message());
        for (int k = 0; k < 2; k++) {
            const mo_file_tensor_t *found = mo_tensor_file_find(&file, k == 0 ? "t" : "second");
            ck_assert_int_eq(mo_file_floats(found, real, 2 - k), rows[i].real ? MOCO_OK : MOCO_ERR_FORMAT);
            ck_assert_int_eq(mo_file_ints(found, whole, 2 - k), rows[i].real ? MOCO_ERR_FORMAT : MOCO_OK);
            for (int n = k; n < 2; n++)
                ck_assert_msg((rows[i].real ? real[n - k] : (double)whole[n - k]) == rows[i].wanted[n], "%s",
                              rows[i].class);
        }
        mo_tensor_file_close(&file);
        free(zip.bytes);
        free(pickle.bytes);
    }
}
END_TEST

/* Reads every tensor of the file; MOCO_OK if all could be. */
static moco_status_t read_all(const buffer_t *b)
{
    mo_tensor_file_t file = {0};
    float out[12];
    int64_t whole[12];
    moco_status_t status = mo_tensor_file_open_memory(&file, b->bytes, b->size, "made");
    for (int64_t i = 0; i < file.count && status == MOCO_OK; i++) {
        const mo_file_tensor_t *t = &file.tensors[i];
        int64_t count;
        ck_assert(mo_file_count(t, &count));
        status = t->dtype == MO_I64 ? mo_file_ints(t, whole, count) : mo_file_floats(t, out, count);
    }
    mo_tensor_file_close(&file);
    return status;
}

/* One bit of a member turned over is noticed where the archive has checksums: in the pickle, in
 * numbers that are taken as they are, in those that are converted and in a transposed tensor. */
START_TEST(test_checksums)
{
    static const fixture_tensor_t whole[] = {{"plain", "FloatStorage", "0", 12, 0, 2, {3, 4}, {4, 1}}},
                                  turned[] = {{"turned", "FloatStorage", "0", 12, 0, 2, {4, 3}, {1, 4}}},
                                  steps[] = {{"steps", "LongStorage", "1", 1, 0, 0, {0}, {0}}};
    static const fixture_tensor_t *const lists[] = {whole, turned, steps};
    for (int k = 0; k < 3; k++) {
        buffer_t pickle = pickle_of(lists[k], 1, 0), zip = archive_of(&pickle, FIXTURE_SUMS);
        const void *const parts[2] = {pickle.bytes, k == 2 ? (const void *)count7 : numbers};
        const uint64_t sizes[2] = {pickle.size, k == 2 ? sizeof count7 : sizeof numbers};
        ck_assert_int_eq(read_all(&zip), MOCO_OK);
        for (int part = 0; part < 2; part++) {
            uint8_t *at = memmem(zip.bytes, zip.size, parts[part], sizes[part]);
            ck_assert_ptr_nonnull(at);
            for (uint64_t bit = 0; bit < 8 * sizes[part]; bit++) {
                at[bit / 8] ^= (uint8_t)(1 << bit % 8);
                ck_assert_int_eq(read_all(&zip), MOCO_ERR_FORMAT);
                ck_assert_msg(strstr(moco_last_message(), "made: is damaged: ") != NULL, "%s", moco_last_message());
                at[bit / 8] ^= (uint8_t)(1 << bit % 8);
            }
        }
        free(zip.bytes);
        free(pickle.bytes);
    }
}
END_TEST

/* Numbers of types that are not read lie between others in the older sequence: what takes their
 * place is as long as they are. */
START_TEST(test_types_that_are_passed_over)
{
    static const struct {
        const char *class;
        int item;
    } odd[] = {{"ComplexFloatStorage", 8}, {"ComplexDoubleStorage", 16}, {"QInt8Storage", 1}, {"QUInt8Storage", 1},
               {"QInt32Storage", 4},       {"UntypedStorage", 1},        {"BoolStorage", 1}};
    static const uint8_t zeros[3 * 16];
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        const fixture_tensor_t both[] = {{"odd", odd[i].class, "0", 3, 0, 1, {3}, {1}},
                                         {"plain", "FloatStorage", "1", 12, 0, 1, {12}, {1}}};
        const fixture_storage_t in_order[] = {{"0", zeros, 3, 3 * (uint64_t)odd[i].item}, {"1", numbers, 12, 48}};
        buffer_t pickle = {0};
        put(&pickle, "\x80\x02", 2);
        put_state_dict(&pickle, both, 2, 1);
        put(&pickle, ".", 1);
        buffer_t made = make_legacy(&pickle, in_order, 2);
        mo_tensor_file_t file = {0};
        float out[12];
        ck_assert_msg(mo_tensor_file_open_memory(&file, made.bytes, made.size, "made") == MOCO_OK, "%s: %s",
                      odd[i].class, moco_last_message());
        ck_assert_int_eq(mo_file_floats(mo_tensor_file_find(&file, "plain"), out, 12), MOCO_OK);
        ck_assert_mem_eq(out, numbers, sizeof out);
        mo_tensor_file_close(&file);
        free(made.bytes);
        free(pickle.bytes);
    }
}
END_TEST

/* The pickle as data.pkl of an archive, whose bytes the caller frees behind the file. */
static buffer_t open_pickle(const void *bytes, uint64_t size, mo_tensor_file_t *file)
{
    buffer_t pickle = {0};
    put(&pickle, bytes, size);
    const buffer_t zip = archive_of(&pickle, 0);
    *file = (mo_tensor_file_t){0};
    ck_assert_msg(mo_tensor_file_open_memory(file, zip.bytes, zip.size, "made") == MOCO_OK, "%s", moco_last_message());
    free(pickle.bytes);
    return zip;
}

#define P(text) text, sizeof(text) - 1

/* What Python's own pickler writes seldom: a place of the memo that is given again, shapes, arrays
 * beside tensors. */
START_TEST(test_seldom_pickles)
{
    static const float wanted[2] = {0.5f, -1};
    mo_tensor_file_t file;
    float out[2];
    buffer_t made;
    /* The second "q 0" takes a place that is taken, so the next one without a number is 1. */
    made = open_pickle(P("\x80\x04}q\0q\0(X\1\0\0\0k\x94K\5X\1\0\0\0mh\1u."), &file);
    ck_assert_str_eq(mo_tensor_file_text(&file, "k"), "5");
    ck_assert_str_eq(mo_tensor_file_text(&file, "m"), "k");
    mo_tensor_file_close(&file);
    free(made.bytes);
    made = open_pickle(P("\x80\2}(X\5\0\0\0shape"
                         "ctorch\nSize\nK\2K\3\x86\x85Ru."),
                       &file);
    ck_assert_str_eq(mo_tensor_file_text(&file, "shape.1"), "3");
    mo_tensor_file_close(&file);
    free(made.bytes);
    made = open_pickle(P("\x80\5}(X\1\0\0\0w"
                         "cnumpy._core.numeric\n_frombuffer\n(C\x08\0\0\0\x3f\0\0\x80\xbf"
                         "cnumpy\ndtype\nX\2\0\0\0f4\x85RK\2\x85X\1\0\0\0CtRu."),
                       &file);
    ck_assert_int_eq(mo_file_floats(mo_tensor_file_find(&file, "w"), out, 2), MOCO_OK);
    ck_assert_mem_eq(out, wanted, sizeof out);
    mo_tensor_file_close(&file);
    free(made.bytes);
}
END_TEST

/* ---- refusals ---- */

static void assert_refused(const buffer_t *b, moco_status_t wanted, const char *reason)
{
    mo_tensor_file_t file = {0};
    moco_status_t status = mo_tensor_file_open_memory(&file, b->bytes, b->size, "made");
    ck_assert_msg(status == wanted, "%s: status %d (%s)", reason, status, moco_last_message());
    ck_assert_msg(strstr(moco_last_message(), reason) != NULL && strstr(moco_last_message(), "made: ") != NULL,
                  "'%s' does not say '%s'", moco_last_message(), reason);
    ck_assert(file.tensors == NULL && file.texts == NULL);
}

/* The bytes as data.pkl of an archive and as the object of a sequence. */
static void assert_pickle_refused(const void *bytes, uint64_t size, moco_status_t wanted, const char *reason)
{
    buffer_t pickle = {0};
    put(&pickle, bytes, size);
    buffer_t zip = archive_of(&pickle, 0), legacy = make_legacy(&pickle, storages, 0);
    assert_refused(&zip, wanted, reason);
    assert_refused(&legacy, wanted, reason);
    free(zip.bytes);
    free(legacy.bytes);
    free(pickle.bytes);
}

START_TEST(test_programs)
{
    char folder[] = "/tmp/moco-torch-XXXXXX", mark[64], command[96];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(mark, sizeof mark, "%s/ran", folder);
    snprintf(command, sizeof command, "touch %s", mark);
    for (int form = 0; form < 4; form++) {
        buffer_t b = {0};
        put(&b, "\x80\x04", 2);
        if (form == 0) { /* os.system(command) by REDUCE */
            put_global(&b, "posix", "system");
        } else if (form == 1) { /* by STACK_GLOBAL, the name remembered before */
            put_text(&b, "posix");
            put(&b, "\x94", 1);
            put_text(&b, "system");
            put(&b, "\x93", 1);
        } else if (form == 2) { /* through what is allowed: a global's attribute */
            put_global(&b, "collections", "OrderedDict.__init__.__globals__");
        } else {
            put_global(&b, "builtins", "eval");
        }
        put(&b, "(", 1);
        put_text(&b, form == 3 ? "__import__('os').system('false')" : command);
        put(&b, "tR.", 3);
        assert_pickle_refused(b.bytes, b.size, MOCO_ERR_UNSUPPORTED, "nothing of it was run");
        free(b.bytes);
    }
    ck_assert_msg(strstr(moco_last_message(), "builtins.eval") != NULL, "%s", moco_last_message());
    ck_assert_int_ne(access(mark, F_OK), 0);
    ck_assert_int_eq(rmdir(folder), 0);
    /* opcodes that make objects in other ways, extension codes, text protocols */
    assert_pickle_refused(P("\x80\x02(iposix\nsystem\n."), MOCO_ERR_FORMAT, "opcode 0x69");
    assert_pickle_refused(P("\x80\x02(cposix\nsystem\no."), MOCO_ERR_UNSUPPORTED, "posix.system");
    assert_pickle_refused(P("\x80\x02\x82\x01."), MOCO_ERR_FORMAT, "opcode 0x82");
    assert_pickle_refused(P("\x80\x02I5\n."), MOCO_ERR_FORMAT,
                          "opcode 0x49 at byte 2 is none that torch.save writes; wanted protocol 2 to 5");
    assert_pickle_refused(P("\x80\x02P5\n."), MOCO_ERR_FORMAT, "opcode 0x50");
    assert_pickle_refused(P("(dp0\nVa\np1\nI1\ns."), MOCO_ERR_FORMAT, "a pickle of protocol 0 or 1, or damaged");
    assert_pickle_refused(P("\x80\x02\0."), MOCO_ERR_FORMAT, "damaged pickle: opcode 0x00");
    assert_pickle_refused(P("\x80\x05\x97."), MOCO_ERR_FORMAT, "opcode 0x97");
    assert_pickle_refused(P("\x80\x09N."), MOCO_ERR_UNSUPPORTED, "protocol 9");
}
END_TEST

/* What is only named and carried is no reason to refuse a file, whatever module has it; what runs
 * something in Python is, in a module inside another too. */
START_TEST(test_names_that_are_carried)
{
    static const struct {
        const char *module, *name;
        int refused;
    } rows[] = {
        {"code", "Settings", 0},
        {"trace", "Record", 0},
        {"profile", "Entry", 0},
        {"commands", "Train", 0},
        {"operator", "itemgetter", 0},
        {"_operator", "attrgetter", 0},
        {"types", "FunctionType", 0},
        {"builtins", "getattr", 0},
        {"builtins", "ValueError", 0},
        {"builtins", "opener", 0},
        {"__builtin__", "reversed", 0},
        {"distutils.version", "LooseVersion", 0},
        {"urllib.parse", "ParseResult", 0},
        {"os", "stat_result", 0},
        {"osutil", "system", 0},
        {"http", "HTTPStatus", 0},
        {"code", "interact", 1},
        {"builtins", "exec", 1},
        {"builtins", "breakpoint", 1},
        {"__builtin__", "execfile", 1},
        {"os", "popen", 1},
        {"os.path", "join", 1},
        {"urllib.request", "urlopen", 1},
        {"importlib.util", "module_from_spec", 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mo_tensor_file_t file = {0};
        buffer_t b = {0};
        char wanted[96];
        put(&b, "\x80\x02}(", 4);
        put_text(&b, "args");
        put_global(&b, rows[i].module, rows[i].name);
        put(&b, ")R", 2);
        put_text(&b, "state_dict");
        put_state_dict(&b, tensors, 1, 0);
        put(&b, "u.", 2);
        snprintf(wanted, sizeof wanted, "'%s.%s'", rows[i].module, rows[i].name);
        if (rows[i].refused) {
            assert_pickle_refused(b.bytes, b.size, MOCO_ERR_UNSUPPORTED, wanted);
        } else {
            buffer_t zip = archive_of(&b, 0);
            ck_assert_msg(mo_tensor_file_open_memory(&file, zip.bytes, zip.size, "made") == MOCO_OK, "%s: %s", wanted,
                          moco_last_message());
            ck_assert_int_eq(file.count, 1);
            mo_tensor_file_close(&file);
            free(zip.bytes);
        }
        free(b.bytes);
    }
}
END_TEST

START_TEST(test_damaged_pickles)
{
    static const struct {
        const char *bytes;
        uint64_t size;
        const char *reason;
        /* clang-format off */
    } rows[] = {
        {P("\x80\x02."), "its stack is empty"},
        {P("\x80\x02N0."), "its stack is empty"},
        {P("\x80\x02" "2."), "its stack is empty"},
        {P("\x80\x02" "0N."), "its stack is empty"},
        {P("\x80\x02N(\x85."), "its stack is empty"}, /* below a mark nothing is reached */
        {P("\x80\x02t."), "a mark is missing"},
        {P("\x80\x02" "1."), "a mark is missing"},
        {P("\x80\x02X\xff\xff\xff\xff" "abc."), "4294967295 bytes wanted"},
        {P("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff" "abc."), "18446744073709551615 bytes wanted"},
        {P("\x80\x02\x8b\xff\xff\xff\x7f."), "2147483647 bytes wanted"},
        {P("\x80\x04\x95\xff\x00\x00\x00\x00\x00\x00\x00N."), "a frame is longer"},
        {P("\x80\x02h\x00."), "a memo number"},
        {P("\x80\x02Nq\x05h\x04."), "a memo number"},
        {P("\x80\x02j\xff\xff\xff\xff."), "a memo number"},
        {P("\x80\x02Nr\xff\xff\xff\x7f."), "a memo number is too large"},
        {P("\x80\x02q\x00."), "nothing to remember"},
        {P("\x80\x02(Nd."), "a key has no value"},
        {P("\x80\x02}(Nu."), "a key has no value"},
        {P("\x80\x02]NNs."), "no container of theirs"},
        {P("\x80\x02}Na."), "no container of theirs"},
        {P("\x80\x02Na."), "nothing to add to"},
        {P("\x80\x02(]NNNs."), "no container of theirs"},
        {P("\x80\x02N)R."), "made by what makes nothing"},
        {P("\x80\x02" "ccollections\nOrderedDict\n]R."), "made by what makes nothing"},
        {P("\x80\x02" "ccollections\nOrderedDict\n(](K\x01" "etR."), "no pairs"},
        {P("\x80\x02" "ctorch\nFloatStorage\n)R."), "a storage is made without its numbers"},
        {P("\x80\x02" "ctorch._utils\n_rebuild_parameter\n)R."), "no tensor"},
        {P("\x80\x02" "ctorch._utils\n_rebuild_tensor_v2\n)R."), "no storage or offset"},
        {P("\x80\x02" "ctorch._utils\n_rebuild_tensor_v2\n(NNNNNNtR."), "no storage or offset"},
        {P("\x80\x02NNb."), "attributes are given"},
        {P("\x80\x02NQ."), "is no storage"},
        {P("\x80\x02(NNNNNtQ."), "is no storage"},
        {P("\x80\x02(U\x07storageNNNNtQ."), "no class, key or count"},
        {P("\x80\x02(U\x07storagectorch\nSize\nU\x01" "0NK\x01tQ."), "no class, key or count"},
        {P("\x80\x02(U\x07storagectorch\nFloatStorage\nU\x01" "0NJ\xff\xff\xff\xfftQ."), "no class, key or count"},
        {P("\x80\x02(U\x07storagectorch\nFloatStorage\nU\x01" "0NK\x05(U\x01vK\x03K\x03ttQ."), "not inside it"},
        {P("\x80\x02(U\x07storagectorch\nFloatStorage\nU\x01" "0NK\x05NNtQ."), "is no storage"},
        {P("\x80\x04NN\x93."), "name is no text"},
        {P("\x80\x02" "ctorch"), "name does not end"},
        {P("\x80\x02" "cnumpy.core.multiarray\n_reconstruct\n)R)b."), "no tuple of 5"},
        {P("\x80\x02" "cnumpy\ndtype\n(U\x02" "f4tR)b."), "no tuple of at least 4"},
        {P("\x80\x02" "cnumpy.core.multiarray\n_reconstruct\n)R(K\x01K\x02\x85" "cnumpy\ndtype\n(U\x02" "f4tR\x89U\x04" "abcdtb."),
         "an array of 2 numbers of type F32 has 4 bytes"},
        {P("\x80\x02" "cnumpy.core.multiarray\n_reconstruct\n)R(K\x01J\xff\xff\xff\xff\x85" "cnumpy\ndtype\n(U\x02" "f4tR\x89U\x04" "abcdtb."),
         "the shape of an array"},
        {P("\x80\x02" "cnumpy._core.numeric\n_frombuffer\n)R."), "has not 4 arguments"},
        {P("\x80\x02" "c_codecs\nencode\n(X\x03\0\0\0\xe2\x82\xacX\x06\0\0\0latin1tR."), "not Latin-1"},
        {P("\x80\x02}U\x02\xc3\x28Ns."), "is not UTF-8"},
        {P("\x80\x02}U\x02" "a\0Ns."), "is not UTF-8"},
        {P("\x80\x02}U\x03\xed\xa0\x80Ns."), "is not UTF-8"},
        {P("\x80\x02}U\x02\xc0\x80Ns."), "is not UTF-8"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_pickle_refused(rows[i].bytes, rows[i].size, MOCO_ERR_FORMAT, rows[i].reason);
    buffer_t endless = {0}, zip;
    put(&endless, "\x80\x02N", 3);
    zip = archive_of(&endless, 0);
    assert_refused(&zip, MOCO_ERR_FORMAT, "1 bytes wanted at byte 3, 0 follow");
    free(zip.bytes);
    free(endless.bytes);
}
END_TEST

/* Small files that ask for much. */
START_TEST(test_bombs)
{
    const uint64_t many = 3 << 20;
    uint8_t *bytes = malloc(many + 3);
    bytes[0] = 0x80, bytes[1] = 2;
    static const struct {
        char opcode;
        const char *reason;
    } floods[] = {{']', "more than 2097152 values"}, {'(', "open marks"}, {'2', "values on its stack"}};
    for (size_t i = 0; i < sizeof floods / sizeof *floods; i++) {
        memset(bytes + 2, floods[i].opcode, many);
        bytes[2] = floods[i].opcode == '2' ? 'N' : (uint8_t)floods[i].opcode;
        bytes[many + 2] = '.';
        assert_pickle_refused(bytes, many + 3, MOCO_ERR_FORMAT, floods[i].reason);
    }
    free(bytes);
    /* lists in lists: deep, and ten of ten of ten … of the same */
    buffer_t deep = {0}, wide = {0}, self = {0}, long_names = {0};
    put(&deep, "\x80\x02N", 3);
    for (int i = 0; i < 5000; i++)
        put(&deep, "\x85", 1);
    put(&deep, ".", 1);
    assert_pickle_refused(deep.bytes, deep.size, MOCO_ERR_FORMAT, "nested too deeply");
    put(&wide, "\x80\x02K\x01", 4);
    for (int i = 0; i < 12; i++)
        put(&wide, "q\0(h\0h\0h\0h\0h\0h\0h\0h\0h\0h\0t", 24);
    put(&wide, ".", 1);
    assert_pickle_refused(wide.bytes, wide.size, MOCO_ERR_FORMAT, "more than 262144 tensors or texts");
    put(&self, "\x80\x02]q\0h\0a.", 9);
    assert_pickle_refused(self.bytes, self.size, MOCO_ERR_FORMAT, "nested too deeply");
    /* a text of 4000 bytes under a hundred thousand names */
    put(&long_names, "\x80\x02X", 3);
    put_number(&long_names, 4000, 4);
    for (int i = 0; i < 4000; i++)
        put(&long_names, "a", 1);
    put(&long_names, "q\0](", 4);
    for (int i = 0; i < 100000; i++)
        put(&long_names, "h\0", 2);
    put(&long_names, "e.", 2);
    assert_pickle_refused(long_names.bytes, long_names.size, MOCO_ERR_FORMAT, "take more than");
    /* a text of 1000 bytes that is decoded again and again */
    buffer_t decoded = {0};
    put(&decoded, "\x80\x02X", 3);
    put_number(&decoded, 1000, 4);
    for (int i = 0; i < 1000; i++)
        put(&decoded, "a", 1);
    put(&decoded, "q\0](", 4);
    for (int i = 0; i < 50; i++)
        put(&decoded, "c_codecs\nencode\n(h\0X\6\0\0\0latin1tR", 32);
    put(&decoded, "e.", 2);
    assert_pickle_refused(decoded.bytes, decoded.size, MOCO_ERR_FORMAT, "more than the file has");
    free(deep.bytes), free(wide.bytes), free(self.bytes), free(long_names.bytes), free(decoded.bytes);
}
END_TEST

START_TEST(test_tensors_that_lie)
{
    static const struct {
        fixture_tensor_t t;
        const char *reason;
    } rows[] = {
        {{"t", "FloatStorage", "0", 12, 0, 2, {4, 4}, {4, 1}}, "beyond the 12 numbers"},
        {{"t", "FloatStorage", "0", 12, 1, 2, {3, 4}, {4, 1}}, "beyond the 12 numbers"},
        {{"t", "FloatStorage", "0", 12, INT64_MAX, 1, {2}, {1}}, "beyond"},
        {{"t", "FloatStorage", "0", 12, 0, 1, {2}, {INT64_MAX}}, "beyond"},
        {{"t", "FloatStorage", "0", 12, 0, 2, {3, 3}, {INT64_MAX / 2 + 1, INT64_MAX / 2 + 1}}, "beyond"},
        {{"t", "FloatStorage", "0", 12, 12, 1, {13}, {0}}, "beyond"},
        {{"t", "FloatStorage", "0", 12, 0, 2, {INT64_MAX, 3}, {1, 1}}, "overflows"},
        {{"t", "FloatStorage", "0", 12, 0, 1, {-1}, {1}}, "whole numbers"},
        {{"t", "FloatStorage", "0", 12, 0, 1, {3}, {-1}}, "whole numbers"},
        {{"t", "FloatStorage", "0", 12, -1, 1, {3}, {1}}, "no storage or offset"},
        {{"t", "FloatStorage", "0", 13, 0, 1, {3}, {1}}, "promised"},
        {{"t", "FloatStorage", "0", INT64_MAX, 0, 1, {3}, {1}}, "promised"},
        {{"t", "FloatStorage", "0", 12, 0, 2, {INT64_MAX / 2, 3}, {0, 0}}, "overflows"},
        {{"t", "FloatStorage", "0", 12, 0, 1, {INT64_MAX / 2}, {0}}, "overflows"},
        {{"t", "DoubleStorage", "0", 12, 0, 1, {3}, {1}}, ""},
        {{"t", "FloatStorage", "9", 12, 0, 1, {3}, {1}}, ""}, /* no such storage */
        {{"t", "FloatStorage", "../../../etc/passwd", 12, 0, 1, {3}, {1}}, ""},
        {{"", "FloatStorage", "0", 12, 0, 1, {3}, {1}}, "without a name"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int legacy = 0; legacy < 2; legacy++) {
            buffer_t pickle = {0};
            put(&pickle, "\x80\x02", 2);
            put_state_dict(&pickle, &rows[i].t, 1, legacy);
            put(&pickle, ".", 1);
            buffer_t file = legacy ? make_legacy(&pickle, storages, 1) : archive_of(&pickle, 0);
            assert_refused(&file, rows[i].t.name[0] == '\0' ? MOCO_ERR_UNSUPPORTED : MOCO_ERR_FORMAT, rows[i].reason);
            free(file.bytes);
            free(pickle.bytes);
        }
    fixture_tensor_t twice[] = {tensors[0], tensors[0]};
    buffer_t pickle = pickle_of(twice, 2, 0), zip = archive_of(&pickle, 0);
    assert_refused(&zip, MOCO_ERR_FORMAT, "'state_dict.plain' comes twice");
    free(zip.bytes);
    free(pickle.bytes);
}
END_TEST

/* What is neither tensor, number nor text stands in no way of what is; what has items is a
 * container, whatever its class. */
START_TEST(test_opaque_objects)
{
    for (int legacy = 0; legacy < 2; legacy++) {
        buffer_t pickle = {0};
        put(&pickle, "\x80\x02}(", 4);
        put_text(&pickle, "config");
        put(&pickle, "capp.config\nSettings\n)\x81(", 24);
        put_text(&pickle, "lr");
        put_whole(&pickle, 3);
        put(&pickle, "u}(", 3);
        put_text(&pickle, "hidden");
        put_whole(&pickle, 5);
        put(&pickle, "ub", 2);
        put_text(&pickle, "counter");
        put(&pickle, "ccollections\nCounter\n}\x85R", 24);
        put_text(&pickle, "state_dict");
        put_state_dict(&pickle, tensors, TENSORS, legacy);
        put(&pickle, "u.", 2);
        buffer_t made = legacy ? make_legacy(&pickle, storages, 2) : archive_of(&pickle, 0);
        mo_tensor_file_t file = {0};
        ck_assert_msg(mo_tensor_file_open_memory(&file, made.bytes, made.size, "made") == MOCO_OK, "%s",
                      moco_last_message());
        ck_assert_int_eq(file.count, TENSORS);
        ck_assert_str_eq(mo_tensor_file_text(&file, "config.lr"), "3");
        ck_assert_ptr_null(mo_tensor_file_text(&file, "config.hidden"));
        ck_assert_str_eq(file.opaque, "collections.Counter");
        mo_tensor_file_close(&file);
        free(made.bytes);
        free(pickle.bytes);
    }
}
END_TEST

/* One number told many times is read, as far as memory is bounded by more than a claim. */
START_TEST(test_repeated_numbers)
{
    const fixture_tensor_t rows[] = {{"few", "FloatStorage", "0", 12, 3, 2, {2, 3}, {0, 1}},
                                     {"many", "FloatStorage", "0", 12, 0, 2, {1 << 20, 1 << 20}, {0, 0}}};
    buffer_t pickle = {0};
    put(&pickle, "\x80\x02", 2);
    put_state_dict(&pickle, rows, 2, 0);
    put(&pickle, ".", 1);
    buffer_t zip = archive_of(&pickle, 0);
    mo_tensor_file_t file = {0};
    float out[6];
    uint64_t repeated = 0;
    ck_assert_int_eq(mo_tensor_file_open_memory(&file, zip.bytes, zip.size, "made"), MOCO_OK);
    const mo_file_tensor_t *few = mo_tensor_file_find(&file, "few"), *many = mo_tensor_file_find(&file, "many");
    ck_assert_int_eq(mo_file_floats(few, out, 6), MOCO_OK);
    for (int i = 0; i < 6; i++)
        ck_assert_float_eq(out[i], (float)(3 + i % 3));
    ck_assert_uint_eq(mo_file_stored(few), 3);
    ck_assert_int_eq(mo_file_repeats(few, &repeated), MOCO_OK);
    ck_assert_uint_eq(repeated, 24);
    ck_assert_int_eq(mo_file_repeats(many, &repeated), MOCO_ERR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "'many'"));
    repeated = mo_source_size(few->source) + (1 << 26) - 24; /* many tensors over the same bytes */
    ck_assert_int_eq(mo_file_repeats(few, &repeated), MOCO_OK);
    ck_assert_int_eq(mo_file_repeats(few, &repeated), MOCO_ERR_UNSUPPORTED);
    mo_tensor_file_close(&file);
    free(zip.bytes);
    free(pickle.bytes);
}
END_TEST

/* Wrappers leave no trace in names, unless the bare names are there too. */
START_TEST(test_wrapped_names)
{
    const fixture_tensor_t rows[] = {{"_orig_mod.a._orig_mod.b", "FloatStorage", "0", 12, 0, 1, {2}, {1}},
                                     {"x_orig_mod.a", "FloatStorage", "0", 12, 0, 1, {2}, {1}},
                                     {"a.b", "FloatStorage", "0", 12, 0, 1, {2}, {1}}};
    for (int count = 2; count <= 3; count++) {
        buffer_t pickle = {0};
        put(&pickle, "\x80\x02", 2);
        put_state_dict(&pickle, rows, count, 0);
        put(&pickle, ".", 1);
        buffer_t zip = archive_of(&pickle, 0);
        mo_tensor_file_t file = {0};
        ck_assert_int_eq(mo_tensor_file_open_memory(&file, zip.bytes, zip.size, "made"), MOCO_OK);
        ck_assert_ptr_nonnull(mo_tensor_file_find(&file, count == 2 ? "a.b" : "_orig_mod.a._orig_mod.b"));
        ck_assert_ptr_nonnull(mo_tensor_file_find(&file, "x_orig_mod.a"));
        mo_tensor_file_close(&file);
        free(zip.bytes);
        free(pickle.bytes);
    }
}
END_TEST

/* ---- archives ---- */

static void patch(buffer_t *b, const char *signature, int nth, uint64_t at, uint64_t value, int width)
{
    uint8_t *found = b->bytes;
    for (int i = 0; i <= nth; i++, found += 4)
        found = memmem(found, b->size - (uint64_t)(found - b->bytes), signature, 4);
    memcpy(found - 4 + at, &value, (size_t)width);
}

/* The folder of an archive has a name of any length that leaves room for its members. */
START_TEST(test_long_folders)
{
    static const int lengths[] = {1, 511, 512, 1023, 2000}; /* with the slash; from 512 on there is none */
    buffer_t pickle = pickle_of(tensors, 1, 0);
    for (int i = 0; i < 5; i++) {
        char folder[2000], names[2][2016];
        memset(folder, 'f', sizeof folder);
        for (int k = 0; k < 2; k++)
            snprintf(names[k], sizeof names[k], "%.*s/%s", lengths[i] - 1, folder, k == 0 ? "data.pkl" : "data/0");
        const fixture_member_t members[] = {{names[0], pickle.bytes, pickle.size}, {names[1], numbers, 48}};
        buffer_t zip = make_zip(members, 2, 0);
        mo_tensor_file_t file = {0};
        if (i == 1) {
            ck_assert_int_eq(mo_tensor_file_open_memory(&file, zip.bytes, zip.size, "made"), MOCO_OK);
            mo_tensor_file_close(&file);
        } else if (i > 1) {
            assert_refused(&zip, MOCO_ERR_FORMAT, "0 members NAME/data.pkl");
        }
        free(zip.bytes);
    }
    free(pickle.bytes);
}
END_TEST

START_TEST(test_archives)
{
    static const struct {
        int flags;
        const char *signature;
        int nth, at, width;
        uint64_t value;
        moco_status_t status;
        const char *reason;
    } rows[] = {
        {0, "PK\1\2", 1, 10, 2, 8, MOCO_ERR_UNSUPPORTED, "member 'x/data/0' is compressed (method 8)"},
        {0, "PK\1\2", 1, 8, 2, 1, MOCO_ERR_UNSUPPORTED, "member 'x/data/0' is compressed (method 0) or encrypted"},
        {0, "PK\1\2", 1, 20, 4, 47, MOCO_ERR_UNSUPPORTED, "is compressed"},
        {0, "PK\1\2", 0, 42, 4, 1, MOCO_ERR_FORMAT, "not where its directory says"},
        {0, "PK\1\2", 0, 42, 4, 0xfffffff0, MOCO_ERR_FORMAT, "not where its directory says"},
        {0, "PK\1\2", 0, 28, 2, 60000, MOCO_ERR_FORMAT, "its directory ends early"},
        {0, "PK\1\2", 0, 28, 2, 9, MOCO_ERR_FORMAT, ""},
        {0, "PK\1\2", 2, 0, 4, 0, MOCO_ERR_FORMAT, "its directory ends early"},
        {0, "PK\3\4", 1, 26, 2, 7, MOCO_ERR_FORMAT, "two names"},
        {0, "PK\3\4", 3, 28, 2, 65535, MOCO_ERR_FORMAT, "longer than the file"},
        {0, "PK\5\6", 0, 0, 4, 0, MOCO_ERR_FORMAT, "its end is missing"},
        {0, "PK\5\6", 0, 20, 2, 1, MOCO_ERR_FORMAT, "its end is missing"},
        {0, "PK\5\6", 0, 12, 4, 0xfffff, MOCO_ERR_FORMAT, "larger than the file"},
        {0, "PK\5\6", 0, 16, 4, 0xfffff, MOCO_ERR_FORMAT, "larger than the file"},
        {0, "PK\5\6", 0, 10, 2, 0xfffe, MOCO_ERR_FORMAT, "larger than the file"},
        {0, "PK\5\6", 0, 10, 2, 0xffff, MOCO_ERR_FORMAT, "64-bit end is missing"},
        {0, "PK\5\6", 0, 10, 2, 0, MOCO_ERR_FORMAT, "0 members NAME/data.pkl"},
        {1, "PK\6\7", 0, 0, 4, 0, MOCO_ERR_FORMAT, "64-bit end is missing"},
        {1, "PK\6\7", 0, 8, 8, UINT64_MAX, MOCO_ERR_FORMAT, "64-bit end is not where"},
        {1, "PK\6\7", 0, 8, 8, UINT64_MAX - 55, MOCO_ERR_FORMAT, "64-bit end is not where"},
        {1, "PK\6\6", 0, 48, 8, UINT64_MAX - 1, MOCO_ERR_FORMAT, "larger than the file"},
        {1, "PK\6\6", 0, 32, 8, UINT64_MAX, MOCO_ERR_FORMAT, "larger than the file"},
        {1, "PK\1\2", 0, 46 + 10 + 2, 2, 20, MOCO_ERR_FORMAT, "extra field"},
        {1, "PK\1\2", 0, 46 + 10 + 4, 8, UINT64_MAX, MOCO_ERR_UNSUPPORTED, "is compressed"},
        {1, "PK\1\2", 0, 46 + 10 + 20, 8, UINT64_MAX - 3, MOCO_ERR_FORMAT, "not where its directory says"},
    };
    buffer_t pickle = pickle_of(tensors, TENSORS, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buffer_t zip = archive_of(&pickle, rows[i].flags);
        patch(&zip, rows[i].signature, rows[i].nth, (uint64_t)rows[i].at, rows[i].value, rows[i].width);
        assert_refused(&zip, rows[i].status, rows[i].reason);
        free(zip.bytes);
    }
    free(pickle.bytes);
}
END_TEST

START_TEST(test_members)
{
    buffer_t pickle = pickle_of(tensors, TENSORS, 0);
    const fixture_member_t data = {"x/data.pkl", pickle.bytes, pickle.size}, first = {"x/data/0", numbers, 48},
                           second = {"x/data/1", count7, 8};
    static const struct {
        fixture_member_t more[2];
        int left_out; /* of data, first, second */
        moco_status_t status;
        const char *reason;
    } rows[] = {
        {{{"x/constants.pkl", "N.", 2}}, -1, MOCO_ERR_UNSUPPORTED, "is TorchScript"},
        {{{"x/byteorder", "big", 3}}, -1, MOCO_ERR_UNSUPPORTED, "byte order"},
        {{{"x/byteorder", "little", 6}}, -1, MOCO_OK, ""},
        {{{"y/data.pkl", "N.", 2}}, -1, MOCO_ERR_FORMAT, "2 members"},
        {{{"x/version", "3", 1}, {"x/version", "3", 1}}, -1, MOCO_ERR_FORMAT, "'x/version' comes twice"},
        {{{"z", "", 0}}, 0, MOCO_ERR_FORMAT, "0 members"},
        {{{"data.pkl", "N.", 2}}, 0, MOCO_ERR_FORMAT, "0 members"},
        {{{"z", "", 0}}, 1, MOCO_ERR_FORMAT, "no member data/0"},
        {{{"x/data/0", numbers, 44}}, 1, MOCO_ERR_FORMAT, "has 44 bytes, 12 numbers of type F32"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const fixture_member_t usual[3] = {data, first, second};
        fixture_member_t list[5];
        int count = 0;
        for (int k = 0; k < 3; k++)
            if (k != rows[i].left_out)
                list[count++] = usual[k];
        for (int k = 0; k < 2 && rows[i].more[k].name != NULL; k++)
            list[count++] = rows[i].more[k];
        buffer_t zip = make_zip(list, count, 0);
        if (rows[i].status == MOCO_OK)
            assert_contents(&zip, MO_TORCH_ZIP);
        else
            assert_refused(&zip, rows[i].status, rows[i].reason);
        free(zip.bytes);
    }
    free(pickle.bytes);
}
END_TEST

/* Each prefix of a file is refused; so is each allocation's failure, without a leak. */
START_TEST(test_cut_short)
{
    buffer_t pickles[2] = {pickle_of(tensors, TENSORS, 0), pickle_of(tensors, TENSORS, 1)};
    buffer_t files[2] = {archive_of(&pickles[0], 0), make_legacy(&pickles[1], storages, 2)};
    for (int i = 0; i < 2; i++) {
        for (uint64_t size = 0; size < files[i].size; size++) {
            mo_tensor_file_t file = {0};
            uint8_t *exact = malloc(size + 1);
            memcpy(exact, files[i].bytes, size);
            exact = realloc(exact, size > 0 ? size : 1);
            ck_assert_int_eq(mo_tensor_file_open_memory(&file, exact, size, "made"), MOCO_ERR_FORMAT);
            free(exact);
        }
        for (long n = 0;; n++) {
            mo_tensor_file_t file = {0};
            mo_fault_arm(MO_FAULT_ALLOC, n);
            moco_status_t status = mo_tensor_file_open_memory(&file, files[i].bytes, files[i].size, "made");
            mo_fault_arm(MO_FAULT_ALLOC, -1);
            mo_tensor_file_close(&file);
            if (status == MOCO_OK) {
                ck_assert_int_gt(n, 20);
                break;
            }
            ck_assert_int_eq(status, MOCO_ERR_MEMORY);
        }
        free(files[i].bytes);
        free(pickles[i].bytes);
    }
}
END_TEST

START_TEST(test_legacy_parts)
{
    buffer_t pickle = pickle_of(tensors, TENSORS, 1);
    const fixture_storage_t twice[] = {storages[0], storages[0], storages[1]}, fewer[] = {storages[1]},
                            shorter[] = {{"0", numbers, 11, 44}, storages[1]},
                            stranger[] = {storages[0], storages[1], {"2", numbers, 1, 4}};
    buffer_t files[] = {make_legacy(&pickle, twice, 3),    make_legacy(&pickle, fewer, 1),
                        make_legacy(&pickle, shorter, 2),  make_legacy(&pickle, stranger, 3),
                        make_legacy(&pickle, storages, 2), make_legacy(&pickle, storages, 2),
                        make_legacy(&pickle, storages, 2)};
    static const struct {
        moco_status_t status;
        const char *reason;
        /* clang-format off */
    } wanted[] = {
        {MOCO_ERR_FORMAT, "comes twice"},           {MOCO_ERR_FORMAT, "numbers of a tensor are missing"},
        {MOCO_ERR_FORMAT, "has 11 numbers, 12"},    {MOCO_ERR_FORMAT, "belongs to no tensor"},
        {MOCO_ERR_FORMAT, "magic number"},          {MOCO_ERR_UNSUPPORTED, "protocol of torch.save"},
        {MOCO_ERR_UNSUPPORTED, "not little-endian"},
    };
    /* clang-format on */
    files[4].bytes[5] ^= 1;
    files[5].bytes[18] ^= 1;
    *(uint8_t *)memchr(files[6].bytes, 0x88, files[6].size) = 0x89;
    for (int i = 0; i < 7; i++) {
        assert_refused(&files[i], wanted[i].status, wanted[i].reason);
        free(files[i].bytes);
    }
    free(pickle.bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("torch_file");
    TCase *tc = tcase_create("torch_file");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test_both_containers);
    tcase_add_test(tc, test_types);
    tcase_add_test(tc, test_checksums);
    tcase_add_test(tc, test_types_that_are_passed_over);
    tcase_add_test(tc, test_seldom_pickles);
    tcase_add_test(tc, test_long_folders);
    tcase_add_test(tc, test_programs);
    tcase_add_test(tc, test_names_that_are_carried);
    tcase_add_test(tc, test_damaged_pickles);
    tcase_add_test(tc, test_bombs);
    tcase_add_test(tc, test_tensors_that_lie);
    tcase_add_test(tc, test_opaque_objects);
    tcase_add_test(tc, test_repeated_numbers);
    tcase_add_test(tc, test_wrapped_names);
    tcase_add_test(tc, test_archives);
    tcase_add_test(tc, test_members);
    tcase_add_test(tc, test_cut_short);
    tcase_add_test(tc, test_legacy_parts);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
