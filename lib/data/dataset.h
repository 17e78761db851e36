/* The data set handle from inside: dataset.c makes it, dataset_callback.c makes one of a callback,
 * dataset_read.c reads and decodes, dataset_broken.c remembers what is broken, dataset_info.c tells
 * of it. Included by these, the loader and the border (lib/api/dataset.c).
 *
 * What changes while it is used is atomic. It has no lock, because a lock that another thread held
 * at a fork would never be free in the child. */
#ifndef MO_DATA_DATASET_H
#define MO_DATA_DATASET_H

#include <stdatomic.h>

#include "data/data.h"
#include "data/listing.h"
#include "util/options.h"

#define MO_IDLE_BUFFERS 64                      /* read buffers kept for the next reader; more are freed */
#define MO_IDLE_BUFFER_BYTES ((size_t)16 << 20) /* larger ones are freed too                             */
#define MO_NAMED_WARNINGS 10                    /* broken images that a data set warns of by their name  */

/* Marks of an image, each set once. */
enum {
    MO_MARK_EXAMINED = 1, /* it has been read               */
    MO_MARK_WARNED = 2,   /* its decoder's warnings are counted */
    MO_MARK_TURNED = 4,   /* its file asks for a turned picture */
    MO_MARK_TOLD = 8,     /* the log names it as broken     */
};

struct moco_dataset {
    atomic_int references;
    mo_listing_t listing;
    int64_t max_pixels, max_bytes;
    moco_read_fn read; /* callback data sets */
    void *user;
    uint64_t name_hash;
    _Atomic(char *) *reasons; /* [count] why an image is broken; set once                */
    atomic_uchar *marks;      /* [count] MO_MARK_…                                       */
    _Atomic int64_t examined, broken, warnings, turned, told;
    atomic_uchar turned_told;                    /* the log has said that pictures are not turned          */
    _Atomic(mo_bytes_t *) idle[MO_IDLE_BUFFERS]; /* NULL, or a buffer that nobody uses                     */
};

extern const mo_option_table_t mo_dataset_options; /* dataset_options.c */

moco_status_t mo_dataset_open(const char *path, const moco_dataset_options_t *options, moco_dataset_t **out);
moco_status_t mo_dataset_from_callback(int64_t count, moco_read_fn read, void *user, const int32_t *labels,
                                       const moco_dataset_options_t *options, moco_dataset_t **out);
void mo_dataset_release(moco_dataset_t *dataset);
moco_status_t mo_dataset_json(const moco_dataset_t *dataset, char *text, uint64_t capacity, uint64_t *needed);

/* The two halves of mo_dataset_decode, for the loader: bytes of entry `index`, then its pixels.
 * Both remember a broken image. Reading a callback data set calls the host, so only on a thread
 * that is inside a call. */
moco_status_t mo_dataset_read(moco_dataset_t *dataset, int64_t index, mo_bytes_t *bytes);
moco_status_t mo_dataset_decode_bytes(moco_dataset_t *dataset, int64_t index, const mo_bytes_t *bytes,
                                      mo_pixels_t *out);

/* ---- between the files of the handle ---- */

/* An empty handle, and what needs the final number of entries. (dataset.c) */
moco_status_t mo_dataset_create(const moco_dataset_options_t *options, moco_dataset_t **out);
moco_status_t mo_dataset_finish(moco_dataset_t *dataset);
/* Bytes of entry `index` from the host, copied. (dataset_callback.c) */
moco_status_t mo_dataset_call(moco_dataset_t *dataset, int64_t index, mo_bytes_t *bytes);
/* `status` just failed with the bare reason as its message: fails with the image's name in front,
 * and remembers the reason where the image is at fault. (dataset_broken.c) */
moco_status_t mo_dataset_note_broken(moco_dataset_t *dataset, int64_t index, moco_status_t status);
/* Sets a mark of an image; whether it was not set before. (dataset_broken.c) */
int mo_dataset_mark(moco_dataset_t *dataset, int64_t index, int mark);
/* Says once in the calling thread's log that an image is broken, or that pictures are not turned as
 * their files ask for. (dataset_broken.c) */
void mo_dataset_tell_broken(moco_dataset_t *dataset, int64_t index);
void mo_dataset_tell_turned(moco_dataset_t *dataset, int64_t index);
/* The failure of an image that is known to be broken. (dataset_broken.c) */
moco_status_t mo_dataset_fail_broken(const moco_dataset_t *dataset, int64_t index, const char *reason);

#endif
