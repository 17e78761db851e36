/* Images as network input: [S,S,3] float32, normalised. */
#include <string.h>

#include "data/data.h"

/* v/255 in float32, then (x - mean) / std in float32, for every v. */
void mo_input_table(const double mean[3], const double std[3], float table[3][256])
{
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++)
            table[c][v] = ((float)v / 255.0f - (float)mean[c]) / (float)std[c];
}

void mo_input_bytes(const float table[3][256], const uint8_t *from, int64_t count, float *to)
{
    for (int64_t i = 0; i < count; i += 3) {
        to[i] = table[0][from[i]];
        to[i + 1] = table[1][from[i + 1]];
        to[i + 2] = table[2][from[i + 2]];
    }
}

void mo_input_floats(const float *from, int32_t layout, int64_t count, float *to)
{
    int64_t plane = count / 3;
    if (layout == MOCO_LAYOUT_NHWC) {
        memcpy(to, from, (size_t)count * sizeof(float));
        return;
    }
    for (int64_t i = 0; i < plane; i++)
        for (int c = 0; c < 3; c++)
            to[3 * i + c] = from[c * plane + i];
}
