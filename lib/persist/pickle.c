/* The pickle machine: a stack, marks, a memo, and one small function per family of opcodes
 * (protocols 2 to 5). It calls nothing that the pickle names; lengths, memo numbers and counts are
 * checked before use. Called by torch_file.c. */
#include "persist/pickle.h"

#include <string.h>

#include "persist/pickle_internal.h"
#include "util/alloc.h"
#include "util/status.h"

#define MAX_PROTOCOL 5
#define MAX_LINE 256 /* bytes of a module's or class's name */

typedef struct reader {
    const uint8_t *start, *at, *end;
} reader_t;

/* ---- bytes ---- */

static moco_status_t take(const mo_pickle_t *p, reader_t *r, uint64_t count, const uint8_t **bytes)
{
    if (count > (uint64_t)(r->end - r->at))
        return mo_fail(MOCO_ERR_FORMAT, "%s: damaged pickle: %llu bytes wanted at byte %llu, %llu follow", p->path,
                       (unsigned long long)count, (unsigned long long)(r->at - r->start),
                       (unsigned long long)(r->end - r->at));
    *bytes = r->at;
    r->at += count;
    return MOCO_OK;
}

/* An unsigned little-endian number of `width` bytes. */
static moco_status_t take_length(const mo_pickle_t *p, reader_t *r, int width, uint64_t *length)
{
    const uint8_t *bytes = NULL;
    moco_status_t status = take(p, r, (uint64_t)width, &bytes);
    *length = 0;
    if (status == MOCO_OK)
        memcpy(length, bytes, (size_t)width);
    return status;
}

static moco_status_t push_bytes(mo_pickle_t *p, reader_t *r, int width, mo_pickle_kind_t kind)
{
    moco_status_t status = MOCO_OK;
    uint64_t length = 0;
    const uint8_t *bytes = NULL;
    TRY(take_length(p, r, width, &length));
    TRY(take(p, r, length, &bytes));
    if (length > INT32_MAX)
        TRY(mo_pickle_damaged(p, "a text is too long"));
    TRY(mo_pickle_push_new(p, (mo_pickle_value_t){.kind = kind, .count = (int32_t)length, .bytes = bytes}));
cleanup:
    return status;
}

static moco_status_t push_whole(mo_pickle_t *p, mo_pickle_kind_t kind, int64_t whole)
{
    return mo_pickle_push_new(p, (mo_pickle_value_t){.kind = kind, .whole = whole});
}

/* Little-endian two's complement; up to 8 bytes are a number. */
static moco_status_t push_long(mo_pickle_t *p, reader_t *r, int width)
{
    moco_status_t status = MOCO_OK;
    uint64_t length = 0, bits = 0;
    const uint8_t *bytes = NULL;
    TRY(take_length(p, r, width, &length));
    TRY(take(p, r, length, &bytes));
    if (length > INT32_MAX)
        TRY(mo_pickle_damaged(p, "a number is too long"));
    if (length > 8)
        return mo_pickle_push_new(p,
                                  (mo_pickle_value_t){.kind = MO_PICKLE_BIG, .count = (int32_t)length, .bytes = bytes});
    if (length > 0 && bytes[length - 1] & 0x80)
        bits = UINT64_MAX;
    memcpy(&bits, bytes, length);
    TRY(push_whole(p, MO_PICKLE_INT, (int64_t)bits));
cleanup:
    return status;
}

static moco_status_t push_int(mo_pickle_t *p, reader_t *r, int width)
{
    uint64_t bits = 0;
    moco_status_t status = take_length(p, r, width, &bits);
    if (status != MOCO_OK)
        return status;
    return push_whole(p, MO_PICKLE_INT, width == 4 ? (int32_t)(uint32_t)bits : (int64_t)bits);
}

static moco_status_t push_real(mo_pickle_t *p, reader_t *r)
{
    const uint8_t *bytes = NULL;
    uint64_t bits = 0;
    mo_pickle_value_t value = {.kind = MO_PICKLE_REAL};
    moco_status_t status = take(p, r, 8, &bytes);
    if (status != MOCO_OK)
        return status;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | bytes[i];
    memcpy(&value.real, &bits, 8);
    return mo_pickle_push_new(p, value);
}

/* A frame only announces how many bytes belong together. */
static moco_status_t check_frame(const mo_pickle_t *p, reader_t *r)
{
    uint64_t length = 0;
    moco_status_t status = take_length(p, r, 8, &length);
    if (status == MOCO_OK && length > (uint64_t)(r->end - r->at))
        status = mo_pickle_damaged(p, "a frame is longer than the file");
    return status;
}

static moco_status_t check_protocol(const mo_pickle_t *p, reader_t *r)
{
    uint64_t protocol = 0;
    moco_status_t status = take_length(p, r, 1, &protocol);
    if (status == MOCO_OK && protocol > MAX_PROTOCOL)
        status = mo_fail(MOCO_ERR_UNSUPPORTED, "%s: pickle protocol %d, at most %d is read", p->path, (int)protocol,
                         MAX_PROTOCOL);
    return status;
}

static moco_status_t memo(mo_pickle_t *p, reader_t *r, int width, moco_status_t (*use)(mo_pickle_t *, uint64_t))
{
    uint64_t place = 0;
    moco_status_t status = take_length(p, r, width, &place);
    return status == MOCO_OK ? use(p, place) : status;
}

/* ---- globals ---- */

static moco_status_t take_line(const mo_pickle_t *p, reader_t *r, const uint8_t **line, int64_t *length)
{
    int64_t left = r->end - r->at < MAX_LINE ? r->end - r->at : MAX_LINE;
    const uint8_t *end = left > 0 ? memchr(r->at, '\n', (size_t)left) : NULL;
    if (end == NULL)
        return mo_pickle_damaged(p, "a global's name does not end");
    *line = r->at;
    *length = end - r->at;
    r->at = end + 1;
    return MOCO_OK;
}

static moco_status_t global_by_lines(mo_pickle_t *p, reader_t *r)
{
    moco_status_t status = MOCO_OK;
    const uint8_t *module = NULL, *name = NULL;
    int64_t module_size = 0, name_size = 0;
    TRY(take_line(p, r, &module, &module_size));
    TRY(take_line(p, r, &name, &name_size));
    TRY(mo_pickle_global(p, module, module_size, name, name_size));
cleanup:
    return status;
}

static moco_status_t global_by_stack(mo_pickle_t *p)
{
    const int32_t *numbers = NULL;
    moco_status_t status = mo_pickle_pop(p, 2, &numbers);
    if (status != MOCO_OK)
        return status;
    const mo_pickle_value_t *module = &p->values[numbers[0]], *name = &p->values[numbers[1]];
    if (module->kind != MO_PICKLE_TEXT || name->kind != MO_PICKLE_TEXT)
        return mo_pickle_damaged(p, "a global's name is no text");
    return mo_pickle_global(p, module->bytes, module->count, name->bytes, name->count);
}

/* A class with arguments by name: those make nothing here. */
static moco_status_t make_by_name(mo_pickle_t *p)
{
    const int32_t *numbers = NULL;
    moco_status_t status = mo_pickle_pop(p, 1, &numbers);
    return status == MOCO_OK ? mo_pickle_reduce(p) : status;
}

static moco_status_t drop_marked(mo_pickle_t *p)
{
    const int32_t *numbers = NULL;
    int64_t count = 0;
    return mo_pickle_pop_mark(p, &numbers, &count);
}

/* ---- opcodes ---- */

/* Some are those of texts, numbers and memo places in lines, as the two oldest protocols write
 * them. */
static moco_status_t unknown_opcode(const mo_pickle_t *p, const reader_t *r, uint8_t opcode)
{
    const int is_old = opcode != 0 && strchr("FILSVgp", opcode) != NULL;
    return mo_fail(MOCO_ERR_FORMAT, "%s: %s: opcode 0x%02x at byte %llu is none that torch.save writes%s", p->path,
                   is_old ? "a pickle of protocol 0 or 1, or damaged" : "damaged pickle", opcode,
                   (unsigned long long)(r->at - r->start - 1),
                   is_old ? "; wanted protocol 2 to 5: save it again without an older protocol" : "");
}

static moco_status_t execute(mo_pickle_t *p, reader_t *r, uint8_t opcode)
{
    switch (opcode) {
    case 0x80: return check_protocol(p, r);
    case 0x95: return check_frame(p, r);
    case '(': return mo_pickle_push_mark(p);
    case '0': return mo_pickle_drop(p);
    case '1': return drop_marked(p);
    case '2': return mo_pickle_repeat(p);
    case 'N': return push_whole(p, MO_PICKLE_NONE, 0);
    case 0x88: return push_whole(p, MO_PICKLE_BOOL, 1);
    case 0x89: return push_whole(p, MO_PICKLE_BOOL, 0);
    case 'J': return push_int(p, r, 4);
    case 'K': return push_int(p, r, 1);
    case 'M': return push_int(p, r, 2);
    case 0x8a: return push_long(p, r, 1);
    case 0x8b: return push_long(p, r, 4);
    case 'G': return push_real(p, r);
    case 'X':
    case 'T': return push_bytes(p, r, 4, MO_PICKLE_TEXT); /* T and U: texts of Python 2 */
    case 'U':
    case 0x8c: return push_bytes(p, r, 1, MO_PICKLE_TEXT);
    case 0x8d: return push_bytes(p, r, 8, MO_PICKLE_TEXT);
    case 'B': return push_bytes(p, r, 4, MO_PICKLE_BYTES);
    case 'C': return push_bytes(p, r, 1, MO_PICKLE_BYTES);
    case 0x8e:
    case 0x96: return push_bytes(p, r, 8, MO_PICKLE_BYTES);
    case ')': return mo_pickle_push_items(p, MO_PICKLE_TUPLE, NULL, 0);
    case 0x85: return mo_pickle_push_tuple(p, 1);
    case 0x86: return mo_pickle_push_tuple(p, 2);
    case 0x87: return mo_pickle_push_tuple(p, 3);
    case 't': return mo_pickle_push_marked(p, MO_PICKLE_TUPLE);
    case ']': return mo_pickle_push_items(p, MO_PICKLE_LIST, NULL, 0);
    case 'l': return mo_pickle_push_marked(p, MO_PICKLE_LIST);
    case '}': return mo_pickle_push_items(p, MO_PICKLE_DICT, NULL, 0);
    case 'd': return mo_pickle_push_marked(p, MO_PICKLE_DICT);
    case 0x8f: return mo_pickle_push_items(p, MO_PICKLE_LIST, NULL, 0); /* sets: nobody asks for their meaning */
    case 0x91: return mo_pickle_push_marked(p, MO_PICKLE_LIST);
    case 'a': return mo_pickle_add(p, MO_PICKLE_LIST, 1);
    case 'e':
    case 0x90: return mo_pickle_add_marked(p, MO_PICKLE_LIST);
    case 's': return mo_pickle_add(p, MO_PICKLE_DICT, 2);
    case 'u': return mo_pickle_add_marked(p, MO_PICKLE_DICT);
    case 'q': return memo(p, r, 1, mo_pickle_remember);
    case 'r': return memo(p, r, 4, mo_pickle_remember);
    case 0x94: return mo_pickle_remember(p, (uint64_t)p->memo_count);
    case 'h': return memo(p, r, 1, mo_pickle_recall);
    case 'j': return memo(p, r, 4, mo_pickle_recall);
    case 'c': return global_by_lines(p, r);
    case 0x93: return global_by_stack(p);
    case 'R':
    case 0x81: return mo_pickle_reduce(p);
    case 0x92: return make_by_name(p);
    case 'b': return mo_pickle_build(p);
    case 'Q': return mo_pickle_persistent(p);
    default: return unknown_opcode(p, r, opcode);
    }
}

moco_status_t mo_pickle_read(mo_pickle_t *p, const uint8_t *bytes, uint64_t size, const char *path, uint64_t *used)
{
    moco_status_t status = MOCO_OK;
    reader_t r = {bytes, bytes, bytes + size};
    const uint8_t *opcode = NULL;
    const int32_t *root = NULL;
    mo_pickle_free(p);
    p->path = path;
    p->bytes = bytes;
    p->size = size;
    for (;;) {
        TRY(take(p, &r, 1, &opcode));
        if (*opcode == '.')
            break;
        TRY(execute(p, &r, *opcode));
    }
    TRY(mo_pickle_pop(p, 1, &root));
    p->root = *root;
    *used = (uint64_t)(r.at - r.start);
cleanup:
    return status;
}
