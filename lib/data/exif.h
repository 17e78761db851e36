/* The one tag of EXIF that this library looks at. */
#ifndef MO_DATA_EXIF_H
#define MO_DATA_EXIF_H

#include <stdint.h>

/* How a JPEG file asks to be turned before it is shown: 2..8 by EXIF, 1 for as it is, 0 where it
 * does not say. Bytes may be hostile; only those before the image data are looked at. */
int32_t mo_exif_orientation(const uint8_t *jpeg, uint64_t size);

#endif
