/* Files beside the images that a listing does not take, counted by kind: a data set of other
 * formats must not shrink without a word. Filled by folder.c and tar.c. */
#ifndef MO_DATA_LEFT_OUT_H
#define MO_DATA_LEFT_OUT_H

#include <stddef.h>
#include <stdint.h>

#include "util/file_kind.h"

#define MO_LEFT_OUT_KINDS 24
#define MO_LEFT_OUT_LOOKS 4 /* files of an ending that says nothing are opened so often */
#define MO_LEFT_OUT_TEXT 200

typedef struct mo_left_out_kind {
    char ending[12];  /* ".png", in lower case; "" = none, or none that is usual */
    const char *what; /* what the first bytes say where the ending does not; NULL */
    int64_t count;
    int32_t looks; /* files opened to see what they are */
    int is_image;
} mo_left_out_kind_t;

typedef struct mo_left_out {
    mo_left_out_kind_t kinds[MO_LEFT_OUT_KINDS];
    int32_t kind_count;
    int64_t others; /* files of kinds beyond those */
} mo_left_out_t;

/* Counts the file `name`, and returns the kind it is of; NULL among the others. */
mo_left_out_kind_t *mo_left_out_add(mo_left_out_t *left, const char *name);
/* Whether first bytes would tell more of a file of this kind; then give them to _look. */
int mo_left_out_wants_look(const mo_left_out_kind_t *kind);
void mo_left_out_look(mo_left_out_kind_t *kind, const uint8_t *first, uint64_t size);

int64_t mo_left_out_images(const mo_left_out_t *left); /* how many of the files are pictures */
/* ".png 20, .webp 1", those most frequent first; with `images` pictures alone. */
void mo_left_out_text(const mo_left_out_t *left, int images, char text[MO_LEFT_OUT_TEXT]);
/* The kind as people read it: ".png", "no ending (a JPEG file)". */
void mo_left_out_name(const mo_left_out_kind_t *kind, char *text, size_t capacity);
/* Kinds by frequency: order[kind_count] = numbers of kinds. */
void mo_left_out_order(const mo_left_out_t *left, int32_t order[MO_LEFT_OUT_KINDS]);

#endif
