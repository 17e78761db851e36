/* The numbers of a classifier's result by name, for descriptions and for files. */
#include <stddef.h>
#include <string.h>

#include "eval/classifier.h"
#include "util/status.h"

/* What training found; the other fields follow from the classifier itself. */
static const struct {
    const char *name;
    size_t offset;
    int whole;   /* int64_t, otherwise double */
    double high; /* from 0                    */
} numbers[] = {
/* clang-format off */
#define WHOLE(field) {#field, offsetof(moco_classifier_result_t, field), 1, 9e18}
#define REAL(field, high) {#field, offsetof(moco_classifier_result_t, field), 0, high}
    /* clang-format on */
    WHOLE(steps),       WHOLE(train_images),       WHOLE(test_images),      REAL(top1, 100),        REAL(top5, 100),
    REAL(base_lr, 1e6), REAL(effective_lr, 1e300), REAL(train_loss, 1e300), REAL(test_loss, 1e300),
};
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

json_t *mo_classifier_numbers(const moco_classifier_result_t *result)
{
    json_t *all = json_object();
    for (int i = 0; all != NULL && i < NUMBERS; i++) {
        const uint8_t *field = (const uint8_t *)result + numbers[i].offset;
        int64_t whole;
        double real;
        memcpy(&whole, field, sizeof whole);
        memcpy(&real, field, sizeof real);
        if (numbers[i].whole ? whole < 0 : !(real >= 0))
            continue;
        json_t *value = numbers[i].whole ? json_integer((json_int_t)whole) : json_real(real);
        if (json_object_set_new(all, numbers[i].name, value) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

moco_status_t mo_classifier_numbers_get(const json_t *from, moco_classifier_result_t *result)
{
    for (int i = 0; i < NUMBERS; i++) {
        const json_t *value = json_object_get(from, numbers[i].name);
        uint8_t *field = (uint8_t *)result + numbers[i].offset;
        const double real = value != NULL ? json_number_value(value) : -1;
        const int64_t whole = json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
        const int fits = numbers[i].whole ? json_is_integer(value) : json_is_number(value);
        if (value != NULL && !(fits && real >= 0 && real <= numbers[i].high))
            return mo_fail(MOCO_ERR_FORMAT, "'%s' of the result is %g, wanted a %snumber of 0 to %g", numbers[i].name,
                           real, numbers[i].whole ? "whole " : "", numbers[i].high);
        memcpy(field, numbers[i].whole ? (const void *)&whole : (const void *)&real, sizeof real);
    }
    return MOCO_OK;
}
