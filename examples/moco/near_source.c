/* Vectors with names, from images or from the files of `moco embed`: see near_source.h. */
#include "near_source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "input.h"
#include "progress.h"

#define MAX_NAMES ((uint64_t)1 << 30) /* bytes */

typedef struct collector {
    near_source_t *source;
    moco_dataset_t *dataset;
    int64_t *numbers; /* [moco_dataset_count] */
    progress_t progress;
    moco_status_t status; /* of what failed in here */
} collector_t;

static int32_t on_rows(void *user, int64_t count, const int64_t *indices, const float *rows)
{
    collector_t *c = user;
    near_source_t *source = c->source;

    c->status = moco_index_add(source->index, count, rows, NULL);
    if (c->status != MOCO_OK)
        return 1;
    for (int64_t i = 0; i < count; i++) {
        c->numbers[source->count] = indices[i];
        source->names[source->count] = strdup(moco_dataset_name(c->dataset, indices[i]));
        if (source->names[source->count] == NULL) {
            c->status = MOCO_ERR_MEMORY;
            return 1;
        }
        source->count++;
    }
    progress_images(&c->progress, source->count, moco_dataset_count(c->dataset));
    return 0;
}

moco_status_t near_from_dataset(near_source_t *source, moco_model_t *model, int tap, moco_dataset_t *dataset,
                                moco_device_t *device, int32_t loader_threads, int64_t **numbers)
{
    const size_t total = (size_t)moco_dataset_count(dataset);
    collector_t c = {.source = source, .dataset = dataset};
    moco_embed_options_t how;
    moco_status_t status = MOCO_ERR_MEMORY;

    source->names = calloc(total, sizeof *source->names);
    c.numbers = calloc(total, sizeof *c.numbers);
    if (source->names == NULL || c.numbers == NULL)
        goto cleanup;
    TRY(moco_index_create(moco_model_dimension(model, tap), NULL, device, &source->index));
    TRY(moco_embed_options_init(&how, sizeof how));
    how.cancel = signals_cancel();
    how.tap = tap;
    how.loader_threads = loader_threads;
    progress_start(&c.progress, "embed", 0);
    status = moco_model_embed_dataset(model, dataset, &how, on_rows, &c);
    progress_clear(&c.progress);
    if (c.status != MOCO_OK)
        status = c.status;
    if (status == MOCO_OK && numbers != NULL) {
        *numbers = c.numbers;
        c.numbers = NULL;
    }
cleanup:
    free(c.numbers);
    return status;
}

/* X.npy -> X.names.txt, or X.txt where only that is, as versions before wrote it. */
static void find_names(const char *path, char text[PATH_SIZE])
{
    static const char *const endings[] = {".names.txt", ".txt"};
    const int stem = (int)strlen(path) - 4;

    for (int i = 0; i < 2; i++) {
        snprintf(text, PATH_SIZE, "%.*s%s", stem, path, endings[i]);
        if (path_exists(text))
            return;
    }
    snprintf(text, PATH_SIZE, "%.*s%s", stem, path, endings[0]);
}

/* One name per line and row. */
static int read_names(near_source_t *source, const char *path)
{
    const size_t length = strlen(path);
    char text[PATH_SIZE], *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    FILE *file;

    if (length + 8 >= sizeof text || length < 4)
        return fail("'%s' is not a .npy path", path);
    find_names(path, text);
    if (!path_exists(text))
        return fail("the names of the rows are not there: '%s'", text);
    file = input_open(text, MAX_NAMES);
    if (file == NULL)
        return EXIT_FAILED;
    while (source->count < moco_index_count(source->index) && (size = getline(&line, &capacity, file)) >= 0) {
        if (size > 0 && line[size - 1] == '\n')
            line[size - 1] = '\0';
        if ((source->names[source->count] = strdup(line)) == NULL)
            break;
        source->count++;
    }
    size = getline(&line, &capacity, file);
    free(line);
    fclose(file);
    if (source->count < moco_index_count(source->index) || size >= 0)
        return fail("'%s' has %s lines than '%s' has rows (%lld)", text, size >= 0 ? "more" : "fewer", path,
                    (long long)moco_index_count(source->index));
    return EXIT_DONE;
}

int near_from_npy(near_source_t *source, const char *path, moco_device_t *device)
{
    const moco_status_t status = moco_index_load_npy(path, NULL, device, &source->index);

    if (status != MOCO_OK)
        return finish(status, NULL);
    source->names = calloc((size_t)moco_index_count(source->index) + 1, sizeof *source->names);
    if (source->names == NULL)
        return fail("out of memory");
    return read_names(source, path);
}

void near_free(near_source_t *source)
{
    for (int64_t i = 0; source->names != NULL && i < source->count; i++)
        free(source->names[i]);
    free(source->names);
    moco_index_free(source->index);
    memset(source, 0, sizeof *source);
}
