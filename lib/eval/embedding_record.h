/* X.embed.json: what the files of an embedding are made of and how far they are. While a call is at
 * work, or has been cut short, it stands beside the part files; at the end it stays beside X.npy
 * and ties rows and names to each other. */
#ifndef MO_EVAL_EMBEDDING_RECORD_H
#define MO_EVAL_EMBEDDING_RECORD_H

#include <stdint.h>
#include <moco/status.h>
#include "util/checksum.h"

#define MO_RECORD_VERSION 2 /* 1 has neither `version` nor what is marked with 2 */

typedef struct mo_embedding_record {
    int64_t version;
    char model[MO_CHECKSUM_TEXT];   /* weights, network, transform and tap                       */
    char dataset[MO_CHECKSUM_TEXT]; /* where its images are, and their names; "" of a callback's */
    int64_t started;                /* nanoseconds of the system's time: images are older       */
    int64_t images, position;       /* of the data set; those before `position` are done         */
    int64_t rows, skipped, dimension;
    int64_t names_bytes, skipped_bytes; /* of the text files                           */
    char rows_sum[MO_CHECKSUM_TEXT];    /* XXH3: of the numbers, without .npy's header */
    char names_sum[MO_CHECKSUM_TEXT], skipped_sum[MO_CHECKSUM_TEXT];
    char in_doubt[MO_CHECKSUM_TEXT]; /* 2: of images that are not older than `started`, see embed_journal.c */
    char next_sum[MO_CHECKSUM_TEXT]; /* 2: of rows that are about to replace these; else "" */
} mo_embedding_record_t;

/* "X.npy" -> "X" + ending; another name keeps its own ending in front. */
moco_status_t mo_embedding_beside(const char *path, const char *ending, char **out);
#define MO_NAMES_ENDING ".names.txt"
#define MO_SKIPPED_ENDING ".skipped.txt"
#define MO_RECORD_ENDING ".embed.json"

/* The record as text that ends in a newline; mo_free. */
moco_status_t mo_embedding_record_text(const mo_embedding_record_t *record, char **text);
/* MOCO_ERR_IO where there is none, MOCO_ERR_FORMAT where it is something else, MOCO_ERR_VERSION
 * where a newer version has written it. */
moco_status_t mo_embedding_record_read(const char *path, mo_embedding_record_t *out);

/* The rows of `path` and the names beside it, against the record where there is one:
 * MOCO_ERR_FORMAT names the file that is not of the same call. */
moco_status_t mo_embedding_check(const char *path, const float *values, int64_t rows, int64_t dimension);
/* XXH3 of a whole file. */
moco_status_t mo_embedding_sum_file(const char *path, char text[MO_CHECKSUM_TEXT]);

/* `path` is about to hold other rows, in two steps around their commit, so that at no moment its
 * record says of good rows that they are damaged. The first adds the new rows' checksum to the
 * record; *tied = there is one, of other rows, *same = of the same. The second, if tied, removes
 * the record, and the names and skipped images if they are those that it tells of. */
moco_status_t mo_embedding_replace(const char *path, const float *values, int64_t rows, int64_t dimension, int *tied,
                                   int *same);
moco_status_t mo_embedding_forget(const char *path);

#endif
