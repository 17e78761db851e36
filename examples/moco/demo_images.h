/* The image set of `moco demo`: procedural textures whose class is the pattern and nothing else. */
#ifndef PROGRAM_DEMO_IMAGES_H
#define PROGRAM_DEMO_IMAGES_H

#include <stdint.h>

#define DEMO_CLASSES 8
#define DEMO_SIDE 32 /* pixels */

extern const char *const demo_class_names[DEMO_CLASSES];

/* One image, RGB [DEMO_SIDE, DEMO_SIDE, 3]; the same for the same (seed, number, label). */
void demo_draw(uint64_t seed, int64_t number, int label, uint8_t *pixels);

/* Writes folder/CLASS/NNNN.jpg, `per_class` images of each class, numbered from `first`; folders
 * are made. Returns -1 with a message. */
int demo_write_images(const char *folder, uint64_t seed, int64_t first, int per_class);

#endif
