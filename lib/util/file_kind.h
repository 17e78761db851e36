/* What a file is, by its first bytes: so that a file given where another kind is wanted is refused
 * by its right name. Called wherever images, lists, archives or models are opened. */
#ifndef MO_UTIL_FILE_KIND_H
#define MO_UTIL_FILE_KIND_H

#include <stdint.h>

enum {
    MO_FILE_IMAGE = 0,  /* pictures                                         */
    MO_FILE_VIDEO,      /* moving pictures and sound                        */
    MO_FILE_COMPRESSED, /* one file or an archive, packed                   */
    MO_FILE_TAR,        /* an archive that is not packed                    */
    MO_FILE_TENSORS,    /* numbers: weights, arrays, tables                 */
    MO_FILE_DOCUMENT,   /* text for people or programs, and what holds text */
    MO_FILE_POINTER,    /* stands for another file, which is elsewhere      */
    MO_FILE_TEXT,       /* plain text: it may be a list                     */
    MO_FILE_OTHER,
};

#define MO_FILE_KIND_BYTES 512 /* first bytes of a file that are enough; fewer are fine */

typedef struct mo_file_kind {
    const char *what; /* for messages, with its article: "a PNG file" */
    int32_t group;    /* MO_FILE_…                                    */
} mo_file_kind_t;

#define MO_WHAT_SAFETENSORS "a safetensors file"
#define MO_WHAT_NPY "a NumPy file"

/* NULL for an empty file and for one that is of no known kind. */
const mo_file_kind_t *mo_file_kind(const uint8_t *first, uint64_t size);
/* The same for a file that should be a text: what is one is told by its words alone, so that the
 * name of a folder in a list is not taken for the first bytes of a picture. */
const mo_file_kind_t *mo_file_kind_of_text(const uint8_t *first, uint64_t size);

#endif
