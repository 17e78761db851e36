/* The fields of the options of loading a model, of embedding, and of converting files. */
#include <stddef.h>

#include "eval/convert.h"
#include "eval/loaded.h"
#include "eval/model.h"
#include "util/names.h"
#include "util/status.h"

#define NAMES(list) MO_OPTION_NAMES(list), ""
#define I32 MO_OPTION_I32
#define ENUM MO_OPTION_ENUM
#define F64 MO_OPTION_F64
#define POINTER MO_OPTION_POINTER
#define OR_ZERO MO_OPTION_OR_ZERO

static const char *const encoder_names[] = {"query", "key"};
static const char *const file_names[] = {"encoder", "training", "torchvision", "timm", "detectron2"};
static const char *const head_names[] = {"auto", "keep", "drop"};
static const char *const tap_names[] = {"backbone", "projection"};
static const char *const layout_names[] = {"nchw", "nhwc"};

/* Rows of several structs. */
/* clang-format off */
#define CANCEL {AT(cancel), POINTER, 0, 0, 0, 0, NULL, "", "stops the call from another thread"}
#define MEAN(c, colour) {AT(mean_##c), F64, 0, -1e3, 1e3, 0, NULL, "", "subtracted from " colour " in 0..1"}
#define STD(c, colour)  {AT(std_##c), F64, 0, 1e-6, 1e6, OR_ZERO, NULL, "", "divides " colour "; all 0 = the file's"}
#define TRANSFORM                                                                                               \
    MEAN(r, "red"), MEAN(g, "green"), MEAN(b, "blue"), STD(r, "red"), STD(g, "green"), STD(b, "blue")
#define ENCODER     {AT(encoder), ENUM, MOCO_ENCODER_QUERY, NAMES(encoder_names), "of a training checkpoint"}
#define IMAGE_SIZE  {AT(image_size), I32, 0, 16, 1024, OR_ZERO, NULL, "pixels", "side of the input; 0 = the file's"}
#define EVAL_RESIZE {AT(eval_resize), I32, 0, 1, 4096, OR_ZERO, NULL, "pixels", "before the crop; 0 = the file's"}
#define VIT_HEADS   {AT(vit_heads), I32, 0, 0, 1024, 0, NULL, "", "attention heads of a ViT; 0 = the file's, or usual"}
#define PREFIX      {AT(prefix), POINTER, 0, 0, 0, 0, NULL, "", "of an encoder's tensors, such as student.backbone"}
#define RESERVED    {AT(reserved), I32, 0, 0, 0, 0, NULL, "", "0"}
/* clang-format on */

#define AT(field) MO_OPTION_AT(moco_model_options_t, field)
static const mo_option_row_t model_rows[] = {
    TRANSFORM,
    ENCODER,
    {AT(drop_head), I32, 0, 0, 1, 0, NULL, "", "1: the backbone alone; 0: with the projection head, if there is one"},
    IMAGE_SIZE,
    EVAL_RESIZE,
    VIT_HEADS,
    {AT(precision), ENUM, MOCO_PRECISION_FLOAT32, NAMES(mo_precision_names), "of products in the backbone"},
    {AT(memory_cap), MO_OPTION_I64, 0, 0, 0x1p60, 0, NULL, "bytes",
     "what a model may take; 0 = what the machine has left"},
    PREFIX,
};
#undef AT

#define AT(field) MO_OPTION_AT(moco_embed_options_t, field)
static const mo_option_row_t embed_rows[] = {
    CANCEL,
    {AT(failed), POINTER, 0, 0, 0, 0, NULL, "", "is told of each image that could not be used"},
    {AT(progress), POINTER, 0, 0, 0, 0, NULL, "", "is told how far moco_model_embed_to_npy is"},
    {AT(user), POINTER, 0, 0, 0, 0, NULL, "", "handed to failed and progress"},
    {AT(statuses), POINTER, 0, 0, 0, 0, NULL, "", "receives the status of each image"},
    {AT(tap), ENUM, MOCO_TAP_BACKBONE, NAMES(tap_names), "where the embedding is taken"},
    {AT(layout), ENUM, MOCO_LAYOUT_NCHW, NAMES(layout_names), "of float images"},
    {AT(loader_threads), I32, 0, 0, 256, 0, NULL, "", "decoding threads of a data set; 0 = one per lane"},
    RESERVED,
};
#undef AT

#define AT(field) MO_OPTION_AT(moco_convert_options_t, field)
static const mo_option_row_t convert_rows[] = {
    CANCEL,
    {AT(training), POINTER, 0, 0, 0, 0, NULL, "", "options of the run, for to = training"},
    TRANSFORM,
    {AT(to), ENUM, MOCO_FILE_ENCODER, NAMES(file_names), "what is written"},
    ENCODER,
    {AT(head), ENUM, MOCO_CONVERT_HEAD_AUTO, NAMES(head_names), "of the encoder; auto: kept in to = encoder alone"},
    IMAGE_SIZE,
    EVAL_RESIZE,
    {AT(key_update), I32, 1, 0, 1, 0, NULL, "", "training: 1 applies the key-momentum update that the reference owes"},
    VIT_HEADS,
    RESERVED,
    PREFIX,
};
#undef AT

/* What the ranges leave open of an evaluation transform. */
static moco_status_t check_transform(const double std[3], int32_t image_size, int32_t eval_resize)
{
    const int given = (std[0] != 0) + (std[1] != 0) + (std[2] != 0);
    if (given != 0 && given != 3)
        return mo_fail(MOCO_ERR_ARGUMENT, "std is %g, %g and %g, wanted all three or every one 0", std[0], std[1],
                       std[2]);
    return eval_resize == 0 ? MOCO_OK : mo_option_at_least("eval_resize", eval_resize, "image_size", image_size);
}

static moco_status_t model_agree(const void *options)
{
    const moco_model_options_t *o = options;
    const double std[3] = {o->std_r, o->std_g, o->std_b};
    return check_transform(std, o->image_size, o->eval_resize);
}

/* A training checkpoint has all of a run, and a run's options say the rest. */
static moco_status_t check_training(const moco_convert_options_t *o)
{
    if (o->encoder != MOCO_ENCODER_QUERY || o->head == MOCO_CONVERT_HEAD_DROP)
        return mo_fail(MOCO_ERR_ARGUMENT,
                       "a training checkpoint has both encoders and their heads: encoder is %s and head %s, wanted "
                       "query and not drop",
                       encoder_names[o->encoder], head_names[o->head]);
    if (o->std_r != 0 || o->std_g != 0 || o->std_b != 0 || o->image_size != 0 || o->eval_resize != 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "a training checkpoint's image size and transform are those of 'training'");
    return MOCO_OK;
}

static moco_status_t convert_agree(const void *options)
{
    const moco_convert_options_t *o = options;
    const double std[3] = {o->std_r, o->std_g, o->std_b};
    const moco_status_t status = check_transform(std, o->image_size, o->eval_resize);
    if (status != MOCO_OK)
        return status;
    if (o->to == MOCO_FILE_TRAINING)
        return check_training(o);
    return o->training == NULL
               ? MOCO_OK
               : mo_fail(MOCO_ERR_ARGUMENT, "'training' is for to = training alone, to is %s", file_names[o->to]);
}

#define TRANSFORM_AGREES \
    "`std_r`, `std_g` and `std_b` are all given or all 0; `eval_resize` is 0 or at least `image_size`"

const mo_option_table_t mo_model_options = {
    .name = "moco_model_options",
    .size = sizeof(moco_model_options_t),
    MO_OPTION_ROWS(model_rows),
    .agree = model_agree,
    .agreement = TRANSFORM_AGREES ".",
};

const mo_option_table_t mo_embed_options = {
    .name = "moco_embed_options",
    .size = sizeof(moco_embed_options_t),
    MO_OPTION_ROWS(embed_rows),
    .agreement = "",
};

const mo_option_table_t mo_convert_options = {
    .name = "moco_convert_options",
    .size = sizeof(moco_convert_options_t),
    MO_OPTION_ROWS(convert_rows),
    .agree = convert_agree,
    .agreement = TRANSFORM_AGREES ";\n`to` training wants `encoder` query, `head` not drop, and image size and\n"
                                  "transform 0; `training` is NULL for all others.",
};
