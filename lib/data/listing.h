/* What a data set is made of: names, classes, and where the bytes of each image are. listing.c
 * opens and sorts, folder.c lists folders, list.c list files, tar.c archives, classes.c finds the
 * classes, listing_read.c reads an entry; dataset.c owns a listing and reads through it. */
#ifndef MO_DATA_LISTING_H
#define MO_DATA_LISTING_H

#include <stddef.h>
#include <stdint.h>
#include <moco/status.h>

#include "data/left_out.h"

enum { MO_SOURCE_FOLDER = 0, MO_SOURCE_TAR = 1, MO_SOURCE_LIST = 2, MO_SOURCE_CALLBACK = 3 };
enum { MO_ENTRY_FILE = 0, MO_ENTRY_LINK = 1, MO_ENTRY_OTHER = 2, MO_ENTRY_SPARSE = 3 }; /* but for files: archives */
#define MO_NO_CLASS UINT64_MAX

typedef struct mo_entry {
    uint64_t name; /* where it starts in `text` */
    union {
        struct {
            uint64_t offset, size; /* bytes of the archive */
        } member;                  /* of an archive, unless it is a link                                  */
        uint64_t target;           /* of a link in an archive: where the name it leads to starts in `text` */
        uint64_t class_name;       /* list: where it starts in `text`, or MO_NO_CLASS                     */
        int64_t number;            /* callback: what the host calls the image                             */
    };
    int32_t kind;  /* MO_ENTRY_… */
    int32_t label; /* -1 = none  */
} mo_entry_t;

typedef struct mo_listing {
    int32_t source; /* MO_SOURCE_…                                                             */
    int fd;         /* folder: itself; list: its folder; tar: the file; -1 = none              */
    char *path;     /* as given                                                                */
    char *text;     /* all names and class names, each NUL-terminated                          */
    uint64_t text_size;
    mo_entry_t *entries;
    int64_t count, capacity, text_capacity;
    uint64_t *classes; /* where their names start in `text`                                       */
    int32_t class_count;
    uint64_t shared_length;  /* bytes of each name before the folder that is its class: folders that all share  */
    mo_left_out_t left_out;  /* files beside the images                                                       */
    int64_t skipped_folders; /* that may not be read                                                          */
} mo_listing_t;

/* Bytes of a file, in a buffer that is reused and grows. */
typedef struct mo_bytes {
    uint8_t *data;
    size_t capacity;
    uint64_t size;
} mo_bytes_t;

/* Sets every field of `listing`; free it after a failure too. `limit` as in
 * moco_dataset_options_t. */
moco_status_t mo_listing_open(mo_listing_t *listing, const char *path, int64_t limit);
void mo_listing_free(mo_listing_t *listing);
/* Entry `index` into `bytes`. MOCO_ERR_IMAGE with the bare reason where the file is at fault: it is
 * not there, may not be read, or is no file. MOCO_ERR_IO or MOCO_ERR_MEMORY where the failure says
 * nothing about the image, and may be over the next time: a disk or a network that did not answer,
 * no descriptors or memory left. (listing_read.c) */
moco_status_t mo_listing_read(const mo_listing_t *listing, int64_t index, uint64_t max_bytes, mo_bytes_t *bytes);

/* ---- for those who fill a listing ---- */

/* Append a string of `length` bytes and its NUL to the text. */
moco_status_t mo_listing_text(mo_listing_t *listing, const char *from, size_t length, uint64_t *at);
moco_status_t mo_listing_add(mo_listing_t *listing, const mo_entry_t *entry);
/* Keep `limit` entries, spread evenly; 0 = all. */
void mo_listing_limit(mo_listing_t *listing, int64_t limit);
/* Whether a part of the path starts with a dot; whether it names an image: it has the ending of one
 * (decode.h) and is not hidden. */
int mo_listing_hides(const char *path);
int mo_listing_wants(const char *path);
/* MOCO_ERR_FORMAT: the file at listing->path is of another kind than a listing can be made of. */
moco_status_t mo_listing_refuse_kind(const mo_listing_t *listing, const mo_file_kind_t *kind);
/* Class names, and the label of each entry. (classes.c) */
moco_status_t mo_listing_make_classes(mo_listing_t *listing);
/* Whether a failure, as errno has it, is the file's own and will be there the next time; of any
 * other nobody knows. (listing_read.c) */
int mo_error_is_of_file(int error);
/* pread until all is there; -1 with errno, or the bytes read up to the file's end. */
int64_t mo_read_at(int fd, void *to, uint64_t size, uint64_t offset);
/* Every image below the folder listing->fd, in bytewise order of paths. (folder.c) */
moco_status_t mo_folder_list(mo_listing_t *listing);
/* The lines of the list file listing->fd of `size` bytes, which then becomes its folder.
 * (list.c) */
moco_status_t mo_list_list(mo_listing_t *listing, uint64_t size);
/* Why the path of a list's line leads to no file, where that can be told: an empty text otherwise.
 * (list.c) */
#define MO_LIST_HINT 240
void mo_list_hint(const mo_listing_t *listing, const char *name, char hint[MO_LIST_HINT]);
/* All members of the archive at listing->fd, links resolved; leaves them in bytewise order, each
 * name once. (tar.c) */
moco_status_t mo_tar_list(mo_listing_t *listing);
/* Bytewise order of names; of equal names the one added first comes first. */
void mo_listing_sort(mo_listing_t *listing);

#endif
