/* Drawing the images of `moco demo`. The class is a pattern; everything else is nuisance drawn anew
 * for each image, independently of the class: colours of pattern, ground and surroundings, the
 * pattern's place, outline, size, tilt and thickness, light, noise, and loose shapes on top. Most
 * of it is what augmentation can teach an encoder to overlook. Called by cmd_demo.c. */
#include "demo_images.h"

#include <math.h>
#include <stdio.h>

#include "common.h"
#include "sheet.h"

/* How strong the nuisances are. */
#define PERIOD_MIN 0.25 /* one repeat of the pattern, of the side            */
#define PERIOD_MAX 0.38
#define TILT_MAX 0.15  /* radians                                           */
#define PATCH_MIN 0.40 /* half size of the patterned patch, of the side     */
#define PATCH_MAX 0.70
#define DARK_MIN 40 /* luma of the ground                                */
#define DARK_MAX 100
#define BRIGHT_MIN 150 /* and of the pattern on it; hues are free           */
#define BRIGHT_MAX 210
#define LIGHT_MAX 0.35 /* fall of the light over the image                  */
#define NOISE_MAX 8.0  /* of 255                                            */
#define CLUTTER_MAX 2  /* loose shapes on top                               */
#define SAMPLES 3      /* per pixel and axis, against staircases            */
#define TURN 6.283185307179586

const char *const demo_class_names[DEMO_CLASSES] = {"bricks", "checks",  "crosses",   "dots",
                                                    "rings",  "stripes", "triangles", "waves"};

typedef struct random {
    uint64_t state;
} random_t;

/* splitmix64: any seed gives a good stream. */
static uint64_t random_bits(random_t *random)
{
    uint64_t z = random->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static double uniform(random_t *random, double low, double high)
{
    return low + (high - low) * (double)(random_bits(random) >> 11) * 0x1p-53;
}

/* Where and how large something stands: image coordinates -> its own. */
typedef struct pose {
    double x, y, cosine, sine, size;
} pose_t;

/* A place within low..high of the side, turned by up to `tilt` either way. */
static pose_t pose_draw(random_t *random, double low, double high, double size, double tilt)
{
    const double angle = uniform(random, -tilt, tilt);
    pose_t pose;

    pose.x = uniform(random, low, high) * DEMO_SIDE;
    pose.y = uniform(random, low, high) * DEMO_SIDE;
    pose.cosine = cos(angle);
    pose.sine = sin(angle);
    pose.size = size * DEMO_SIDE;
    return pose;
}

static void pose_apply(const pose_t *pose, double x, double y, double *u, double *v)
{
    const double dx = (x - pose->x) / pose->size, dy = (y - pose->y) / pose->size;
    *u = pose->cosine * dx + pose->sine * dy;
    *v = pose->cosine * dy - pose->sine * dx;
}

/* Is (u, v), in repeats of the pattern, on it? `ink` in 0..1 thickens the lines. */
static int on_pattern(int label, double u, double v, double ink)
{
    const double fu = u - floor(u), fv = v - floor(v);
    const double cu = fu - 0.5, cv = fv - 0.5; /* from the middle of the cell */
    double row, shifted;

    switch (label) {
    case 0: /* bricks: joints, every second row moved by half a brick */
        row = floor(1.6 * v);
        shifted = 0.8 * u + 0.5 * (row - 2 * floor(row / 2));
        return 1.6 * v - row < 0.2 + 0.15 * ink || shifted - floor(shifted) < 0.12 + 0.08 * ink;
    case 1: /* checks */ return (fu < 0.5) == (fv < 0.5);
    case 2: /* crosses */
        return (fabs(cu) < 0.09 + 0.06 * ink && fabs(cv) < 0.4) || (fabs(cv) < 0.09 + 0.06 * ink && fabs(cu) < 0.4);
    case 3: /* dots */ return cu * cu + cv * cv < (0.24 + 0.12 * ink) * (0.24 + 0.12 * ink);
    case 4: /* rings */ row = sqrt(u * u + v * v); return row - floor(row) < 0.4 + 0.2 * ink;
    case 5: /* stripes */ return fu < 0.4 + 0.2 * ink;
    case 6: /* triangles */ return cv > -0.36 && cv < 0.40 - 2.0 * fabs(cu) + 0.2 * ink && fabs(cu) < 0.42;
    default: /* waves */ row = v + 0.28 * sin(TURN * 0.8 * u); return row - floor(row) < 0.4 + 0.2 * ink;
    }
}

/* Outlines of patches and loose shapes: disc, box, bar, diamond. */
static int in_outline(int outline, double u, double v)
{
    switch (outline) {
    case 0: return u * u + v * v < 1;
    case 1: return fabs(u) < 0.9 && fabs(v) < 0.9;
    case 2: return fabs(u) < 1.3 && fabs(v) < 0.65;
    default: return fabs(u) + fabs(v) < 1.25;
    }
}

static double luma(const double colour[3])
{
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2];
}

/* Any colour whose luma is within low..high. */
static void colour_draw(random_t *random, double low, double high, double colour[3])
{
    do {
        for (int c = 0; c < 3; c++)
            colour[c] = uniform(random, 0, 255);
    } while (luma(colour) < low || luma(colour) > high);
}

typedef struct scene {
    int label, outline, clutter, clutter_outline[CLUTTER_MAX];
    double ink, noise, light, light_x, light_y;
    double ground[3], pattern[3], beyond[3], clutter_colour[CLUTTER_MAX][3];
    pose_t repeat, patch, clutter_pose[CLUTTER_MAX];
} scene_t;

static void scene_draw(random_t *random, int label, scene_t *scene)
{
    double angle;

    scene->label = label;
    scene->outline = (int)uniform(random, 0, 4);
    scene->ink = uniform(random, 0, 1);
    scene->noise = uniform(random, 3, NOISE_MAX);
    scene->light = uniform(random, 0, LIGHT_MAX);
    angle = uniform(random, 0, TURN);
    scene->light_x = cos(angle);
    scene->light_y = sin(angle);
    colour_draw(random, 0, 255, scene->beyond);
    colour_draw(random, DARK_MIN, DARK_MAX, scene->ground);
    colour_draw(random, BRIGHT_MIN, BRIGHT_MAX, scene->pattern);
    scene->repeat = pose_draw(random, 0.25, 0.75, uniform(random, PERIOD_MIN, PERIOD_MAX), TILT_MAX);
    scene->patch = pose_draw(random, 0.35, 0.65, uniform(random, PATCH_MIN, PATCH_MAX), TURN);
    scene->clutter = (int)uniform(random, 0, CLUTTER_MAX + 1);
    for (int i = 0; i < scene->clutter; i++) {
        scene->clutter_outline[i] = (int)uniform(random, 0, 4);
        colour_draw(random, 0, 255, scene->clutter_colour[i]);
        scene->clutter_pose[i] = pose_draw(random, 0, 1, uniform(random, 0.04, 0.12), TURN);
    }
}

/* The colour at a point, before light and noise. */
static const double *scene_at(const scene_t *scene, double x, double y)
{
    double u, v;

    for (int i = 0; i < scene->clutter; i++) {
        pose_apply(&scene->clutter_pose[i], x, y, &u, &v);
        if (in_outline(scene->clutter_outline[i], u, v))
            return scene->clutter_colour[i];
    }
    pose_apply(&scene->patch, x, y, &u, &v);
    if (!in_outline(scene->outline, u, v))
        return scene->beyond;
    pose_apply(&scene->repeat, x, y, &u, &v);
    return on_pattern(scene->label, u, v, scene->ink) ? scene->pattern : scene->ground;
}

static uint8_t to_byte(double value)
{
    return (uint8_t)(value <= 0 ? 0 : value >= 255 ? 255 : value + 0.5);
}

void demo_draw(uint64_t seed, int64_t number, int label, uint8_t *pixels)
{
    random_t random = {seed * 0xD1342543DE82EF95u + (uint64_t)number * 0xA0761D6478BD642Fu + (uint64_t)label + 1};
    scene_t scene;

    scene_draw(&random, label, &scene);
    for (int y = 0; y < DEMO_SIDE; y++) {
        for (int x = 0; x < DEMO_SIDE; x++, pixels += 3) {
            const double along = (x * scene.light_x + y * scene.light_y) / DEMO_SIDE;
            double sum[3] = {0};
            for (int s = 0; s < SAMPLES * SAMPLES; s++) {
                const double *colour =
                    scene_at(&scene, x + (s % SAMPLES + 0.5) / SAMPLES, y + ((double)(s / SAMPLES) + 0.5) / SAMPLES);
                for (int c = 0; c < 3; c++)
                    sum[c] += colour[c] / (SAMPLES * SAMPLES);
            }
            for (int c = 0; c < 3; c++) {
                /* Three uniforms make a bell that is near enough to Gaussian noise. */
                const double bell = uniform(&random, -1, 1) + uniform(&random, -1, 1) + uniform(&random, -1, 1);
                pixels[c] = to_byte(sum[c] * (1 - scene.light * (0.5 + 0.5 * along)) + scene.noise * bell);
            }
        }
    }
}

int demo_write_images(const char *folder, uint64_t seed, int64_t first, int per_class)
{
    uint8_t pixels[DEMO_SIDE * DEMO_SIDE * 3];
    char class_folder[PATH_SIZE], name[32], path[PATH_SIZE];

    if (folder_make(folder) != 0)
        return -1;
    for (int label = 0; label < DEMO_CLASSES; label++) {
        if (path_join(class_folder, folder, demo_class_names[label]) != 0 || folder_make(class_folder) != 0)
            return -1;
        for (int i = 0; i < per_class; i++) {
            snprintf(name, sizeof name, "%04d.jpg", i);
            demo_draw(seed, first + i, label, pixels);
            if (path_join(path, class_folder, name) != 0 || jpeg_write(path, pixels, DEMO_SIDE, DEMO_SIDE, 90) != 0)
                return -1;
        }
    }
    return 0;
}
