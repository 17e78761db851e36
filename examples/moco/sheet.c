/* Contact sheets and JPEG files: see sheet.h. Called by demo_sheet.c, demo_images.c and
 * cmd_views.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "common.h"
#include "outputs.h"
#include "sheet.h"
#include "whole_file.h"

/* Five columns of seven dots per letter, lowest bit on top. */
static const struct {
    char letter;
    uint8_t columns[5];
} font[] = {
    {'A', {0x7E, 0x11, 0x11, 0x11, 0x7E}}, {'B', {0x7F, 0x49, 0x49, 0x49, 0x36}}, {'C', {0x3E, 0x41, 0x41, 0x41, 0x22}},
    {'D', {0x7F, 0x41, 0x41, 0x22, 0x1C}}, {'E', {0x7F, 0x49, 0x49, 0x49, 0x41}}, {'F', {0x7F, 0x09, 0x09, 0x09, 0x01}},
    {'G', {0x3E, 0x41, 0x49, 0x49, 0x7A}}, {'H', {0x7F, 0x08, 0x08, 0x08, 0x7F}}, {'I', {0x00, 0x41, 0x7F, 0x41, 0x00}},
    {'J', {0x20, 0x40, 0x41, 0x3F, 0x01}}, {'K', {0x7F, 0x08, 0x14, 0x22, 0x41}}, {'L', {0x7F, 0x40, 0x40, 0x40, 0x40}},
    {'M', {0x7F, 0x02, 0x0C, 0x02, 0x7F}}, {'N', {0x7F, 0x04, 0x08, 0x10, 0x7F}}, {'O', {0x3E, 0x41, 0x41, 0x41, 0x3E}},
    {'P', {0x7F, 0x09, 0x09, 0x09, 0x06}}, {'Q', {0x3E, 0x41, 0x51, 0x21, 0x5E}}, {'R', {0x7F, 0x09, 0x19, 0x29, 0x46}},
    {'S', {0x46, 0x49, 0x49, 0x49, 0x31}}, {'T', {0x01, 0x01, 0x7F, 0x01, 0x01}}, {'U', {0x3F, 0x40, 0x40, 0x40, 0x3F}},
    {'V', {0x1F, 0x20, 0x40, 0x20, 0x1F}}, {'W', {0x3F, 0x40, 0x38, 0x40, 0x3F}}, {'X', {0x63, 0x14, 0x08, 0x14, 0x63}},
    {'Y', {0x07, 0x08, 0x70, 0x08, 0x07}}, {'Z', {0x61, 0x51, 0x49, 0x45, 0x43}}, {'0', {0x3E, 0x51, 0x49, 0x45, 0x3E}},
    {'1', {0x00, 0x42, 0x7F, 0x40, 0x00}}, {'2', {0x42, 0x61, 0x51, 0x49, 0x46}}, {'3', {0x21, 0x41, 0x45, 0x4B, 0x31}},
    {'4', {0x18, 0x14, 0x12, 0x7F, 0x10}}, {'5', {0x27, 0x45, 0x45, 0x45, 0x39}}, {'6', {0x3C, 0x4A, 0x49, 0x49, 0x30}},
    {'7', {0x01, 0x71, 0x09, 0x05, 0x03}}, {'8', {0x36, 0x49, 0x49, 0x49, 0x36}}, {'9', {0x06, 0x49, 0x49, 0x29, 0x1E}},
    {'%', {0x23, 0x13, 0x08, 0x64, 0x62}}, {'.', {0x00, 0x60, 0x60, 0x00, 0x00}}, {':', {0x00, 0x36, 0x36, 0x00, 0x00}},
    {'-', {0x08, 0x08, 0x08, 0x08, 0x08}}, {'/', {0x20, 0x10, 0x08, 0x04, 0x02}}, {'_', {0x40, 0x40, 0x40, 0x40, 0x40}},
};

int sheet_create(sheet_t *sheet, int width, int height, uint32_t colour)
{
    sheet->width = width;
    sheet->height = height;
    sheet->pixels = malloc((size_t)width * (size_t)height * 3);
    if (sheet->pixels == NULL) {
        fail("out of memory");
        return -1;
    }
    sheet_box(sheet, 0, 0, width, height, colour);
    return 0;
}

void sheet_free(sheet_t *sheet)
{
    free(sheet->pixels);
    sheet->pixels = NULL;
}

static uint8_t *pixel_at(sheet_t *sheet, int x, int y)
{
    if (x < 0 || y < 0 || x >= sheet->width || y >= sheet->height)
        return NULL;
    return sheet->pixels + ((size_t)y * (size_t)sheet->width + (size_t)x) * 3;
}

void sheet_box(sheet_t *sheet, int x, int y, int width, int height, uint32_t colour)
{
    for (int row = y; row < y + height; row++) {
        for (int column = x; column < x + width; column++) {
            uint8_t *pixel = pixel_at(sheet, column, row);
            if (pixel == NULL)
                continue;
            pixel[0] = (uint8_t)(colour >> 16);
            pixel[1] = (uint8_t)(colour >> 8);
            pixel[2] = (uint8_t)colour;
        }
    }
}

void sheet_image(sheet_t *sheet, int x, int y, const uint8_t *rgb, int side, int zoom)
{
    for (int row = 0; row < side * zoom; row++) {
        for (int column = 0; column < side * zoom; column++) {
            uint8_t *pixel = pixel_at(sheet, x + column, y + row);
            if (pixel != NULL)
                memcpy(pixel, rgb + ((size_t)(row / zoom) * (size_t)side + (size_t)(column / zoom)) * 3, 3);
        }
    }
}

static const uint8_t *letter_columns(char letter)
{
    if (letter >= 'a' && letter <= 'z')
        letter = (char)(letter - 'a' + 'A');
    for (size_t i = 0; i < sizeof font / sizeof font[0]; i++) {
        if (font[i].letter == letter)
            return font[i].columns;
    }
    return NULL;
}

void sheet_text(sheet_t *sheet, int x, int y, const char *text, int zoom, uint32_t colour)
{
    for (; *text != '\0'; text++, x += SHEET_LETTER * zoom) {
        const uint8_t *columns = letter_columns(*text);
        for (int i = 0; columns != NULL && i < 5 * 7; i++) {
            if (columns[i / 7] >> (i % 7) & 1)
                sheet_box(sheet, x + i / 7 * zoom, y + i % 7 * zoom, zoom, zoom, colour);
        }
    }
}

typedef struct jpeg_trap {
    struct jpeg_error_mgr manager;
    jmp_buf jump;
    char message[JMSG_LENGTH_MAX];
} jpeg_trap_t;

static void on_jpeg_error(j_common_ptr info)
{
    jpeg_trap_t *trap = (jpeg_trap_t *)info->err;
    info->err->format_message(info, trap->message);
    longjmp(trap->jump, 1);
}

/* Compresses into an open file; the file stays open. */
static int compress(FILE *file, const uint8_t *rgb, int width, int height, int quality, const char *comment,
                    jpeg_trap_t *trap)
{
    struct jpeg_compress_struct jpeg;

    memset(&jpeg, 0, sizeof jpeg);
    jpeg.err = jpeg_std_error(&trap->manager);
    trap->manager.error_exit = on_jpeg_error;
    if (setjmp(trap->jump) != 0) {
        jpeg_destroy_compress(&jpeg);
        return -1;
    }
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, file);
    jpeg.image_width = (JDIMENSION)width;
    jpeg.image_height = (JDIMENSION)height;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, quality, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    if (comment != NULL)
        jpeg_write_marker(&jpeg, JPEG_COM, (const JOCTET *)comment, (unsigned)strlen(comment));
    while (jpeg.next_scanline < jpeg.image_height) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(rgb + (size_t)jpeg.next_scanline * (size_t)width * 3);
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    return 0;
}

static int write_jpeg(const char *path, const uint8_t *rgb, int width, int height, int quality, const char *comment)
{
    jpeg_trap_t trap;
    whole_file_t file;

    if (whole_open(&file, path) != EXIT_DONE)
        return -1;
    file.unsynced = comment == NULL; /* the demo's images come in thousands */
    if (compress(file.stream, rgb, width, height, quality, comment, &trap) == 0)
        return whole_close(&file, 1) == EXIT_DONE ? 0 : -1;
    const int error = ferror(file.stream) ? errno : 0;
    whole_close(&file, 0);
    fail("'%s' cannot be written: %s", path, error != 0 ? strerror(error) : trap.message);
    return -1;
}

int jpeg_write(const char *path, const uint8_t *rgb, int width, int height, int quality)
{
    return write_jpeg(path, rgb, width, height, quality, NULL);
}

int sheet_write(const sheet_t *sheet, const char *path)
{
    return write_jpeg(path, sheet->pixels, sheet->width, sheet->height, 92, OUTPUT_SHEET_MARK);
}
