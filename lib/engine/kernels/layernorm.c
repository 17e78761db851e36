/* Layer norm in loops. The primitives add up the gradients of scale and shift over all rows in
 * float, one after the other; here they are joined in double every 64 rows, and the gradient can be
 * added to the one that lies there already. */
#include <math.h>
#include <string.h>

#include "engine/kernels/epsilon.h"
#include "engine/kernels/rows.h"
#include "engine/kernels/vec.h"
#include "util/clones.h"

#define JOIN(total, part)                  \
    do {                                   \
        for (int i_ = 0; i_ < WIDTH; i_++) \
            (total) += (part)[i_];         \
    } while (0)

MO_CLONES(void, mo_layernorm_forward,
          (const float *x, int64_t rows, int64_t width, const float *scale, const float *shift, float *stats, float *y),
          (x, rows, width, scale, shift, stats, y))
{
    for (int64_t r = 0; r < rows; r++, x += width, y += width) {
        double sum = 0, squares = 0;
        for (int64_t from = 0; from < width; from += RUN * WIDTH) {
            int64_t end = from + RUN * WIDTH < width ? from + RUN * WIDTH : width;
            vec part = ZERO;
            for (int64_t c = from; c < end; c += WIDTH)
                part += LOAD(x + c);
            JOIN(sum, part);
        }
        const float mean = (float)(sum / (double)width);
        for (int64_t from = 0; from < width; from += RUN * WIDTH) {
            int64_t end = from + RUN * WIDTH < width ? from + RUN * WIDTH : width;
            vec part = ZERO;
            for (int64_t c = from; c < end; c += WIDTH) {
                vec d = LOAD(x + c) - mean;
                part += d * d;
            }
            JOIN(squares, part);
        }
        const float factor = (float)(1.0 / sqrt(squares / (double)width + MO_LAYERNORM_EPSILON));
        stats[2 * r] = mean;
        stats[2 * r + 1] = factor;
        for (int64_t c = 0; c < width; c += WIDTH)
            STORE(y + c, (LOAD(x + c) - mean) * factor * LOAD(scale + c) + LOAD(shift + c));
    }
}

/* d_x = factor * (g - mean(g) - x̂ * mean(g * x̂)) with g = d_y * scale. */
MO_CLONES(void, mo_layernorm_backward,
          (const mo_layernorm_t *n, float *scratch, float *d_x, float *d_scale, float *d_shift),
          (n, scratch, d_x, d_scale, d_shift))
{
    const int64_t width = n->width;
    double *total_scale = (double *)scratch, *total_shift = total_scale + width;
    /* The run's own sums grow in the places of the results. */
    memset(scratch, 0, 4 * (size_t)width * sizeof *scratch);
    for (int64_t first = 0; first < n->rows; first += RUN) {
        const int64_t last = first + RUN < n->rows ? first + RUN : n->rows;
        memset(d_scale, 0, (size_t)width * sizeof *d_scale);
        memset(d_shift, 0, (size_t)width * sizeof *d_shift);
        for (int64_t r = first; r < last; r++) {
            const float *x = n->x + r * width, *d_y = n->d_y + r * width;
            const float mean = n->stats[2 * r], factor = n->stats[2 * r + 1];
            float *to = d_x + r * width;
            double sum = 0, products = 0;
            for (int64_t from = 0; from < width; from += RUN * WIDTH) {
                int64_t end = from + RUN * WIDTH < width ? from + RUN * WIDTH : width;
                vec part = ZERO, part_products = ZERO;
                for (int64_t c = from; c < end; c += WIDTH) {
                    vec incoming = LOAD(d_y + c), normal = (LOAD(x + c) - mean) * factor;
                    vec g = incoming * LOAD(n->scale + c);
                    part += g;
                    part_products += g * normal;
                    STORE(d_scale + c, LOAD(d_scale + c) + incoming * normal);
                    STORE(d_shift + c, LOAD(d_shift + c) + incoming);
                }
                JOIN(sum, part);
                JOIN(products, part_products);
            }
            const float a = (float)(sum / (double)width), b = (float)(products / (double)width);
            for (int64_t c = 0; c < width; c += WIDTH) {
                vec normal = (LOAD(x + c) - mean) * factor, g = LOAD(d_y + c) * LOAD(n->scale + c);
                vec result = (g - a - normal * b) * factor;
                STORE(to + c, n->add ? LOAD(to + c) + result : result);
            }
        }
        for (int64_t c = 0; c < width; c++) {
            total_scale[c] += d_scale[c];
            total_shift[c] += d_shift[c];
        }
    }
    for (int64_t c = 0; c < width; c++) {
        d_scale[c] = (float)total_scale[c];
        d_shift[c] = (float)total_shift[c];
    }
}
