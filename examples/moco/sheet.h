/* Contact sheets: small images in rows with coloured frames and captions, written as one JPEG. */
#ifndef PROGRAM_SHEET_H
#define PROGRAM_SHEET_H

#include <stdint.h>

typedef struct sheet {
    int width, height;
    uint8_t *pixels; /* RGB */
} sheet_t;

/* A sheet of one colour (0xRRGGBB). Returns -1 with a message. */
int sheet_create(sheet_t *sheet, int width, int height, uint32_t colour);
void sheet_free(sheet_t *sheet);

/* Everything drawn is cut at the sheet's edges. */
void sheet_box(sheet_t *sheet, int x, int y, int width, int height, uint32_t colour);
void sheet_image(sheet_t *sheet, int x, int y, const uint8_t *rgb, int side, int zoom);

/* Upper-case letters, digits and a few signs, 5x7 dots, each `zoom` pixels wide; others are
 * blank. */
#define SHEET_LETTER 6 /* dots from letter to letter */
void sheet_text(sheet_t *sheet, int x, int y, const char *text, int zoom, uint32_t colour);

int sheet_write(const sheet_t *sheet, const char *path);

/* RGB pixels as a JPEG file. Returns -1 with a message. */
int jpeg_write(const char *path, const uint8_t *rgb, int width, int height, int quality);

#endif
