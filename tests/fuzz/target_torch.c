/* What torch.save writes. The first byte says what the input is: a whole file, or the pickle of one
 * that is sound around it, as an archive or as the older sequence. */
#include "coherent.h"
#include "fuzz.h"

#include "torch_fixtures.h"

static buffer_t file_of(uint32_t kind, const fuzz_input_t *input)
{
    static const float numbers[12];
    static const int64_t steps[1] = {7};
    static const fixture_storage_t storages[] = {{"0", numbers, 12, 48}, {"1", steps, 1, 8}};
    buffer_t pickle = {0};
    put(&pickle, input->bytes, input->size);
    if (kind % 4 == 3)
        return pickle;
    const fixture_member_t members[] = {{"x/data.pkl", pickle.bytes, pickle.size},
                                        {"x/data/0", numbers, 48},
                                        {"x/data/1", steps, 8}};
    const buffer_t file = kind % 4 == 2 ? make_legacy(&pickle, storages, 2) : make_zip(members, 3, (int)(kind % 4));
    free(pickle.bytes);
    return file;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    mo_tensor_file_t file = {0};
    const uint32_t kind = fuzz_byte(&input);
    buffer_t made = file_of(kind, &input);
    uint8_t *bytes = fuzz_copy(made.bytes, made.size);
    free(made.bytes);
    const moco_status_t status = kind & 4 ? mo_tensor_file_open(&file, fuzz_file("x.pth", bytes, made.size))
                                          : mo_tensor_file_open_memory(&file, bytes, made.size, "fuzz");
    EXPECT(status == MOCO_OK || status == MOCO_ERR_FORMAT || status == MOCO_ERR_UNSUPPORTED);
    if (fuzz_taken(status)) {
        const char *wrong = incoherent(&file, made.size);
        if (wrong != NULL)
            fprintf(stderr, "%s\n", wrong);
        EXPECT(wrong == NULL);
    }
    mo_tensor_file_close(&file);
    free(bytes);
    return 0;
}
