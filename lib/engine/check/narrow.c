/* bf16 is the upper half of a float32 number; f16 has 5 bits of exponent and 10 behind the
 * point. */
#include "engine/check/narrow.h"

#include <math.h>
#include <string.h>

#define UNWRITTEN 0x7fc0deadu
#define UNWRITTEN_BF16 0x7fadu
#define UNWRITTEN_F16 0x7eadu

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float mo_unwritten(void)
{
    return of_bits(UNWRITTEN);
}

int mo_is_unwritten(const float *number)
{
    uint32_t bits;
    memcpy(&bits, number, sizeof bits);
    return bits == UNWRITTEN;
}

double mo_type_slack(dnnl_data_type_t type)
{
    return type == dnnl_bf16 ? 0x1p-8 : type == dnnl_f16 ? 0x1p-11 : 0;
}

static uint16_t to_f16(float value)
{
    const uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000;
    if (value == 0)
        return (uint16_t)sign;
    return (uint16_t)(sign | ((bits >> 23 & 0xff) - 127 + 15) << 10 | (bits >> 13 & 0x3ff));
}

static float from_f16(uint16_t number)
{
    const uint32_t sign = (uint32_t)(number & 0x8000) << 16, exponent = number >> 10 & 0x1f, rest = number & 0x3ff;
    if (exponent == 0)
        return copysignf((float)rest * 0x1p-24f, of_bits(sign));
    return of_bits(sign | (exponent == 0x1f ? 0xff : exponent - 15 + 127) << 23 | rest << 13);
}

void mo_narrow(dnnl_data_type_t type, const float *from, int64_t count, uint16_t *to)
{
    for (int64_t i = 0; i < count; i++)
        if (type == dnnl_bf16)
            to[i] = (uint16_t)(mo_is_unwritten(&from[i]) ? UNWRITTEN_BF16 : bits_of(from[i]) >> 16);
        else
            to[i] = mo_is_unwritten(&from[i]) ? (uint16_t)UNWRITTEN_F16 : to_f16(from[i]);
}

void mo_widen(dnnl_data_type_t type, const uint16_t *from, int64_t count, float *to)
{
    for (int64_t i = 0; i < count; i++)
        if (from[i] == (type == dnnl_bf16 ? UNWRITTEN_BF16 : UNWRITTEN_F16))
            to[i] = mo_unwritten();
        else
            to[i] = type == dnnl_bf16 ? of_bits((uint32_t)from[i] << 16) : from_f16(from[i]);
}
