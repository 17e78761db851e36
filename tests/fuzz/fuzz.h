/* What the coverage-guided fuzz targets share: target_NAME.c has the one function that libFuzzer
 * calls with bytes of its own making. A target fails by crashing, by a sanitizer's report, by
 * taking too long or too much memory, or by EXPECT. tests/fuzz.sh builds and runs them. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <moco/moco.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EXPECT(condition)                                                                                       \
    do {                                                                                                        \
        if (!(condition)) {                                                                                     \
            fprintf(stderr, "%s:%d: not true: %s (%s)\n", __FILE__, __LINE__, #condition, moco_last_message()); \
            abort();                                                                                            \
        }                                                                                                       \
    } while (0)
#define OK(call) EXPECT((call) == MOCO_OK)

/* A hostile input is taken or refused with a reason; it is never the host's fault, and never the
 * system's but for memory. */
static inline int fuzz_taken(moco_status_t status)
{
    if (status == MOCO_OK)
        return 1;
    EXPECT(moco_last_message()[0] != '\0');
    EXPECT(strchr(moco_last_message(), '\n') == NULL);
    EXPECT(status != MOCO_ERR_STATE && status != MOCO_ERR_ENGINE);
    return 0;
}

/* ---- the first bytes of an input choose what is done with the rest ---- */

typedef struct fuzz_input {
    const uint8_t *bytes;
    size_t size;
} fuzz_input_t;

static inline uint32_t fuzz_byte(fuzz_input_t *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->bytes++;
}

static inline uint32_t fuzz_word(fuzz_input_t *input)
{
    const uint32_t low = fuzz_byte(input);
    return low | fuzz_byte(input) << 8;
}

/* A copy with nothing behind it, so that the address sanitizer sees the first byte too many. */
static inline uint8_t *fuzz_copy(const void *bytes, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    EXPECT(copy != NULL);
    if (size > 0)
        memcpy(copy, bytes, size);
    return copy;
}

/* ---- files, in memory where the system has such a place ---- */

static inline void fuzz_remove_folder(void);

static inline const char *fuzz_folder(void)
{
    static char folder[64];
    if (folder[0] == '\0') {
        snprintf(folder, sizeof folder, "%s/moco-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        EXPECT(mkdtemp(folder) != NULL);
        atexit(fuzz_remove_folder);
    }
    return folder;
}

static inline void fuzz_remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", fuzz_folder());
    if (system(command) != 0)
        fprintf(stderr, "%s could not be removed\n", fuzz_folder());
}

/* The path of a file in the folder; static, of the last call. */
static inline const char *fuzz_path(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    return path;
}

static inline const char *fuzz_file(const char *name, const void *bytes, size_t size)
{
    const char *path = fuzz_path(name);
    const int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    EXPECT(fd >= 0);
    EXPECT(write(fd, bytes, size) == (ssize_t)size);
    close(fd);
    return path;
}

/* ---- a device, and a trainer as small as they come ---- */

static inline moco_device_t *fuzz_device(void)
{
    static moco_device_t *device;
    moco_device_options_t options;
    if (device == NULL) {
        OK(moco_device_options_init(&options, sizeof options));
        options.lanes = 1;
        OK(moco_device_create(&options, &device));
    }
    return device;
}

static inline moco_trainer_t *fuzz_trainer(void)
{
    moco_trainer_options_t o;
    moco_trainer_t *trainer = NULL;
    OK(moco_trainer_options_init(&o, sizeof o, MOCO_RECIPE_CIFAR, MOCO_ARCH_RECIPE));
    o.arch = MOCO_ARCH_RESNET18;
    o.width = 0.0625;
    o.image_size = 16;
    o.batch_size = 4;
    o.bn_groups = 2;
    o.queue_length = 16;
    o.dimension = 16;
    OK(moco_trainer_create(&o, fuzz_device(), &trainer));
    return trainer;
}

static inline moco_model_t *fuzz_model(void)
{
    static moco_model_t *model;
    if (model == NULL) {
        moco_trainer_t *trainer = fuzz_trainer();
        OK(moco_trainer_snapshot(trainer, NULL, NULL, &model));
        moco_trainer_free(trainer);
    }
    return model;
}

#endif
