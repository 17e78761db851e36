/* A tar archive. Its checksums are made right where the first byte asks for it, so that damage gets
 * past them. */
#include "target_dataset.h"

static void make_right(uint8_t *header)
{
    unsigned sum = 8 * ' ';
    for (int i = 0; i < 512; i++)
        sum += i >= 148 && i < 156 ? 0 : header[i];
    snprintf((char *)header + 148, 8, "%06o", sum & 0777777);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    const uint32_t choice = fuzz_byte(&input);
    uint8_t *bytes = fuzz_copy(input.bytes, input.size);
    for (size_t at = 0; choice & 1 && at + 512 <= input.size; at += 512)
        if (memcmp(bytes + at + 257, "ustar", 5) == 0)
            make_right(bytes + at);
    use_dataset(fuzz_file("x.tar", bytes, input.size), choice & 2 ? 3 : 0);
    free(bytes);
    return 0;
}
