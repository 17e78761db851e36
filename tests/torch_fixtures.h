/* Files as torch.save writes them, put together byte by byte: pickles of protocol 2, zip archives,
 * the older sequence. */
#ifndef TORCH_FIXTURES_H
#define TORCH_FIXTURES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct buffer {
    uint8_t *bytes;
    uint64_t size;
} buffer_t;

static void put(buffer_t *b, const void *bytes, uint64_t size)
{
    b->bytes = realloc(b->bytes, b->size + size + 1);
    if (size > 0)
        memcpy(b->bytes + b->size, bytes, size);
    b->size += size;
}

static void put_number(buffer_t *b, uint64_t number, int width)
{
    put(b, &number, (uint64_t)width);
}

static inline void put_string(buffer_t *b, const char *text)
{
    put(b, text, strlen(text));
}

static inline void put_zeros(buffer_t *b, int count)
{
    static const uint8_t zeros[16];
    put(b, zeros, (uint64_t)count);
}

/* ---- pickles ---- */

static void put_text(buffer_t *b, const char *text)
{
    put(b, "X", 1);
    put_number(b, strlen(text), 4);
    put(b, text, strlen(text));
}

static void put_whole(buffer_t *b, int64_t number)
{
    put(b, "\x8a\x08", 2);
    put_number(b, (uint64_t)number, 8);
}

static void put_global(buffer_t *b, const char *module, const char *name)
{
    put(b, "c", 1);
    put_string(b, module);
    put(b, "\n", 1);
    put_string(b, name);
    put(b, "\n", 1);
}

static void put_wholes(buffer_t *b, int count, const int64_t *numbers)
{
    put(b, "(", 1);
    for (int i = 0; i < count; i++)
        put_whole(b, numbers[i]);
    put(b, "t", 1);
}

typedef struct fixture_tensor {
    const char *name, *class, *key; /* "FloatStorage" */
    int64_t numbers;                /* of the storage */
    int64_t offset;
    int rank;
    int64_t dims[9], strides[9];
} fixture_tensor_t;

static void put_storage(buffer_t *b, const char *class, const char *key, int64_t numbers, int legacy)
{
    put(b, "(", 1);
    put_text(b, "storage");
    put_global(b, "torch", class);
    put_text(b, key);
    put_text(b, "cpu");
    put_whole(b, numbers);
    put(b, legacy ? "Nt" : "t", legacy ? 2 : 1);
    put(b, "Q", 1);
}

static void put_tensor(buffer_t *b, const fixture_tensor_t *t, int legacy)
{
    put_global(b, "torch._utils", "_rebuild_tensor_v2");
    put(b, "(", 1);
    put_storage(b, t->class, t->key, t->numbers, legacy);
    put_whole(b, t->offset);
    put_wholes(b, t->rank, t->dims);
    put_wholes(b, t->rank, t->strides);
    put(b, "\x89", 1);
    put_global(b, "collections", "OrderedDict");
    put(b, ")RtR", 4);
}

/* {name: tensor, …}, without the stop. */
static inline void put_state_dict(buffer_t *b, const fixture_tensor_t *tensors, int count, int legacy)
{
    put_global(b, "collections", "OrderedDict");
    put(b, ")R(", 3);
    for (int i = 0; i < count; i++) {
        put_text(b, tensors[i].name);
        put_tensor(b, &tensors[i], legacy);
    }
    put(b, "u", 1);
}

/* ---- archives ---- */

typedef struct fixture_member {
    const char *name;
    const void *bytes;
    uint64_t size;
} fixture_member_t;

enum {
    FIXTURE_WIDE = 1, /* sizes and offsets in the 64-bit fields */
    FIXTURE_SUMS = 2  /* with checksums; else they are 0        */
};

/* CRC-32, bit by bit. */
static inline uint32_t crc_of(const void *bytes, uint64_t size)
{
    uint32_t sum = UINT32_MAX;
    for (uint64_t i = 0; i < 8 * size; i++) {
        const uint32_t bit = (((const uint8_t *)bytes)[i / 8] >> i % 8 ^ sum) & 1;
        sum = sum >> 1 ^ (bit ? 0xedb88320u : 0);
    }
    return ~sum;
}

static inline buffer_t make_zip(const fixture_member_t *members, int count, int flags)
{
    buffer_t b = {0}, directory = {0};
    int wide = flags & FIXTURE_WIDE;
    for (int i = 0; i < count; i++) {
        uint64_t at = b.size, length = strlen(members[i].name), size = members[i].size;
        const uint32_t sum = flags & FIXTURE_SUMS ? crc_of(members[i].bytes, size) : 0;
        put(&b, "PK\3\4", 4);
        put_zeros(&b, 10); /* version, flags, method, time, date */
        put_number(&b, sum, 4);
        put_number(&b, size, 4);
        put_number(&b, size, 4);
        put_number(&b, length, 2);
        put_number(&b, 5, 2); /* an extra field that aligns */
        put(&b, members[i].name, length);
        put(&b, "FB\1\0Z", 5);
        put(&b, members[i].bytes, size);
        put(&directory, "PK\1\2", 4);
        put_number(&directory, 0, 8); /* versions, flags, method */
        put_number(&directory, 0, 4); /* time, date */
        put_number(&directory, sum, 4);
        put_number(&directory, wide ? UINT32_MAX : size, 4);
        put_number(&directory, wide ? UINT32_MAX : size, 4);
        put_number(&directory, length, 2);
        put_number(&directory, wide ? 28 : 0, 2);
        put_number(&directory, 0, 8); /* comment, disk, attributes */
        put_number(&directory, 0, 2);
        put_number(&directory, wide ? UINT32_MAX : at, 4);
        put(&directory, members[i].name, length);
        if (wide) {
            put_number(&directory, 1, 2);
            put_number(&directory, 24, 2);
            put_number(&directory, size, 8);
            put_number(&directory, size, 8);
            put_number(&directory, at, 8);
        }
    }
    uint64_t first = b.size;
    put(&b, directory.bytes, directory.size);
    if (wide) {
        uint64_t end = b.size;
        put(&b, "PK\6\6", 4);
        put_number(&b, 44, 8);
        put_number(&b, 0, 8); /* versions */
        put_number(&b, 0, 4);
        put_number(&b, (uint64_t)count, 8);
        put_number(&b, (uint64_t)count, 8);
        put_number(&b, directory.size, 8);
        put_number(&b, first, 8);
        put(&b, "PK\6\7", 4);
        put_number(&b, 0, 4);
        put_number(&b, end, 8);
        put_number(&b, 1, 4);
    }
    put(&b, "PK\5\6", 4);
    put_number(&b, 0, 4);
    put_number(&b, wide ? UINT16_MAX : (uint64_t)count, 2);
    put_number(&b, wide ? UINT16_MAX : (uint64_t)count, 2);
    put_number(&b, wide ? UINT32_MAX : directory.size, 4);
    put_number(&b, wide ? UINT32_MAX : first, 4);
    put_number(&b, 0, 2);
    free(directory.bytes);
    return b;
}

/* ---- the older sequence ---- */

typedef struct fixture_storage {
    const char *key;
    const void *bytes;
    int64_t numbers;
    uint64_t size;
} fixture_storage_t;

static inline buffer_t make_legacy(const buffer_t *object, const fixture_storage_t *storages, int count)
{
    buffer_t b = {0};
    put(&b,
        "\x80\x02\x8a\x0al\xfc\x9c"
        "F\xf9 j\xa8P\x19.",
        15);
    put(&b, "\x80\x02M\xe9\x03.", 6);
    put(&b, "\x80\x02}", 3);
    put_text(&b, "little_endian");
    put(&b, "\x88s.", 3);
    put(&b, object->bytes, object->size);
    put(&b, "\x80\x02](", 4);
    for (int i = 0; i < count; i++)
        put_text(&b, storages[i].key);
    put(&b, "e.", 2);
    for (int i = 0; i < count; i++) {
        put_number(&b, (uint64_t)storages[i].numbers, 8);
        put(&b, storages[i].bytes, storages[i].size);
    }
    return b;
}

#endif
