/* safetensors bytes: the reader alone, what is in them by name and as JSON, and the way by which
 * every file of tensors is opened. */
#include "coherent.h"
#include "fuzz.h"

#include "persist/checkpoint.h"
#include "persist/safetensors.h"

static void expect_coherent(const mo_tensor_file_t *file, size_t size)
{
    const char *wrong = incoherent(file, size);
    if (wrong != NULL)
        fprintf(stderr, "%s\n", wrong);
    EXPECT(wrong == NULL);
}

/* The reader alone. */
static moco_status_t parse(const uint8_t *bytes, size_t size)
{
    mo_tensor_file_t file = {0};
    mo_source_t *source = NULL;
    int64_t number;
    OK(mo_source_lend(bytes, size, "fuzz", &source));
    const moco_status_t status = mo_safetensors_parse(&file, source);
    EXPECT(status == MOCO_OK || status == MOCO_ERR_FORMAT || status == MOCO_ERR_UNSUPPORTED);
    if (fuzz_taken(status)) {
        expect_coherent(&file, size);
        fuzz_taken(mo_format_check(&file, "fuzz"));
        fuzz_taken(mo_meta_get_int(&file, "step", 0, 1 << 20, &number));
    }
    mo_tensor_file_close(&file);
    mo_source_close(source);
    return status;
}

/* As a file whose kind is found by its bytes, with its hash, without the wrappers in its names. */
static void open_any(const uint8_t *bytes, size_t size, moco_status_t alone)
{
    mo_tensor_file_t file = {0};
    const moco_status_t status = size % 2 == 0 ? mo_tensor_file_open_memory(&file, bytes, size, "fuzz")
                                               : mo_tensor_file_open(&file, fuzz_file("x.safetensors", bytes, size));
    if (fuzz_taken(status)) {
        EXPECT(file.container != MO_SAFETENSORS || alone == MOCO_OK);
        expect_coherent(&file, size);
    }
    mo_tensor_file_close(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes = fuzz_copy(data, size);
    open_any(bytes, size, parse(bytes, size));
    free(bytes);
    return 0;
}
