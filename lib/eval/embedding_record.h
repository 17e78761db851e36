/* X.embed.json: what the files of an embedding are made of and how far they are. While a call is at
 * work, or has been cut short, it stands beside the part files; at the end it stays beside X.npy
 * and ties rows and names to each other. */
#ifndef MO_EVAL_EMBEDDING_RECORD_H
#define MO_EVAL_EMBEDDING_RECORD_H

#include <stdint.h>
#include <moco/status.h>
#include "util/checksum.h"

typedef struct mo_embedding_record {
    char model[MO_CHECKSUM_TEXT];   /* weights, network, transform and tap                       */
    char dataset[MO_CHECKSUM_TEXT]; /* where its images are, and their names; "" of a callback's */
    int64_t started;                /* nanoseconds of the system's time: images are older       */
    int64_t images, position;       /* of the data set; those before `position` are done         */
    int64_t rows, skipped, dimension;
    int64_t names_bytes, skipped_bytes; /* of the text files                           */
    char rows_sum[MO_CHECKSUM_TEXT];    /* XXH3: of the numbers, without .npy's header */
    char names_sum[MO_CHECKSUM_TEXT], skipped_sum[MO_CHECKSUM_TEXT];
} mo_embedding_record_t;

/* "X.npy" -> "X" + ending; another name keeps its own ending in front. */
moco_status_t mo_embedding_beside(const char *path, const char *ending, char **out);
#define MO_NAMES_ENDING ".names.txt"
#define MO_SKIPPED_ENDING ".skipped.txt"
#define MO_RECORD_ENDING ".embed.json"
#define MO_JOURNAL_ENDING ".embed.json.moco-part"

/* The record as text that ends in a newline; mo_free. */
moco_status_t mo_embedding_record_text(const mo_embedding_record_t *record, char **text);
/* MOCO_ERR_IO where there is none, MOCO_ERR_FORMAT where it is something else. */
moco_status_t mo_embedding_record_read(const char *path, mo_embedding_record_t *out);

/* The rows of `path` and the names beside it, against the record where there is one:
 * MOCO_ERR_FORMAT names the file that is not of the same call. */
moco_status_t mo_embedding_check(const char *path, const float *values, int64_t rows, int64_t dimension);
/* `path` will hold other rows: the record of the older ones goes. */
moco_status_t mo_embedding_forget(const char *path);

#endif
