/* A list file, in a folder with images, folders, links and a file that is no image; or that
 * folder with one more file, whose name is the input's. */
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
    snprintf(path, sizeof path, "%s/a/around", fuzz_folder());
    EXPECT(symlink("..", path) == 0);
    snprintf(path, sizeof path, "%s/nowhere.jpg", fuzz_folder());
    EXPECT(symlink("not there", path) == 0);
    snprintf(path, sizeof path, "%s/lost+found", fuzz_folder());
    mkdir(path, 0);
    snprintf(path, sizeof path, "%s/.hidden", fuzz_folder());
    mkdir(path, 0700);
    fuzz_file(".hidden/4.jpg", "", 0);
}

static void use_folder(const fuzz_input_t *input, int64_t limit)
{
    char name[200] = "";
    for (size_t i = 0; i < input->size && i < sizeof name - 1; i++)
        name[i] = input->bytes[i] == '/' && i % 2 ? '_' : (char)input->bytes[i];
    const int made = strchr(name, '/') == NULL && name[0] != '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
    const int fd = made ? open(fuzz_path(name), O_CREAT | O_EXCL | O_WRONLY, 0600) : -1;
    use_dataset(fuzz_folder(), limit);
    if (fd >= 0) {
        close(fd);
        unlink(fuzz_path(name));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    const uint32_t choice = fuzz_byte(&input);
    prepare();
    if (choice & 4)
        use_folder(&input, choice & 2 ? 3 : 0);
    else
        use_dataset(fuzz_file("list.txt", input.bytes, input.size), choice & 2 ? 3 : 0);
    return 0;
}
