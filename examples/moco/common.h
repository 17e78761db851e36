/* What every command shares: exit codes, failing with a message, signals, devices and data sets
 * from options. */
#ifndef PROGRAM_COMMON_H
#define PROGRAM_COMMON_H

#include <stdint.h>
#include <moco/moco.h>

#include "args.h"
#include "signals.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

#define TRY(call)                         \
    do {                                  \
        if ((status = (call)) != MOCO_OK) \
            goto cleanup;                 \
    } while (0)

/* Writes "moco: …" to stderr, control characters of names escaped; returns EXIT_FAILED. */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The exit code of a library status; a failure's message goes to stderr, with `what` (may be NULL)
 * in front. */
int finish(moco_status_t status, const char *what);

double seconds_now(void);

/* Where the work runs; the same options in every command. */
typedef struct run_place {
    int kind; /* MOCO_DEVICE_… */
    int64_t number;
    int64_t threads;
    int64_t loader_threads;
} run_place_t;

#define DEVICE_OPTIONS(place)                                                                                         \
    {"device", 0, ARG_CHOICE, &(place).kind, "cpu|gpu", "where networks run (default cpu)", 0, 0, NULL},              \
        {"device-number", 0, ARG_INTEGER, &(place).number, "N", "which of several GPUs (default 0)", 0, 1023, NULL},  \
    {                                                                                                                 \
        "threads", 0, ARG_INTEGER, &(place).threads, "LANES", "worker threads (default: what is allowed; GPU: 1)", 1, \
            1024, NULL                                                                                                \
    }
#define PLACE_OPTIONS(place)                                                                                           \
    DEVICE_OPTIONS(place),                                                                                             \
    {                                                                                                                  \
        "loader-threads", 0, ARG_INTEGER, &(place).loader_threads, "N", "decoding threads (default: one per lane)", 1, \
            256, NULL                                                                                                  \
    }

/* What the user says of a model's file; the same options in every command that reads one. */
typedef struct model_file {
    const char *prefix;
    int64_t vit_heads; /* 0 = as the file has it */
    int precision;     /* MOCO_PRECISION_…       */
} model_file_t;

/* Of commands that run images through the model. */
#define PRECISION_OPTION(file)                                             \
    {                                                                      \
        "precision", 0, ARG_CHOICE, &(file).precision, "float32|bf16|f16", \
            "of products in the backbone (default float32)", 0, 0, NULL    \
    }

#define MODEL_FILE_OPTIONS(file)                                                                                   \
    {"prefix", 0, ARG_TEXT, &(file).prefix, "NAME", "of the encoder's tensors (default: found by their names)",    \
     0,        0, NULL},                                                                                           \
    {                                                                                                              \
        "vit-heads", 0, ARG_INTEGER, &(file).vit_heads, "N", "attention heads of a ViT (default: as is usual)", 1, \
            1024, NULL                                                                                             \
    }

moco_status_t model_file_options(const model_file_t *file, moco_model_options_t *options);
/* `device` may be NULL. */
moco_status_t model_open(const char *path, const model_file_t *file, moco_device_t *device, moco_model_t **out);

moco_status_t place_open(const run_place_t *place, moco_device_t **out);

/* `limit` 0 = all images. */
moco_status_t dataset_open(const char *path, int64_t limit, moco_dataset_t **out);

/* Sends the library's warnings of this thread to stderr. */
void log_to_stderr(void);

/* Returns 1 if something stands at `path`. */
int path_exists(const char *path);
/* Hours of work must not end at a folder that is not there, or at a folder where a file should be;
 * NULL is fine. Says why not. */
int path_writable(const char *path);

/* folder + "/" + name in a buffer of PATH_SIZE bytes; returns -1 with a message if it does not
 * fit. */
#define PATH_SIZE 4096
int path_join(char *path, const char *folder, const char *name);

/* Makes the last component of a folder; an existing folder is fine. Returns -1 with a message. */
int folder_make(const char *path);

/* The commands. argc and argv begin after the command's name. */
int cmd_train(int argc, char **argv);
int cmd_embed(int argc, char **argv);
int cmd_knn(int argc, char **argv);
int cmd_probe(int argc, char **argv);
int cmd_finetune(int argc, char **argv);
int cmd_near(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_views(int argc, char **argv);
int cmd_bench(int argc, char **argv);

#endif
