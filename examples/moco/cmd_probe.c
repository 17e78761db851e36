/* moco probe: linear classification on an encoder's frozen features. */
#include <stdio.h>
#include <string.h>

#include "common.h"
#include "confusion.h"
#include "output.h"
#include "progress.h"

typedef struct probe_options {
    const char *paths[3]; /* MODEL, TRAIN, TEST */
    const char *out, *confusion, *lr;
    int protocol, normalize, json;
    int64_t epochs, batch, limit, eval_every, seed;
    run_place_t place;
} probe_options_t;

static const char notes[] =
    "Images need classes: first sub-folders, or labels in a list; those of TEST are matched by name.\n"
    "  v1      MoCo v1 and v2: random crops, 100 epochs, batch 256, rate 30, times 0.1 after 60 % and 80 %\n"
    "  v3      MoCo v3: random crops, 90 epochs, batch 1024, rate 0.1 (ViT: 3) times batch/256, cosine\n"
    "  cached  each image through the encoder once, then 100 epochs over the features, nine rates at once\n"
    "Several rates learn side by side; the one with the best top-1 on TEST is reported and saved.";

/* "0.1,1,10" */
static int parse_rates(const char *text, moco_probe_options_t *options)
{
    const char *at = text;

    options->rates = 0;
    for (;;) {
        char *end = NULL;
        const double value = strtod(at, &end);
        if (end == at || (*end != ',' && *end != '\0') || !(value > 0 && value <= 1e6)) {
            fprintf(stderr, "moco probe: --lr: '%s' is no number above 0 and up to 1000000, nor several with commas\n",
                    text);
            return EXIT_USAGE;
        }
        if (options->rates == MOCO_PROBE_MAX_RATES) {
            fprintf(stderr, "moco probe: --lr: more than %d learning rates\n", MOCO_PROBE_MAX_RATES);
            return EXIT_USAGE;
        }
        options->lr[options->rates++] = value;
        if (*end == '\0')
            return ARG_GO_ON;
        at = end + 1;
    }
}

static int parse(int argc, char **argv, probe_options_t *o)
{
    const arg_option_t table[] = {
        {"protocol", 0, ARG_CHOICE, &o->protocol, "v1|v3|cached", "how the classifier is trained (default cached)", 0,
         0, NULL},
        {"lr", 0, ARG_TEXT, &o->lr, "L[,L…]", "learning rates (default: the protocol's)", 0, 0, NULL},
        {"epochs", 0, ARG_INTEGER, &o->epochs, "N", "epochs (default: the protocol's)", 1, 1000000, NULL},
        {"batch", 0, ARG_INTEGER, &o->batch, "N", "images a step (default: the protocol's)", 1, 65536, NULL},
        {"limit", 0, ARG_INTEGER, &o->limit, "N", "use N training images, spread evenly over the listing", 1,
         INT64_MAX, NULL},
        {"normalize", 0, ARG_FLAG, &o->normalize, NULL, "divide features by their length", 0, 0, NULL},
        {"eval-every", 0, ARG_INTEGER, &o->eval_every, "N", "measure on TEST every N epochs (default: at the end)", 1,
         1000000, NULL},
        {"seed", 0, ARG_INTEGER, &o->seed, "N", "of weights, order and crops (default 0)", 0, INT64_MAX, NULL},
        {"out", 'o', ARG_TEXT, &o->out, "FILE.safetensors", "write backbone and classifier (fc.weight, fc.bias)", 0, 0,
         NULL},
        {"confusion", 0, ARG_TEXT, &o->confusion, "FILE.tsv", "write counts: rows true classes, columns answers", 0, 0,
         NULL},
        PLACE_OPTIONS(o->place),
        {"json", 0, ARG_FLAG, &o->json, NULL, "epochs and result as JSON lines on stdout", 0, 0, NULL},
        {NULL, 0, ARG_FLAG, NULL, NULL, NULL, 0, 0, NULL},
    };
    const arg_command_t command = {"probe", "Measure an encoder by a linear classifier on its frozen features.",
                                   "MODEL TRAIN TEST", 3, 3, table, notes};
    return args_parse(&command, argc, argv, o->paths);
}

static int fill(const probe_options_t *o, moco_probe_options_t *filled)
{
    const moco_status_t status = moco_probe_options_init(filled, sizeof *filled, o->protocol);

    if (status != MOCO_OK)
        return finish(status, NULL);
    filled->seed = (uint64_t)o->seed;
    filled->normalize = o->normalize;
    filled->loader_threads = (int32_t)o->place.loader_threads;
    if (o->epochs != 0)
        filled->epochs = (int32_t)o->epochs;
    if (o->batch != 0)
        filled->batch_size = (int32_t)o->batch;
    if (o->eval_every != 0)
        filled->eval_every = (int32_t)o->eval_every;
    return o->lr != NULL ? parse_rates(o->lr, filled) : ARG_GO_ON;
}

typedef struct watch {
    progress_t progress;
    int json;
    int32_t phase;
} watch_t;

static int32_t on_report(void *user, const moco_probe_report_t *r)
{
    static const char *const verbs[] = {"test set:", "training set:", "probe"};
    watch_t *watch = user;

    if (r->phase != watch->phase) {
        progress_clear(&watch->progress);
        progress_start(&watch->progress, verbs[r->phase], r->epochs);
        watch->phase = r->phase;
    }
    if (r->phase != MOCO_PROBE_TRAINING)
        progress_images(&watch->progress, r->done, r->total);
    else
        progress_probe(&watch->progress, r);
    if (watch->json && r->epoch_end) {
        json_t *line = json_pack("{s:s, s:i, s:i, s:o}", "event", "epoch", "epoch", r->epoch + 1, "epochs", r->epochs,
                                 "loss", output_real(r->loss, 6));
        if (line != NULL && r->top1 >= 0) {
            json_object_set_new(line, "top1", output_real(r->top1, 4));
            json_object_set_new(line, "top5", output_real(r->top5, 4));
        }
        output_json(line);
    }
    return signals_pending();
}

static json_t *rates_json(const moco_probe_t *probe, int32_t count)
{
    json_t *list = json_array();

    for (int32_t i = 0; i < count; i++) {
        moco_probe_rate_t r = {.struct_size = sizeof r};
        if (moco_probe_rate(probe, i, &r) == MOCO_OK)
            json_array_append_new(list, json_pack("{s:f, s:f, s:o, s:o, s:o, s:o}", "lr", r.lr, "effective_lr",
                                                  r.effective_lr, "top1", output_real(r.top1, 4), "top5",
                                                  output_real(r.top5, 4), "train_loss", output_real(r.train_loss, 6),
                                                  "test_loss", output_real(r.test_loss, 6)));
    }
    return list;
}

static void report_json(const probe_options_t *o, const moco_probe_t *probe, const moco_probe_result_t *r,
                        double seconds)
{
    json_t *line = json_pack(
        "{s:s, s:o, s:o, s:f, s:o, s:o, s:o, s:i, s:i, s:I, s:I, s:o, s:o}", "event", "done", "top1",
        output_real(r->top1, 4), "top5", output_real(r->top5, 4), "lr", r->lr, "train_loss",
        output_real(r->train_loss, 6), "test_loss", output_real(r->test_loss, 6), "chance", output_real(r->chance, 4),
        "classes", r->classes, "features", r->features, "train_images", (json_int_t)r->train_images, "test_images",
        (json_int_t)r->test_images, "seconds", output_real(seconds, 3), "rates", rates_json(probe, r->rates));

    if (line != NULL && o->out != NULL)
        json_object_set_new(line, "file", output_text(o->out));
    output_json(line);
}

static void report_text(const probe_options_t *o, const moco_probe_t *probe, const moco_probe_result_t *r,
                        double seconds)
{
    for (int32_t i = 0; r->rates > 1 && i < r->rates; i++) {
        moco_probe_rate_t rate = {.struct_size = sizeof rate};
        if (moco_probe_rate(probe, i, &rate) == MOCO_OK)
            printf("lr %-8.4g top-1 %6.2f %%  top-5 %6.2f %%  loss %.4f  test loss %.4f%s\n", rate.lr, rate.top1,
                   rate.top5, rate.train_loss, rate.test_loss, i == r->best ? "  best" : "");
    }
    printf("top-1 %.2f %%, top-5 %.2f %% (chance %.2f %%) at learning rate %g: %lld test images, %lld training images, "
           "%.1f s\n",
           r->top1, r->top5, r->chance, r->lr, (long long)r->test_images, (long long)r->train_images, seconds);
    if (o->out != NULL)
        printf("backbone and classifier in %s\n", o->out);
}

static const char *class_name(const void *probe, int32_t label)
{
    return moco_probe_class_name(probe, label);
}

static int write_confusion(const moco_probe_t *probe, int32_t classes, const char *path)
{
    int64_t *table = calloc((size_t)classes * (size_t)classes, sizeof *table);
    int code;

    if (table == NULL)
        return fail("no memory for a table of %d classes", (int)classes);
    if (moco_probe_confusion(probe, table) == MOCO_OK)
        code = confusion_write(path, classes, class_name, probe, table);
    else
        code = fail("'%s' is not written: %s", path, moco_last_message());
    free(table);
    return code;
}

static int report(const probe_options_t *o, const moco_probe_t *probe, const moco_model_t *model, double seconds)
{
    moco_probe_result_t result = {.struct_size = sizeof result};
    moco_status_t status = moco_probe_result(probe, &result);
    int code = EXIT_DONE;

    if (status == MOCO_OK && o->out != NULL)
        status = moco_probe_save(probe, model, o->out);
    if (status != MOCO_OK)
        code = finish(status, NULL);
    if (o->confusion != NULL && write_confusion(probe, result.classes, o->confusion) != EXIT_DONE)
        code = EXIT_FAILED;
    if (code != EXIT_DONE) /* what was measured is worth showing all the same */
        fprintf(stderr, "moco: top-1 %.2f %%, top-5 %.2f %%, not all of it saved\n", result.top1, result.top5);
    else if (o->json)
        report_json(o, probe, &result, seconds);
    else
        report_text(o, probe, &result, seconds);
    return code;
}

int cmd_probe(int argc, char **argv)
{
    probe_options_t options = {.protocol = MOCO_PROBE_CACHED};
    moco_probe_options_t filled;
    moco_device_t *device = NULL;
    moco_model_t *model = NULL;
    moco_dataset_t *train = NULL, *test = NULL;
    moco_probe_t *probe = NULL;
    moco_status_t status = MOCO_OK;
    const double started = seconds_now();
    watch_t watch = {.phase = -1};
    int code = parse(argc, argv, &options);

    if (code != ARG_GO_ON || (code = fill(&options, &filled)) != ARG_GO_ON)
        return code;
    if (!path_writable(options.out) || !path_writable(options.confusion))
        return EXIT_FAILED;
    watch.json = options.json;
    TRY(place_open(&options.place, &device));
    TRY(moco_model_load(options.paths[0], NULL, device, &model));
    TRY(dataset_open(options.paths[1], options.limit, &train));
    TRY(dataset_open(options.paths[2], 0, &test));
    status = moco_probe(model, train, test, &filled, on_report, &watch, &probe);
    progress_clear(&watch.progress);
    if (status == MOCO_OK)
        code = report(&options, probe, model, seconds_now() - started);
cleanup:
    if (status != MOCO_OK)
        code = finish(status, NULL);
    moco_probe_free(probe);
    moco_dataset_free(test);
    moco_dataset_free(train);
    moco_model_free(model);
    moco_device_free(device);
    return code;
}
