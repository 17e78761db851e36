/* moco embed: a data set through an encoder into a .npy file, with names and skipped images beside
 * it. */
#include <stdio.h>

#include "common.h"
#include "output.h"
#include "outputs.h"
#include "progress.h"

typedef struct embed_options {
    const char *paths[2]; /* MODEL, DATA */
    const char *out;
    int tap, json;
    int64_t limit;
    model_file_t file;
    run_place_t place;
} embed_options_t;

static const char notes[] =
    "X.npy has one float32 row per good image in listing order, X.names.txt their names, X.skipped.txt the broken\n"
    "images with the reason, X.embed.json what ties them. Backbone rows are raw, projection rows have length 1.\n"
    "After an interruption, even by a kill, the same command goes on with what X.*.moco-part files hold.";

static int parse(int argc, char **argv, embed_options_t *options)
{
    const arg_option_t table[] = {
        {"out", 'o', ARG_TEXT, &options->out, "X.npy", "file of the rows", 0, 0, NULL},
        {"tap", 0, ARG_CHOICE, &options->tap, "backbone|projection", "where rows are taken (default backbone)", 0, 0,
         NULL},
        {"limit", 0, ARG_INTEGER, &options->limit, "N", "use N images, spread evenly over the listing", 1, INT64_MAX,
         NULL},
        MODEL_FILE_OPTIONS(options->file),
        PRECISION_OPTION(options->file),
        PLACE_OPTIONS(options->place),
        {"json", 0, ARG_FLAG, &options->json, NULL, "the summary as a JSON object on stdout", 0, 0, NULL},
        {NULL, 0, ARG_FLAG, NULL, NULL, NULL, 0, 0, NULL},
    };
    const arg_command_t command = {"embed", "Turn images into rows of a .npy file.", "MODEL DATA -o X.npy", 2, 2, table,
                                   notes};
    int code = args_parse(&command, argc, argv, options->paths);

    if (code == ARG_GO_ON && options->out == NULL) {
        fputs("moco embed: -o X.npy is missing\ntry: moco embed --help\n", stderr);
        return EXIT_USAGE;
    }
    if (code == ARG_GO_ON) {
        const char *const inputs[] = {options->paths[0], options->paths[1], NULL};
        const int bad = output_check(options->out, OUTPUT_ROWS, inputs);
        code = bad != EXIT_DONE ? bad : ARG_GO_ON;
    }
    return code;
}

static int32_t on_progress(void *user, int64_t done, int64_t total)
{
    progress_images(user, done, total);
    return 0;
}

static void report(const embed_options_t *options, int64_t rows, int64_t skipped, int dimension, double seconds)
{
    const double speed = seconds > 0 ? (double)(rows + skipped) / seconds : 0;

    if (options->json)
        output_json(json_pack("{s:I, s:I, s:i, s:o, s:o, s:o}", "rows", (json_int_t)rows, "skipped",
                              (json_int_t)skipped, "dimension", dimension, "seconds", output_real(seconds, 3),
                              "images_per_second", output_real(speed, 2), "file", output_text(options->out)));
    else
        printf("%lld rows of %d numbers in %s, %lld images skipped, %.2f s, %.1f images/s\n", (long long)rows,
               dimension, options->out, (long long)skipped, seconds, speed);
}

int cmd_embed(int argc, char **argv)
{
    embed_options_t options = {0};
    moco_device_t *device = NULL;
    moco_model_t *model = NULL;
    moco_dataset_t *dataset = NULL;
    moco_status_t status = MOCO_OK;
    moco_embed_options_t how;
    moco_embed_result_t result = {.struct_size = sizeof result};
    progress_t progress;
    const int code = parse(argc, argv, &options);

    if (code != ARG_GO_ON)
        return code;
    TRY(place_open(&options.place, &device));
    TRY(model_open(options.paths[0], &options.file, device, &model));
    TRY(dataset_open(options.paths[1], options.limit, &dataset));
    TRY(moco_embed_options_init(&how, sizeof how));
    how.tap = options.tap;
    how.loader_threads = (int32_t)options.place.loader_threads;
    how.cancel = signals_cancel();
    how.progress = on_progress;
    how.user = &progress;
    progress_start(&progress, "embed", 0);
    status = moco_model_embed_to_npy(model, dataset, options.out, &how, &result);
    progress_clear(&progress);
    if (status == MOCO_ERR_CANCELLED)
        fail("%s", moco_last_message()); /* whether the same command goes on */
    if (status == MOCO_OK)
        report(&options, result.rows, result.skipped, moco_model_dimension(model, options.tap),
               seconds_now() - progress.started);
cleanup:
    moco_dataset_free(dataset);
    moco_model_free(model);
    moco_device_free(device);
    return finish(status, NULL);
}
