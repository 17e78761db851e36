/* Options of calls, written where the call is: a struct with the named fields set and everything
 * else at its default. */
#ifndef TESTS_CALL_OPTIONS_H
#define TESTS_CALL_OPTIONS_H

#include <moco/moco.h>

#define EMBED(...) (&(moco_embed_options_t){.struct_size = sizeof(moco_embed_options_t), __VA_ARGS__})
#define SEARCH(neighbours) (&(moco_search_options_t){.struct_size = sizeof(moco_search_options_t), .k = (neighbours)})
#define CLASSIFY(neighbours, divisor, count)                                    \
    (&(moco_classify_options_t){.struct_size = sizeof(moco_classify_options_t), \
                                .k = (neighbours),                              \
                                .temperature = (divisor),                       \
                                .classes = (count)})
#define QUEUE(keys, width, start) \
    (&(moco_queue_options_t){     \
        .struct_size = sizeof(moco_queue_options_t), .length = (keys), .dimension = (width), .seed = (start)})
#define CONTRAST(divisor, gradient) \
    (&(moco_contrast_options_t){    \
        .struct_size = sizeof(moco_contrast_options_t), .temperature = (divisor), .d_queries = (gradient)})
#define KNN(...) \
    (&(moco_knn_options_t){.struct_size = sizeof(moco_knn_options_t), .k = 200, .temperature = 0.1, __VA_ARGS__})
#define RUN(...) \
    (&(moco_run_options_t){.struct_size = sizeof(moco_run_options_t), .eval_every = 1, .log_every = 1, __VA_ARGS__})
/* One image as an array of one. */
/* clang-format off */
#define ONE_FILE(bytes, count) 1, &(const uint8_t *){bytes}, &(uint64_t){count}
/* clang-format on */

#endif
