/* The two containers of torch.save, and plain pickles. Zip: TOP/data.pkl is the pickle,
 * TOP/data/KEY the bytes of a storage. Legacy: five pickles (magic number, protocol, system,
 * object, list of storage keys), then per key a count and the bytes. */
#include "persist/torch_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "persist/zip.h"
#include "util/alloc.h"
#include "util/crc32.h"
#include "util/headroom.h"
#include "util/size.h"
#include "util/status.h"

#define MAX_MEMBER 1024                   /* bytes of a member's name */
#define FIRST_PICKLES ((uint64_t)1 << 20) /* bytes of a legacy file that are read for its pickles at first */
#define MAX_PICKLES ((uint64_t)64 << 20)  /* bytes of a file's pickles; those of a ResNet-50 pair have 0.1 MB */
#define MAX_PLAIN ((uint64_t)4 << 30)     /* bytes of a plain pickle, arrays included */

/* ---- zip ---- */

typedef struct archive {
    mo_zip_t zip;
    const mo_source_t *source;
    const char *path;
    int32_t top; /* bytes of the folder's name, its slash included */
    char name[MAX_MEMBER];
} archive_t;

/* The member under the top folder; NULL if absent. */
static const mo_zip_member_t *member(archive_t *a, const char *name)
{
    snprintf(a->name + a->top, sizeof a->name - (size_t)a->top, "%s", name);
    return mo_zip_find(&a->zip, a->name);
}

/* The folder whose data.pkl this is; exactly one member may be called that. */
static moco_status_t find_top(archive_t *a)
{
    static const char wanted[] = "data.pkl";
    const uint32_t length = sizeof wanted - 1;
    int found = 0;
    for (int64_t i = 0; i < a->zip.count; i++) {
        const mo_zip_member_t *m = &a->zip.members[i];
        if (m->name_size <= length || memcmp(m->name + m->name_size - length, wanted, length) != 0)
            continue;
        uint32_t top = m->name_size - length;
        if (m->name[top - 1] != '/' || top >= MAX_MEMBER / 2 || memchr(m->name, '\0', m->name_size) != NULL)
            continue;
        memcpy(a->name, m->name, top);
        a->top = (int32_t)top;
        found++;
    }
    if (found != 1)
        return mo_fail(MOCO_ERR_FORMAT,
                       "%s: a zip archive with %d members NAME/data.pkl, wanted one: torch.save did not "
                       "write it",
                       a->path, found);
    return MOCO_OK;
}

static moco_status_t check_archive(archive_t *a)
{
    const mo_zip_member_t *order;
    char text[6] = "";
    if (member(a, "constants.pkl") != NULL)
        return mo_fail(MOCO_ERR_UNSUPPORTED,
                       "%s: is TorchScript (a program): refused; wanted a file of state "
                       "dictionaries",
                       a->path);
    moco_status_t status = mo_zip_check_stored(&a->zip, a->path);
    if (status != MOCO_OK)
        return status;
    order = member(a, "byteorder");
    if (order == NULL)
        return MOCO_OK;
    if (order->size == sizeof text)
        status = mo_source_read(a->source, order->at, sizeof text, text);
    if (status == MOCO_OK && memcmp(text, "little", sizeof text) != 0)
        status = mo_fail(MOCO_ERR_UNSUPPORTED, "%s: its byte order is not 'little'", a->path);
    return status;
}

static moco_status_t locate_in_archive(void *ctx, const mo_pickle_storage_t *s, mo_torch_place_t *place)
{
    archive_t *a = ctx;
    char name[MAX_MEMBER / 4];
    const mo_zip_member_t *m = NULL;
    uint64_t size;
    if (s->key_size > 0 && s->key_size < 64 && memchr(s->key, '\0', (size_t)s->key_size) == NULL) {
        snprintf(name, sizeof name, "data/%.*s", (int)s->key_size, (const char *)s->key);
        m = member(a, name);
    }
    if (m == NULL)
        return mo_fail(MOCO_ERR_FORMAT, "%s: the numbers of a tensor are missing: there is no member data/%.*s",
                       a->path, (int)(s->key_size < 32 ? s->key_size : 32), (const char *)s->key);
    if (__builtin_mul_overflow((uint64_t)s->count, s->item, &size) || size > m->size)
        return mo_fail(MOCO_ERR_FORMAT, "%s: member %s has %llu bytes, %lld numbers of type %s were promised", a->path,
                       mo_show(a->name).text, (unsigned long long)m->size, (long long)s->count,
                       mo_dtype_name(s->dtype));
    *place = (mo_torch_place_t){m->at, m->size, m->crc};
    return MOCO_OK;
}

moco_status_t mo_torch_zip_parse(mo_tensor_file_t *file, const mo_source_t *source)
{
    moco_status_t status = MOCO_OK;
    archive_t *a = NULL;
    mo_pickle_t pickle = {0};
    mo_tensor_file_t made = {.container = MO_TORCH_ZIP};
    uint8_t *bytes = NULL;
    uint64_t used;
    TRY(mo_calloc(1, sizeof *a, &a));
    a->source = source;
    a->path = mo_source_path(source);
    TRY(mo_zip_open(&a->zip, source));
    TRY(find_top(a));
    TRY(check_archive(a));
    const mo_zip_member_t *object = member(a, "data.pkl");
    if (object->size > MAX_PICKLES)
        TRY(mo_fail(MOCO_ERR_FORMAT, "%s: member %s has %s, at most %s are read", a->path, mo_show(a->name).text,
                    mo_size(object->size).text, mo_size(MAX_PICKLES).text));
    TRY(mo_source_take(source, object->at, object->size, &bytes));
    if (object->crc != 0 && mo_crc32(0, bytes, object->size) != object->crc)
        TRY(mo_fail(MOCO_ERR_FORMAT,
                    "%s: is damaged: member %s does not have the CRC-32 that the archive says; wanted another copy of "
                    "the file",
                    a->path, mo_show(a->name).text));
    TRY(mo_pickle_read(&pickle, bytes, object->size, a->path, &used));
    pickle.at = object->at;
    TRY(mo_torch_names(&made, &pickle, source, locate_in_archive, a));
    *file = made;
    made = (mo_tensor_file_t){0};
cleanup:
    mo_tensor_file_close(&made);
    mo_pickle_free(&pickle);
    mo_free(bytes);
    if (a != NULL)
        mo_zip_close(&a->zip);
    mo_free(a);
    return status;
}

/* ---- legacy ---- */

/* A storage of the object, one for each key, and where its numbers are once they are found. */
typedef struct place {
    const mo_pickle_storage_t *storage;
    uint64_t at; /* 0 = not found: the pickles come first */
} place_t;

typedef struct sequence {
    const mo_source_t *source;
    const char *path;
    uint8_t *pickles; /* the file's first bytes */
    const uint8_t *at, *end;
    place_t *places; /* sorted by key */
    int64_t count;
} sequence_t;

static int compare_keys(const mo_pickle_storage_t *a, const mo_pickle_storage_t *b)
{
    int32_t common = a->key_size < b->key_size ? a->key_size : b->key_size;
    int order = common > 0 ? memcmp(a->key, b->key, (size_t)common) : 0;
    return order != 0 ? order : (a->key_size > b->key_size) - (a->key_size < b->key_size);
}

static int by_key(const void *left, const void *right)
{
    return compare_keys(((const place_t *)left)->storage, ((const place_t *)right)->storage);
}

static moco_status_t next_pickle(sequence_t *s, mo_pickle_t *pickle)
{
    uint64_t used = 0;
    moco_status_t status = mo_pickle_read(pickle, s->at, (uint64_t)(s->end - s->at), s->path, &used);
    s->at += used;
    return status;
}

static int is_key(const mo_pickle_value_t *v, const char *key)
{
    return v->kind == MO_PICKLE_TEXT && v->count == (int32_t)strlen(key) && memcmp(v->bytes, key, strlen(key)) == 0;
}

/* The two pickles behind the magic number. */
static moco_status_t read_preamble(sequence_t *s, mo_pickle_t *pickle)
{
    moco_status_t status = MOCO_OK;
    TRY(next_pickle(s, pickle));
    const mo_pickle_value_t *v = mo_pickle_root(pickle);
    if (v->kind != MO_PICKLE_INT || v->whole != 1001)
        TRY(mo_fail(MOCO_ERR_UNSUPPORTED, "%s: protocol of torch.save is not 1001", s->path));
    TRY(next_pickle(s, pickle));
    v = mo_pickle_root(pickle);
    for (int32_t i = 0; v->kind == MO_PICKLE_DICT && i + 1 < v->count; i += 2)
        if (is_key(mo_pickle_item(pickle, v, i), "little_endian") && mo_pickle_item(pickle, v, i + 1)->whole == 0)
            TRY(mo_fail(MOCO_ERR_UNSUPPORTED, "%s: its byte order is not little-endian", s->path));
cleanup:
    return status;
}

/* One place per key; two tensors may share a storage, but only as numbers of one type. */
static moco_status_t list_storages(sequence_t *s, const mo_pickle_t *pickle)
{
    moco_status_t status = mo_calloc((size_t)pickle->storage_count, sizeof *s->places, &s->places);
    int64_t kept = 0;
    if (status != MOCO_OK)
        return status;
    for (int64_t i = 0; i < pickle->storage_count; i++)
        s->places[i].storage = &pickle->storages[i];
    if (pickle->storage_count > 0)
        qsort(s->places, (size_t)pickle->storage_count, sizeof *s->places, by_key);
    for (int64_t i = 0; i < pickle->storage_count; i++) {
        if (kept == 0 || by_key(&s->places[kept - 1], &s->places[i]) != 0)
            s->places[kept++] = s->places[i];
        else if (s->places[kept - 1].storage->dtype != s->places[i].storage->dtype ||
                 s->places[kept - 1].storage->count != s->places[i].storage->count)
            return mo_fail(MOCO_ERR_FORMAT, "%s: a storage is told of with two types or lengths", s->path);
    }
    s->count = kept;
    return MOCO_OK;
}

static place_t *find_place(const sequence_t *s, const uint8_t *key, int32_t size)
{
    const mo_pickle_storage_t storage = {.key = key, .key_size = size};
    const place_t wanted = {.storage = &storage};
    return s->count > 0 ? bsearch(&wanted, s->places, (size_t)s->count, sizeof wanted, by_key) : NULL;
}

/* A count and the numbers of one storage, which begin at byte *at and end at the next one's. */
static moco_status_t read_storage(sequence_t *s, place_t *place, int32_t i, int32_t all, uint64_t *at)
{
    const uint64_t end = mo_source_size(s->source);
    uint64_t count, size;
    if (end - *at < 8)
        return mo_fail(MOCO_ERR_FORMAT, "%s: ends before storage %d of %d", s->path, (int)i, (int)all);
    moco_status_t status = mo_source_read(s->source, *at, 8, &count);
    if (status != MOCO_OK)
        return status;
    *at += 8;
    if (count != (uint64_t)place->storage->count)
        return mo_fail(MOCO_ERR_FORMAT, "%s: storage %d has %llu numbers, %lld were promised", s->path, (int)i,
                       (unsigned long long)count, (long long)place->storage->count);
    if (place->storage->item == 0)
        return mo_fail(MOCO_ERR_UNSUPPORTED, "%s: storage %d has numbers of a type of unknown size", s->path, (int)i);
    if (__builtin_mul_overflow(count, place->storage->item, &size) || size > end - *at)
        return mo_fail(MOCO_ERR_FORMAT,
                       "%s: ends inside storage %d of %d: %llu numbers of type %s claimed, %llu "
                       "bytes follow",
                       s->path, (int)i, (int)all, (unsigned long long)count, mo_dtype_name(place->storage->dtype),
                       (unsigned long long)(end - *at));
    place->at = *at;
    *at += size;
    return MOCO_OK;
}

/* The numbers follow behind the pickles, in the order of the list. */
static moco_status_t read_storages(sequence_t *s, const mo_pickle_t *keys)
{
    moco_status_t status = MOCO_OK;
    const mo_pickle_value_t *list = mo_pickle_root(keys);
    uint64_t at = (uint64_t)(s->at - s->pickles);
    if (list->kind != MO_PICKLE_LIST)
        return mo_fail(MOCO_ERR_FORMAT, "%s: has no list of storages", s->path);
    for (int32_t i = 0; i < list->count; i++) {
        const mo_pickle_value_t *key = mo_pickle_item(keys, list, i);
        place_t *place = key->kind == MO_PICKLE_TEXT ? find_place(s, key->bytes, key->count) : NULL;
        if (place == NULL || place->at != 0)
            return mo_fail(MOCO_ERR_FORMAT, "%s: storage %d of its list belongs to no tensor, or comes twice", s->path,
                           (int)i);
        TRY(read_storage(s, place, i, list->count, &at));
    }
cleanup:
    return status;
}

static moco_status_t locate_in_sequence(void *ctx, const mo_pickle_storage_t *storage, mo_torch_place_t *found)
{
    const sequence_t *s = ctx;
    const place_t *place = find_place(s, storage->key, storage->key_size);
    if (place == NULL || place->at == 0)
        return mo_fail(MOCO_ERR_FORMAT, "%s: the numbers of a tensor are missing", s->path);
    *found = (mo_torch_place_t){.at = place->at};
    return MOCO_OK;
}

/* The five pickles from the file's first `size` bytes. */
static moco_status_t try_pickles(sequence_t *s, uint64_t size, mo_pickle_t *object, mo_pickle_t *other)
{
    moco_status_t status = MOCO_OK;
    mo_free(s->pickles);
    s->pickles = NULL;
    TRY(mo_source_take(s->source, 0, size, &s->pickles));
    s->at = s->pickles;
    s->end = s->pickles + size;
    TRY(next_pickle(s, other));
    TRY(read_preamble(s, other));
    TRY(next_pickle(s, object));
    TRY(next_pickle(s, other));
cleanup:
    return status;
}

/* Where the pickles end is only known when they are read: where a small part of the file is not
 * enough, a large one is tried. */
static moco_status_t read_pickles(sequence_t *s, mo_pickle_t *object, mo_pickle_t *other)
{
    const uint64_t size = mo_source_size(s->source), most = size < MAX_PICKLES ? size : MAX_PICKLES;
    const uint64_t first = most < FIRST_PICKLES ? most : FIRST_PICKLES;
    const moco_status_t status = try_pickles(s, first, object, other);
    return status == MOCO_ERR_FORMAT && first < most ? try_pickles(s, most, object, other) : status;
}

static moco_status_t parse_sequence(sequence_t *s, mo_tensor_file_t *made)
{
    moco_status_t status = MOCO_OK;
    mo_pickle_t object = {0}, other = {0};
    made->container = MO_TORCH_LEGACY;
    TRY(read_pickles(s, &object, &other));
    object.at = (uint64_t)(object.bytes - s->pickles);
    TRY(list_storages(s, &object));
    TRY(read_storages(s, &other));
    TRY(mo_torch_names(made, &object, s->source, locate_in_sequence, s));
cleanup:
    mo_pickle_free(&object);
    mo_pickle_free(&other);
    return status;
}

/* ---- plain ---- */

/* Arrays lie inside the pickle: all of it is read, as much as the file is. */
static moco_status_t parse_plain(sequence_t *s, mo_tensor_file_t *made)
{
    moco_status_t status = MOCO_OK;
    mo_pickle_t pickle = {0};
    const uint64_t size = mo_source_size(s->source);
    made->container = MO_PLAIN_PICKLE;
    if (size > MAX_PLAIN)
        TRY(mo_fail(MOCO_ERR_UNSUPPORTED, "%s: a plain pickle of %llu bytes, at most %llu are read", s->path,
                    (unsigned long long)size, (unsigned long long)MAX_PLAIN));
    TRY(mo_headroom_check(MOCO_ERR_MEMORY, "a plain pickle, which is read as a whole, needs", size, ""));
    TRY(mo_source_take(s->source, 0, size, &s->pickles));
    s->at = s->pickles;
    s->end = s->pickles + size;
    TRY(next_pickle(s, &pickle));
    TRY(mo_torch_names(made, &pickle, s->source, locate_in_sequence, s));
    if (made->count == 0)
        TRY(mo_fail(MOCO_ERR_FORMAT,
                    "%s: is a pickle without NumPy arrays, and not one of torch.save: its magic number is missing",
                    s->path));
cleanup:
    mo_pickle_free(&pickle);
    return status;
}

/* Whether torch.save's magic number is the file's first pickle, whatever its protocol. */
static moco_status_t find_magic(const mo_source_t *source, int *found)
{
    static const uint8_t magic[10] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
    moco_status_t status = MOCO_OK;
    uint8_t head[32];
    const uint64_t size = mo_source_size(source) < sizeof head ? mo_source_size(source) : sizeof head;
    mo_pickle_t first = {0};
    uint64_t used;
    *found = 0;
    TRY(mo_source_read(source, 0, size, head));
    status = mo_pickle_read(&first, head, size, mo_source_path(source), &used);
    if (status == MOCO_OK) {
        const mo_pickle_value_t *v = mo_pickle_root(&first);
        *found = v->kind == MO_PICKLE_BIG && v->count == sizeof magic && memcmp(v->bytes, magic, sizeof magic) == 0;
    }
    if (status != MOCO_ERR_MEMORY) /* what does not end here is another pickle */
        status = MOCO_OK;
cleanup:
    mo_pickle_free(&first);
    return status;
}

moco_status_t mo_torch_legacy_parse(mo_tensor_file_t *file, const mo_source_t *source)
{
    moco_status_t status = MOCO_OK;
    sequence_t s = {.source = source, .path = mo_source_path(source)};
    mo_tensor_file_t made = {0};
    int is_sequence = 0;
    TRY(find_magic(source, &is_sequence));
    TRY(is_sequence ? parse_sequence(&s, &made) : parse_plain(&s, &made));
    *file = made;
    made = (mo_tensor_file_t){0};
cleanup:
    mo_tensor_file_close(&made);
    mo_free(s.places);
    mo_free(s.pickles);
    return status;
}
