/* The directory of a zip archive whose members are stored as they are: what torch.save writes.
 * Nothing is unpacked, and no member is read. */
#ifndef MO_PERSIST_ZIP_H
#define MO_PERSIST_ZIP_H

#include <stdint.h>
#include <moco/status.h>

#include "util/source.h"

typedef struct mo_zip_member {
    const uint8_t *name; /* in the directory, not terminated */
    uint64_t at;         /* the archive's byte at which its data begins */
    uint64_t size;
    uint32_t name_size;
    uint32_t crc;    /* CRC-32 of its data; 0 = none was kept, as PyTorch can be told to do */
    uint16_t method; /* 0 = stored */
    uint16_t sealed; /* compressed or encrypted: there is no data */
} mo_zip_member_t;

typedef struct mo_zip {
    mo_zip_member_t *members; /* sorted by name, each name once */
    int64_t count;
    uint8_t *directory; /* as the archive has it */
} mo_zip_t;

moco_status_t mo_zip_open(mo_zip_t *zip, const mo_source_t *source);
void mo_zip_close(mo_zip_t *zip); /* safe on a zeroed struct */
/* MOCO_ERR_UNSUPPORTED for the first member that is compressed or encrypted. */
moco_status_t mo_zip_check_stored(const mo_zip_t *zip, const char *path);
const mo_zip_member_t *mo_zip_find(const mo_zip_t *zip, const char *name); /* NULL if absent */

#endif
