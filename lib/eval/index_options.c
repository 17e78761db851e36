/* The fields of the options of an index, a search, a vote and a kNN measurement. */
#include <stddef.h>

#include "eval/index.h"
#include "eval/knn.h"

#define I32 MO_OPTION_I32
#define I64 MO_OPTION_I64
#define F64 MO_OPTION_F64
#define POINTER MO_OPTION_POINTER
#define I64_MAX 0x1p63
#define CAPACITY 1099511627776.0 /* 2^40 */

/* Rows of several structs. */
/* clang-format off */
#define CANCEL   {AT(cancel), POINTER, 0, 0, 0, 0, NULL, "", "stops the call from another thread"}
#define RESERVED {AT(reserved), I32, 0, 0, 0, 0, NULL, "", "0"}
/* clang-format on */

#define AT(field) MO_OPTION_AT(moco_index_options_t, field)
static const mo_option_row_t index_rows[] = {
    {AT(capacity), I64, 0, 0, CAPACITY, 0, NULL, "vectors", "to take memory for at once; 0 = it grows as they come"},
};
#undef AT

#define AT(field) MO_OPTION_AT(moco_search_options_t, field)
static const mo_option_row_t search_rows[] = {
    CANCEL,
    {AT(k), I64, 1, 1, I64_MAX, 0, NULL, "", "neighbours of each query; at most the vectors in the index"},
};
#undef AT

#define AT(field) MO_OPTION_AT(moco_classify_options_t, field)
static const mo_option_row_t classify_rows[] = {
    CANCEL,
    {AT(temperature), F64, 0.1, 1e-3, 1e3, 0, NULL, "", "divides the cosines"},
    {AT(k), I64, 200, 1, I64_MAX, 0, NULL, "", "neighbours that vote; all where the index holds fewer"},
    {AT(classes), I32, 0, 0, MO_MAX_CLASSES, 0, NULL, "", "C, more than the largest label; 0 = one more than it"},
    RESERVED,
};
#undef AT

static const char *const tap_names[] = {"auto", "backbone", "projection"};

#define AT(field) MO_OPTION_AT(moco_knn_options_t, field)
static const mo_option_row_t knn_rows[] = {
    CANCEL,
    {AT(progress), POINTER, 0, 0, 0, 0, NULL, "", "is told how many images are embedded"},
    {AT(user), POINTER, 0, 0, 0, 0, NULL, "", "handed to progress"},
    {AT(temperature), F64, 0.1, 1e-3, 1e3, 0, NULL, "", "divides the cosines"},
    {AT(k), I64, 200, 1, I64_MAX, 0, NULL, "", "neighbours that vote; all where the bank holds fewer"},
    {AT(loader_threads), I32, 0, 0, 256, 0, NULL, "", "decoding threads; 0 = one per lane"},
    {AT(tap), MO_OPTION_ENUM, MOCO_KNN_TAP_AUTO, MO_OPTION_NAMES(tap_names), "",
     "where embeddings are taken; auto: behind the head, where there is one"},
};
#undef AT

const mo_option_table_t mo_index_options = {
    .name = "moco_index_options", .size = sizeof(moco_index_options_t), MO_OPTION_ROWS(index_rows), .agreement = ""};
const mo_option_table_t mo_search_options = {
    .name = "moco_search_options", .size = sizeof(moco_search_options_t), MO_OPTION_ROWS(search_rows), .agreement = ""};
const mo_option_table_t mo_classify_options = {.name = "moco_classify_options",
                                               .size = sizeof(moco_classify_options_t),
                                               MO_OPTION_ROWS(classify_rows),
                                               .agreement = ""};
const mo_option_table_t mo_knn_options = {
    .name = "moco_knn_options", .size = sizeof(moco_knn_options_t), MO_OPTION_ROWS(knn_rows), .agreement = ""};
