/* From the segments of a JPEG file to the entry "orientation" of its EXIF block. */
#include "data/exif.h"

#include <string.h>

#define MAX_SEGMENTS 64
#define ORIENTATION 0x0112
#define TYPE_SHORT 3

/* Bytes of a TIFF block, in either order. */
typedef struct tiff {
    const uint8_t *at;
    uint64_t size;
    int is_little;
} tiff_t;

static uint32_t u16(const tiff_t *tiff, uint64_t at)
{
    const uint8_t *b = tiff->at + at;
    return tiff->is_little ? (uint32_t)b[1] << 8 | b[0] : (uint32_t)b[0] << 8 | b[1];
}

static uint32_t u32(const tiff_t *tiff, uint64_t at)
{
    return tiff->is_little ? u16(tiff, at + 2) << 16 | u16(tiff, at) : u16(tiff, at) << 16 | u16(tiff, at + 2);
}

static int32_t from_tiff(const uint8_t *at, uint64_t size)
{
    const tiff_t tiff = {at, size, size >= 8 && at[0] == 'I'};
    if (size < 8 || (memcmp(at, "II*\0", 4) != 0 && memcmp(at, "MM\0*", 4) != 0))
        return 0;
    const uint64_t folder = u32(&tiff, 4);
    if (folder + 2 > size)
        return 0;
    const uint64_t entries = u16(&tiff, folder);
    for (uint64_t i = 0; i < entries && folder + 2 + 12 * (i + 1) <= size; i++) {
        const uint64_t entry = folder + 2 + 12 * i;
        if (u16(&tiff, entry) != ORIENTATION || u16(&tiff, entry + 2) != TYPE_SHORT)
            continue;
        const uint32_t value = u16(&tiff, entry + 8);
        return value >= 1 && value <= 8 ? (int32_t)value : 0;
    }
    return 0;
}

int32_t mo_exif_orientation(const uint8_t *jpeg, uint64_t size)
{
    uint64_t at = 2; /* behind the mark of a JPEG's begin */
    for (int i = 0; i < MAX_SEGMENTS && size >= 4 && at <= size - 4 && jpeg[at] == 0xff; i++) {
        const uint8_t marker = jpeg[at + 1];
        const uint64_t length = (uint64_t)jpeg[at + 2] << 8 | jpeg[at + 3];
        if (marker == 0xff) { /* padding */
            at++;
            continue;
        }
        if (marker == 0xda || length < 2 || length > size - at - 2)
            return 0; /* the image data */
        if (marker == 0xe1 && length >= 8 && memcmp(jpeg + at + 4, "Exif\0\0", 6) == 0)
            return from_tiff(jpeg + at + 10, length - 8);
        at += 2 + length;
    }
    return 0;
}
