/* moco info: what a file, a data set or this machine is. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "output.h"

typedef struct info_options {
    const char *path;
    int system, json;
    model_file_t file;
    run_place_t place;
} info_options_t;

static int parse(int argc, char **argv, info_options_t *options)
{
    const arg_option_t table[] = {
        {"system", 0, ARG_FLAG, &options->system, NULL, "the library and this machine", 0, 0, NULL},
        MODEL_FILE_OPTIONS(options->file),
        PLACE_OPTIONS(options->place),
        {"json", 0, ARG_FLAG, &options->json, NULL, "a JSON object on stdout", 0, 0, NULL},
        {NULL, 0, ARG_FLAG, NULL, NULL, NULL, 0, 0, NULL},
    };
    /* clang-format off */
    const arg_command_t command = {
        "info", "Describe a model, a checkpoint, embeddings or a data set; or this machine.", "FILE | --system", 0, 1,
        table,
        "FILE is a checkpoint (safetensors, or another program's .pth), a folder of `moco train`, a .npy file, or a folder,\n"
        "tar or list of images."};
    /* clang-format on */
    const int code = args_parse(&command, argc, argv, &options->path);

    if (code == ARG_GO_ON && (options->path == NULL) == !options->system) {
        fputs("moco info: wanted: FILE or --system\ntry: moco info --help\n", stderr);
        return EXIT_USAGE;
    }
    return code;
}

static int ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* moco_build_info takes no object; this gives it the shape of the other text calls. */
static moco_status_t build_info(const void *unused, char *text, uint64_t capacity, uint64_t *needed)
{
    (void)unused;
    return moco_build_info(text, capacity, needed);
}

/* What this process may still take, and what says so; null where nothing does. */
static json_t *memory_info(void)
{
    char source[PATH_SIZE + 128];
    const uint64_t left = moco_memory_left(source, sizeof source);

    if (left == UINT64_MAX)
        return json_pack("{s:n, s:n}", "left_bytes", "limited_by");
    return json_pack("{s:I, s:o}", "left_bytes", (json_int_t)left, "limited_by", output_text(source));
}

static moco_status_t system_info(const info_options_t *options, json_t **info)
{
    moco_device_t *device = NULL;
    json_t *place = NULL;
    moco_status_t status;

    FETCH_JSON(status, *info, build_info, NULL);
    if (status == MOCO_OK)
        status = place_open(&options->place, &device);
    if (status == MOCO_OK)
        FETCH_JSON(status, place, moco_device_info, device);
    if (status == MOCO_OK)
        *info = output_with(output_with(*info, "device", place), "memory", memory_info());
    moco_device_free(device);
    return status;
}

/* The model that the file gives. Mostly one call, since each gives the warnings that there are. */
static moco_status_t model_info(const char *path, const model_file_t *file, json_t **info)
{
    moco_model_options_t options;
    char text[1 << 16];
    uint64_t needed = 0;
    moco_status_t status = model_file_options(file, &options);

    if (status == MOCO_OK)
        status = moco_model_file_info(path, &options, text, sizeof text, &needed);
    if (status == MOCO_ERR_ARGUMENT && needed > sizeof text)
        FETCH_JSON(status, *info, moco_model_file_info, path, &options);
    else if (status == MOCO_OK && (*info = json_loads(text, 0, NULL)) == NULL)
        status = MOCO_ERR_MEMORY;
    return status;
}

/* What the file is; and what the model is that it gives, or why it gives none. */
static moco_status_t tensors_info(const char *path, const model_file_t *file, json_t **info)
{
    json_t *more = NULL;
    moco_status_t status;

    FETCH_JSON(status, *info, moco_file_info, path);
    if (status != MOCO_OK)
        return status;
    if (model_info(path, file, &more) != MOCO_OK)
        more = json_pack("{s:o}", "model", output_text(moco_last_message()));
    if (json_object_update(*info, more) != 0) {
        json_decref(*info);
        *info = NULL;
    }
    json_decref(more);
    return MOCO_OK;
}

/* A file of tensors, by its first bytes: safetensors, a zip archive, a pickle. */
static int holds_tensors(const char *path)
{
    unsigned char first[9] = {0};
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY); /* a pipe is not waited for */
    const ssize_t count = fd >= 0 ? read(fd, first, sizeof first) : -1;

    if (fd >= 0)
        close(fd);
    return count == (ssize_t)sizeof first &&
           (first[8] == '{' || memcmp(first, "PK\3\4", 4) == 0 || (first[0] == 0x80 && first[1] <= 5));
}

static moco_status_t vectors_info(const char *path, json_t **info)
{
    moco_status_t status;

    FETCH_JSON(status, *info, moco_file_info, path);
    if (status == MOCO_OK)
        *info = output_with(*info, "source", output_text(path));
    return status;
}

/* Numbers that mean nothing: of images that nobody has looked at, and of what there is none of. */
static void leave_out_unknown(json_t *info)
{
    static const char *const unknown[] = {"broken", "warnings", "turned", "broken_names", "examined"};
    size_t i;

    if (json_integer_value(json_object_get(info, "examined")) == 0)
        for (i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
            json_object_del(info, unknown[i]);
    if (json_object_size(json_object_get(info, "left_out")) == 0) {
        json_object_del(info, "left_out");
        json_object_del(info, "left_out_images");
    }
    if (json_integer_value(json_object_get(info, "skipped_folders")) == 0)
        json_object_del(info, "skipped_folders");
}

static moco_status_t dataset_info(const char *path, json_t **info)
{
    moco_dataset_t *dataset = NULL;
    moco_status_t status = dataset_open(path, 0, &dataset);

    if (status == MOCO_OK)
        FETCH_JSON(status, *info, moco_dataset_info, dataset);
    if (status == MOCO_OK)
        leave_out_unknown(*info);
    moco_dataset_free(dataset);
    return status;
}

/* A file of a run's folder; 0 if there is none. A path that is too long for one is none. */
static int in_run(const char *folder, const char *name, char path[PATH_SIZE])
{
    return snprintf(path, PATH_SIZE, "%s/%s", folder, name) < PATH_SIZE && path_exists(path);
}

static int path_info(const char *path, const model_file_t *file, json_t **info)
{
    char part[PATH_SIZE];

    if (ends_with(path, ".npy"))
        return finish(vectors_info(path, info), NULL);
    if (ends_with(path, ".safetensors") || holds_tensors(path))
        return finish(tensors_info(path, file, info), NULL);
    if (in_run(path, "checkpoint.safetensors", part) || in_run(path, "model.safetensors", part))
        return finish(tensors_info(part, file, info), NULL);
    if (in_run(path, "log.jsonl", part))
        return fail("'%s' is a folder of `moco train` without a checkpoint: nothing has been saved in it", path);
    return finish(dataset_info(path, info), NULL);
}

int cmd_info(int argc, char **argv)
{
    info_options_t options = {0};
    json_t *info = NULL;
    int code = parse(argc, argv, &options);

    if (code != ARG_GO_ON)
        return code;
    code = options.system ? finish(system_info(&options, &info), NULL) : path_info(options.path, &options.file, &info);
    if (code == EXIT_DONE && options.json)
        output_json(json_incref(info));
    else if (code == EXIT_DONE)
        output_table(info, 0);
    json_decref(info);
    return code;
}
