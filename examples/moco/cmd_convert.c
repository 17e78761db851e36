/* moco convert: checkpoints of other programs to models and training checkpoints of this one, and
 * encoders to other programs' names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "output.h"
#include "outputs.h"
#include "settings.h"

typedef struct convert_options {
    const char *paths[2]; /* IN, OUT */
    int to, encoder, head, no_key_update, json;
    int64_t size, resize;
    model_file_t file;
    const char *mean, *std, *recipe;
    arg_settings_t settings;
} convert_options_t;

static const char notes[] =
    "IN is a checkpoint of this library or of another program (safetensors, torch.save's .pth and .pth.tar, or a "
    "pickle\n"
    "of NumPy arrays): MoCo v1, v2, v3, the CIFAR demonstration, torchvision, timm, detectron2, under any prefix. OUT "
    "is\n"
    "always safetensors. --to training makes a RUN/checkpoint.safetensors for `moco train --resume` out of one of "
    "MoCo\n"
    "v1, v2, v3 or the demonstration: network and queue length are the file's, everything else the recipe's. Out of a\n"
    "model of this library it makes the begin of a new run. Nothing in a file is ever executed.";

static int parse(int argc, char **argv, convert_options_t *options)
{
    const arg_option_t table[] = {
        {"to", 0, ARG_CHOICE, &options->to, "encoder|training|torchvision|timm|detectron2",
         "what OUT is (default encoder)", 0, 0, NULL},
        {"encoder", 0, ARG_CHOICE, &options->encoder, "query|key", "which encoder of IN (default query)", 0, 0, NULL},
        {"head", 0, ARG_CHOICE, &options->head, "auto|keep|drop",
         "the projection head; auto drops it for other programs", 0, 0, NULL},
        {"size", 0, ARG_INTEGER, &options->size, "PIXELS", "side of the input (default: as published)", 16, 1024, NULL},
        {"resize", 0, ARG_INTEGER, &options->resize, "PIXELS", "short side before the crop", 16, 4096, NULL},
        {"mean", 0, ARG_TEXT, &options->mean, "R,G,B", "subtracted from pixels in 0..1; with --std", 0, 0, NULL},
        {"std", 0, ARG_TEXT, &options->std, "R,G,B", "divides them", 0, 0, NULL},
        MODEL_FILE_OPTIONS(options->file),
        {"recipe", 0, ARG_TEXT, &options->recipe, "NAME",
         "--to training: recipe of the run (default: as the file looks)", 0, 0, NULL},
        {"set", 0, ARG_SETTING, &options->settings, "name=value", "--to training: a trainer option, over the recipe", 0,
         0, NULL},
        {"no-key-update", 0, ARG_FLAG, &options->no_key_update, NULL,
         "--to training: leave the key encoder as IN has it", 0, 0, NULL},
        {"json", 0, ARG_FLAG, &options->json, NULL, "the report as a JSON object on stdout", 0, 0, NULL},
        {NULL, 0, ARG_FLAG, NULL, NULL, NULL, 0, 0, NULL},
    };
    const arg_command_t command = {
        "convert", "Read and write the checkpoints of other programs.", "IN OUT", 2, 2, table, notes};
    int code;

    options->size = options->resize = ARG_ABSENT;
    code = args_parse(&command, argc, argv, options->paths);
    if (code != ARG_GO_ON)
        return code;
    if ((options->mean == NULL) != (options->std == NULL)) {
        fputs("moco convert: --mean and --std come together\ntry: moco convert --help\n", stderr);
        return EXIT_USAGE;
    }
    if (options->settings.count > 0 && options->recipe == NULL && options->to != MOCO_FILE_TRAINING) {
        fputs("moco convert: --set changes the --recipe of --to training\ntry: moco convert --help\n", stderr);
        return EXIT_USAGE;
    }
    return ARG_GO_ON;
}

/* "0.5,0.5,0.5"; EXIT_USAGE with a message if it is something else. */
static int triple(const char *name, const char *text, double *r, double *g, double *b)
{
    double *const values[3] = {r, g, b};
    const char *at = text;
    char *end = NULL;

    for (int i = 0; i < 3; i++) {
        *values[i] = strtod(at, &end);
        if (end == at || *end != (i < 2 ? ',' : '\0')) {
            fprintf(stderr, "moco convert: --%s: '%s' is not three numbers such as 0.5,0.5,0.5\n", name, text);
            return EXIT_USAGE;
        }
        at = end + 1;
    }
    return EXIT_DONE;
}

static int library_options(const convert_options_t *options, moco_convert_options_t *out)
{
    const moco_status_t status = moco_convert_options_init(out, sizeof *out);

    if (status != MOCO_OK)
        return finish(status, NULL);
    out->cancel = signals_cancel();
    out->to = options->to;
    out->encoder = options->encoder;
    out->head = options->head;
    out->key_update = !options->no_key_update;
    out->prefix = options->file.prefix;
    out->vit_heads = (int32_t)options->file.vit_heads;
    out->image_size = options->size != ARG_ABSENT ? (int32_t)options->size : 0;
    out->eval_resize = options->resize != ARG_ABSENT ? (int32_t)options->resize : 0;
    if (options->mean != NULL &&
        (triple("mean", options->mean, &out->mean_r, &out->mean_g, &out->mean_b) != EXIT_DONE ||
         triple("std", options->std, &out->std_r, &out->std_g, &out->std_b) != EXIT_DONE))
        return EXIT_USAGE;
    return EXIT_DONE;
}

static int set_member(moco_trainer_options_t *training, const char *name, const json_t *value)
{
    char text[64];

    if (json_is_integer(value))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(text, sizeof text, "%.17g", json_real_value(value));
    return finish(moco_trainer_options_set(training, name, json_is_string(value) ? json_string_value(value) : text),
                  NULL);
}

/* The options that the file itself would go on with: its recipe, and what it says besides. */
static int file_training(const char *path, moco_trainer_options_t *training)
{
    const arg_settings_t none = {0};
    const char *name;
    json_t *info = NULL, *value;
    moco_status_t status;
    int code = EXIT_DONE;

    FETCH_JSON(status, info, moco_file_info, path);
    if (status != MOCO_OK)
        return finish(status, NULL);
    json_t *said = json_object_get(info, "training");
    const char *recipe = json_string_value(json_object_get(said, "recipe"));
    if (recipe == NULL)
        code = fail("'%s' does not say which --recipe it is of, which --set needs", path);
    else
        code = settings_options("convert", recipe, &none, training);
    json_object_foreach(said, name, value) if (code == EXIT_DONE && strcmp(name, "recipe") != 0)
        code = set_member(training, name, value);
    json_decref(info);
    return code;
}

/* *used: 1 if the command line says anything of the run. */
static int training_options(const convert_options_t *options, moco_trainer_options_t *training, int *used)
{
    int code;

    *used = options->recipe != NULL || options->settings.count > 0;
    if (options->recipe != NULL || !*used)
        return *used ? settings_options("convert", options->recipe, &options->settings, training) : EXIT_DONE;
    code = file_training(options->paths[0], training);
    return code == EXIT_DONE ? settings_apply("convert", &options->settings, training) : code;
}

int cmd_convert(int argc, char **argv)
{
    convert_options_t options = {0};
    moco_convert_options_t library;
    moco_trainer_options_t training;
    moco_status_t status;
    json_t *report = NULL;
    char *text = NULL;
    uint64_t capacity = 0, needed = 65536; /* enough for every usual report */
    int used = 0, code = parse(argc, argv, &options);

    if (code != ARG_GO_ON || (code = library_options(&options, &library)) != EXIT_DONE)
        return code;
    const char *const inputs[] = {options.paths[0], NULL};
    if ((code = output_check(options.paths[1], OUTPUT_TENSORS, inputs)) != EXIT_DONE)
        return code;
    if ((code = training_options(&options, &training, &used)) != EXIT_DONE)
        return code;
    library.training = used ? &training : NULL;
    do { /* a report that does not fit is refused before anything is written */
        free(text);
        capacity = needed;
        if ((text = malloc(capacity)) == NULL)
            return finish(MOCO_ERR_MEMORY, NULL);
        status = moco_convert(options.paths[0], options.paths[1], &library, text, capacity, &needed);
    } while (status == MOCO_ERR_ARGUMENT && needed > capacity);
    if (status == MOCO_OK && (report = json_loads(text, 0, NULL)) != NULL) {
        if (options.json)
            output_json(json_incref(report));
        else
            output_table(report, 0);
    }
    json_decref(report);
    free(text);
    return finish(status, NULL);
}
