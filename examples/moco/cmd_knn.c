/* moco knn: accuracy of an encoder by its weighted nearest neighbours in a labelled bank. */
#include <stdio.h>

#include "common.h"
#include "output.h"
#include "progress.h"

typedef struct knn_options {
    const char *paths[3]; /* MODEL, TRAIN, TEST */
    int64_t k, limit;
    double temperature;
    int tap, json;
    model_file_t file;
    run_place_t place;
} knn_options_t;

static const char notes[] =
    "Each test image is classified by its K most similar images of TRAIN, each voting with exp(cosine / T).\n"
    "Classes match by name.";

static int parse(int argc, char **argv, knn_options_t *options)
{
    const arg_option_t table[] = {
        {"k", 'k', ARG_INTEGER, &options->k, "K", "neighbours that vote (default 200)", 1, INT64_MAX, NULL},
        {"temperature", 0, ARG_NUMBER, &options->temperature, "T", "divides the cosines (default 0.1)", 0, 0, NULL},
        {"limit", 0, ARG_INTEGER, &options->limit, "N", "use N images of TRAIN, spread evenly over the listing", 1,
         INT64_MAX, NULL},
        MODEL_FILE_OPTIONS(options->file),
        PRECISION_OPTION(options->file),
        {"tap", 0, ARG_CHOICE, &options->tap, "auto|backbone|projection",
         "which embeddings (default: behind the projection head, if there is one)", 0, 0, NULL},
        PLACE_OPTIONS(options->place),
        {"json", 0, ARG_FLAG, &options->json, NULL, "the result as a JSON object on stdout", 0, 0, NULL},
        {NULL, 0, ARG_FLAG, NULL, NULL, NULL, 0, 0, NULL},
    };
    const arg_command_t command = {
        "knn", "Measure an encoder by weighted k-nearest-neighbour classification.", "MODEL TRAIN TEST", 3, 3, table,
        notes};
    const int code = args_parse(&command, argc, argv, options->paths);

    if (code == ARG_GO_ON && !(options->temperature >= 1e-3 && options->temperature <= 1e3)) {
        fprintf(stderr, "moco knn: --temperature: %g is not within 0.001..1000\n", options->temperature);
        return EXIT_USAGE;
    }
    return code;
}

static int32_t on_progress(void *user, int64_t done, int64_t total)
{
    progress_images(user, done, total);
    return 0;
}

static void report(const knn_options_t *options, const moco_knn_result_t *result)
{
    if (options->json)
        output_json(json_pack("{s:o, s:o, s:I, s:I, s:I, s:o}", "top1", output_real(result->top1, 4), "top5",
                              output_real(result->top5, 4), "k", (json_int_t)result->k, "bank",
                              (json_int_t)result->bank, "queries", (json_int_t)result->queries, "chance",
                              output_real(result->chance, 4)));
    else
        printf("top-1 %.2f %%, top-5 %.2f %% (chance %.2f %%): %lld queries, %lld nearest of %lld images\n",
               result->top1, result->top5, result->chance, (long long)result->queries, (long long)result->k,
               (long long)result->bank);
}

int cmd_knn(int argc, char **argv)
{
    knn_options_t options = {.k = 200, .temperature = 0.1};
    moco_knn_options_t how;
    moco_knn_result_t result = {.struct_size = sizeof result};
    moco_device_t *device = NULL;
    moco_model_t *model = NULL;
    moco_dataset_t *bank = NULL, *test = NULL;
    moco_status_t status = MOCO_OK;
    progress_t progress;
    const int code = parse(argc, argv, &options);

    if (code != ARG_GO_ON)
        return code;
    TRY(place_open(&options.place, &device));
    TRY(model_open(options.paths[0], &options.file, device, &model));
    TRY(dataset_open(options.paths[1], options.limit, &bank));
    TRY(dataset_open(options.paths[2], 0, &test));
    TRY(moco_knn_options_init(&how, sizeof how));
    how.k = options.k;
    how.tap = options.tap;
    how.temperature = options.temperature;
    how.loader_threads = (int32_t)options.place.loader_threads;
    how.cancel = signals_cancel();
    how.progress = on_progress;
    how.user = &progress;
    progress_start(&progress, "knn", 0);
    status = moco_knn_measure(model, bank, test, &how, &result);
    progress_clear(&progress);
    if (status == MOCO_OK)
        report(&options, &result);
cleanup:
    moco_dataset_free(test);
    moco_dataset_free(bank);
    moco_model_free(model);
    moco_device_free(device);
    return finish(status, NULL);
}
