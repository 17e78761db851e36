/* The arithmetic of the linear probe; see linear.h. A step is two sweeps over the lanes: rows
 * (logits, softmax, gradient by the logits), then tiles of the weights (their gradient, and SGD
 * while the tile is at hand). */
#include "eval/linear.h"

#include <math.h>
#include <string.h>

#include "engine/device.h"
#include "eval/dot.h"
#include "optim/optim.h"
#include "util/alloc.h"
#include "util/clones.h"
#include "util/rng.h"
#include "util/status.h"

#define ROW_TILE 32 /* rows at the most and classes of one product  */
#define CLASS_TILE 32
#define SLICE 64 /* features of a weight tile … */
#define GROUP 64 /* … and its classes                            */
#define RUN 128  /* rows packed at a time                        */
#define BLOCK 4  /* classes whose sums stay in registers         */

/* ---- making and freeing ---- */

moco_status_t mo_linear_create(moco_device_t *device, int32_t heads, int32_t classes, int32_t features, int64_t batch,
                               mo_linear_t *out)
{
    moco_status_t status = MOCO_OK;
    const size_t outputs = (size_t)heads * (size_t)classes, rows = (size_t)batch;
    mo_linear_t l = {.device = device, .heads = heads, .classes = classes, .features = features, .batch = batch};
    TRY(mo_calloc(outputs, (size_t)features * sizeof(float), &l.weights));
    TRY(mo_calloc(outputs, (size_t)features * sizeof(float), &l.weights_buffer));
    TRY(mo_calloc(outputs, sizeof(float), &l.bias));
    TRY(mo_calloc(outputs, sizeof(float), &l.bias_buffer));
    TRY(mo_calloc(rows, (size_t)features * sizeof(float), &l.packed));
    TRY(mo_calloc(rows, outputs * sizeof(float), &l.gradient));
    TRY(mo_calloc(rows, (size_t)heads * sizeof(double), &l.losses));
    TRY(mo_calloc(rows, (size_t)heads * sizeof(int32_t), &l.ranks));
    TRY(mo_calloc(rows, (size_t)heads * sizeof(int32_t), &l.best));
    *out = l;
    l = (mo_linear_t){0};
cleanup:
    mo_linear_free(&l);
    return status;
}

void mo_linear_init(mo_linear_t *l, uint64_t seed, double std)
{
    const int64_t count = (int64_t)l->classes * l->features;
    mo_rng_t rng;
    mo_rng_start(&rng, seed, MO_STREAM_PROBE_WEIGHTS, 0, 0);
    for (int64_t i = 0; i < count; i++)
        l->weights[i] = (float)(std * mo_rng_normal(&rng));
    for (int32_t h = 1; h < l->heads; h++)
        memcpy(l->weights + h * count, l->weights, (size_t)count * sizeof(float));
}

void mo_linear_free(mo_linear_t *l)
{
    mo_free(l->weights);
    mo_free(l->weights_buffer);
    mo_free(l->bias);
    mo_free(l->bias_buffer);
    mo_free(l->packed);
    mo_free(l->gradient);
    mo_free(l->losses);
    mo_free(l->ranks);
    mo_free(l->best);
    *l = (mo_linear_t){0};
}

/* ---- rows ---- */

typedef struct sweep {
    const mo_linear_t *l;
    const mo_linear_rows_t *rows;
    const float *x; /* [count,F]: the rows themselves, or packed */
    const double *lr;
    int64_t tile; /* rows of a part; the results do not depend on it */
    int train;
} sweep_t;

static int64_t entry_of(const mo_linear_rows_t *rows, int64_t i)
{
    return rows->order != NULL ? rows->order[i] : i;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Logits of rows first … first+count-1, in the gradient's place. */
static void logits(const sweep_t *s, int64_t first, int64_t count)
{
    const mo_linear_t *l = s->l;
    const int64_t outputs = (int64_t)l->heads * l->classes, features = l->features;
    float tile[ROW_TILE * CLASS_TILE];
    for (int64_t i = first; s->rows->order != NULL && i < first + count; i++)
        memcpy(l->packed + i * features, s->rows->rows + s->rows->order[i] * features,
               (size_t)features * sizeof(float));
    for (int64_t c = 0; c < outputs; c += CLASS_TILE) {
        const int64_t wide = smaller(outputs - c, CLASS_TILE);
        mo_dot_tile(s->x + first * features, count, l->weights + c * features, wide, l->features, tile);
        for (int64_t i = 0; i < count; i++)
            for (int64_t j = 0; j < wide; j++)
                l->gradient[(first + i) * outputs + c + j] = tile[i * wide + j] + l->bias[c + j];
    }
}

/* A row's logits of one classifier -> loss, and in training their gradient (p - 1[label]) / rows in
 * their place. */
static double softmax(float *z, int32_t classes, int32_t label, int64_t rows, int train)
{
    float most = z[0], own = z[label];
    double sum = 0;
    for (int32_t c = 1; c < classes; c++)
        most = z[c] > most ? z[c] : most;
    for (int32_t c = 0; c < classes; c++) {
        const float e = expf(z[c] - most);
        sum += (double)e;
        z[c] = train ? e : z[c];
    }
    if (train) {
        const float scale = (float)(1.0 / (sum * (double)rows));
        for (int32_t c = 0; c < classes; c++)
            z[c] *= scale;
        z[label] = (float)((expm1((double)own - (double)most - log(sum))) / (double)rows);
    }
    return log(sum) - ((double)own - (double)most);
}

static void rank(const float *z, int32_t classes, int32_t label, int32_t *place, int32_t *best)
{
    *place = *best = 0;
    for (int32_t c = 0; c < classes; c++) {
        *place += c < label ? !(z[c] < z[label]) : c > label && !(z[c] <= z[label]); /* last where nothing compares */
        *best = z[c] > z[*best] ? c : *best;
    }
}

static void rows_part(void *ctx, int64_t part)
{
    const sweep_t *s = ctx;
    const mo_linear_t *l = s->l;
    const int64_t first = part * s->tile, count = smaller(s->rows->count - first, s->tile);
    logits(s, first, count);
    for (int64_t i = first; i < first + count; i++)
        for (int32_t h = 0; h < l->heads; h++) {
            const int64_t at = i * l->heads + h;
            float *z = l->gradient + at * l->classes;
            const int32_t label = s->rows->labels[entry_of(s->rows, i)];
            if (!s->train)
                rank(z, l->classes, label, &l->ranks[at], &l->best[at]);
            l->losses[at] = softmax(z, l->classes, label, s->rows->count, s->train);
        }
}

/* ---- weights ---- */

typedef float vec __attribute__((vector_size(16 * sizeof(float))));

/* sums[BLOCK][SLICE] += the outer products of `count` packed rows, in their order. */
static MO_CLONES(void, outer, (const float *g, const float *x, int64_t count, float *sums), (g, x, count, sums))
{
    for (int64_t f = 0; f < SLICE; f += 32) {
        vec s[BLOCK][2], v[2];
        for (int c = 0; c < BLOCK; c++)
            memcpy(s[c], sums + c * SLICE + f, sizeof s[c]);
        for (int64_t i = 0; i < count; i++) {
            memcpy(v, x + i * SLICE + f, sizeof v);
            for (int c = 0; c < BLOCK; c++) {
                s[c][0] += g[i * BLOCK + c] * v[0];
                s[c][1] += g[i * BLOCK + c] * v[1];
            }
        }
        for (int c = 0; c < BLOCK; c++)
            memcpy(sums + c * SLICE + f, s[c], sizeof s[c]);
    }
}

/* Gradients of classes c0 … c0+classes-1 by features f0 … f0+wide-1, packed run by run:
 * sums[GROUP][SLICE]. */
static void tile_gradient(const sweep_t *s, int64_t c0, int64_t classes, int64_t f0, int64_t wide, float *sums)
{
    const mo_linear_t *l = s->l;
    const int64_t outputs = (int64_t)l->heads * l->classes;
    float x[RUN * SLICE], g[RUN * BLOCK];
    memset(sums, 0, GROUP * SLICE * sizeof *sums);
    memset(x, 0, sizeof x);
    memset(g, 0, sizeof g);
    for (int64_t first = 0; first < s->rows->count; first += RUN) {
        const int64_t run = smaller(s->rows->count - first, RUN);
        for (int64_t i = 0; i < run; i++)
            memcpy(x + i * SLICE, s->x + (first + i) * l->features + f0, (size_t)wide * sizeof *x);
        for (int64_t c = 0; c < classes; c += BLOCK) {
            const int64_t block = smaller(classes - c, BLOCK);
            for (int64_t i = 0; i < run; i++)
                memcpy(g + i * BLOCK, l->gradient + (first + i) * outputs + c0 + c, (size_t)block * sizeof *g);
            outer(g, x, run, sums + c * SLICE);
        }
    }
}

static void bias_step(const sweep_t *s, int64_t c, const mo_optim_rates_t *rates)
{
    const mo_linear_t *l = s->l;
    const int64_t outputs = (int64_t)l->heads * l->classes;
    float sum = 0;
    for (int64_t i = 0; i < s->rows->count; i++)
        sum += l->gradient[i * outputs + c];
    mo_sgd_loop(l->bias + c, l->bias_buffer + c, &sum, 1, rates);
}

static int64_t slices_of(const mo_linear_t *l)
{
    return (l->features + SLICE - 1) / SLICE;
}

static void weights_part(void *ctx, int64_t part)
{
    const sweep_t *s = ctx;
    const mo_linear_t *l = s->l;
    const int64_t f = part % slices_of(l) * SLICE, c0 = part / slices_of(l) * GROUP;
    const int64_t wide = smaller(l->features - f, SLICE);
    const int64_t classes = smaller((int64_t)l->heads * l->classes - c0, GROUP);
    mo_optim_rates_t rates = {.momentum = l->momentum, .weight_decay = l->decay, .step = l->step + 1};
    float sums[GROUP * SLICE];
    tile_gradient(s, c0, classes, f, wide, sums);
    for (int64_t c = c0; c < c0 + classes; c++) {
        const int64_t at = c * l->features + f;
        rates.lr = s->lr[c / l->classes];
        mo_sgd_loop(l->weights + at, l->weights_buffer + at, sums + (c - c0) * SLICE, wide, &rates);
        if (f == 0)
            bias_step(s, c, &rates);
    }
}

/* ---- calls ---- */

/* Tiles of four rows or more, so small that every lane gets some. */
static moco_status_t sweep_rows(sweep_t *s)
{
    const int64_t count = s->rows->count, wanted = count / (2 * (int64_t)mo_device_lanes(s->l->device)) / 4 * 4;
    s->tile = wanted < 4 ? 4 : smaller(wanted, ROW_TILE);
    s->x = s->rows->order != NULL ? s->l->packed : s->rows->rows;
    return mo_device_parallel(s->l->device, (count + s->tile - 1) / s->tile, rows_part, s);
}

moco_status_t mo_linear_step(mo_linear_t *l, const mo_linear_rows_t *rows, const double *lr, double *loss)
{
    moco_status_t status = MOCO_OK;
    sweep_t sweep = {.l = l, .rows = rows, .lr = lr, .train = 1};
    const int64_t groups = ((int64_t)l->heads * l->classes + GROUP - 1) / GROUP;
    TRY(sweep_rows(&sweep));
    TRY(mo_device_parallel(l->device, groups * slices_of(l), weights_part, &sweep));
    for (int64_t i = 0; i < rows->count * l->heads; i++)
        loss[i % l->heads] += l->losses[i];
    l->step++;
cleanup:
    return status;
}

static void count_piece(const mo_linear_t *l, const mo_linear_rows_t *rows, mo_linear_score_t *scores, int32_t head,
                        int64_t *confusion)
{
    for (int64_t i = 0; i < rows->count; i++) {
        for (int32_t h = 0; h < l->heads; h++) {
            scores[h].first += l->ranks[i * l->heads + h] == 0;
            scores[h].fifth += l->ranks[i * l->heads + h] < 5;
            scores[h].loss += l->losses[i * l->heads + h];
        }
        if (confusion != NULL)
            confusion[(int64_t)rows->labels[entry_of(rows, i)] * l->classes + l->best[i * l->heads + head]]++;
    }
}

moco_status_t mo_linear_score(mo_linear_t *l, const mo_linear_rows_t *rows, mo_linear_score_t *scores, int32_t head,
                              int64_t *confusion)
{
    moco_status_t status = MOCO_OK;
    memset(scores, 0, (size_t)l->heads * sizeof *scores);
    for (int64_t done = 0; done < rows->count; done += l->batch) {
        mo_linear_rows_t piece = *rows;
        sweep_t sweep = {.l = l, .rows = &piece};
        piece.count = smaller(rows->count - done, l->batch);
        if (rows->order != NULL)
            piece.order += done;
        else {
            piece.rows += done * l->features;
            piece.labels += done;
        }
        TRY(sweep_rows(&sweep));
        count_piece(l, &piece, scores, head, confusion);
    }
cleanup:
    return status;
}
