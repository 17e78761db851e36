// A C++11 host that found the library through find_package: handles in unique_ptr, search in its own vectors.
#include <cmath>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>
#include <moco/moco.h>

namespace
{
void check(moco_status_t status)
{
    if (status != MOCO_OK)
        throw std::runtime_error(std::string(moco_status_name(status)) + ": " + moco_last_message());
}

struct Free {
    void operator()(moco_index_t *index) const
    {
        moco_index_free(index);
    }
    void operator()(moco_queue_t *queue) const
    {
        moco_queue_free(queue);
    }
};
} // namespace

int main()
try {
    moco_index_t *index_handle = nullptr;
    check(moco_index_create(3, nullptr, nullptr, &index_handle));
    const std::unique_ptr<moco_index_t, Free> index(index_handle);
    const std::vector<float> vectors = {1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 1, 0};
    check(moco_index_add(index.get(), 4, vectors.data(), nullptr));
    const float query[3] = {0.1f, 5, 0};
    int64_t ids[2];
    float cosines[2];
    moco_search_options_t search;
    check(moco_search_options_init(&search, sizeof search));
    search.k = 2;
    check(moco_index_search(index.get(), 1, query, &search, ids, cosines));
    if (ids[0] != 1 || ids[1] != 3 || std::fabs(cosines[0] - 0.99980f) > 1e-4f)
        throw std::runtime_error("wrong neighbours");

    moco_queue_t *queue_handle = nullptr;
    moco_queue_options_t keys;
    check(moco_queue_options_init(&keys, sizeof keys));
    keys.length = 16;
    keys.dimension = 3;
    keys.seed = 7;
    check(moco_queue_create(&keys, nullptr, &queue_handle));
    const std::unique_ptr<moco_queue_t, Free> queue(queue_handle);
    const float unit[3] = {0, 1, 0};
    moco_contrast_options_t how;
    check(moco_contrast_options_init(&how, sizeof how));
    how.temperature = 1;
    moco_contrast_result_t found;
    found.struct_size = sizeof found;
    check(moco_queue_contrast(queue.get(), 1, unit, unit, &how, &found));
    if (!(found.loss > 0 && found.loss <= found.chance_loss)) // no product exceeds the first
        throw std::runtime_error("loss out of range");

    // Failures arrive as status and text, and nothing is thrown or printed by the library.
    keys.length = 0;
    if (moco_queue_create(&keys, nullptr, &queue_handle) != MOCO_ERR_ARGUMENT || *moco_last_message() == '\0')
        throw std::runtime_error("a queue of no keys was made");
    std::printf("libmoco %s: neighbours %d %d, loss %.3f\n", moco_version_string(), static_cast<int>(ids[0]),
                static_cast<int>(ids[1]), found.loss);
    return 0;
} catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
