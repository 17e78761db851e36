/* The k nearest vectors of any number of queries, chunk by chunk. */
#include "eval/index.h"

#include "util/alloc.h"
#include "util/cancel.h"
#include "util/rows.h"

moco_status_t mo_index_search(const moco_index_t *index, const float *queries, int64_t count,
                              const moco_search_options_t *o, int64_t *ids, float *similarities)
{
    moco_status_t status = MOCO_OK;
    const int64_t k = o->k, chunk = mo_index_chunk(k) < count ? mo_index_chunk(k) : count;
    mo_neighbour_t *near = NULL;
    float *rows = NULL;
    TRY(mo_calloc((size_t)chunk, (size_t)k * sizeof *near, &near));
    TRY(mo_calloc((size_t)count, (size_t)index->dimension * sizeof *rows, &rows));
    TRY(mo_rows_normalise(queries, count, index->dimension, rows)); /* all, before anything is written */
    for (int64_t done = 0; done < count; done += chunk) {
        int64_t now = count - done < chunk ? count - done : chunk;
        TRY(mo_index_nearest(index, rows + done * index->dimension, now, k, o->cancel, near));
        for (int64_t i = 0; i < now * k; i++) {
            ids[done * k + i] = near[i].id;
            if (similarities != NULL)
                similarities[done * k + i] = near[i].similarity;
        }
    }
cleanup:
    mo_free(near);
    mo_free(rows);
    return status;
}
