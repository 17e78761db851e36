/* What all containers share: opening, names, finding and shapes. Called by checkpoints, models and
 * conversion. */
#include "persist/tensor_file.h"

#include <stdlib.h>
#include <string.h>

#include "persist/safetensors.h"
#include "persist/safetensors_sum.h"
#include "persist/torch_file.h"
#include "util/alloc.h"
#include "util/size.h"
#include "util/status.h"

/* ---- names ---- */

/* Parts that wrappers of modules put between the others, anywhere in a name. */
static const char *const wrappers[] = {"_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."};
#define WRAPPERS (sizeof wrappers / sizeof wrappers[0])

static char *find_wrapper(const char *name, size_t number)
{
    char *at = (char *)name;
    while ((at = strstr(at, wrappers[number])) != NULL && at != name && at[-1] != '.')
        at++;
    return at;
}

static int any_wrapped(const mo_tensor_file_t *file)
{
    for (int64_t i = 0; i < file->count; i++)
        for (size_t k = 0; k < WRAPPERS; k++)
            if (find_wrapper(file->tensors[i].name, k) != NULL)
                return 1;
    return 0;
}

static void drop_wrappers(char *name)
{
    for (size_t k = 0; k < WRAPPERS; k++)
        for (char *at; (at = find_wrapper(name, k)) != NULL;)
            memmove(at, at + strlen(wrappers[k]), strlen(at + strlen(wrappers[k])) + 1);
}

static int by_name(const void *left, const void *right)
{
    return strcmp(((const mo_file_tensor_t *)left)->name, ((const mo_file_tensor_t *)right)->name);
}

/* A compiled module, or a shard of one, has the names of the module. Where both are saved all names
 * stay as they are. */
static moco_status_t unwrap(mo_tensor_file_t *file)
{
    moco_status_t status = MOCO_OK;
    mo_file_tensor_t *bare = NULL;
    int64_t made = 0;
    int twice = 0;
    if (!any_wrapped(file))
        return MOCO_OK;
    TRY(mo_calloc((size_t)file->count, sizeof *bare, &bare));
    for (; made < file->count; made++) {
        bare[made] = file->tensors[made];
        TRY(mo_strdup(file->tensors[made].name, &bare[made].name));
        drop_wrappers(bare[made].name);
    }
    qsort(bare, (size_t)file->count, sizeof *bare, by_name);
    for (int64_t i = 1; i < file->count && !twice; i++)
        twice = by_name(&bare[i - 1], &bare[i]) == 0;
    if (!twice) {
        mo_file_tensor_t *wrapped = file->tensors;
        file->tensors = bare;
        bare = wrapped;
    }
cleanup:
    for (int64_t i = 0; i < made; i++)
        mo_free(bare[i].name);
    mo_free(bare);
    return status;
}

static moco_status_t not_tensors(const mo_source_t *source)
{
    const char *kind = NULL;
    const moco_status_t status = mo_source_kind(source, &kind);
    if (status != MOCO_OK)
        return status;
    return mo_fail(MOCO_ERR_FORMAT, "%s: is neither safetensors nor a file of torch.save: it is %s",
                   mo_source_path(source), kind);
}

/* Takes `source` over, whatever comes of it. `whole`: compare the checksum of the numbers. */
static moco_status_t parse(mo_tensor_file_t *file, mo_source_t *source, int whole)
{
    moco_status_t status = MOCO_OK;
    uint8_t head[9] = {0};
    const uint64_t size = mo_source_size(source);
    TRY(mo_source_read(source, 0, size < sizeof head ? size : sizeof head, head));
    /* In safetensors a length of 8 bytes stands before the '{'; no torch.save file has one in that
     * place. */
    if (head[8] == '{')
        status = mo_safetensors_parse(file, source);
    else if (size > 4 && memcmp(head, "PK\3\4", 4) == 0)
        status = mo_torch_zip_parse(file, source);
    else if (size > 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5)
        status = mo_torch_legacy_parse(file, source);
    else
        status = not_tensors(source);
    TRY(status);
    file->source = source;
    source = NULL;
    TRY(unwrap(file));
    if (whole && file->container == MO_SAFETENSORS)
        TRY(mo_data_sum_check(file, file->data, mo_source_path(file->source)));
cleanup:
    mo_source_close(source);
    if (status != MOCO_OK)
        mo_tensor_file_close(file);
    return status;
}

moco_status_t mo_tensor_file_open_memory(mo_tensor_file_t *file, const uint8_t *bytes, uint64_t size, const char *path)
{
    mo_source_t *source = NULL;
    moco_status_t status = mo_source_lend(bytes, size, path, &source);
    return status == MOCO_OK ? parse(file, source, 1) : status;
}

static moco_status_t open_path(mo_tensor_file_t *file, const char *path, int whole)
{
    mo_source_t *source = NULL;
    moco_status_t status = mo_source_open(path, &source);
    return status == MOCO_OK ? parse(file, source, whole) : status;
}

moco_status_t mo_tensor_file_open(mo_tensor_file_t *file, const char *path)
{
    return open_path(file, path, 1);
}

moco_status_t mo_tensor_file_peek(mo_tensor_file_t *file, const char *path)
{
    return open_path(file, path, 0);
}

void mo_tensor_file_close(mo_tensor_file_t *file)
{
    for (int64_t i = 0; i < file->count; i++)
        mo_free(file->tensors[i].name);
    for (int64_t i = 0; i < file->text_count; i++) {
        mo_free(file->texts[i].key);
        mo_free(file->texts[i].value);
    }
    mo_source_close(file->lent);
    mo_free(file->decoded);
    mo_free(file->opaque);
    mo_free(file->tensors);
    mo_free(file->texts);
    mo_source_close(file->source);
    *file = (mo_tensor_file_t){0};
}

const char *mo_container_name(mo_container_t container)
{
    static const char *const names[] = {"safetensors", "torch zip", "torch legacy", "pickle"};
    return names[container];
}

/* ---- finding ---- */

static int by_key(const void *left, const void *right)
{
    return strcmp(((const mo_file_text_t *)left)->key, ((const mo_file_text_t *)right)->key);
}

moco_status_t mo_tensor_file_sort(mo_tensor_file_t *file, const char *path)
{
    if (file->count > 0)
        qsort(file->tensors, (size_t)file->count, sizeof *file->tensors, by_name);
    if (file->text_count > 0)
        qsort(file->texts, (size_t)file->text_count, sizeof *file->texts, by_key);
    for (int64_t i = 1; i < file->count; i++)
        if (by_name(&file->tensors[i - 1], &file->tensors[i]) == 0)
            return mo_fail(MOCO_ERR_FORMAT, "%s: tensor '%s' comes twice", path, mo_show(file->tensors[i].name).text);
    return MOCO_OK;
}

const mo_file_tensor_t *mo_tensor_file_find(const mo_tensor_file_t *file, const char *name)
{
    const mo_file_tensor_t key = {.name = (char *)name};
    return file->count == 0 ? NULL : bsearch(&key, file->tensors, (size_t)file->count, sizeof key, by_name);
}

const char *mo_tensor_file_text(const mo_tensor_file_t *file, const char *key)
{
    const mo_file_text_t wanted = {.key = (char *)key}, *found = NULL;
    if (file->text_count > 0)
        found = bsearch(&wanted, file->texts, (size_t)file->text_count, sizeof wanted, by_key);
    return found != NULL ? found->value : NULL;
}

mo_shown_t mo_show(const char *name)
{
    mo_shown_t shown = {{0}};
    size_t length = strnlen(name, MO_SHOWN + 1), cut = length;
    if (cut > MO_SHOWN)
        for (cut = MO_SHOWN; cut > 0 && (name[cut] & 0xc0) == 0x80;)
            cut--; /* not inside a UTF-8 sequence */
    for (size_t i = 0; i < cut; i++)
        shown.text[i] = (unsigned char)name[i] < 0x20 || name[i] == 0x7f ? '?' : name[i];
    if (length > MO_SHOWN)
        memcpy(shown.text + cut, "...", 3);
    return shown;
}

/* ---- shapes ---- */

static const struct {
    const char *name;
    uint64_t bytes;
} dtypes[MO_DTYPE_OTHER] = {
    [MO_F32] = {"F32", 4}, [MO_F16] = {"F16", 2},   [MO_BF16] = {"BF16", 2}, [MO_F64] = {"F64", 8},
    [MO_I64] = {"I64", 8}, [MO_I32] = {"I32", 4},   [MO_I16] = {"I16", 2},   [MO_I8] = {"I8", 1},
    [MO_U8] = {"U8", 1},   [MO_BOOL] = {"BOOL", 1},
};

uint64_t mo_dtype_bytes(mo_dtype_t dtype)
{
    return dtype < MO_DTYPE_OTHER ? dtypes[dtype].bytes : 0;
}

const char *mo_dtype_name(mo_dtype_t dtype)
{
    return dtype < MO_DTYPE_OTHER ? dtypes[dtype].name : "another type";
}

void mo_file_tensor_dense(mo_file_tensor_t *tensor)
{
    int64_t stride = 1;
    for (int32_t i = tensor->rank - 1; i >= 0; i--) {
        tensor->strides[i] = stride;
        /* wraps only where a dimension of 0 leaves nothing to reach */
        stride = (int64_t)((uint64_t)stride * (uint64_t)(tensor->dims[i] > 0 ? tensor->dims[i] : 1));
    }
}

int mo_file_count(const mo_file_tensor_t *tensor, int64_t *count)
{
    *count = 1;
    for (int32_t i = 0; i < tensor->rank; i++) {
        if (__builtin_mul_overflow(*count, tensor->dims[i], count))
            return 0;
    }
    return 1;
}

uint64_t mo_file_stored(const mo_file_tensor_t *t)
{
    uint64_t reach = 1, count = 1;
    for (int32_t i = 0; i < t->rank; i++) {
        if (t->dims[i] == 0)
            return 0;
        count *= (uint64_t)t->dims[i]; /* readers of containers have checked both */
        reach += (uint64_t)(t->dims[i] - 1) * (uint64_t)t->strides[i];
    }
    return count < reach ? count : reach;
}

moco_status_t mo_file_repeats(const mo_file_tensor_t *t, uint64_t *bytes)
{
    const uint64_t more = (uint64_t)1 << 26, size = mo_source_size(t->source);
    if (__builtin_add_overflow(*bytes, t->bytes, bytes))
        *bytes = UINT64_MAX;
    if (*bytes <= size || *bytes - size <= more)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_UNSUPPORTED,
                   "with tensor '%s' the tensors that are to be read have %s, and the file %s: it repeats numbers, and "
                   "more than %s of repeated ones are not read",
                   mo_show(t->name).text, mo_size(*bytes).text, mo_size(size).text, mo_size(more).text);
}
