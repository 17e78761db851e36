/* Sizes in messages; see size.h. Whole numbers throughout: a host's locale may write a comma. */
#include "util/size.h"

#include <inttypes.h>
#include <stdio.h>

mo_size_text_t mo_size(uint64_t bytes)
{
    static const char units[] = "KMGTPE";
    mo_size_text_t size;
    int unit = -1;
    uint64_t whole = bytes, rest = 0; /* in 1024ths */
    while (whole >= 1024) {
        rest = whole % 1024;
        whole /= 1024;
        unit++;
    }
    const unsigned hundredths = (unsigned)(rest * 100 / 1024);
    char fraction[8] = "";
    if (whole < 10 && hundredths % 10 != 0)
        snprintf(fraction, sizeof fraction, ".%02u", hundredths);
    else if (whole < 100 && hundredths >= 10)
        snprintf(fraction, sizeof fraction, ".%u", hundredths / 10);
    if (unit < 0)
        snprintf(size.text, sizeof size.text, "%" PRIu64 " bytes", bytes);
    else
        snprintf(size.text, sizeof size.text, "%" PRIu64 "%s %ciB (%" PRIu64 " bytes)", whole, fraction, units[unit],
                 bytes);
    return size;
}
