/* Two labelled data sets, one to learn from and one to measure on: whether that says anything. */
#ifndef MO_EVAL_CLASS_MATCH_H
#define MO_EVAL_CLASS_MATCH_H

#include <stdint.h>
#include <moco/dataset.h>

/* Classes by name: map[i] = the class of `train` that is called like class i of `test`. Refused:
 * fewer than two classes to tell apart (MOCO_ERR_ARGUMENT), a class of the test set that `train`
 * does not have (MOCO_ERR_MISMATCH); messages call `train` by `what`. (class_match.c) */
moco_status_t mo_classes_match(const char *what, const moco_dataset_t *train, const moco_dataset_t *test, int32_t *map);
/* The same without a map. */
moco_status_t mo_classes_check(const char *what, const moco_dataset_t *train, const moco_dataset_t *test);
/* MOCO_ERR_NO_DATA where fewer images have a class than a batch takes. */
moco_status_t mo_classes_labelled(const moco_dataset_t *train, int64_t batch, int64_t *labelled);

/* Logs a warning where images of the test set are in the other set too: a few of the test set are
 * looked for there by folder and file name, and compared byte by byte. Data sets of a callback are
 * not read for that. (overlap.c) */
void mo_overlap_warn(const char *what, moco_dataset_t *train, moco_dataset_t *test);

#endif
