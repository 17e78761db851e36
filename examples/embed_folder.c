/* Turn a folder of JPEGs into embeddings: OUT.npy has a row per good image, OUT.names.txt the name
 * of each row, and OUT.skipped.txt the broken ones.
 *
 *   embed_folder MODEL.safetensors IMAGES OUT.npy
 */
#include "check.h"

/* Between batches, on our own thread. */
static int32_t progress(void *user, int64_t done, int64_t total)
{
    (void)user;
    fprintf(stderr, "%lld of %lld\n", (long long)done, (long long)total);
    return 0;
}

/* Images that give no row, each with the reason. */
static void broken(void *user, int64_t index, int32_t status, const char *reason)
{
    fprintf(stderr, "left out: %s: %s (%s)\n", moco_dataset_name(user, index), reason, moco_status_name(status));
}

int main(int argc, char **argv)
{
    moco_status_t status = MOCO_OK;
    moco_device_options_t where;
    moco_device_t *device = NULL;
    moco_model_t *model = NULL;
    moco_dataset_t *images = NULL;
    moco_embed_options_t how;
    moco_embed_result_t result = {.struct_size = sizeof result};

    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL.safetensors IMAGES OUT.npy\n", argv[0]);
        return 2;
    }
    CHECK(moco_device_options_init(&where, sizeof where));
    where.lanes = 0; /* as many workers as this process may use; NULL instead of a device means the same */
    CHECK(moco_device_create(&where, &device));
    CHECK(moco_model_load(argv[1], NULL, device, &model));
    CHECK(moco_dataset_open(argv[2], NULL, &images));
    CHECK(moco_embed_options_init(&how, sizeof how));
    how.tap = MOCO_TAP_BACKBONE;
    how.progress = progress;
    how.failed = broken;
    how.user = images;
    CHECK(moco_model_embed_to_npy(model, images, argv[3], &how, &result));
    printf("%lld rows of %d numbers in %s, %lld broken images\n", (long long)result.rows,
           (int)moco_model_dimension(model, MOCO_TAP_BACKBONE), argv[3], (long long)result.skipped);

cleanup:
    moco_dataset_free(images);
    moco_model_free(model);
    moco_device_free(device);
    return status == MOCO_OK ? 0 : 1;
}
