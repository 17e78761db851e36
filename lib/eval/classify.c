/* Weighted kNN (Wu et al., arXiv 1805.01978, eq. 5 and below): each of the k nearest votes for its
 * class with exp(cosine / temperature). Called by the border and by kNN evaluation. */
#include "eval/classify.h"

#include <math.h>
#include <string.h>

#include "engine/device.h"
#include "util/alloc.h"
#include "util/rows.h"
#include "util/status.h"

#define SLICES 8 /* of a chunk of queries, each with its own array of scores */

typedef struct vote {
    const moco_index_t *index;
    const mo_neighbour_t *neighbours; /* [count, k]                 */
    double *scores;                   /* [SLICES, classes]          */
    int32_t *top;                     /* [count, width]             */
    int64_t count, k;
    double temperature;
    int32_t classes, width;
} vote_t;

/* The best `width` classes in order, equal scores by lower number. */
static void best_classes(const double *scores, int32_t classes, int32_t width, int32_t *top)
{
    int32_t held = 0;
    for (int32_t c = 0; c < classes; c++) {
        if (held == width && scores[c] <= scores[top[held - 1]])
            continue;
        int32_t at = held < width ? held++ : held - 1;
        for (; at > 0 && scores[c] > scores[top[at - 1]]; at--)
            top[at] = top[at - 1];
        top[at] = c;
    }
}

static void vote_slice(void *ctx, int64_t slice)
{
    const vote_t *v = ctx;
    double *scores = v->scores + slice * v->classes;
    for (int64_t q = slice * v->count / SLICES; q < (slice + 1) * v->count / SLICES; q++) {
        const mo_neighbour_t *near = v->neighbours + q * v->k;
        memset(scores, 0, (size_t)v->classes * sizeof *scores);
        /* By the distance to the best: the same order of classes, and no overflow at small
         * temperatures. */
        for (int64_t n = 0; n < v->k; n++)
            scores[v->index->labels[near[n].id]] +=
                exp(((double)near[n].similarity - (double)near[0].similarity) / v->temperature);
        best_classes(scores, v->classes, v->width, v->top + q * v->width);
    }
}

moco_status_t mo_index_classify(const moco_index_t *index, const float *queries, int64_t count,
                                const moco_classify_options_t *o, int32_t *top)
{
    moco_status_t status = MOCO_OK;
    mo_neighbour_t *neighbours = NULL;
    float *rows = NULL;
    const int64_t k = o->k < index->count ? o->k : index->count, chunk = mo_index_chunk(k);
    vote_t vote = {.index = index, .k = k, .temperature = o->temperature, .classes = o->classes};
    vote.width = o->classes < MO_CLASSIFY_TOP ? o->classes : MO_CLASSIFY_TOP;
    TRY(mo_calloc((size_t)count, (size_t)index->dimension * sizeof *rows, &rows));
    TRY(mo_rows_normalise(queries, count, index->dimension, rows));
    TRY(mo_calloc((size_t)chunk, (size_t)k * sizeof *neighbours, &neighbours));
    TRY(mo_calloc(SLICES, (size_t)o->classes * sizeof *vote.scores, &vote.scores));
    vote.neighbours = neighbours;
    for (int64_t done = 0; done < count; done += vote.count) {
        vote.count = count - done < chunk ? count - done : chunk;
        vote.top = top + done * vote.width;
        TRY(mo_index_nearest(index, rows + done * index->dimension, vote.count, k, o->cancel, neighbours));
        TRY(mo_device_parallel(index->device, SLICES, vote_slice, &vote));
    }
cleanup:
    mo_free(rows);
    mo_free(neighbours);
    mo_free(vote.scores);
    return status;
}
