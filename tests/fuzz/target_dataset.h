/* All that a host can ask of a data set, whatever file it came from. */
#ifndef TESTS_FUZZ_TARGET_DATASET_H
#define TESTS_FUZZ_TARGET_DATASET_H

#include "fuzz.h"

static inline void use_dataset(const char *path, int64_t limit)
{
    moco_dataset_options_t options;
    moco_dataset_t *dataset = NULL;
    char text[4096];
    uint8_t out[8 * 8 * 3];
    uint64_t needed = 0;
    OK(moco_dataset_options_init(&options, sizeof options));
    options.limit = limit;
    if (!fuzz_taken(moco_dataset_open(path, &options, &dataset)))
        return;
    const int64_t count = moco_dataset_count(dataset);
    EXPECT(count > 0 && (limit == 0 || count <= limit));
    int64_t broken = 0;
    for (int64_t i = 0; i < count; i++) {
        EXPECT(moco_dataset_name(dataset, i) != NULL);
        const int32_t label = moco_dataset_label(dataset, i);
        EXPECT(label >= -1 && label < moco_dataset_classes(dataset));
        EXPECT(label < 0 || moco_dataset_class_name(dataset, label) != NULL);
        const moco_status_t status = i < 40 ? moco_dataset_pixels(dataset, i, 8, 8, out) : MOCO_OK;
        EXPECT(status == MOCO_OK || status == MOCO_ERR_IMAGE);
        broken += status == MOCO_ERR_IMAGE;
    }
    EXPECT(moco_dataset_broken_count(dataset) == broken);
    const moco_status_t told = moco_dataset_info(dataset, text, sizeof text, &needed);
    EXPECT(told == MOCO_OK || needed > sizeof text);
    moco_dataset_free(dataset);
}

#endif
