/* Learn an encoder from a folder of JPEGs: options from a recipe, a run with progress, files in RUN
 * that `moco embed`, `moco knn` and embed_folder.c read. An interrupted run goes on from its
 * checkpoint.
 *
 *   train_folder IMAGES RUN [name=value ...]        names and values: docs/options.md
 */
#include <string.h>
#include <sys/stat.h>
#include "check.h"

/* After each step, on our own thread. A value other than 0 would save the run and stop it. */
static int32_t progress(void *user, const moco_step_report_t *report)
{
    (void)user;
    fprintf(stderr, "step %lld of %lld  loss %.3f (chance %.3f)  %.0f images/s\n", (long long)report->step,
            (long long)report->steps_total, report->loss, report->chance_loss, report->images_per_second);
    return 0;
}

/* Warnings, such as of a queue longer than the data set. */
static void warn(void *user, int32_t level, const char *line)
{
    (void)user;
    fprintf(stderr, "%s: %s\n", level == MOCO_LOG_WARNING ? "warning" : "error", line);
}

/* "batch_size=64" changes one option; the library checks name and range. */
static moco_status_t set_option(moco_trainer_options_t *options, const char *text)
{
    moco_status_t status = MOCO_OK;
    char name[64];
    const char *equals = strchr(text, '=');
    if (equals == NULL || (size_t)(equals - text) >= sizeof name) {
        fprintf(stderr, "'%s' is not name=value\n", text);
        return MOCO_ERR_ARGUMENT;
    }
    memcpy(name, text, (size_t)(equals - text));
    name[equals - text] = '\0';
    CHECK(moco_trainer_options_set(options, name, equals + 1));
cleanup:
    return status;
}

int main(int argc, char **argv)
{
    moco_status_t status = MOCO_OK;
    moco_trainer_options_t options;
    moco_run_options_t run;
    moco_dataset_t *images = NULL;
    moco_trainer_t *trainer = NULL;
    char checkpoint[4096];
    struct stat seen;

    if (argc < 3 || snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint.safetensors", argv[2]) >= 4096) {
        fprintf(stderr, "usage: %s IMAGES RUN [name=value ...]\n", argv[0]);
        return 2;
    }
    moco_set_log(warn, NULL, MOCO_LOG_WARNING);
    mkdir(argv[2], 0777); /* may exist; a folder that cannot be written is reported by the run */

    CHECK(moco_trainer_options_init(&options, sizeof options, MOCO_RECIPE_V2, MOCO_ARCH_RECIPE));
    for (int i = 3; i < argc; i++)
        if ((status = set_option(&options, argv[i])) != MOCO_OK)
            goto cleanup;

    CHECK(moco_dataset_open(argv[1], NULL, &images));
    if (stat(checkpoint, &seen) == 0)
        CHECK(moco_trainer_load(checkpoint, NULL, NULL, &trainer)); /* options come from the checkpoint */
    else
        CHECK(moco_trainer_create(&options, NULL, &trainer));
    CHECK(moco_run_options_init(&run, sizeof run));
    run.progress = progress;
    CHECK(moco_trainer_run(trainer, images, NULL, argv[2], &run));
    printf("%lld images, model in %s/model.safetensors\n", (long long)moco_dataset_count(images), argv[2]);

cleanup:
    moco_trainer_free(trainer);
    moco_dataset_free(images);
    return status == MOCO_OK ? 0 : 1;
}
