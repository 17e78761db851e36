/* A list file, in a folder with images, a folder, a link and a file that is no image. */
#include "target_dataset.h"

static void prepare(void)
{
    static int done;
    char path[256];
    if (done++)
        return;
    snprintf(path, sizeof path, "%s/a", fuzz_folder());
    mkdir(path, 0700);
    fuzz_file("1.jpg", "not an image", 12);
    fuzz_file("2.JPEG", "\xff\xd8\xff\xe0", 4);
    fuzz_file("a/3.jpg", "", 0);
    fuzz_file("a/b c.jpg", "\xff\xd8\xff\xd9", 4);
    snprintf(path, sizeof path, "%s/link.jpg", fuzz_folder());
    EXPECT(symlink("1.jpg", path) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    const uint32_t choice = fuzz_byte(&input);
    prepare();
    use_dataset(fuzz_file("list.txt", input.bytes, input.size), choice & 2 ? 3 : 0);
    return 0;
}
