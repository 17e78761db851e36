/* moco bench: training steps and embeddings of random images, as images per second and as shares of
 * the machine's multiply-add peak. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common.h"
#include "output.h"
#include "peak.h"
#include "settings.h"

enum { MOST_STEPS = 1000, IMAGES = 8, EMBEDDED = 64 };
#define PEAK_SECONDS 0.3 /* on either side of what is timed: the machine's speed drifts */

typedef struct bench_options {
    const char *recipe;
    int64_t steps, memory_cap;
    double seconds;
    int json;
    run_place_t place;
    model_file_t file;       /* its precision alone */
    arg_settings_t settings; /* trainer options in the order given */
} bench_options_t;

typedef struct bench {
    const bench_options_t *options;
    moco_trainer_options_t trained;
    moco_device_t *device;
    moco_trainer_t *trainer;
    moco_model_t *model;
    uint8_t *pixels; /* [IMAGES, side, side, 3] */
    int side, lanes;
    double multiply_adds;                       /* per image of a step */
    double rate[MOST_STEPS], share[MOST_STEPS]; /* of the steps that count */
    int steps;
} bench_t;

static const char notes[] =
    "Values that are not given come from the recipe (default moco-v2), as in `moco train`. The images are noise, both\n"
    "views of each are drawn before the step and not timed. A step runs before those that count. Shares count the\n"
    "multiply-adds of convolutions, linear layers and attentions, against chains of them in registers on as many\n"
    "threads, measured on either side of every step; the chains are float32 in every precision. With f16, and on a\n"
    "GPU, training is float32 whatever --precision says.";

static int parse(int argc, char **argv, bench_options_t *options)
{
    const arg_option_t table[] = {
        {"recipe", 0, ARG_TEXT, &options->recipe, "NAME", SETTINGS_RECIPES, 0, 0, NULL},
        SETTINGS_FIELDS(options->settings),
        {"steps", 0, ARG_INTEGER, &options->steps, "N", "steps that count (default: as --seconds says)", 1, MOST_STEPS,
         NULL},
        {"seconds", 0, ARG_NUMBER, &options->seconds, "S", "or steps for so long, at least one (default 20)", 0, 0,
         NULL},
        DEVICE_OPTIONS(options->place),
        {"precision", 0, ARG_CHOICE, &options->file.precision, "float32|bf16|f16",
         "of the backbone's products (default float32)", 0, 0, NULL},
        {"memory-cap", 0, ARG_BYTES, &options->memory_cap, "BYTES", "refuse to plan more, such as 2G or 512M", 0, 0,
         NULL},
        {"set", 0, ARG_SETTING, &options->settings, "name=value", "any trainer option, repeatable", 0, 0, NULL},
        {"json", 0, ARG_FLAG, &options->json, NULL, "one JSON object per line on stdout", 0, 0, NULL},
        {NULL, 0, ARG_FLAG, NULL, NULL, NULL, 0, 0, NULL},
    };
    const arg_command_t command = {"bench", "Measure the speed of training and embedding.", "", 0, 0, table, notes};
    int code;

    options->steps = options->memory_cap = ARG_ABSENT;
    options->seconds = 20;
    if ((code = args_parse(&command, argc, argv, NULL)) != ARG_GO_ON)
        return code;
    if (!(options->seconds >= 0)) {
        fprintf(stderr, "moco bench: --seconds: %g is not 0 or more\n", options->seconds);
        return EXIT_USAGE;
    }
    return ARG_GO_ON;
}

static long resident_bytes(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file == NULL || fscanf(file, "%ld %ld", &pages, &resident) != 2)
        resident = 0;
    if (file != NULL)
        fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return count % 2 == 1 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

/* What it will take, before it is taken. */
static moco_status_t show_plan(bench_t *b)
{
    moco_status_t status = MOCO_OK;
    json_t *plan = NULL, *values = NULL;
    char text[32];

    FETCH_JSON(status, plan, moco_trainer_plan, &b->trained, b->device);
    if (status == MOCO_OK)
        FETCH_JSON(status, values, moco_trainer_options_json, &b->trained);
    if (status != MOCO_OK)
        goto cleanup;
    b->lanes = (int)json_integer_value(json_object_get(plan, "lanes"));
    b->multiply_adds = (double)json_integer_value(json_object_get(plan, "multiply_adds"));
    const json_t *bytes = json_object_get(json_object_get(plan, "bytes"), "total");
    if (b->options->json) {
        output_json(json_pack("{s:s, s:O, s:O}", "event", "plan", "memory", plan, "options", values));
        goto cleanup;
    }
    printf("%s, %s at width %g, %d pixels, batch %d on %d batch-norm groups\nlanes %d, planned %s, %.3g G "
           "multiply-adds an "
           "image\n",
           json_string_value(json_object_get(values, "recipe")), json_string_value(json_object_get(values, "arch")),
           b->trained.width, (int)b->trained.image_size, (int)b->trained.batch_size, (int)b->trained.bn_groups,
           b->lanes, output_bytes((double)json_integer_value(bytes), text), b->multiply_adds * 1e-9);
    fflush(stdout);
cleanup:
    json_decref(plan);
    json_decref(values);
    return status;
}

/* How long it took until the first step could begin, and the share of the checks of oneDNN. */
static moco_status_t show_start(const bench_t *b, double seconds)
{
    moco_status_t status = MOCO_OK;
    json_t *info = NULL;

    FETCH_JSON(status, info, moco_device_info, b->device);
    if (status != MOCO_OK)
        return status;
    json_t *checks = json_object_get(info, "checks");
    const double checking = json_number_value(json_object_get(checks, "seconds"));
    const double share = seconds > 0 ? 100 * checking / seconds : 0;
    if (b->options->json)
        output_json(json_pack("{s:s, s:o, s:O, s:o}", "event", "ready", "seconds", output_real(seconds, 3), "checks",
                              checks, "share_of_checks", output_real(share, 2)));
    else
        printf("ready in %.3g s, %.2g s of them (%.2g %%) for checks of %d primitives of oneDNN (%d left out)\n",
               seconds, checking, share, (int)json_integer_value(json_object_get(checks, "primitives")),
               (int)json_integer_value(json_object_get(checks, "left_out")));
    json_decref(info);
    return MOCO_OK;
}

/* Noise, the same in every run. */
static moco_status_t draw_images(bench_t *b)
{
    const size_t size = (size_t)b->side * (size_t)b->side * 3 * IMAGES;
    uint32_t state = 1;

    if ((b->pixels = malloc(size)) == NULL) {
        fail("no memory for %d images of %d pixels", IMAGES, b->side);
        return MOCO_ERR_MEMORY;
    }
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525u + 1013904223u;
        b->pixels[i] = (uint8_t)(state >> 24);
    }
    return MOCO_OK;
}

static moco_image_t image(const bench_t *b, int number)
{
    const size_t each = (size_t)b->side * (size_t)b->side * 3;
    return (moco_image_t){.struct_size = sizeof(moco_image_t),
                          .planes = {b->pixels + (size_t)(number % IMAGES) * each},
                          .width = b->side,
                          .height = b->side};
}

static moco_status_t push_batch(const bench_t *b)
{
    moco_status_t status = MOCO_OK;

    for (int i = 0; i < b->trained.batch_size && status == MOCO_OK; i++) {
        const moco_image_t one = image(b, i);
        status = moco_trainer_push_pixels(b->trainer, 1, &one);
    }
    return status;
}

/* Step 0 is not counted: it wakes the lanes and touches the memory. */
static moco_status_t step(bench_t *b, int number)
{
    moco_step_report_t report = {.struct_size = sizeof report};
    moco_status_t status = push_batch(b);
    struct rusage before, after;
    double peak, rate, share;

    if (status != MOCO_OK)
        return status;
    peak = peak_rate(b->lanes, PEAK_SECONDS);
    getrusage(RUSAGE_SELF, &before);
    status = moco_trainer_step(b->trainer, NULL, &report);
    getrusage(RUSAGE_SELF, &after);
    if (status != MOCO_OK)
        return status;
    peak = 0.5 * (peak + peak_rate(b->lanes, PEAK_SECONDS));
    rate = b->trained.batch_size / report.step_seconds;
    share = peak > 0 ? 100 * rate * b->multiply_adds / peak : 0;
    if (b->options->json)
        output_json(json_pack("{s:s, s:i, s:o, s:o, s:o, s:I, s:I}", "event", "step", "step", number,
                              "images_per_second", output_real(rate, 3), "share_of_peak", output_real(share, 2),
                              "peak_multiply_adds", output_real(peak, 0), "resident", (json_int_t)resident_bytes(),
                              "page_faults", (json_int_t)(after.ru_minflt - before.ru_minflt)));
    else
        printf("step %d: %.4g images/s, %.1f %% of %.4g G multiply-adds/s, %ld page faults\n", number, rate, share,
               peak * 1e-9, after.ru_minflt - before.ru_minflt);
    fflush(stdout);
    if (number > 0) {
        b->rate[b->steps] = rate;
        b->share[b->steps++] = share;
    }
    return MOCO_OK;
}

static moco_status_t train(bench_t *b)
{
    moco_status_t status = step(b, 0);
    const int64_t wanted = b->options->steps;
    const double started = seconds_now();

    while (status == MOCO_OK && !signals_pending()) {
        if (wanted != ARG_ABSENT
                ? b->steps == wanted
                : b->steps == MOST_STEPS || (b->steps > 0 && seconds_now() - started >= b->options->seconds))
            break;
        status = step(b, b->steps + 1);
    }
    return status;
}

/* Embeddings of `EMBEDDED` images at a time, evaluation transform included, for two seconds; the
 * first are not counted. */
static moco_status_t embed(bench_t *b, double *rate, double *share)
{
    moco_image_t images[EMBEDDED];
    moco_status_t status = MOCO_OK;
    json_t *info = NULL;
    double peak, started = 0, seconds = 0;
    int64_t done = 0;
    float *rows = malloc(sizeof *rows * EMBEDDED * (size_t)moco_model_dimension(b->model, MOCO_TAP_BACKBONE));

    for (int i = 0; i < EMBEDDED; i++)
        images[i] = image(b, i);
    if (rows == NULL) {
        fail("no memory for %d embeddings", EMBEDDED);
        return MOCO_ERR_MEMORY;
    }
    FETCH_JSON(status, info, moco_model_info, b->model);
    TRY(status);
    TRY(moco_model_embed_pixels(b->model, EMBEDDED, images, NULL, rows));
    peak = peak_rate(b->lanes, PEAK_SECONDS);
    started = seconds_now();
    do {
        TRY(moco_model_embed_pixels(b->model, EMBEDDED, images, NULL, rows));
        done += EMBEDDED;
        seconds = seconds_now() - started;
    } while (seconds < 2 && !signals_pending());
    peak = 0.5 * (peak + peak_rate(b->lanes, PEAK_SECONDS));
    *rate = (double)done / seconds;
    *share = peak > 0 ? 100 * *rate * json_number_value(json_object_get(info, "multiply_adds")) / peak : 0;
cleanup:
    json_decref(info);
    free(rows);
    return status;
}

static void report(bench_t *b, double embedded, double embedded_share)
{
    const double rate = median(b->rate, b->steps), share = median(b->share, b->steps);
    struct rusage all;
    char text[32];

    getrusage(RUSAGE_SELF, &all);
    const long peak = all.ru_maxrss * 1024L;
    if (b->options->json)
        output_json(json_pack("{s:s, s:i, s:i, s:o, s:o, s:o, s:o, s:I}", "event", "done", "lanes", b->lanes, "steps",
                              b->steps, "train_images_per_second", output_real(rate, 3), "train_share_of_peak",
                              output_real(share, 2), "embed_images_per_second", output_real(embedded, 3),
                              "embed_share_of_peak", output_real(embedded_share, 2), "peak_resident",
                              (json_int_t)peak));
    else
        printf("training   %.4g images/s, %.1f %% of the peak, median of %d step%s\nembedding  %.4g images/s, %.1f %%, "
               "counted as direct convolutions (Winograd's need fewer)\n"
               "resident   %s at most\n",
               rate, share, b->steps, b->steps == 1 ? "" : "s", embedded, embedded_share,
               output_bytes((double)peak, text));
}

/* The encoder as it is, through the bytes of its file, which is where a precision is chosen. */
static moco_status_t take_model(bench_t *b)
{
    moco_model_options_t options;
    moco_model_t *trained = NULL;
    moco_status_t status = MOCO_OK;
    uint64_t size = 0;
    void *bytes = NULL;

    TRY(model_file_options(&b->options->file, &options));
    TRY(moco_trainer_snapshot(b->trainer, NULL, b->device, &trained));
    TRY(moco_model_save_memory(trained, NULL, 0, &size));
    bytes = malloc(size);
    if (bytes == NULL) {
        fail("no memory for a model of %llu bytes", (unsigned long long)size);
        status = MOCO_ERR_MEMORY;
        goto cleanup;
    }
    TRY(moco_model_save_memory(trained, bytes, size, NULL));
    TRY(moco_model_load_memory(bytes, size, &options, b->device, &b->model));
cleanup:
    free(bytes);
    moco_model_free(trained);
    return status;
}

static moco_status_t measure(bench_t *b)
{
    moco_status_t status = MOCO_OK;
    double embedded = 0, share = 0;
    const double started = seconds_now();

    TRY(show_plan(b));
    TRY(moco_trainer_create(&b->trained, b->device, &b->trainer));
    TRY(show_start(b, seconds_now() - started));
    TRY(draw_images(b));
    TRY(train(b));
    TRY(take_model(b));
    moco_trainer_free(b->trainer); /* a model alone, as hosts have it */
    b->trainer = NULL;
    if (b->steps == 0) /* interrupted */
        return MOCO_OK;
    TRY(embed(b, &embedded, &share));
    report(b, embedded, share);
cleanup:
    return status;
}

int cmd_bench(int argc, char **argv)
{
    bench_options_t options = {0};
    moco_status_t status = MOCO_OK;
    bench_t b = {.options = &options};
    int code = parse(argc, argv, &options);

    if (code != ARG_GO_ON)
        return code;
    if ((code = settings_options("bench", options.recipe, &options.settings, &b.trained)) != EXIT_DONE)
        return code;
    if (options.memory_cap != ARG_ABSENT)
        b.trained.memory_cap = options.memory_cap;
    if (options.file.precision == MOCO_PRECISION_BF16 && options.place.kind != MOCO_DEVICE_GPU)
        b.trained.precision = MOCO_PRECISION_BF16;
    b.side = b.trained.image_size;
    TRY(place_open(&options.place, &b.device));
    TRY(measure(&b));
cleanup:
    code = finish(status, NULL);
    moco_model_free(b.model);
    moco_trainer_free(b.trainer);
    moco_device_free(b.device);
    free(b.pixels);
    if (status == MOCO_OK && signals_pending())
        return EXIT_INTERRUPTED;
    return status == MOCO_ERR_ARGUMENT ? EXIT_USAGE : code; /* options that disagree with each other */
}
