/* Many threads of one host at work on one device, for any time: two embed and compare bits with the
 * first answer, one searches an index, one reads a data set and draws views, one makes, steps,
 * saves, loads and frees trainers, and the main thread trains and takes snapshots. Sees the public
 * headers alone.
 *
 *   hammer FOLDER SECONDS [EVERY]
 *
 * FOLDER has images and receives files. A line is printed every EVERY seconds (10): seconds,
 * resident KiB, threads, open descriptors, and how often each of them has done its work. The exit
 * code is 1 when an answer was another, or a call failed. */
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <moco/moco.h>

#include "../process_numbers.h"

enum { SIDE = 16, FLOATS = 3 * SIDE * SIDE, BATCH = 4, IMAGES = 6, VECTORS = 2000, WIDTH = 16, NEAREST = 3 };
enum { EMBEDDED, SEARCHED, VIEWED, MADE, STEPPED, SNAPSHOTS, WORKS };

static atomic_int stop, wrong;
static atomic_long done[WORKS];
static moco_device_t *device;
static moco_dataset_t *dataset;
static moco_model_t *model;
static moco_index_t *vectors;
static float images[IMAGES * FLOATS], queries[WIDTH];
static const char *folder;

#define OK(call)                                                                                \
    do {                                                                                        \
        if ((call) != MOCO_OK && !atomic_exchange(&wrong, 1)) {                                 \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, moco_last_message()); \
            exit(1);                                                                            \
        }                                                                                       \
    } while (0)

static void differs(const char *what)
{
    fprintf(stderr, "another answer: %s\n", what);
    exit(1);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static moco_trainer_options_t small_options(void)
{
    moco_trainer_options_t o;
    OK(moco_trainer_options_init(&o, sizeof o, MOCO_RECIPE_CIFAR, MOCO_ARCH_RECIPE));
    o.arch = MOCO_ARCH_RESNET18;
    o.width = 0.0625;
    o.image_size = SIDE;
    o.batch_size = BATCH;
    o.bn_groups = 2;
    o.queue_length = 16;
    o.dimension = WIDTH;
    return o;
}

static void fill(float *values, int64_t count, uint32_t seed)
{
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
}

static void step(moco_trainer_t *trainer, uint32_t seed)
{
    float views[2][BATCH * FLOATS];
    fill(views[0], BATCH * FLOATS, seed);
    fill(views[1], BATCH * FLOATS, seed + 1);
    OK(moco_trainer_push_views(trainer, BATCH, views[0], views[1], MOCO_LAYOUT_NHWC));
    OK(moco_trainer_step(trainer, NULL, NULL));
}

/* ---- the threads ---- */

static void *embed(void *first)
{
    const size_t bytes = (size_t)moco_model_dimension(model, MOCO_TAP_BACKBONE) * IMAGES * sizeof(float);
    float *rows = malloc(bytes);
    while (!stop) {
        OK(moco_model_embed_tensor(model, IMAGES, images, NULL, rows));
        if (memcmp(rows, first, bytes) != 0)
            differs("an embedding");
        done[EMBEDDED]++;
    }
    free(rows);
    return NULL;
}

static void *search(void *first)
{
    moco_search_options_t options;
    int64_t ids[NEAREST];
    float near[NEAREST];
    OK(moco_search_options_init(&options, sizeof options));
    options.k = NEAREST;
    while (!stop) {
        OK(moco_index_search(vectors, 1, queries, &options, ids, near));
        if (memcmp(ids, first, sizeof ids) != 0)
            differs("a search");
        done[SEARCHED]++;
    }
    return NULL;
}

static void *view(void *unused)
{
    const moco_trainer_options_t options = small_options();
    static uint8_t first[2 * FLOATS], now[2 * FLOATS], pixels[FLOATS];
    char text[4096];
    (void)unused;
    OK(moco_dataset_views(dataset, &options, 0, 0, first));
    for (int64_t i = 0; !stop; i++) {
        OK(moco_dataset_views(dataset, &options, 0, 0, now));
        if (memcmp(now, first, sizeof now) != 0)
            differs("a view");
        OK(moco_dataset_pixels(dataset, i % moco_dataset_count(dataset), SIDE, SIDE, pixels));
        moco_model_info(model, text, sizeof text, NULL);
        done[VIEWED]++;
    }
    return NULL;
}

static void *make(void *unused)
{
    const moco_trainer_options_t options = small_options();
    char path[1024];
    (void)unused;
    snprintf(path, sizeof path, "%s/made.safetensors", folder);
    for (uint32_t i = 0; !stop; i++) {
        moco_trainer_t *trainer = NULL, *again = NULL;
        OK(moco_trainer_create(&options, device, &trainer));
        step(trainer, i);
        OK(moco_trainer_save(trainer, path));
        moco_trainer_free(trainer);
        OK(moco_trainer_load(path, NULL, device, &again));
        step(again, i + 1);
        moco_trainer_free(again);
        done[MADE]++;
    }
    return NULL;
}

/* ---- what the process holds ---- */

static long descriptors(void)
{
    long count = 0;
    DIR *open = opendir("/proc/self/fd");
    while (open != NULL && readdir(open) != NULL)
        count++;
    if (open != NULL)
        closedir(open);
    return count;
}

static void report(double seconds)
{
    printf("%.0f s, %ld KiB, %ld threads, %ld descriptors:", seconds, of_status("VmRSS:"), of_status("Threads:"),
           descriptors());
    static const char *const names[WORKS] = {"embedded", "searched", "viewed", "made", "stepped", "snapshots"};
    for (int i = 0; i < WORKS; i++)
        printf(" %s %ld%s", names[i], atomic_load(&done[i]), i + 1 < WORKS ? "," : "\n");
    fflush(stdout);
}

static void train(double until, double every)
{
    const moco_trainer_options_t options = small_options();
    moco_trainer_t *trainer = NULL;
    const double begun = seconds_now();
    double told = begun;
    float row[WIDTH];
    OK(moco_trainer_create(&options, device, &trainer));
    while (seconds_now() < until) {
        step(trainer, (uint32_t)done[STEPPED]++);
        if (done[STEPPED] % 5 == 0) {
            moco_model_t *snapshot = NULL;
            moco_embed_options_t tap;
            OK(moco_embed_options_init(&tap, sizeof tap));
            tap.tap = MOCO_TAP_PROJECTION;
            OK(moco_trainer_snapshot(trainer, NULL, device, &snapshot));
            OK(moco_model_embed_tensor(snapshot, 1, images, &tap, row));
            moco_model_free(snapshot);
            done[SNAPSHOTS]++;
        }
        if (seconds_now() - told >= every) {
            report(seconds_now() - begun);
            told = seconds_now();
        }
    }
    report(seconds_now() - begun);
    moco_trainer_free(trainer);
}

static void open_all(void)
{
    moco_device_options_t lanes;
    moco_trainer_t *trainer = NULL;
    const moco_trainer_options_t options = small_options();
    static float stored[VECTORS * WIDTH];
    OK(moco_device_options_init(&lanes, sizeof lanes));
    lanes.lanes = 2;
    OK(moco_device_create(&lanes, &device));
    OK(moco_trainer_create(&options, device, &trainer));
    OK(moco_trainer_snapshot(trainer, NULL, device, &model));
    moco_trainer_free(trainer);
    OK(moco_dataset_open(folder, NULL, &dataset));
    OK(moco_index_create(WIDTH, NULL, device, &vectors));
    fill(stored, VECTORS * WIDTH, 3);
    OK(moco_index_add(vectors, VECTORS, stored, NULL));
    fill(queries, WIDTH, 5);
    fill(images, IMAGES * FLOATS, 7);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: hammer FOLDER SECONDS [EVERY]\n");
        return 2;
    }
    folder = argv[1];
    open_all();
    float *rows = malloc((size_t)moco_model_dimension(model, MOCO_TAP_BACKBONE) * IMAGES * sizeof *rows);
    int64_t ids[NEAREST];
    float near[NEAREST];
    moco_search_options_t options;
    OK(moco_search_options_init(&options, sizeof options));
    options.k = NEAREST;
    OK(moco_model_embed_tensor(model, IMAGES, images, NULL, rows));
    OK(moco_index_search(vectors, 1, queries, &options, ids, near));
    pthread_t threads[5];
    pthread_create(&threads[0], NULL, embed, rows);
    pthread_create(&threads[1], NULL, embed, rows);
    pthread_create(&threads[2], NULL, search, ids);
    pthread_create(&threads[3], NULL, view, NULL);
    pthread_create(&threads[4], NULL, make, NULL);
    train(seconds_now() + strtod(argv[2], NULL), argc > 3 ? strtod(argv[3], NULL) : 10);
    stop = 1;
    for (int i = 0; i < 5; i++)
        pthread_join(threads[i], NULL);
    moco_index_free(vectors);
    moco_dataset_free(dataset);
    moco_model_free(model);
    moco_device_free(device);
    free(rows);
    for (int i = 0; i < WORKS; i++)
        if (done[i] == 0) {
            fprintf(stderr, "a thread did nothing\n");
            return 1;
        }
    return wrong;
}
