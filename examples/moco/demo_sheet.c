/* The contact sheet of `moco demo`: see demo_sheet.h. Green frames are neighbours of the query's
 * class, red ones are not. */
#include "demo_sheet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo_images.h"
#include "near_source.h"
#include "sheet.h"

#define PAPER 0xF4F4F0
#define INK 0x202020
#define GREEN 0x1E9E3C
#define RED 0xD03020

enum { FRAME = 4, GAP = 6, MARGIN = 16, HEADER = 52, LABEL = 96, BETWEEN = 28, SHOWN = 64 /* pixels of an image */ };
enum { CELL = SHOWN + 2 * FRAME + GAP };

static moco_status_t embed_queries(const demo_hits_t *hits, moco_model_t *model, moco_dataset_t *test, float *rows)
{
    const int32_t side = moco_model_image_size(model);
    const size_t bytes = (size_t)side * (size_t)side * 3;
    uint8_t *pixels = malloc(bytes);
    moco_image_t image = {.struct_size = sizeof image, .planes = {pixels}, .width = side, .height = side};
    moco_embed_options_t how;
    moco_status_t status = pixels != NULL ? moco_embed_options_init(&how, sizeof how) : MOCO_ERR_MEMORY;

    how.tap = MOCO_TAP_PROJECTION;
    for (int64_t i = 0; status == MOCO_OK && i < hits->queries; i++) {
        /* The images have the network's size, so that the evaluation transform leaves them as they
         * are. */
        TRY(moco_dataset_pixels(test, hits->query[i], side, side, pixels));
        TRY(moco_model_embed_pixels(model, 1, &image, &how,
                                    rows + i * moco_model_dimension(model, MOCO_TAP_PROJECTION)));
    }
cleanup:
    free(pixels);
    return status;
}

moco_status_t demo_hits_find(demo_hits_t *hits, moco_model_t *model, moco_dataset_t *bank, moco_dataset_t *test,
                             int64_t queries, int64_t per_query, moco_device_t *device, int32_t loader_threads)
{
    const int64_t dimension = moco_model_dimension(model, MOCO_TAP_PROJECTION), total = moco_dataset_count(test);
    near_source_t source = {0};
    moco_search_options_t how;
    int64_t *numbers = NULL;
    float *rows = malloc((size_t)(queries * dimension) * sizeof *rows);
    moco_status_t status = MOCO_OK;

    hits->queries = queries;
    hits->per_query = per_query;
    hits->query = malloc((size_t)queries * sizeof *hits->query);
    hits->nearest = malloc((size_t)(queries * per_query) * sizeof *hits->nearest);
    if (rows == NULL || hits->query == NULL || hits->nearest == NULL) {
        status = MOCO_ERR_MEMORY;
        goto cleanup;
    }
    for (int64_t i = 0; i < queries; i++)
        hits->query[i] = (2 * i + 1) * total / (2 * queries);
    TRY(near_from_dataset(&source, model, MOCO_TAP_PROJECTION, bank, device, loader_threads, &numbers));
    TRY(embed_queries(hits, model, test, rows));
    TRY(moco_search_options_init(&how, sizeof how));
    how.k = per_query;
    TRY(moco_index_search(source.index, queries, rows, &how, hits->nearest, NULL));
    for (int64_t i = 0; i < queries * per_query; i++)
        hits->nearest[i] = numbers[hits->nearest[i]];
cleanup:
    free(numbers);
    near_free(&source);
    free(rows);
    return status;
}

void demo_hits_free(demo_hits_t *hits)
{
    free(hits->query);
    free(hits->nearest);
    memset(hits, 0, sizeof *hits);
}

static int same_class(const moco_dataset_t *bank, int64_t in_bank, const moco_dataset_t *test, int64_t in_test)
{
    const char *a = moco_dataset_class_name(bank, moco_dataset_label(bank, in_bank));
    const char *b = moco_dataset_class_name(test, moco_dataset_label(test, in_test));
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

double demo_hits_right(const demo_hits_t *hits, const moco_dataset_t *bank, const moco_dataset_t *test)
{
    int64_t right = 0;

    for (int64_t i = 0; i < hits->queries * hits->per_query; i++)
        right += same_class(bank, hits->nearest[i], test, hits->query[i / hits->per_query]);
    return hits->queries > 0 ? 100.0 * (double)right / (double)(hits->queries * hits->per_query) : 0;
}

static moco_status_t draw_image(sheet_t *sheet, int x, int y, moco_dataset_t *dataset, int64_t number, uint32_t frame)
{
    uint8_t pixels[DEMO_SIDE * DEMO_SIDE * 3];
    const moco_status_t status = moco_dataset_pixels(dataset, number, DEMO_SIDE, DEMO_SIDE, pixels);

    sheet_box(sheet, x, y, SHOWN + 2 * FRAME, SHOWN + 2 * FRAME, frame);
    if (status == MOCO_OK)
        sheet_image(sheet, x + FRAME, y + FRAME, pixels, DEMO_SIDE, SHOWN / DEMO_SIDE);
    return status;
}

static moco_status_t draw_hits(sheet_t *sheet, int x, int y, moco_dataset_t *bank, moco_dataset_t *test,
                               const demo_hits_t *hits, int64_t row)
{
    moco_status_t status = MOCO_OK;

    for (int64_t i = 0; status == MOCO_OK && i < hits->per_query; i++) {
        const int64_t number = hits->nearest[row * hits->per_query + i];
        const uint32_t frame = same_class(bank, number, test, hits->query[row]) ? GREEN : RED;
        status = draw_image(sheet, x + (int)i * CELL, y, bank, number, frame);
    }
    return status;
}

static void draw_header(sheet_t *sheet, int x, const char *title, double knn)
{
    char text[64];

    sheet_text(sheet, x, MARGIN, title, 2, INK);
    snprintf(text, sizeof text, "KNN %.1f%%", knn);
    sheet_text(sheet, x, MARGIN + 20, text, 2, INK);
}

int demo_sheet_write(const char *path, moco_dataset_t *bank, moco_dataset_t *test, const demo_hits_t *before,
                     const demo_hits_t *after, double knn_before, double knn_after)
{
    const int left = MARGIN + LABEL + CELL + BETWEEN, block = (int)before->per_query * CELL;
    const int width = left + 2 * block + BETWEEN + MARGIN;
    const int height = HEADER + MARGIN + (int)before->queries * CELL + MARGIN;
    sheet_t sheet;
    moco_status_t status = MOCO_OK;
    int code;

    if (sheet_create(&sheet, width, height, PAPER) != 0)
        return EXIT_FAILED;
    sheet_text(&sheet, MARGIN + LABEL, MARGIN, "QUERY", 2, INK);
    draw_header(&sheet, left, "NEAREST BEFORE TRAINING", knn_before);
    draw_header(&sheet, left + block + BETWEEN, "NEAREST AFTER TRAINING", knn_after);
    for (int64_t row = 0; row < before->queries; row++) {
        const int y = HEADER + MARGIN + (int)row * CELL;
        const char *name = moco_dataset_class_name(test, moco_dataset_label(test, before->query[row]));
        sheet_text(&sheet, MARGIN, y + FRAME + SHOWN / 2 - 4, name != NULL ? name : "", 1, INK);
        TRY(draw_image(&sheet, MARGIN + LABEL, y, test, before->query[row], INK));
        TRY(draw_hits(&sheet, left, y, bank, test, before, row));
        TRY(draw_hits(&sheet, left + block + BETWEEN, y, bank, test, after, row));
    }
cleanup:
    code = finish(status, NULL);
    if (code == EXIT_DONE && sheet_write(&sheet, path) != 0)
        code = EXIT_FAILED;
    sheet_free(&sheet);
    return code;
}
