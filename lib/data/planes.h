/* A block of pixels channel by channel, for operations that mix channels: loops over it vectorise,
 * loops over triples do not. Included by hue.c and augment.c. */
#ifndef MO_DATA_PLANES_H
#define MO_DATA_PLANES_H

#include <stddef.h>
#include <stdint.h>

#define MO_PLANE 128 /* pixels in a block; loops always run over all of them, so unused ones must be set */

typedef struct mo_planes {
    int32_t first[MO_PLANE], second[MO_PLANE], third[MO_PLANE]; /* R G B or H S V */
} mo_planes_t;

static inline size_t mo_planes_count(size_t left)
{
    return left < MO_PLANE ? left : MO_PLANE;
}

/* The first `count` pixels. (planes.c) */
void mo_planes_load(const uint8_t *rgb, size_t count, mo_planes_t *planes);
void mo_planes_store(const mo_planes_t *planes, size_t count, uint8_t *rgb);

/* In place, all MO_PLANE pixels. (hue.c) */
void mo_planes_to_hsv(mo_planes_t *planes);
void mo_planes_to_rgb(mo_planes_t *planes);

#endif
