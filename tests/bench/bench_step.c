/* Times training steps on random images and prints them as shares of the multiply-add peak measured in the same run.
 *
 *   bench_step [--steps N] [--lanes L] [name=value …]     any option of docs/options.md, after recipe moco-v2
 *
 * One JSON object per line: the plan, each step (images per second, share of peak, resident bytes, page faults), and a
 * summary with medians. Multiply-adds are those of convolutions, linear layers and attention: key forward, query
 * forward, both gradients (the first convolution has no input gradient, a frozen one none at all). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <moco/moco.h>

#include "eval/model.h"
#include "layers/layers.h"
#include "peak.h"

#define CHECK(call)                                                                                   \
    do {                                                                                              \
        if ((call) != MOCO_OK) {                                                                      \
            fprintf(stderr, "bench_step: %s\n", moco_last_message());                                 \
            exit(1);                                                                                  \
        }                                                                                             \
    } while (0)

static double macs_per_image(const moco_trainer_options_t *o)
{
    mo_net_t net = {0};
    mo_encoder_spec_t spec = mo_encoder_spec_of(o);
    double total = 0;
    CHECK(mo_encoder_build(&spec, &net));
    for (int32_t i = 0; i < net.op_count; i++) {
        const mo_op_t *op = &net.ops[i];
        mo_shape_t out = net.shapes[op->dst];
        if (op->layer == &mo_layer_attention) /* every query with every key, every weight with every value */
            total += 4 * 2.0 * out.c * out.h * net.shapes[op->src].h;
        if (op->layer != &mo_layer_conv && op->layer != &mo_layer_linear)
            continue;
        double macs = (double)net.spans[op->weights].count * out.h * out.w;
        total += macs * (2 + (op->src != net.input) + !net.spans[op->weights].frozen);
    }
    mo_net_free(&net);
    return total;
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
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    moco_trainer_options_t o;
    moco_device_options_t d;
    moco_device_t *device;
    moco_trainer_t *trainer;
    static char plan[4096];
    int steps = 3;
    CHECK(moco_trainer_options_init(&o, sizeof o, MOCO_RECIPE_V2));
    CHECK(moco_device_options_init(&d, sizeof d));
    for (int i = 1; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (strcmp(argv[i], "--steps") == 0 && i + 1 < argc)
            steps = atoi(argv[++i]);
        else if (strcmp(argv[i], "--lanes") == 0 && i + 1 < argc)
            d.lanes = atoi(argv[++i]);
        else if (equals != NULL) {
            *equals = '\0';
            CHECK(moco_trainer_options_set(&o, argv[i], equals + 1));
        } else {
            fprintf(stderr, "usage: bench_step [--steps N] [--lanes L] [name=value …]\n");
            return 2;
        }
    }
    CHECK(moco_device_create(&d, &device));
    CHECK(moco_trainer_plan(&o, device, plan, sizeof plan, NULL));
    printf("{\"plan\":%s}\n", plan);
    CHECK(moco_trainer_create(&o, device, &trainer));
    size_t floats = (size_t)o.batch_size * 3 * (size_t)o.image_size * (size_t)o.image_size;
    float *views[2] = {malloc(floats * sizeof(float)), malloc(floats * sizeof(float))};
    double *share = calloc((size_t)steps, sizeof *share), *rate = calloc((size_t)steps, sizeof *rate);
    if (views[0] == NULL || views[1] == NULL || share == NULL || rate == NULL)
        return 1;
    for (size_t i = 0; i < floats; i++) {
        views[0][i] = (float)rand() / (float)RAND_MAX - 0.5f;
        views[1][i] = views[0][i] + 0.3f * (float)rand() / (float)RAND_MAX;
    }
    double macs = macs_per_image(&o) * o.batch_size;
    int lanes = d.lanes > 0 ? d.lanes : (int)sysconf(_SC_NPROCESSORS_ONLN);
    for (int i = -1; i < steps; i++) { /* the first is warm-up */
        moco_step_report_t r = {.struct_size = sizeof r};
        struct rusage before, after;
        CHECK(moco_trainer_push_views(trainer, o.batch_size, views[0], views[1], MOCO_LAYOUT_NHWC));
        double peak = bench_peak(lanes, 0.5);
        getrusage(RUSAGE_SELF, &before);
        CHECK(moco_trainer_step(trainer, &r));
        getrusage(RUSAGE_SELF, &after);
        peak = 0.5 * (peak + bench_peak(lanes, 0.5)); /* around the step: the machine's speed drifts */
        double step_share = macs / r.step_seconds / peak;
        printf("{\"step\":%d,\"images_per_second\":%.3f,\"share_of_peak\":%.3f,\"peak_gmacs\":%.1f,"
               "\"resident\":%ld,\"faults\":%ld}\n",
               i + 1, o.batch_size / r.step_seconds, step_share, peak * 1e-9, resident_bytes(),
               after.ru_minflt - before.ru_minflt);
        fflush(stdout);
        if (i >= 0) {
            share[i] = step_share;
            rate[i] = o.batch_size / r.step_seconds;
        }
    }
    if (steps > 0) {
        struct rusage all;
        getrusage(RUSAGE_SELF, &all);
        qsort(share, (size_t)steps, sizeof *share, by_value);
        qsort(rate, (size_t)steps, sizeof *rate, by_value);
        printf("{\"lanes\":%d,\"batch\":%d,\"median_images_per_second\":%.3f,\"median_share_of_peak\":%.3f,"
               "\"peak_resident\":%ld}\n",
               lanes, o.batch_size, rate[steps / 2], share[steps / 2], all.ru_maxrss * 1024L);
    }
    free(views[0]);
    free(views[1]);
    free(share);
    free(rate);
    moco_trainer_free(trainer);
    moco_device_free(device);
    return 0;
}
