/* moco views: a sheet of images and the views that training would draw of them. Views come from
 * moco_dataset_views, which gives those of (seed, epoch, image) exactly, so the sheet shows what
 * `moco train` learns from. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "output.h"
#include "outputs.h"
#include "settings.h"
#include "sheet.h"

#define PAPER 0xF4F4F0
#define INK 0x202020
#define FAINT 0x808080
#define JPEG_SIDE 65500 /* the longest that the JPEG library writes */

enum { GAP = 6, BETWEEN = 22, MARGIN = 16, HEADER = 60, CAPTION = 18, SHOWN = 96 /* pixels of a cell, at least */ };

typedef struct views_options {
    const char *data, *sheet, *recipe;
    int64_t count, pairs, epoch, limit;
    int json;
    arg_settings_t settings;
} views_options_t;

/* The sheet being drawn. */
typedef struct views {
    const views_options_t *options;
    moco_trainer_options_t trained;
    json_t *values; /* the same as JSON */
    moco_dataset_t *dataset;
    sheet_t sheet;
    uint8_t *pixels; /* [2, S, S, 3]           */
    int zoom, cell;  /* cell: from view to view */
    int64_t rows, skipped;
} views_t;

static int parse(int argc, char **argv, views_options_t *options)
{
    const arg_option_t table[] = {
        {"out", 'o', ARG_TEXT, &options->sheet, "SHEET.jpg", "the sheet to write", 0, 0, NULL},
        {"recipe", 0, ARG_TEXT, &options->recipe, "NAME", SETTINGS_RECIPES, 0, 0, NULL},
        {"set", 0, ARG_SETTING, &options->settings, "name=value", "any trainer option, repeatable", 0, 0, NULL},
        {"size", 0, ARG_FIELD, &options->settings, "PIXELS", "side of a view", 0, 0, "image_size"},
        {"count", 0, ARG_INTEGER, &options->count, "N", "images, spread evenly over the listing (default 8)", 1, 100000,
         NULL},
        {"pairs", 0, ARG_INTEGER, &options->pairs, "K", "pairs of views of each, one per epoch (default 1)", 1, 1000,
         NULL},
        {"seed", 0, ARG_FIELD, &options->settings, "S", "of the run", 0, 0, "seed"},
        {"epoch", 0, ARG_INTEGER, &options->epoch, "E", "of the first pair, from 0 (default 0)", 0, UINT32_MAX, NULL},
        {"limit", 0, ARG_INTEGER, &options->limit, "N", "as in `moco train`, whose images it numbers", 1, INT64_MAX,
         NULL},
        {"json", 0, ARG_FLAG, &options->json, NULL, "one JSON object per line on stdout", 0, 0, NULL},
        {NULL, 0, ARG_FLAG, NULL, NULL, NULL, 0, 0, NULL},
    };
    /* clang-format off */
    const arg_command_t command = {
        "views", "Show the augmented views that training draws.", "DATA -o SHEET.jpg", 1, 1, table,
        "Each row is an image after the evaluation transform and its two views in epochs E, E+1, … of a run with this\n"
        "recipe and seed on this DATA: `moco train` draws the same. Broken images give way to the next good one."};
    /* clang-format on */
    const int code = args_parse(&command, argc, argv, &options->data);

    if (code == ARG_GO_ON && options->sheet == NULL) {
        fputs("moco views: -o SHEET.jpg is missing\ntry: moco views --help\n", stderr);
        return EXIT_USAGE;
    }
    if (code == ARG_GO_ON && options->epoch + options->pairs - 1 > UINT32_MAX) {
        fprintf(stderr, "moco views: --epoch %lld and --pairs %lld go beyond epoch %u\n", (long long)options->epoch,
                (long long)options->pairs, UINT32_MAX);
        return EXIT_USAGE;
    }
    if (code == ARG_GO_ON) {
        const char *const inputs[] = {options->data, NULL};
        const int bad = output_check(options->sheet, OUTPUT_SHEET, inputs);
        return bad != EXIT_DONE ? bad : ARG_GO_ON;
    }
    return code;
}

/* Where column 0 (the original) or 1 + 2 pair + view begins. */
static int column_x(const views_t *v, int column)
{
    return MARGIN + column * v->cell + (column + 1) / 2 * (BETWEEN - GAP);
}

static int row_y(const views_t *v, int64_t row)
{
    return HEADER + (int)row * (v->cell + CAPTION);
}

static int make_sheet(views_t *v, int64_t rows)
{
    const int side = v->trained.image_size, pairs = (int)v->options->pairs;
    int64_t width, height;

    v->zoom = side < SHOWN ? SHOWN / side : 1;
    v->cell = side * v->zoom + GAP;
    width = column_x(v, 2 * pairs) + v->cell - GAP + MARGIN;
    height = HEADER + rows * (v->cell + CAPTION) + MARGIN - GAP;
    if (width > JPEG_SIDE || height > JPEG_SIDE) {
        fprintf(stderr, "moco views: a sheet of %lldx%lld pixels; a JPEG has at most %dx%d: lower --count or --pairs\n",
                (long long)width, (long long)height, JPEG_SIDE, JPEG_SIDE);
        return EXIT_USAGE;
    }
    if ((v->pixels = malloc((size_t)side * (size_t)side * 6)) == NULL)
        return fail("out of memory");
    return sheet_create(&v->sheet, (int)width, (int)height, PAPER) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static const char *recipe_name(const views_t *v)
{
    return json_string_value(json_object_get(v->values, "recipe"));
}

static void draw_header(views_t *v)
{
    char text[160];

    snprintf(text, sizeof text, "%s  %d PIXELS  SEED %" PRIu64, recipe_name(v), (int)v->trained.image_size,
             v->trained.seed);
    sheet_text(&v->sheet, MARGIN, MARGIN, text, 1, INK);
    sheet_text(&v->sheet, MARGIN, HEADER - 12, "ORIGINAL", 1, INK);
    for (int pair = 0; pair < (int)v->options->pairs; pair++) {
        const int x = column_x(v, 1 + 2 * pair);
        snprintf(text, sizeof text, "EPOCH %lld", (long long)(v->options->epoch + pair));
        sheet_text(&v->sheet, x, HEADER - 24, text, 1, INK);
        sheet_text(&v->sheet, x, HEADER - 12, "VIEW 1", 1, INK);
        sheet_text(&v->sheet, x + v->cell, HEADER - 12, "VIEW 2", 1, INK);
    }
}

/* The end of a name says most, where not all of it fits. */
static void draw_caption(views_t *v, int64_t index)
{
    const char *name = moco_dataset_name(v->dataset, index);
    const size_t module = (size_t)(v->sheet.width - 2 * MARGIN) / SHEET_LETTER, length = strlen(name);

    sheet_text(&v->sheet, MARGIN, row_y(v, v->rows) + v->cell - GAP + 4, name + (length > module ? length - module : 0),
               1, FAINT);
}

static void draw_cell(views_t *v, int column, const uint8_t *pixels, json_t **places)
{
    const int x = column_x(v, column), y = row_y(v, v->rows);

    sheet_image(&v->sheet, x, y, pixels, v->trained.image_size, v->zoom);
    *places = output_item(*places, json_pack("[i, i]", x, y));
}

/* One image into the next row; `places` receives the corners of its cells. */
static moco_status_t draw_row(views_t *v, int64_t index, json_t **places)
{
    const int32_t side = v->trained.image_size;
    /* Networks for small images see them whole, others the middle of a slightly larger one, as
     * evaluation does. */
    const int32_t resize = v->trained.stem == MOCO_STEM_CIFAR ? side : (int32_t)(8.0 * side / 7.0 + 0.5);
    moco_status_t status = MOCO_OK;

    TRY(moco_dataset_pixels(v->dataset, index, resize, side, v->pixels));
    draw_cell(v, 0, v->pixels, places);
    for (int pair = 0; pair < (int)v->options->pairs; pair++) {
        TRY(moco_dataset_views(v->dataset, &v->trained, v->options->epoch + pair, index, v->pixels));
        for (int view = 0; view < 2; view++)
            draw_cell(v, 1 + 2 * pair + view, v->pixels + (size_t)view * (size_t)side * (size_t)side * 3, places);
    }
    draw_caption(v, index);
cleanup:
    return status;
}

static void report_skipped(views_t *v, int64_t index)
{
    const char *name = moco_dataset_name(v->dataset, index);

    v->skipped++;
    if (v->options->json)
        output_json(json_pack("{s:s, s:I, s:o, s:o}", "event", "skipped", "index", (json_int_t)index, "name",
                              output_text(name), "reason", output_text(moco_last_message())));
    else
        warn("skipped %s", moco_last_message());
}

/* The first good image of a share of the listing into the next row; none leaves no row. */
static moco_status_t draw_share(views_t *v, int64_t first, int64_t end)
{
    moco_status_t status = MOCO_OK;

    for (int64_t index = first; index < end; index++) {
        json_t *places = json_array();
        if (signals_pending())
            status = MOCO_ERR_CANCELLED;
        else
            status = draw_row(v, index, &places);
        if (status == MOCO_OK && v->options->json)
            output_json(json_pack("{s:s, s:I, s:o, s:O}", "event", "image", "index", (json_int_t)index, "name",
                                  output_text(moco_dataset_name(v->dataset, index)), "at", places));
        json_decref(places);
        if (status == MOCO_OK)
            v->rows++;
        if (status != MOCO_ERR_IMAGE)
            return status;
        report_skipped(v, index);
    }
    return MOCO_OK;
}

static int conclude(views_t *v)
{
    const views_options_t *options = v->options;
    char seed[32];

    if (v->rows == 0)
        return fail("'%s': none of %lld images tried can be shown", options->data, (long long)v->skipped);
    v->sheet.height = row_y(v, v->rows) + MARGIN - GAP; /* shares without a good image left theirs empty */
    if (sheet_write(&v->sheet, options->sheet) != 0)
        return EXIT_FAILED;
    snprintf(seed, sizeof seed, "%" PRIu64, v->trained.seed);
    if (options->json)
        output_json(json_pack("{s:s, s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:i}", "event", "done", "sheet",
                              output_text(options->sheet), "recipe", recipe_name(v), "seed", seed, "epoch",
                              (json_int_t)options->epoch, "pairs", (json_int_t)options->pairs, "images",
                              (json_int_t)v->rows, "skipped", (json_int_t)v->skipped, "size",
                              (int)v->trained.image_size, "zoom", v->zoom, "width", v->sheet.width, "height",
                              v->sheet.height));
    else
        printf("%s: %lld image%s with %lld pair%s of views each: %s at %d pixels, seed %s, from epoch %lld\n",
               options->sheet, (long long)v->rows, v->rows == 1 ? "" : "s", (long long)options->pairs,
               options->pairs == 1 ? "" : "s", recipe_name(v), (int)v->trained.image_size, seed,
               (long long)options->epoch);
    return EXIT_DONE;
}

/* Recipe, what the command line says over it, and the images. */
static int prepare(views_t *v)
{
    moco_status_t status = MOCO_OK;
    const int code = settings_options("views", v->options->recipe, &v->options->settings, &v->trained);

    if (code != EXIT_DONE)
        return code;
    FETCH_JSON(status, v->values, moco_trainer_options_json, &v->trained);
    if (status == MOCO_OK)
        status = dataset_open(v->options->data, v->options->limit, &v->dataset);
    return finish(status, NULL);
}

static int draw(views_t *v)
{
    const int64_t total = moco_dataset_count(v->dataset);
    const int64_t rows = v->options->count < total ? v->options->count : total;
    moco_status_t status = MOCO_OK;
    int code = make_sheet(v, rows);

    if (code != EXIT_DONE)
        return code;
    draw_header(v);
    for (int64_t i = 0; i < rows; i++)
        TRY(draw_share(v, i * total / rows, (i + 1) * total / rows));
cleanup:
    code = finish(status, NULL);
    return status == MOCO_ERR_ARGUMENT ? EXIT_USAGE : code; /* options that disagree with each other */
}

int cmd_views(int argc, char **argv)
{
    views_options_t options = {.count = 8, .pairs = 1};
    views_t v = {.options = &options};
    int code = parse(argc, argv, &options);

    if (code != ARG_GO_ON)
        return code;
    if ((code = prepare(&v)) == EXIT_DONE && (code = draw(&v)) == EXIT_DONE)
        code = conclude(&v);
    json_decref(v.values);
    sheet_free(&v.sheet);
    free(v.pixels);
    moco_dataset_free(v.dataset);
    return code;
}
