/* Draws the images that tests of programs need: FOLDER/<class>/<number>.jpg, small and always the
 * same, and, when asked, one file that is no image. A class is a direction of stripes.
 *
 *   draw_folder FOLDER COUNT CLASSES SIDE [broken]
 */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <jpeglib.h>

static void draw(uint8_t *rgb, int side, int number, int class)
{
    double angle = 0.6 * class, phase = 0.7 * number, frequency = 0.35 + 0.02 * (number % 5);
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            double wave = sin(frequency * (x * cos(angle) + y * sin(angle)) + phase);
            for (int c = 0; c < 3; c++)
                *rgb++ = (uint8_t)(128 + (60 + 15 * ((number + c) % 4)) * wave);
        }
}

static void write_jpeg(const char *path, uint8_t *rgb, int side)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors; /* the standard one: prints and exits, right for a test tool */
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, file);
    jpeg.image_width = jpeg.image_height = (JDIMENSION)side;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 92, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < side; y++) {
        JSAMPROW row = rgb + (size_t)y * side * 3;
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    fclose(file);
}

static void write_broken(const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/class0/broken.jpg", folder);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fputs("not a JPEG", file) < 0 || fclose(file) != 0)
        exit(1);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    const int count = atoi(argv[2]), classes = atoi(argv[3]), side = atoi(argv[4]);
    uint8_t *rgb = malloc((size_t)side * side * 3);
    if (rgb == NULL)
        return 1;
    mkdir(argv[1], 0777);
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/class%d", argv[1], i % classes);
        mkdir(path, 0777);
        snprintf(path, sizeof path, "%s/class%d/%04d.jpg", argv[1], i % classes, i);
        draw(rgb, side, i, i % classes);
        write_jpeg(path, rgb, side);
    }
    free(rgb);
    if (argc > 5)
        write_broken(argv[1]);
    return 0;
}
