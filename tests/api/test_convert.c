/* moco_convert and moco_file_info as a host meets them: arguments, hosts of other releases, this
 * library's own files. The files of other programs are in tests/parity/test_foreign.py. */
#include "draw.h" /* first: it asks for the system's extensions */

#include <stddef.h>

#include "api.h"

static scratch_t scratch;
static char report[65536];

static void set_up(void)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_model_t *model = NULL;
    scratch = scratch_make();
    tiny_options(&options);
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "checkpoint")));
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &model));
    expect_ok(moco_model_save(model, in_scratch(&scratch, "model")));
    moco_model_free(model);
    moco_trainer_free(trainer);
}

static void tear_down(void)
{
    scratch_drop(&scratch);
}

static moco_convert_options_t defaults(void)
{
    moco_convert_options_t o;
    expect_ok(moco_convert_options_init(&o, sizeof o));
    return o;
}

static moco_status_t convert(const char *from, const moco_convert_options_t *o)
{
    return moco_convert(in_scratch(&scratch, from), in_scratch(&scratch, "out"), o, report, sizeof report, NULL);
}

START_TEST(arguments)
{
    const moco_status_t bad = MOCO_ERR_ARGUMENT;
    const char *in = "checkpoint", *path = in_scratch(&scratch, "checkpoint");
    moco_trainer_options_t training;
    moco_convert_options_t o = defaults();
    uint64_t needed;
    ck_assert(o.to == MOCO_FILE_ENCODER && o.encoder == 0 && o.head == 0 && o.key_update == 1 && o.std_r == 0);
    tiny_options(&training);
    expect_status(bad, moco_convert_options_init(NULL, sizeof o));
    expect_status(bad, moco_convert(NULL, "x", NULL, NULL, 0, NULL));
    expect_status(bad, moco_convert(path, NULL, NULL, NULL, 0, NULL));
    expect_status(bad, moco_convert(path, "x", NULL, NULL, sizeof report, NULL));
    o.training = &training; /* of a run, for an encoder */
    expect_status(bad, convert(in, &o));
    expect_status(bad, moco_file_info(NULL, NULL, 0, &needed));
    expect_status(bad, moco_file_info(path, NULL, 0, NULL));
#define REFUSED(field, value)                \
    do {                                     \
        o = defaults();                      \
        o.field = value;                     \
        expect_status(bad, convert(in, &o)); \
    } while (0)
    REFUSED(to, 5);
    REFUSED(to, -1);
    REFUSED(encoder, 2);
    REFUSED(head, 3);
    REFUSED(key_update, 2);
    REFUSED(vit_heads, -1);
    REFUSED(reserved, 1);
    REFUSED(image_size, 15);
    REFUSED(image_size, 1025);
    REFUSED(eval_resize, -1);
    REFUSED(eval_resize, 4097);
    REFUSED(std_g, 0.5); /* alone */
    REFUSED(std_r, -1);
    REFUSED(std_r, 0.0 / 0.0);
    o = defaults();
    o.image_size = 64, o.eval_resize = 63;
    expect_status(bad, convert(in, &o));
    o = defaults();
    o.to = MOCO_FILE_TRAINING, o.image_size = 64;
    expect_status(bad, convert(in, &o));
    o.image_size = 0, o.head = MOCO_CONVERT_HEAD_DROP;
    expect_status(bad, convert(in, &o));
    ck_assert_int_ne(access(in_scratch(&scratch, "out"), F_OK), 0);
}
END_TEST

START_TEST(other_releases)
{
    union {
        moco_convert_options_t options;
        uint8_t bytes[200];
    } host;
    memset(&host, 0x5a, sizeof host);
    expect_ok(moco_convert_options_init(&host.options, 76)); /* older: knows half of the integers */
    ck_assert_int_eq(host.bytes[76], 0x5a);
    host.options.to = MOCO_FILE_TIMM;
    expect_ok(convert("model", &host.options));
    expect_ok(moco_convert_options_init(&host.options, sizeof host)); /* newer */
    expect_ok(convert("model", &host.options));
    host.bytes[sizeof host.options] = 1;
    expect_status(MOCO_ERR_VERSION, convert("model", &host.options));
    ck_assert_uint_eq(sizeof(moco_convert_options_t), 112);
    ck_assert_uint_eq(offsetof(moco_convert_options_t, to), 72);
    ck_assert_uint_eq(offsetof(moco_convert_options_t, key_update), 92);
}
END_TEST

static void expect_in_report(const char *text)
{
    ck_assert_msg(strstr(report, text) != NULL, "'%s' does not say %s", report, text);
}

START_TEST(own_files)
{
    moco_convert_options_t o = defaults();
    moco_model_t *model = NULL;
    expect_ok(convert("checkpoint", NULL));
    expect_in_report("\"layout\":\"libmoco\"");
    expect_in_report("\"encoder\":\"encoder_q.\"");
    expect_in_report("\"arch\":\"resnet18\"");
    expect_ok(moco_model_load(in_scratch(&scratch, "out"), NULL, NULL, &model));
    moco_model_free(model);
    o.encoder = MOCO_ENCODER_KEY;
    expect_ok(convert("checkpoint", &o));
    expect_in_report("\"encoder\":\"encoder_k.\"");
    expect_status(MOCO_ERR_MISMATCH, convert("model", &o)); /* has no key encoder */
    o = defaults();
    o.to = MOCO_FILE_TRAINING;
    expect_status(MOCO_ERR_MISMATCH, convert("checkpoint", &o));
    o.to = MOCO_FILE_TORCHVISION;
    expect_ok(convert("model", &o));
    expect_ok(moco_model_load(in_scratch(&scratch, "out"), NULL, NULL, &model)); /* now a foreign file */
    ck_assert_int_eq(moco_model_dimension(model, MOCO_TAP_PROJECTION), 0);
    expect_ok(moco_model_info(model, report, sizeof report, NULL));
    expect_in_report("\"source\":{");
    expect_in_report("\"layout\":\"plain\"");
    moco_model_free(model);
    expect_ok(moco_file_info(in_scratch(&scratch, "out"), report, sizeof report, NULL));
    expect_in_report("\"container\":\"safetensors\"");
    expect_in_report("\"kind\":null");
    expect_ok(moco_file_info(in_scratch(&scratch, "checkpoint"), report, sizeof report, NULL));
    expect_in_report("\"kind\":\"checkpoint\"");
}
END_TEST

/* ViTs have timm's names; layouts of ResNets refuse them, and leave the output as it was. */
START_TEST(transformers)
{
    static const int32_t resnets[] = {MOCO_FILE_TORCHVISION, MOCO_FILE_DETECTRON2};
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_convert_options_t o = defaults();
    moco_model_t *model = NULL;
    expect_ok(moco_trainer_options_init(&options, sizeof options, MOCO_RECIPE_V3_VIT, MOCO_ARCH_RECIPE));
    options.width = 0.125;
    options.image_size = 32;
    options.patch_size = 8;
    options.vit_depth = 2;
    options.vit_heads = 4;
    options.batch_size = 4;
    options.head_width = options.dimension = 16;
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "vit")));
    moco_trainer_free(trainer);
    for (int i = 0; i < 2; i++) {
        o.to = resnets[i];
        expect_status(MOCO_ERR_UNSUPPORTED, convert("vit", &o));
        ck_assert_msg(strstr(moco_last_message(), "a ViT (vit_small); wanted timm") != NULL, "%s", moco_last_message());
        ck_assert_int_ne(access(in_scratch(&scratch, "out"), F_OK), 0);
    }
    o.to = MOCO_FILE_TIMM;
    expect_ok(convert("vit", &o));
    expect_in_report("\"names\":\"timm\"");
    expect_ok(moco_file_info(in_scratch(&scratch, "out"), report, sizeof report, NULL));
    expect_in_report("\"names\":\"timm\"");
    expect_ok(moco_model_load(in_scratch(&scratch, "out"), NULL, NULL, &model));
    expect_ok(moco_model_info(model, report, sizeof report, NULL));
    expect_in_report("\"names\":\"timm\"");
    moco_model_free(model);
    expect_ok(convert("checkpoint", &o)); /* timm's ResNets have torchvision's */
    expect_in_report("\"names\":\"torchvision\"");
}
END_TEST

/* What was not taken of a checkpoint is told by what it begins with, as of other programs'
 * files. */
START_TEST(own_reports)
{
    moco_convert_options_t o = defaults();
    expect_ok(convert("checkpoint", &o));
    expect_in_report("\"ignored\":{\"encoder_k.*\":122,\"optimizer.*\":62,\"queue\":1,\"queue_ptr\":1}");
    expect_in_report("\"missing\":[]");
    expect_in_report("\"taken\":122");
    o.encoder = MOCO_ENCODER_KEY;
    expect_ok(convert("checkpoint", &o));
    expect_in_report("\"ignored\":{\"encoder_q.*\":122,");
    o.head = MOCO_CONVERT_HEAD_DROP;
    expect_ok(convert("checkpoint", &o));
    expect_in_report("\"ignored\":{\"encoder_k.*\":2,\"encoder_q.*\":122,");
    expect_ok(convert("model", NULL));
    expect_in_report("\"ignored\":{}");
}
END_TEST

/* What stood at the output before a failing call still stands there. */
START_TEST(failures_keep_the_output)
{
    size_t size;
    expect_ok(convert("model", NULL));
    uint8_t *before = read_file(in_scratch(&scratch, "out"), &size), *after;
    size_t now;
    write_file(scratch.path, "garbage", (const uint8_t *)"\x80\x02garbage.", 10);
    expect_status(MOCO_ERR_FORMAT, convert("garbage", NULL));
    expect_status(MOCO_ERR_IO, convert("absent", NULL));
    write_file(scratch.path, "garbage", (const uint8_t *)"PK\3\4garbage", 11);
    expect_status(MOCO_ERR_FORMAT, convert("garbage", NULL));
    uint64_t needed;
    expect_status(MOCO_ERR_FORMAT, moco_file_info(in_scratch(&scratch, "garbage"), NULL, 0, &needed));
    after = read_file(in_scratch(&scratch, "out"), &now);
    ck_assert(now == size && memcmp(before, after, size) == 0);
    free(before);
    free(after);
    const char *in = in_scratch(&scratch, "model");
    expect_status(MOCO_ERR_IO, moco_convert(in, in_scratch(&scratch, "no/such/folder"), NULL, NULL, 0, NULL));
    expect_status(MOCO_ERR_EXISTS, moco_convert(in, in, NULL, NULL, 0, NULL)); /* over itself */
    moco_model_t *model = NULL;
    expect_ok(moco_model_load(in, NULL, NULL, &model));
    moco_model_free(model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("convert");
    TCase *tcase = tcase_create("convert");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 100);
    tcase_add_test(tcase, arguments);
    tcase_add_test(tcase, other_releases);
    tcase_add_test(tcase, own_files);
    tcase_add_test(tcase, transformers);
    tcase_add_test(tcase, own_reports);
    tcase_add_test(tcase, failures_keep_the_output);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
