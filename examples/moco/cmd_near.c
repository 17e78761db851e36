/* moco near: the images most similar to one image, by cosine of their embeddings. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "input.h"
#include "near_source.h"
#include "output.h"

#define MAX_QUERY ((uint64_t)256 << 20) /* bytes, as of the images of a data set */

typedef struct near_options {
    const char *paths[3]; /* MODEL, FOLDER or X.npy, QUERY.jpg */
    int64_t k;
    int tap, json;
    model_file_t file;
    run_place_t place;
} near_options_t;

static int parse(int argc, char **argv, near_options_t *options)
{
    const arg_option_t table[] = {
        {"k", 'k', ARG_INTEGER, &options->k, "K", "images to list (default 5)", 1, INT64_MAX, NULL},
        {"tap", 0, ARG_CHOICE, &options->tap, "backbone|projection", "which embeddings (default backbone)", 0, 0, NULL},
        MODEL_FILE_OPTIONS(options->file),
        PRECISION_OPTION(options->file),
        PLACE_OPTIONS(options->place),
        {"json", 0, ARG_FLAG, &options->json, NULL, "a JSON object per image on stdout", 0, 0, NULL},
        {NULL, 0, ARG_FLAG, NULL, NULL, NULL, 0, 0, NULL},
    };
    /* clang-format off */
    const arg_command_t command = {
        "near", "Find the images most similar to one image.", "MODEL FOLDER|X.npy QUERY.jpg", 3, 3, table,
        "The second argument is a folder, tar or list of images, or a .npy file of `moco embed` taken at the same\n"
        "tap, whose names are in X.names.txt beside it."};
    /* clang-format on */

    return args_parse(&command, argc, argv, options->paths);
}

static int is_npy(const char *path)
{
    const size_t length = strlen(path);
    return length > 4 && strcmp(path + length - 4, ".npy") == 0;
}

static int open_source(const near_options_t *options, moco_device_t *device, moco_model_t *model, near_source_t *source)
{
    const int dimension = moco_model_dimension(model, options->tap);
    moco_dataset_t *dataset = NULL;
    moco_status_t status;

    if (is_npy(options->paths[1])) {
        const int code = near_from_npy(source, options->paths[1], device);
        if (code == EXIT_DONE && moco_index_dimension(source->index) != dimension)
            return fail("'%s' has rows of %d numbers, the model gives %d at this tap: choose --tap as in `moco embed`",
                        options->paths[1], (int)moco_index_dimension(source->index), dimension);
        return code;
    }
    status = dataset_open(options->paths[1], 0, &dataset);
    if (status == MOCO_OK)
        status = near_from_dataset(source, model, options->tap, dataset, device, (int32_t)options->place.loader_threads,
                                   NULL);
    moco_dataset_free(dataset);
    return finish(status, NULL);
}

/* moco_failed_fn: the query is an image of its own, not one of several. */
static void tell_reason(void *user, int64_t index, moco_status_t status, const char *reason)
{
    (void)index;
    (void)status;
    fail("'%s': %s", (const char *)user, reason);
}

static int embed_query(const near_options_t *options, moco_model_t *model, float **row)
{
    const char *path = options->paths[2];
    uint64_t size = 0;
    uint8_t *bytes = input_read(path, MAX_QUERY, &size);
    const uint8_t *data = bytes;
    moco_embed_options_t how;
    moco_status_t status, broken = MOCO_OK;

    if (bytes == NULL)
        return EXIT_FAILED;
    *row = calloc((size_t)moco_model_dimension(model, options->tap), sizeof **row);
    if (*row == NULL) {
        free(bytes);
        return fail("out of memory");
    }
    status = moco_embed_options_init(&how, sizeof how);
    how.cancel = signals_cancel();
    how.tap = options->tap;
    how.statuses = &broken;
    how.failed = tell_reason;
    how.user = (void *)path; /* the cast: tell_reason only reads it */
    if (status == MOCO_OK)
        status = moco_model_embed_encoded(model, 1, &data, &size, &how, *row);
    free(bytes);
    return status == MOCO_OK && broken != MOCO_OK ? EXIT_FAILED : finish(status, path);
}

static void print_row(long long rank, float similarity, const char *name)
{
    printf("%3lld  %7.4f  ", rank, similarity);
    output_plain(name, stdout);
    putchar('\n');
}

static int search(const near_options_t *options, near_source_t *source, const float *query)
{
    const int64_t count = moco_index_count(source->index);
    const int64_t k = options->k < count ? options->k : count;
    int64_t *ids = calloc((size_t)k, sizeof *ids);
    float *similarities = calloc((size_t)k, sizeof *similarities);
    moco_search_options_t how;
    moco_status_t status = moco_search_options_init(&how, sizeof how);
    int code;

    if (ids == NULL || similarities == NULL) {
        code = fail("out of memory");
        goto cleanup;
    }
    how.cancel = signals_cancel();
    how.k = k;
    if (status == MOCO_OK)
        status = moco_index_search(source->index, 1, query, &how, ids, similarities);
    for (int64_t i = 0; status == MOCO_OK && i < k; i++) {
        if (options->json)
            output_json(json_pack("{s:I, s:o, s:o}", "rank", (json_int_t)i + 1, "similarity",
                                  output_real(similarities[i], 6), "name", output_text(source->names[ids[i]])));
        else
            print_row((long long)i + 1, similarities[i], source->names[ids[i]]);
    }
    code = finish(status, NULL);
cleanup:
    free(similarities);
    free(ids);
    return code;
}

int cmd_near(int argc, char **argv)
{
    near_options_t options = {.k = 5};
    near_source_t source = {0};
    moco_device_t *device = NULL;
    moco_model_t *model = NULL;
    moco_status_t status = MOCO_OK;
    float *query = NULL;
    int code = parse(argc, argv, &options);

    if (code != ARG_GO_ON)
        return code;
    TRY(place_open(&options.place, &device));
    TRY(model_open(options.paths[0], &options.file, device, &model));
    if (moco_model_dimension(model, options.tap) == 0) {
        code = fail("'%s' has no projection head: use --tap backbone", options.paths[0]);
        goto cleanup;
    }
    /* The query first: it is quick, and a broken one would waste the rest. */
    if ((code = embed_query(&options, model, &query)) != EXIT_DONE)
        goto cleanup;
    if ((code = open_source(&options, device, model, &source)) != EXIT_DONE)
        goto cleanup;
    code = search(&options, &source, query);
cleanup:
    if (status != MOCO_OK)
        code = finish(status, NULL);
    free(query);
    near_free(&source);
    moco_model_free(model);
    moco_device_free(device);
    return code;
}
