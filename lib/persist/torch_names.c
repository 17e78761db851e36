/* From the object that a pickle holds to a flat list: tensors, arrays and short texts under the
 * names of their dictionaries' keys and lists' places, joined by dots. A small file can name a
 * value many times over; what is made of it is bounded. */
#include <stdio.h>
#include <string.h>

#include "persist/torch_file.h"
#include "util/alloc.h"
#include "util/number.h"
#include "util/status.h"

enum { MAX_DEPTH = 24, MAX_NAME = 512, MAX_TEXT = 4096, MAX_VISITS = 1 << 21, MAX_ITEMS = 1 << 18 };
#define MAX_BYTES ((int64_t)1 << 26) /* of all names and texts */

typedef struct names {
    mo_tensor_file_t *file;
    mo_pickle_t *pickle;
    const mo_source_t *source;
    mo_locate_fn locate;
    void *ctx;
    char name[MAX_NAME + 1];
    int64_t visits, bytes, tensor_capacity, text_capacity;
} names_t;

/* Bytes of the UTF-8 sequence at `at`; 0 if it is none, or a zero byte. */
static int sequence(const uint8_t *at, int32_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    int length = at[0] < 0x80 ? 1 : at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : at[0] >= 0xc2 ? 2 : 0;
    uint32_t code = length > 1 ? at[0] & (0x7fu >> length) : at[0];
    if (length == 0 || length > left || at[0] > 0xf4)
        return 0;
    for (int i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) || (length > 1 && code < least[length]))
        return 0;
    return length;
}

static int is_text(const mo_pickle_value_t *v)
{
    int length;
    for (int32_t i = 0; i < v->count; i += length)
        if ((length = sequence(v->bytes + i, v->count - i)) == 0)
            return 0;
    return 1;
}

static moco_status_t spend(names_t *n, uint64_t bytes)
{
    n->bytes += (int64_t)bytes;
    return n->bytes <= MAX_BYTES ? MOCO_OK
                                 : mo_fail(MOCO_ERR_FORMAT, "%s: its names and texts take more than %lld bytes",
                                           n->pickle->path, (long long)MAX_BYTES);
}

static moco_status_t one_more(names_t *n, void *items, int64_t count, int64_t *capacity, size_t size)
{
    if (count < *capacity)
        return MOCO_OK;
    if (count >= MAX_ITEMS)
        return mo_fail(MOCO_ERR_FORMAT, "%s: has more than %d tensors or texts", n->pickle->path, MAX_ITEMS);
    return mo_reserve(items, count + 1, capacity, size);
}

/* ---- texts ---- */

static moco_status_t add_text(names_t *n, const char *value, size_t length)
{
    moco_status_t status = MOCO_OK;
    mo_file_text_t text = {0};
    TRY(spend(n, strlen(n->name) + length + 2));
    TRY(one_more(n, &n->file->texts, n->file->text_count, &n->text_capacity, sizeof text));
    TRY(mo_strdup(n->name, &text.key));
    TRY(mo_strprintf(&text.value, "%.*s", (int)length, value));
    n->file->texts[n->file->text_count++] = text;
    text = (mo_file_text_t){0};
cleanup:
    mo_free(text.key);
    mo_free(text.value);
    return status;
}

static moco_status_t add_scalar(names_t *n, const mo_pickle_value_t *v)
{
    char number[MO_NUMBER_TEXT];
    if (v->kind == MO_PICKLE_TEXT)
        return v->count <= MAX_TEXT && is_text(v) ? add_text(n, (const char *)v->bytes, (size_t)v->count) : MOCO_OK;
    if (v->kind == MO_PICKLE_BOOL)
        snprintf(number, sizeof number, "%s", v->whole ? "true" : "false");
    else if (v->kind == MO_PICKLE_INT)
        snprintf(number, sizeof number, "%lld", (long long)v->whole);
    else
        mo_text_double(v->real, 17, number);
    return add_text(n, number, strlen(number));
}

/* ---- tensors ---- */

/* The last number that sizes and strides can reach lies inside the storage. The numbers may be more
 * than it has, where a stride of 0 tells one again and again. */
static moco_status_t check_extent(const names_t *n, const mo_pickle_tensor_t *t, const mo_pickle_storage_t *s,
                                  int64_t count)
{
    int64_t last = t->offset, reach;
    int inside = 1;
    for (int32_t i = 0; i < t->rank && count > 0 && inside; i++)
        inside = !__builtin_mul_overflow(t->dims[i] - 1, t->strides[i], &reach) &&
                 !__builtin_add_overflow(last, reach, &last);
    if (count == 0 || (inside && last < s->size))
        return MOCO_OK;
    return mo_fail(MOCO_ERR_FORMAT, "%s: tensor '%s' reaches beyond the %lld numbers of its storage", n->pickle->path,
                   mo_show(n->name).text, (long long)s->size);
}

/* An array's numbers, in the pickle or in what was decoded of it. */
static void find_in_pickle(const names_t *n, const mo_pickle_tensor_t *t, mo_file_tensor_t *made)
{
    const mo_pickle_t *p = n->pickle;
    const uintptr_t data = (uintptr_t)t->data, start = (uintptr_t)p->bytes;
    made->dtype = t->dtype;
    if (data >= start && data - start <= p->size) {
        made->at = p->at + (data - start);
    } else {
        made->source = n->file->lent;
        made->at = (uint64_t)(t->data - p->decoded);
    }
}

static moco_status_t find_in_storage(const names_t *n, const mo_pickle_tensor_t *t, int64_t count,
                                     mo_file_tensor_t *made)
{
    moco_status_t status = MOCO_OK;
    const mo_pickle_storage_t *s = &n->pickle->storages[t->storage];
    const uint64_t item = mo_dtype_bytes(s->dtype);
    mo_torch_place_t place = {0};
    made->dtype = s->dtype;
    TRY(check_extent(n, t, s, count));
    TRY(n->locate(n->ctx, s, &place));
    made->at = place.at + (count > 0 ? (uint64_t)(s->first + t->offset) * item : 0);
    if (made->at == place.at && mo_file_stored(made) * item == place.size)
        made->crc = place.crc;
cleanup:
    return status;
}

/* One that cannot be read has a name and a type, and no numbers. */
static moco_status_t add_tensor(names_t *n, const mo_pickle_tensor_t *t)
{
    moco_status_t status = MOCO_OK;
    mo_file_tensor_t made = {.dtype = MO_DTYPE_OTHER, .rank = t->rank, .source = n->source, .order = n->file->count};
    int64_t count;
    memcpy(made.dims, t->dims, sizeof made.dims);
    memcpy(made.strides, t->strides, sizeof made.strides);
    if (n->name[0] == '\0')
        return mo_fail(MOCO_ERR_UNSUPPORTED, "%s: holds one tensor without a name, wanted a dictionary of tensors",
                       n->pickle->path);
    if (!mo_file_count(&made, &count) || count > INT64_MAX / 16)
        return mo_fail(MOCO_ERR_FORMAT, "%s: the shape of tensor '%s' overflows", n->pickle->path,
                       mo_show(n->name).text);
    if (t->odd == NULL && t->storage < 0)
        find_in_pickle(n, t, &made);
    else if (t->odd == NULL)
        TRY(find_in_storage(n, t, count, &made));
    made.bytes = (uint64_t)count * mo_dtype_bytes(made.dtype);
    snprintf(made.dtype_name, sizeof made.dtype_name, "%s", t->odd != NULL ? t->odd : mo_dtype_name(made.dtype));
    TRY(spend(n, strlen(n->name) + 1));
    TRY(one_more(n, &n->file->tensors, n->file->count, &n->tensor_capacity, sizeof made));
    TRY(mo_strdup(n->name, &made.name));
    n->file->tensors[n->file->count++] = made;
cleanup:
    return status;
}

/* ---- the tree ---- */

static moco_status_t visit(names_t *n, const mo_pickle_value_t *v, int depth);

/* Into a member; *cut puts the name back as it was. */
static moco_status_t enter(names_t *n, const char *part, size_t length, size_t *cut)
{
    *cut = strlen(n->name);
    if (*cut + length + 1 > MAX_NAME)
        return mo_fail(MOCO_ERR_FORMAT, "%s: the name of '%s…' has more than %d bytes", n->pickle->path,
                       mo_show(n->name).text, MAX_NAME);
    snprintf(n->name + *cut, sizeof n->name - *cut, "%s%.*s", *cut > 0 ? "." : "", (int)length, part);
    return MOCO_OK;
}

static moco_status_t visit_list(names_t *n, const mo_pickle_value_t *v, int depth)
{
    moco_status_t status = MOCO_OK;
    for (int32_t i = 0; i < v->count; i++) {
        char number[16];
        size_t cut;
        snprintf(number, sizeof number, "%d", (int)i);
        TRY(enter(n, number, strlen(number), &cut));
        TRY(visit(n, mo_pickle_item(n->pickle, v, i), depth + 1));
        n->name[cut] = '\0';
    }
cleanup:
    return status;
}

/* What stands under a key that is neither text nor number has no name, and is left out. */
static moco_status_t visit_dict(names_t *n, const mo_pickle_value_t *v, int depth)
{
    moco_status_t status = MOCO_OK;
    for (int32_t i = 0; i + 1 < v->count; i += 2) {
        const mo_pickle_value_t *key = mo_pickle_item(n->pickle, v, i);
        char number[32];
        size_t cut;
        if (key->kind == MO_PICKLE_TEXT && key->count <= MAX_NAME) {
            if (!is_text(key))
                TRY(mo_fail(MOCO_ERR_FORMAT, "%s: a key below '%s' is not UTF-8", n->pickle->path,
                            mo_show(n->name).text));
            TRY(enter(n, (const char *)key->bytes, (size_t)key->count, &cut));
        } else if (key->kind == MO_PICKLE_INT) {
            snprintf(number, sizeof number, "%lld", (long long)key->whole);
            TRY(enter(n, number, strlen(number), &cut));
        } else {
            continue;
        }
        TRY(visit(n, mo_pickle_item(n->pickle, v, i + 1), depth + 1));
        n->name[cut] = '\0';
    }
cleanup:
    return status;
}

/* The first one is for a message: a file that has no tensors beside it is a program's own. */
static moco_status_t add_opaque(names_t *n, const mo_pickle_value_t *v)
{
    if (v->number < 0 || n->file->opaque != NULL)
        return MOCO_OK;
    return mo_strdup(mo_pickle_class_name(n->pickle, v).text, &n->file->opaque);
}

static moco_status_t visit(names_t *n, const mo_pickle_value_t *v, int depth)
{
    if (depth > MAX_DEPTH || ++n->visits > MAX_VISITS)
        return mo_fail(MOCO_ERR_FORMAT, "%s: '%s' is nested too deeply or too large", n->pickle->path,
                       mo_show(n->name).text);
    switch (v->kind) {
    case MO_PICKLE_DICT: return visit_dict(n, v, depth);
    case MO_PICKLE_LIST:
    case MO_PICKLE_TUPLE: return visit_list(n, v, depth);
    case MO_PICKLE_TENSOR: return add_tensor(n, &n->pickle->tensors[v->number]);
    case MO_PICKLE_BOOL:
    case MO_PICKLE_INT:
    case MO_PICKLE_REAL:
    case MO_PICKLE_TEXT: return add_scalar(n, v);
    case MO_PICKLE_OPAQUE: return add_opaque(n, v);
    default: return MOCO_OK;
    }
}

static moco_status_t check_found(const names_t *n)
{
    if (n->file->count > 0 || n->file->opaque == NULL)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_UNSUPPORTED,
                   "%s: holds '%s', which is neither tensor, number nor text: not read, and nothing of it was run; "
                   "wanted a file of state dictionaries, as torch.save(module.state_dict(), FILE) writes it",
                   n->pickle->path, n->file->opaque);
}

/* What was decoded, as a source that the file owns. */
static moco_status_t take_decoded(names_t *n)
{
    mo_pickle_t *p = n->pickle;
    if (p->decoded == NULL)
        return MOCO_OK;
    const moco_status_t status = mo_source_lend(p->decoded, p->decoded_size, p->path, &n->file->lent);
    if (status == MOCO_OK) {
        n->file->decoded = p->decoded;
        p->decoded_is_taken = 1;
    }
    return status;
}

moco_status_t mo_torch_names(mo_tensor_file_t *file, mo_pickle_t *pickle, const mo_source_t *source,
                             mo_locate_fn locate, void *ctx)
{
    moco_status_t status = MOCO_OK;
    names_t *n = NULL;
    TRY(mo_calloc(1, sizeof *n, &n));
    *n = (names_t){.file = file, .pickle = pickle, .source = source, .locate = locate, .ctx = ctx};
    TRY(take_decoded(n));
    TRY(visit(n, mo_pickle_root(pickle), 0));
    TRY(check_found(n));
    TRY(mo_tensor_file_sort(file, pickle->path));
cleanup:
    mo_free(n);
    return status;
}
