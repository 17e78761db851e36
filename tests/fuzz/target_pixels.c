/* Images as a host hands them over: pixels of any form, files in memory, and numbers, to be
 * embedded or to be learnt from. The pixels' memory is exactly as large as the struct says, so that
 * one row or plane too many is seen. */
#include "fuzz.h"

static void fill(moco_image_t *image, fuzz_input_t *input)
{
    static const int64_t gaps[] = {0, 0, 0, 1, 7, -1, INT64_MAX, INT64_MIN};
    *image = (moco_image_t){.struct_size = sizeof *image};
    image->width = (int32_t)(fuzz_byte(input) % 70);
    image->height = (int32_t)(fuzz_byte(input) % 70);
    image->format = (int32_t)(fuzz_byte(input) % 6) - 1;
    const uint32_t odd = fuzz_byte(input);
    image->channels = odd & 1 ? (int32_t)(fuzz_byte(input) % 6) : 0;
    image->plane_count = odd & 2 ? (int32_t)(fuzz_byte(input) % 5) : 0;
    image->bit_depth = odd & 4 ? (int32_t)(fuzz_byte(input) % 17) : 0;
    if (odd & 8)
        image->width = (int32_t)(fuzz_word(input) << 16 | fuzz_word(input));
    if (odd & 16)
        image->height = (int32_t)(fuzz_word(input) << 16 | fuzz_word(input));
    if (odd & 32)
        image->struct_size = fuzz_word(input) % 200;
    const int64_t gap = gaps[fuzz_byte(input) % 8];
    static const int channels[] = {3, 3, 4, 1};
    const int64_t row = (int64_t)image->width * channels[image->format & 3];
    image->strides[0] = gap == 0 ? 0 : gap == INT64_MAX || gap == INT64_MIN ? gap : row + gap;
}

/* Memory of the bytes that the image spans, or NULL where that is more than a test can have. */
static uint8_t *memory_of(const moco_image_t *image, fuzz_input_t *input)
{
    static const int channels[] = {3, 3, 4, 1};
    const int64_t row = (int64_t)image->width * channels[image->format & 3];
    const int64_t stride = image->strides[0] != 0 ? image->strides[0] : row;
    if (image->width < 1 || image->height < 1 || row > 4096 || image->height > 4096 || stride < row || stride > 8192)
        return NULL;
    const size_t size = (size_t)(stride * (image->height - 1) + row);
    uint8_t *memory = malloc(size);
    EXPECT(memory != NULL);
    for (size_t i = 0; i < size; i++)
        memory[i] = (uint8_t)(input->size > 0 ? input->bytes[i % input->size] : i);
    return memory;
}

static moco_trainer_t *trainer(void)
{
    static moco_trainer_t *made;
    if (made == NULL)
        made = fuzz_trainer();
    return made;
}

static void use_pixels(fuzz_input_t input, int learn)
{
    moco_image_t images[2];
    uint8_t *memories[2];
    float rows[2 * 512];
    EXPECT(moco_model_dimension(fuzz_model(), MOCO_TAP_BACKBONE) <= 512);
    for (int i = 0; i < 2; i++) {
        fill(&images[i], &input);
        memories[i] = memory_of(&images[i], &input);
        images[i].planes[0] = memories[i];
    }
    /* A struct that claims more than the sizes above has no memory at all. */
    const int whole = memories[0] != NULL && memories[1] != NULL;
    const moco_status_t status = learn ? moco_trainer_push_pixels(trainer(), 2, images)
                                       : moco_model_embed_pixels(fuzz_model(), 2, images, NULL, rows);
    if (fuzz_taken(status))
        EXPECT(whole);
    for (int i = 0; i < 2; i++)
        free(memories[i]);
}

static void use_files(fuzz_input_t input, int learn)
{
    const size_t cut = input.size > 0 ? fuzz_word(&input) % (input.size + 1) : 0;
    const uint64_t sizes[2] = {cut > 0 ? cut : input.size, input.size};
    float rows[2 * 512];
    uint8_t *files[2] = {fuzz_copy(input.bytes, sizes[0]), fuzz_copy(input.bytes, sizes[1])};
    const uint8_t *const data[2] = {files[0], files[1]};
    fuzz_taken(learn ? moco_trainer_push_encoded(trainer(), 2, data, sizes)
                     : moco_model_embed_encoded(fuzz_model(), 2, data, sizes, NULL, rows));
    free(files[0]);
    free(files[1]);
}

/* Any bits as numbers, in as many images as fit. */
static void use_numbers(fuzz_input_t input, int learn)
{
    enum { IMAGE = 3 * 16 * 16, MOST = 4 };
    const int64_t count = fuzz_byte(&input) % (MOST + 2);
    moco_embed_options_t options;
    float rows[MOST * 512], *numbers = malloc(MOST * IMAGE * sizeof *numbers);
    EXPECT(numbers != NULL);
    for (int i = 0; i < MOST * IMAGE; i++) {
        const uint32_t bits = input.size < 4 ? (uint32_t)i
                                             : input.bytes[(size_t)i * 4 % (input.size - 3)] * 0x01010101u;
        memcpy(&numbers[i], &bits, 4);
    }
    OK(moco_embed_options_init(&options, sizeof options));
    options.layout = (int32_t)(fuzz_byte(&input) % 4) - 1;
    options.tap = (int32_t)(fuzz_byte(&input) % 4) - 1;
    /* One image more than there are would be read: the trainer refuses it, as its batch is MOST. */
    if (learn)
        fuzz_taken(moco_trainer_push_views(trainer(), count, numbers, numbers, options.layout));
    else if (count <= MOST)
        fuzz_taken(moco_model_embed_tensor(fuzz_model(), count, numbers, &options, rows));
    free(numbers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    const uint32_t kind = fuzz_byte(&input);
    if (kind & 4)
        use_numbers(input, kind & 1);
    else if (kind & 2)
        use_files(input, kind & 1);
    else
        use_pixels(input, kind & 1);
    if (kind & 1)
        moco_trainer_discard(trainer());
    return 0;
}
