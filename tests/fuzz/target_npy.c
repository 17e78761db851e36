/* A .npy file of vectors, which becomes an index that is asked, classified by and written again. */
#include "fuzz.h"

static void use_index(moco_index_t *index)
{
    const int32_t dimension = moco_index_dimension(index);
    const int64_t count = moco_index_count(index);
    moco_search_options_t search;
    EXPECT(dimension > 0 && count >= 0);
    OK(moco_search_options_init(&search, sizeof search));
    search.k = 1;
    float *query = calloc((size_t)dimension, sizeof *query), similarity;
    int64_t id = -1;
    EXPECT(query != NULL);
    query[dimension - 1] = 1;
    if (fuzz_taken(moco_index_search(index, 1, query, &search, &id, &similarity)))
        EXPECT(id >= 0 && id < count);
    OK(moco_index_save_npy(index, fuzz_path("again.npy")));
    free(query);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    moco_index_t *index = NULL;
    if (fuzz_taken(moco_index_load_npy(fuzz_file("x.npy", data, size), NULL, fuzz_device(), &index)))
        use_index(index);
    moco_index_free(index);
    return 0;
}
