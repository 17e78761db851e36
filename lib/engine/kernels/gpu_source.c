/* The kernels of kernel.h in OpenCL C 1.2, compiled by a GPU's driver. Each names the loop on the
 * CPU whose formula it has. Nothing is contracted. Doubles are not asked for, since many GPUs have
 * none: long sums carry what rounding took away in a second float.
 *
 * `parts` has three numbers a part: where it begins in the parameter block, how many numbers it
 * has, and how many of these are trained: all or none. */
#include "engine/kernels/gpu_source.h"

#define TEXT(number) #number
#define TEXT_OF(name) TEXT(name)

/* clang-format off */
const char *const mo_gpu_kernel_names[MO_KERNELS] = {
    "add", "squares", "totals", "sgd", "lars", "adamw", "follow", "images", "planes", "mixed", "take_rows", "put_rows",
    "row_numbers", "put_places", "statistics", "mean_terms", "denominators", "weights", "distances", "pull",
    "nearest",
};

const char *const mo_gpu_kernel_source =
"#pragma OPENCL FP_CONTRACT OFF\n"
"#define ITEMS " TEXT_OF(MO_KERNEL_ITEMS) "\n"
"#define EACH(i) const long i = get_global_id(0); if (i >= count) return;\n"
"#define PART const long item = get_global_id(0); if (item >= count) return; \\\n"
"    const long number = item / ITEMS; global const long *part = parts + 3 * number;\n"
"#define OVER(i, many) for (long i = part[0] + item % ITEMS; i < part[0] + (many); i += ITEMS)\n"

/* train/gradients.c: the sum of two subtrees. */
"kernel void add(long count, global float *a, global const float *b)\n"
"{ EACH(i) a[i] = a[i] + b[i]; }\n"

/* optim/optim.c, mo_square_sum_of: partial[item] is a sum and what its rounding left out. Blocks a
 * and b begin at numbers `from_a` and `from_b` of the parameters. */
"float2 more(float2 sum, float value)\n"
"{\n"
"    const float next = sum.x + value, added = next - sum.x;\n"
"    return (float2)(next, sum.y + ((sum.x - (next - added)) + (value - added)));\n"
"}\n"
"kernel void squares(long count, global const long *parts, global const float *a, long from_a,\n"
"                    global const float *b, long from_b, float factor, long both, global float2 *partial)\n"
"{\n"
"    PART\n"
"    float2 sum = (float2)(0, 0);\n"
"    OVER(i, part[2]) {\n"
"        float value = a[i - from_a];\n"
"        if (both)\n"
"            value = value + factor * b[i - from_b];\n"
"        const float square = value * value;\n"
"        sum = more(sum, square);\n"
"        sum.y += fma(value, value, -square);\n"
"    }\n"
"    partial[item] = sum;\n"
"}\n"
"kernel void totals(long count, global const float2 *partial, global float2 *sums)\n"
"{\n"
"    EACH(i)\n"
"    float2 sum = (float2)(0, 0);\n"
"    for (long k = 0; k < ITEMS; k++) {\n"
"        sum = more(sum, partial[i * ITEMS + k].x);\n"
"        sum.y += partial[i * ITEMS + k].y;\n"
"    }\n"
"    sums[i] = sum;\n"
"}\n"

/* optim/sgd.c. factors: two numbers a part, the second one its weight decay. The gradient's block
 * begins at number `from`. */
"kernel void sgd(long count, global const long *parts, global const float *factors, global float *params,\n"
"                global float *velocity, global const float *gradient, long from, float lr, float momentum,\n"
"                long first)\n"
"{\n"
"    PART\n"
"    const float decay = factors[2 * number + 1];\n"
"    OVER(i, part[2]) {\n"
"        const float d = gradient[i - from] + decay * params[i];\n"
"        const float v = first ? d : momentum * velocity[i] + d;\n"
"        velocity[i] = v;\n"
"        params[i] = params[i] - lr * v;\n"
"    }\n"
"}\n"

/* optim/lars.c. factors: trust ratio and weight decay. */
"kernel void lars(long count, global const long *parts, global const float *factors, global float *params,\n"
"                 global float *velocity, global const float *gradient, long from, float lr, float momentum,\n"
"                 long inside)\n"
"{\n"
"    PART\n"
"    const float ratio = factors[2 * number], decay = factors[2 * number + 1];\n"
"    OVER(i, part[2]) {\n"
"        const float d = (gradient[i - from] + decay * params[i]) * ratio;\n"
"        const float v = momentum * velocity[i] + (inside ? lr * d : d);\n"
"        velocity[i] = v;\n"
"        params[i] = params[i] - (inside ? v : lr * v);\n"
"    }\n"
"}\n"

/* optim/adamw.c. factors: the second number is what a parameter is multiplied by. still: the rate
 * is 0. */
"kernel void adamw(long count, global const long *parts, global const float *factors, global float *params,\n"
"                  global float *mean, global float *square, global const float *gradient, long from, float b1,\n"
"                  float rest1, float b2, float rest2, float root, float epsilon, long still)\n"
"{\n"
"    PART\n"
"    const float kept = factors[2 * number + 1];\n"
"    OVER(i, part[2]) {\n"
"        const float g = gradient[i - from];\n"
"        const float m = mean[i] * b1 + g * rest1;\n"
"        const float s = square[i] * b2 + g * g * rest2;\n"
"        mean[i] = m;\n"
"        square[i] = s;\n"
"        if (!still)\n"
"            params[i] = params[i] * kept - m / (sqrt(s) * root + epsilon);\n"
"    }\n"
"}\n"

/* contrast/momentum.c, for the parts that lie in front of number `end`. */
"kernel void follow(long count, global const long *parts, global float *key, global const float *query, long end,\n"
"                   float keep, float take)\n"
"{\n"
"    PART\n"
"    if (part[0] >= end) return;\n"
"    OVER(i, part[1]) {\n"
"        const float kept = key[i] * keep, taken = query[i] * take;\n"
"        key[i] = kept + taken;\n"
"    }\n"
"}\n"

/* data/input.c: image numbers[row] of `width` bytes through a table [3][256],
 * or of floats by channels. */
"kernel void images(long count, global float *to, global const uchar *from, global const int *numbers, long width,\n"
"                   global const float *table)\n"
"{ EACH(i) to[i] = table[i % width % 3 * 256 + from[numbers[i / width] * width + i % width]]; }\n"
"kernel void planes(long count, global float *to, global const float *from, global const int *numbers, long width)\n"
"{\n"
"    EACH(i)\n"
"    const long at = i % width;\n"
"    to[i] = from[numbers[i / width] * width + at % 3 * (width / 3) + at / 3];\n"
"}\n"

/* train/tune_step.c, mix: image first + n of a batch with the one that far from its end. */
"kernel void mixed(long count, global float *to, global const uchar *from, long first, long batch, long width,\n"
"                  global const float *table, float share, float rest)\n"
"{\n"
"    EACH(i)\n"
"    const long a = first + i / width, at = i % width, colour = at % 3 * 256;\n"
"    const float value = table[colour + from[a * width + at]];\n"
"    to[i] = share == 1 ? value : value * share + table[colour + from[(batch - 1 - a) * width + at]] * rest;\n"
"}\n"

/* train/stage_io.c, move_rows: row i is row numbers[i] - less of the other block. */
"kernel void take_rows(long count, global float *to, global const float *from, global const int *numbers, long less,\n"
"                      long width)\n"
"{ EACH(i) to[i] = from[(numbers[i / width] - less) * width + i % width]; }\n"
"kernel void put_rows(long count, global const float *from, global float *to, global const int *numbers, long less,\n"
"                     long width)\n"
"{ EACH(i) to[(numbers[i / width] - less) * width + i % width] = from[i]; }\n"
"kernel void row_numbers(long count, global float *to, global const int *numbers, long less)\n"
"{ EACH(i) to[i] = (float)(numbers[i] - less); }\n"

/* contrast/ntxent.c. Rows of `width` numbers to their places among all. */
"kernel void put_places(long count, global const float *from, global float *to, global const float *place, long width)\n"
"{ EACH(i) to[(long)place[i / width] * width + i % width] = from[i]; }\n"
/* ops/batchnorm.c, mo_norm_sync_statistics: each shard's means, then its variances, over n numbers
 * each; one shard after the other where the loop takes pairs. */
"kernel void statistics(long count, global const float *parts, long shards, float n, global float *to_mean,\n"
"                       global float *to_variance)\n"
"{\n"
"    EACH(i)\n"
"    float mean = parts[i], squares = parts[shards * count + i] * n;\n"
"    for (long k = 1; k < shards; k++) {\n"
"        const float apart = parts[k * count + i] - mean, share = 1.0f / (float)(k + 1);\n"
"        mean = mean + apart * share;\n"
"        squares = squares + parts[(shards + k) * count + i] * n + apart * apart * (n * (float)k * share);\n"
"    }\n"
"    to_mean[i] = mean;\n"
"    to_variance[i] = squares / (n * (float)shards);\n"
"}\n"
/* mo_norm_sync_gradients: each shard's gradients of scale, then of shift; m numbers in all. */
"kernel void mean_terms(long count, global const float *parts, long shards, float m, float epsilon,\n"
"                       global const float *variance, global const float *scale, global float *k, global float *c)\n"
"{\n"
"    EACH(i)\n"
"    float2 scales = (float2)(0, 0), shifts = (float2)(0, 0);\n"
"    for (long s = 0; s < shards; s++) {\n"
"        scales = more(scales, parts[s * count + i]);\n"
"        shifts = more(shifts, parts[(shards + s) * count + i]);\n"
"    }\n"
"    const float square = variance[i] + epsilon;\n"
"    k[i] = -scale[i] * (scales.x + scales.y) / (m * square);\n"
"    c[i] = -scale[i] * (shifts.x + shifts.y) / (m * sqrt(square));\n"
"}\n"

/* contrast/ntxent.c: of each row of [rows, all]. */
"long partner(long row, long all) { return row < all / 2 ? row + all / 2 : row - all / 2; }\n"
"kernel void denominators(long count, global const float *products, global const float *place,\n"
"                         global float *results, global float *own, long all, long width, long at_value,\n"
"                         long at_rank, float scale)\n"
"{\n"
"    EACH(i)\n"
"    global const float *s = products + i * all;\n"
"    const long self = (long)place[i], positive = partner(self, all);\n"
"    float top = s[positive];\n"
"    long rank = 0;\n"
"    for (long a = 0; a < all; a++) {\n"
"        top = a != self && s[a] > top ? s[a] : top;\n"
"        rank += a != self && s[a] > s[positive];\n"
"    }\n"
"    float2 sum = (float2)(0, 0);\n"
"    for (long a = 0; a < all; a++)\n"
"        if (a != self)\n"
"            sum = more(sum, exp(s[a] - top));\n"
"    const float logarithm = log(sum.x + sum.y);\n"
"    results[i * width + at_value] = scale * (top - s[positive] + logarithm);\n"
"    results[i * width + at_rank] = (float)rank;\n"
"    own[i] = top + logarithm;\n"
"}\n"
"kernel void weights(long count, global float *products, global const float *place, global const float *own,\n"
"                    global const float *logarithms, long all, float factor)\n"
"{\n"
"    EACH(i)\n"
"    const long n = i / all, a = i % all, self = (long)place[n];\n"
"    const float s = products[i], both = (exp(s - own[n]) + exp(s - logarithms[a])) * factor;\n"
"    products[i] = a == self ? 0.0f : a == partner(self, all) ? both - 2.0f * factor : both;\n"
"}\n"

/* contrast/regression.c: of each row of `width` numbers; of each number. */
"kernel void distances(long count, global const float *a, global const float *b, global float *results, long width,\n"
"                      long row, long at_value, long at_rank, float scale)\n"
"{\n"
"    EACH(i)\n"
"    float2 sum = (float2)(0, 0);\n"
"    for (long k = 0; k < width; k++) {\n"
"        const float apart = a[i * width + k] - b[i * width + k];\n"
"        sum = more(sum, apart * apart);\n"
"    }\n"
"    results[i * row + at_value] = scale * (sum.x + sum.y);\n"
"    results[i * row + at_rank] = 0.0f;\n"
"}\n"
"kernel void pull(long count, global const float *a, global const float *b, global float *to, float factor)\n"
"{ EACH(i) to[i] = factor * (a[i] - b[i]); }\n"

/* eval/index.c, offer() and sink(). Work-item i keeps list i % lists of query i / lists: the best
 * `held` of every lists-th of `many` vectors, which are numbered from `first` on; the first tile
 * begins the lists. An entry is a mo_neighbour_t. */
"typedef struct { long id; float similarity; } neighbour;\n"
"int worse(neighbour a, neighbour b)\n"
"{ return a.similarity != b.similarity ? a.similarity < b.similarity : a.id > b.id; }\n"
"kernel void nearest(long count, global const float *products, long width, long many, long first, long lists,\n"
"                    long held, global neighbour *entries, global long *sizes)\n"
"{\n"
"    EACH(i)\n"
"    global neighbour *heap = entries + i * held;\n"
"    global const float *row = products + i / lists * width;\n"
"    long size = first == 0 ? 0 : sizes[i];\n"
"    for (long j = i % lists; j < many; j += lists) {\n"
"        const neighbour entry = {first + j, row[j]};\n"
"        long at = 0;\n"
"        if (size < held) {\n"
"            for (at = size++; at > 0 && worse(entry, heap[(at - 1) / 2]); at = (at - 1) / 2)\n"
"                heap[at] = heap[(at - 1) / 2];\n"
"        } else if (worse(heap[0], entry)) {\n"
"            for (long child = 1; child < held; child = 2 * at + 1) {\n"
"                if (child + 1 < held && worse(heap[child + 1], heap[child]))\n"
"                    child++;\n"
"                if (!worse(heap[child], entry))\n"
"                    break;\n"
"                heap[at] = heap[child];\n"
"                at = child;\n"
"            }\n"
"        } else\n"
"            continue;\n"
"        heap[at] = entry;\n"
"    }\n"
"    sizes[i] = size;\n"
"}\n";
/* clang-format on */
