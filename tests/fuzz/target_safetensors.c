/* safetensors bytes: the reader alone, and what is in them by name and as JSON. */
#include "coherent.h"
#include "fuzz.h"

#include "persist/checkpoint.h"
#include "persist/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mo_tensor_file_t file = {0};
    uint8_t *bytes = fuzz_copy(data, size);
    int64_t number;
    mo_source_t *source = NULL;
    OK(mo_source_lend(bytes, size, "fuzz", &source));
    const moco_status_t status = mo_safetensors_parse(&file, source);
    EXPECT(status == MOCO_OK || status == MOCO_ERR_FORMAT || status == MOCO_ERR_UNSUPPORTED);
    if (fuzz_taken(status)) {
        const char *wrong = incoherent(&file, size);
        if (wrong != NULL)
            fprintf(stderr, "%s\n", wrong);
        EXPECT(wrong == NULL);
        fuzz_taken(mo_format_check(&file, "fuzz"));
        fuzz_taken(mo_meta_get_int(&file, "step", 0, 1 << 20, &number));
    }
    mo_tensor_file_close(&file);
    mo_source_close(source);
    free(bytes);
    return 0;
}
