/* Numbers and checksums of the headers of tar archives. Called by tar.c with hostile bytes. */
#include "data/tar_header.h"

int mo_tar_number(const uint8_t *field, size_t length, uint64_t *out)
{
    uint64_t value = 0;
    size_t i = 0;
    if (field[0] & 0x80) {
        if (field[0] != 0x80)
            return 0; /* negative, or beyond 64 bits */
        for (i = 1; i < length; i++) {
            if (value >> 55 != 0)
                return 0;
            value = value << 8 | field[i];
        }
    } else {
        while (i < length && field[i] == ' ')
            i++;
        for (; i < length && field[i] >= '0' && field[i] <= '7'; i++)
            value = value << 3 | (uint64_t)(field[i] - '0'); /* twelve digits fit */
        if (i < length && field[i] != ' ' && field[i] != '\0')
            return 0;
    }
    *out = value;
    return 1;
}

int mo_tar_sum_is_right(const uint8_t *header)
{
    uint64_t wanted;
    int64_t plain = 0, with_sign = 0;
    if (!mo_tar_number(header + 148, 8, &wanted))
        return 0;
    for (size_t i = 0; i < MO_TAR_BLOCK; i++) {
        const uint8_t byte = i >= 148 && i < 156 ? ' ' : header[i];
        plain += byte;
        with_sign += (int8_t)byte;
    }
    return plain == (int64_t)wanted || with_sign == (int64_t)wanted;
}

int mo_tar_is_zero(const uint8_t *header)
{
    for (size_t i = 0; i < MO_TAR_BLOCK; i++)
        if (header[i] != 0)
            return 0;
    return 1;
}
