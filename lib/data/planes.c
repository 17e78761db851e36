/* Triples of bytes to three planes and back, sixteen pixels at a time by shuffles of whole
 * registers. See planes.h. */
#include "data/planes.h"

#include <string.h>

#include "util/clones.h"

#define LANES 16
typedef uint8_t bytes_t __attribute__((vector_size(LANES)));

/* Of two vectors by place: 0..15 is in the first, 16..31 in the second. */
#define PICK __builtin_shufflevector

/* What the first two thirds of the triples hold of a channel, then what the last third adds. */
MO_INLINE void split(const uint8_t *rgb, size_t at, uint8_t planes[3][MO_PLANE])
{
    bytes_t a, b, c, plane[3];
    memcpy(&a, rgb, LANES);
    memcpy(&b, rgb + LANES, LANES);
    memcpy(&c, rgb + 2 * LANES, LANES);
    plane[0] = PICK(a, b, 0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0);
    plane[1] = PICK(a, b, 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 0, 0, 0, 0, 0);
    plane[2] = PICK(a, b, 2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0, 0, 0, 0, 0);
    plane[0] = PICK(plane[0], c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29);
    plane[1] = PICK(plane[1], c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30);
    plane[2] = PICK(plane[2], c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31);
    for (int k = 0; k < 3; k++)
        memcpy(planes[k] + at, &plane[k], LANES);
}

/* Red and green to their places, then blue between them. */
MO_INLINE void join(uint8_t planes[3][MO_PLANE], size_t at, uint8_t *rgb)
{
    bytes_t r, g, b, third[3];
    memcpy(&r, planes[0] + at, LANES);
    memcpy(&g, planes[1] + at, LANES);
    memcpy(&b, planes[2] + at, LANES);
    third[0] = PICK(r, g, 0, 16, 0, 1, 17, 0, 2, 18, 0, 3, 19, 0, 4, 20, 0, 5);
    third[1] = PICK(r, g, 21, 0, 6, 22, 0, 7, 23, 0, 8, 24, 0, 9, 25, 0, 10, 26);
    third[2] = PICK(r, g, 0, 11, 27, 0, 12, 28, 0, 13, 29, 0, 14, 30, 0, 15, 31, 0);
    third[0] = PICK(third[0], b, 0, 1, 16, 3, 4, 17, 6, 7, 18, 9, 10, 19, 12, 13, 20, 15);
    third[1] = PICK(third[1], b, 0, 21, 2, 3, 22, 5, 6, 23, 8, 9, 24, 11, 12, 25, 14, 15);
    third[2] = PICK(third[2], b, 26, 1, 2, 27, 4, 5, 28, 7, 8, 29, 10, 11, 30, 13, 14, 31);
    memcpy(rgb, third, sizeof third);
}

MO_CLONES(void, mo_planes_load, (const uint8_t *rgb, size_t count, mo_planes_t *planes), (rgb, count, planes))
{
    uint8_t bytes[3][MO_PLANE] = {0};
    size_t at = 0;
    for (; at + LANES <= count; at += LANES, rgb += 3 * LANES)
        split(rgb, at, bytes);
    for (; at < count; at++)
        for (int k = 0; k < 3; k++)
            bytes[k][at] = *rgb++;
    for (int i = 0; i < MO_PLANE; i++)
        planes->first[i] = bytes[0][i];
    for (int i = 0; i < MO_PLANE; i++)
        planes->second[i] = bytes[1][i];
    for (int i = 0; i < MO_PLANE; i++)
        planes->third[i] = bytes[2][i];
}

MO_CLONES(void, mo_planes_store, (const mo_planes_t *planes, size_t count, uint8_t *rgb), (planes, count, rgb))
{
    uint8_t bytes[3][MO_PLANE];
    size_t at = 0;
    for (int i = 0; i < MO_PLANE; i++)
        bytes[0][i] = (uint8_t)planes->first[i];
    for (int i = 0; i < MO_PLANE; i++)
        bytes[1][i] = (uint8_t)planes->second[i];
    for (int i = 0; i < MO_PLANE; i++)
        bytes[2][i] = (uint8_t)planes->third[i];
    for (; at + LANES <= count; at += LANES, rgb += 3 * LANES)
        join(bytes, at, rgb);
    for (; at < count; at++)
        for (int k = 0; k < 3; k++)
            *rgb++ = bytes[k][at];
}
