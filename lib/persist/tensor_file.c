/* What all containers share: opening, finding, and turning a tensor's bytes into numbers. Assumes a
 * little-endian machine. Called by checkpoints, models and conversion. */
#include "persist/tensor_file.h"

#include <stdlib.h>
#include <string.h>

#include "persist/check.h"
#include "persist/safetensors.h"
#include "persist/safetensors_sum.h"
#include "persist/torch_file.h"
#include "util/alloc.h"
#include "util/file_kind.h"
#include "util/status.h"

#define PART 8192                       /* bytes of a file that lie on the stack */
#define MAX_WINDOW ((uint64_t)64 << 20) /* of a tensor that is read at once      */

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

/* By its first bytes it is something else, which the message names when it is known. */
static moco_status_t not_tensors(const mo_source_t *source)
{
    uint8_t first[MO_FILE_KIND_BYTES];
    const uint64_t size = mo_source_size(source) < sizeof first ? mo_source_size(source) : sizeof first;
    const moco_status_t status = mo_source_read(source, 0, size, first);
    if (status != MOCO_OK)
        return status;
    const mo_file_kind_t *kind = mo_file_kind(first, size);
    return mo_fail(MOCO_ERR_FORMAT, "%s: is neither safetensors nor a file of torch.save: it is %s",
                   mo_source_path(source),
                   kind != NULL ? kind->what
                   : size == 0  ? "empty"
                                : "of no kind that this library knows");
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
    const uint64_t item = mo_dtype_bytes(t->dtype), limit = (uint64_t)1 << 26;
    *bytes += item > 0 ? t->bytes - mo_file_stored(t) * item : 0;
    if (*bytes <= limit)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_UNSUPPORTED,
                   "tensor '%s' repeats numbers that the file has once: more than %llu bytes of such are not read",
                   mo_show(t->name).text, (unsigned long long)limit);
}

/* ---- numbers ---- */

static moco_status_t check_count(const mo_file_tensor_t *tensor, int64_t count)
{
    int64_t found = 0;
    if (!mo_file_count(tensor, &found) || found != count)
        return mo_fail(MOCO_ERR_SHAPE, "tensor '%s' has %lld numbers, wanted %lld", mo_show(tensor->name).text,
                       (long long)found, (long long)count);
    return MOCO_OK;
}

/* Bit patterns may be unaligned: one memcpy each. */
static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE half: sign, 5 bits of exponent (bias 15), 10 of fraction. */
static float from_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent == 31)
        return from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0) {
        float tiny = (float)fraction * 0x1p-24f;
        return sign ? -tiny : tiny;
    }
    return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

static void floats_in_row(mo_dtype_t dtype, const uint8_t *data, int64_t step, int64_t count, float *out)
{
    uint16_t half;
    double wide;
    switch (dtype) {
    case MO_F32:
        for (int64_t i = 0; i < count; i++, data += step)
            memcpy(&out[i], data, 4);
        break;
    case MO_F16:
        for (int64_t i = 0; i < count; i++, data += step)
            out[i] = from_half((memcpy(&half, data, 2), half));
        break;
    case MO_BF16:
        for (int64_t i = 0; i < count; i++, data += step)
            out[i] = from_bits((uint32_t)(memcpy(&half, data, 2), half) << 16);
        break;
    default:
        for (int64_t i = 0; i < count; i++, data += step)
            out[i] = (float)(memcpy(&wide, data, 8), wide);
    }
}

static void ints_in_row(mo_dtype_t dtype, const uint8_t *data, int64_t step, int64_t count, int64_t *out)
{
    int32_t narrow;
    int16_t small;
    switch (dtype) {
    case MO_I64:
        for (int64_t i = 0; i < count; i++, data += step)
            memcpy(&out[i], data, 8);
        break;
    case MO_I32:
        for (int64_t i = 0; i < count; i++, data += step)
            out[i] = (memcpy(&narrow, data, 4), narrow);
        break;
    case MO_I16:
        for (int64_t i = 0; i < count; i++, data += step)
            out[i] = (memcpy(&small, data, 2), small);
        break;
    case MO_I8:
        for (int64_t i = 0; i < count; i++, data += step)
            /* The number is signed. NOLINTNEXTLINE(bugprone-signed-char-misuse) */
            out[i] = (int8_t)*data;
        break;
    default:
        for (int64_t i = 0; i < count; i++, data += step)
            out[i] = *data;
    }
}

typedef void (*row_fn)(mo_dtype_t dtype, const uint8_t *data, int64_t step, int64_t count, void *out, int64_t at);

static void float_row(mo_dtype_t dtype, const uint8_t *data, int64_t step, int64_t count, void *out, int64_t at)
{
    floats_in_row(dtype, data, step, count, (float *)out + at);
}

static void int_row(mo_dtype_t dtype, const uint8_t *data, int64_t step, int64_t count, void *out, int64_t at)
{
    ints_in_row(dtype, data, step, count, (int64_t *)out + at);
}

/* Whether the numbers lie one after the other in C order; dimensions of one number may have any
 * stride. */
static int is_dense(const mo_file_tensor_t *t)
{
    int64_t stride = 1;
    for (int32_t i = t->rank - 1; i >= 0; i--) {
        if (t->dims[i] != 1 && t->strides[i] != stride)
            return 0;
        stride *= t->dims[i];
    }
    return 1;
}

/* A part of the file at a time. */
static moco_status_t copy_dense(const mo_file_tensor_t *t, int64_t count, row_fn row, void *out)
{
    const int64_t item = (int64_t)mo_dtype_bytes(t->dtype), most = PART / item;
    moco_status_t status = MOCO_OK;
    uint8_t part[PART];
    for (int64_t done = 0, now; done < count; done += now) {
        now = count - done < most ? count - done : most;
        TRY(mo_source_read(t->source, t->at + (uint64_t)(done * item), (uint64_t)(now * item), part));
        row(t->dtype, part, item, now, out, done);
    }
cleanup:
    return status;
}

/* A window of the file that follows the numbers of a tensor with strides. */
typedef struct window {
    const mo_source_t *source;
    uint8_t *bytes;
    uint64_t at, size, capacity;
} window_t;

/* `size` bytes, at most the window's capacity, from byte `at` of the file on. */
static moco_status_t look(window_t *w, uint64_t at, uint64_t size, const uint8_t **bytes)
{
    if (at < w->at || at + size > w->at + w->size) {
        const uint64_t left = mo_source_size(w->source) - at, wide = left < w->capacity ? left : w->capacity;
        const moco_status_t status = mo_source_read(w->source, at, wide, w->bytes);
        if (status != MOCO_OK)
            return status;
        w->at = at;
        w->size = wide;
    }
    *bytes = w->bytes + (at - w->at);
    return MOCO_OK;
}

/* Bytes from the first to the last number of the dimensions from `first` on; containers have made
 * sure that all of them lie in the file. */
static uint64_t span(const mo_file_tensor_t *t, int32_t first)
{
    uint64_t last = 0;
    for (int32_t i = first; i < t->rank; i++)
        last += (uint64_t)((t->dims[i] - 1) * t->strides[i]);
    return (last + 1) * mo_dtype_bytes(t->dtype);
}

/* Row by row along the last dimension, the other dimensions as an odometer. A tensor that fits the
 * window is read once, as views and transposes are; where numbers lie further apart, a little is
 * read at a time, and where a row does, it comes number by number. */
static moco_status_t copy_strided(const mo_file_tensor_t *t, int64_t count, row_fn row, void *out)
{
    moco_status_t status = MOCO_OK;
    const int32_t last = t->rank - 1;
    const int64_t item = (int64_t)mo_dtype_bytes(t->dtype);
    const uint64_t all = span(t, 0), one = span(t, last);
    window_t w = {.source = t->source, .capacity = all <= MAX_WINDOW ? all : PART};
    const int64_t run = one <= w.capacity ? t->dims[last] : 1;
    int64_t at[MO_FILE_DIMS] = {0};
    TRY(mo_calloc(w.capacity, 1, &w.bytes));
    for (int64_t done = 0; done < count; done += run) {
        const uint8_t *numbers;
        int64_t from = 0;
        for (int32_t i = 0; i < t->rank; i++)
            from += at[i] * t->strides[i];
        TRY(look(&w, t->at + (uint64_t)(from * item), run > 1 ? one : (uint64_t)item, &numbers));
        row(t->dtype, numbers, run > 1 ? t->strides[last] * item : item, run, out, done);
        for (int32_t i = last; i >= 0 && (at[i] += i == last ? run : 1) == t->dims[i]; i--)
            at[i] = 0;
    }
cleanup:
    mo_free(w.bytes);
    return status;
}

static moco_status_t copy_numbers(const mo_file_tensor_t *t, int64_t count, row_fn row, void *out)
{
    moco_status_t status = MOCO_OK;
    if (count == 0)
        return MOCO_OK;
    if (!is_dense(t))
        TRY(copy_strided(t, count, row, out));
    else if (row == float_row && t->dtype == MO_F32)
        TRY(mo_source_read(t->source, t->at, (uint64_t)count * sizeof(float), out));
    else
        TRY(copy_dense(t, count, row, out));
    TRY(mo_source_check(t->source));
cleanup:
    return status;
}

moco_status_t mo_file_floats(const mo_file_tensor_t *tensor, float *out, int64_t count)
{
    moco_status_t status = check_count(tensor, count);
    if (status != MOCO_OK)
        return status;
    if (tensor->dtype > MO_F64)
        return mo_fail(MOCO_ERR_FORMAT, "tensor '%s' is %s, wanted F32, F16, BF16 or F64", mo_show(tensor->name).text,
                       tensor->dtype_name);
    status = copy_numbers(tensor, count, float_row, out);
    return status == MOCO_OK ? mo_check_finite(tensor->name, tensor->rank, tensor->dims, out, count) : status;
}

moco_status_t mo_file_ints(const mo_file_tensor_t *tensor, int64_t *out, int64_t count)
{
    moco_status_t status = check_count(tensor, count);
    if (status != MOCO_OK)
        return status;
    if (tensor->dtype < MO_I64 || tensor->dtype > MO_U8)
        return mo_fail(MOCO_ERR_FORMAT, "tensor '%s' is %s, wanted I64, I32, I16, I8 or U8", mo_show(tensor->name).text,
                       tensor->dtype_name);
    return copy_numbers(tensor, count, int_row, out);
}
