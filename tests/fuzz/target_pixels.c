/* Images as a host hands them over: pixels of any form, files in memory, and numbers, to be
 * embedded or to be learnt from. The pixels' memory is exactly as large as the struct says, so that
 * one row or plane too many is seen. */
#include "fuzz.h"

/* The first byte of an input. */
enum { LEARN = 1, FILES = 2, NUMBERS = 4, STATUSES = 8, FAILED = 16, STEP = 32, MISSING = 64 };
enum { ROOM = 200 }; /* bytes of an image's struct at the most */

/* ---- how it is embedded ---- */

static int64_t told;

static void failed(void *user, int64_t index, int32_t status, const char *reason)
{
    EXPECT(user == &told && index >= 0 && index < 2 && status != MOCO_OK && reason[0] != '\0');
    told++;
}

/* How many images fail is told by each way that was asked for, and the rows of those are zero. */
static moco_status_t embed(uint32_t kind, moco_status_t (*call)(const moco_embed_options_t *, float *, const void *),
                           const void *what)
{
    static float rows[2 * 512];
    moco_status_t statuses[2] = {MOCO_OK, MOCO_OK};
    moco_embed_options_t options;
    int64_t bad = 0;
    OK(moco_embed_options_init(&options, sizeof options));
    options.statuses = kind & STATUSES ? statuses : NULL;
    options.failed = kind & FAILED ? failed : NULL;
    options.user = &told;
    told = 0;
    memset(rows, 0x7f, sizeof rows);
    const int32_t width = moco_model_dimension(fuzz_model(), MOCO_TAP_BACKBONE);
    EXPECT(width <= 512);
    const moco_status_t status = call(&options, rows, what);
    for (int i = 0; i < 2 && status == MOCO_OK && kind & STATUSES; i++) {
        bad += statuses[i] != MOCO_OK;
        for (int32_t d = 0; d < width && statuses[i] != MOCO_OK; d++)
            EXPECT(rows[i * width + d] == 0);
    }
    if (status == MOCO_OK && kind & STATUSES && kind & FAILED)
        EXPECT(bad == told);
    return status;
}

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
        image->struct_size = fuzz_word(input) % ROOM;
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

static moco_status_t embed_pixels(const moco_embed_options_t *options, float *rows, const void *images)
{
    return moco_model_embed_pixels(fuzz_model(), 2, images, options, rows);
}

static void use_pixels(fuzz_input_t input, uint32_t kind)
{
    moco_image_t *images = calloc(2, ROOM); /* elements lie as far apart as the first one says that it is long */
    uint8_t *memories[2];
    EXPECT(images != NULL);
    for (int i = 0; i < 2; i++) {
        fill(&images[i], &input);
        memories[i] = memory_of(&images[i], &input);
        images[i].planes[0] = memories[i];
    }
    /* A struct that claims more than the sizes above has no memory at all. */
    const int whole = memories[0] != NULL && memories[1] != NULL;
    const moco_status_t status = kind & LEARN ? moco_trainer_push_pixels(trainer(), 2, images)
                                              : embed(kind, embed_pixels, images);
    if (fuzz_taken(status) && (kind & (STATUSES | FAILED)) == 0)
        EXPECT(whole);
    for (int i = 0; i < 2; i++)
        free(memories[i]);
    free(images);
}

typedef struct files {
    const uint8_t *data[2];
    uint64_t sizes[2];
} files_t;

static moco_status_t embed_files(const moco_embed_options_t *options, float *rows, const void *what)
{
    const files_t *files = what;
    return moco_model_embed_encoded(fuzz_model(), 2, files->data, files->sizes, options, rows);
}

static void use_files(fuzz_input_t input, uint32_t kind)
{
    const size_t cut = input.size > 0 ? fuzz_word(&input) % (input.size + 1) : 0;
    const uint64_t sizes[2] = {cut > 0 ? cut : input.size, input.size};
    uint8_t *copies[2] = {fuzz_copy(input.bytes, sizes[0]), fuzz_copy(input.bytes, sizes[1])};
    const files_t files = {{copies[0], kind & MISSING ? NULL : copies[1]}, {sizes[0], sizes[1]}};
    fuzz_taken(kind & LEARN ? moco_trainer_push_encoded(trainer(), 2, files.data, files.sizes)
                            : embed(kind, embed_files, &files));
    free(copies[0]);
    free(copies[1]);
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
    if (kind & NUMBERS)
        use_numbers(input, kind & LEARN);
    else if (kind & FILES)
        use_files(input, kind);
    else
        use_pixels(input, kind);
    if (kind & LEARN && kind & STEP)
        fuzz_taken(moco_trainer_step(trainer(), NULL, NULL));
    if (kind & LEARN)
        moco_trainer_discard(trainer());
    return 0;
}
