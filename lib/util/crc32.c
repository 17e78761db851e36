/* CRC-32, sixteen bytes at a time by one table for each place; see crc32.h. Assumes a little-endian
 * machine. */
#include "util/crc32.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0xedb88320u
#define AT_ONCE 16

/* tables[k][b]: what byte b leaves behind when k bytes of zero follow it. */
static uint32_t tables[AT_ONCE][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t rest = byte;
        for (int bit = 0; bit < 8; bit++)
            rest = rest >> 1 ^ (rest & 1 ? POLYNOMIAL : 0);
        tables[0][byte] = rest;
    }
    for (int place = 1; place < AT_ONCE; place++)
        for (int byte = 0; byte < 256; byte++) {
            const uint32_t before = tables[place - 1][byte];
            tables[place][byte] = before >> 8 ^ tables[0][before & 0xff];
        }
}

/* What four bytes leave behind, the last of which has `behind` bytes after it. */
static uint32_t four(uint32_t bytes, int behind)
{
    return tables[behind + 3][bytes & 0xff] ^ tables[behind + 2][bytes >> 8 & 0xff] ^
           tables[behind + 1][bytes >> 16 & 0xff] ^ tables[behind][bytes >> 24];
}

uint32_t mo_crc32(uint32_t sum, const void *bytes, uint64_t size)
{
    const uint8_t *at = bytes;
    uint32_t words[AT_ONCE / 4];
    pthread_once(&once, fill_tables);
    sum = ~sum;
    for (; size >= AT_ONCE; at += AT_ONCE, size -= AT_ONCE) {
        memcpy(words, at, sizeof words);
        sum = four(words[0] ^ sum, 12) ^ four(words[1], 8) ^ four(words[2], 4) ^ four(words[3], 0);
    }
    for (; size > 0; at++, size--)
        sum = sum >> 8 ^ tables[0][(sum ^ *at) & 0xff];
    return ~sum;
}
