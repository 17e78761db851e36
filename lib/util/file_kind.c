/* The table of first bytes, and how text is told from everything else; see file_kind.h. */
#include "util/file_kind.h"

#include <string.h>
#include <strings.h>

#include "util/printable.h"

typedef struct magic {
    mo_file_kind_t kind;
    uint32_t offset, length;
    const char *bytes;
} magic_t;

/* clang-format off */
/* The first that fits is taken, so longer ones stand before shorter ones. */
static const magic_t magics[] = {
    {{"a JPEG file", MO_FILE_IMAGE}, 0, 3, "\xff\xd8\xff"},
    {{"a PNG file", MO_FILE_IMAGE}, 0, 8, "\x89PNG\r\n\x1a\n"},
    {{"a WebP file", MO_FILE_IMAGE}, 8, 4, "WEBP"},
    {{"a GIF file", MO_FILE_IMAGE}, 0, 4, "GIF8"},
    {{"a TIFF file", MO_FILE_IMAGE}, 0, 4, "II*\0"},
    {{"a TIFF file", MO_FILE_IMAGE}, 0, 4, "MM\0*"},
    {{"a TIFF file", MO_FILE_IMAGE}, 0, 4, "II+\0"},
    {{"a TIFF file", MO_FILE_IMAGE}, 0, 4, "MM\0+"},
    {{"an AVIF file", MO_FILE_IMAGE}, 4, 8, "ftypavif"},
    {{"an AVIF file", MO_FILE_IMAGE}, 4, 8, "ftypavis"},
    {{"a HEIF file", MO_FILE_IMAGE}, 4, 7, "ftyphei"},
    {{"a HEIF file", MO_FILE_IMAGE}, 4, 7, "ftyphev"},
    {{"a HEIF file", MO_FILE_IMAGE}, 4, 8, "ftypmif1"},
    {{"a HEIF file", MO_FILE_IMAGE}, 4, 8, "ftypmsf1"},
    {{"a raw photograph", MO_FILE_IMAGE}, 4, 7, "ftypcrx"},
    {{"a raw photograph", MO_FILE_IMAGE}, 0, 8, "FUJIFILM"},
    {{"a video", MO_FILE_VIDEO}, 4, 4, "ftyp"},
    {{"a video", MO_FILE_VIDEO}, 8, 4, "AVI "},
    {{"a video", MO_FILE_VIDEO}, 0, 4, "\x1a\x45\xdf\xa3"},
    {{"a sound", MO_FILE_VIDEO}, 8, 4, "WAVE"},
    {{"a JPEG XL file", MO_FILE_IMAGE}, 0, 12, "\0\0\0\x0cJXL \r\n\x87\n"},
    {{"a JPEG XL file", MO_FILE_IMAGE}, 0, 2, "\xff\x0a"},
    {{"a JPEG 2000 file", MO_FILE_IMAGE}, 0, 12, "\0\0\0\x0cjP  \r\n\x87\n"},
    {{"a JPEG 2000 file", MO_FILE_IMAGE}, 0, 4, "\xff\x4f\xff\x51"},
    {{"an OpenEXR file", MO_FILE_IMAGE}, 0, 4, "v/1\x01"},
    {{"a Photoshop file", MO_FILE_IMAGE}, 0, 4, "8BPS"},
    {{"a QOI file", MO_FILE_IMAGE}, 0, 4, "qoif"},
    {{"an icon", MO_FILE_IMAGE}, 0, 4, "\0\0\1\0"},
    {{"a DICOM file", MO_FILE_IMAGE}, 128, 4, "DICM"},
    {{"a FITS file", MO_FILE_IMAGE}, 0, 9, "SIMPLE  ="},
    {{"a gzip file", MO_FILE_COMPRESSED}, 0, 2, "\x1f\x8b"},
    {{"an xz file", MO_FILE_COMPRESSED}, 0, 6, "\xfd" "7zXZ\0"},
    {{"a zstd file", MO_FILE_COMPRESSED}, 0, 4, "\x28\xb5\x2f\xfd"},
    {{"a bzip2 file", MO_FILE_COMPRESSED}, 0, 3, "BZh"},
    {{"an lz4 file", MO_FILE_COMPRESSED}, 0, 4, "\x04\x22\x4d\x18"},
    {{"a zip file", MO_FILE_COMPRESSED}, 0, 4, "PK\3\4"},
    {{"a zip file", MO_FILE_COMPRESSED}, 0, 4, "PK\5\6"},
    {{"a 7z file", MO_FILE_COMPRESSED}, 0, 6, "7z\xbc\xaf\x27\x1c"},
    {{"a rar file", MO_FILE_COMPRESSED}, 0, 4, "Rar!"},
    {{"a tar archive", MO_FILE_TAR}, 257, 5, "ustar"},
    {{MO_WHAT_NPY, MO_FILE_TENSORS}, 0, 6, "\x93NUMPY"},
    {{"an HDF5 file", MO_FILE_TENSORS}, 0, 8, "\x89HDF\r\n\x1a\n"},
    {{"a GGUF file", MO_FILE_TENSORS}, 0, 4, "GGUF"},
    {{"a TensorFlow Lite file", MO_FILE_TENSORS}, 4, 4, "TFL3"},
    {{"a Parquet file", MO_FILE_TENSORS}, 0, 4, "PAR1"},
    {{"an Arrow file", MO_FILE_TENSORS}, 0, 6, "ARROW1"},
    {{"a MATLAB file", MO_FILE_TENSORS}, 0, 6, "MATLAB"},
    {{"an SQLite database", MO_FILE_TENSORS}, 0, 15, "SQLite format 3"},
    {{"a text in UTF-16", MO_FILE_DOCUMENT}, 0, 2, "\xff\xfe"},
    {{"a text in UTF-16", MO_FILE_DOCUMENT}, 0, 2, "\xfe\xff"},
    {{"a program", MO_FILE_OTHER}, 0, 4, "\x7f" "ELF"},
};
/* Of texts, after a byte order mark and white space; letters of either case. */
static const struct {
    mo_file_kind_t kind;
    const char *begins;
} texts[] = {
    {{"a git-lfs pointer to the file, not the file itself (git lfs pull fetches it)", MO_FILE_POINTER},
     "version https://git-lfs.github.com/spec/"},
    {{"a web page", MO_FILE_DOCUMENT}, "<!doctype html"},
    {{"a web page", MO_FILE_DOCUMENT}, "<html"},
    {{"a web page", MO_FILE_DOCUMENT}, "<head"},
    {{"an SVG file", MO_FILE_IMAGE}, "<svg"},
    {{"an XML file", MO_FILE_DOCUMENT}, "<?xml"},
    {{"a PDF file", MO_FILE_DOCUMENT}, "%pdf-"},
    {{"a PostScript file", MO_FILE_DOCUMENT}, "%!ps"},
    {{"an XML file", MO_FILE_DOCUMENT}, "<!doctype"},
    {{"a JSON file", MO_FILE_DOCUMENT}, "{\""},
    {{"a JSON file", MO_FILE_DOCUMENT}, "[{"},
    {{"a JSON file", MO_FILE_DOCUMENT}, "[\""},
};
/* clang-format on */

static const mo_file_kind_t bitmap = {"a BMP file", MO_FILE_IMAGE}, netpbm = {"a Netpbm file", MO_FILE_IMAGE},
                            safetensors = {MO_WHAT_SAFETENSORS, MO_FILE_TENSORS},
                            protobuf = {"a model of ONNX or TensorFlow", MO_FILE_TENSORS},
                            pickle = {"a Python pickle", MO_FILE_TENSORS},
                            old_pickle = {"a Python pickle of protocol 0 or 1, wanted protocol 2 to 5",
                                          MO_FILE_TENSORS},
                            text = {"a text", MO_FILE_TEXT}, json = {"a JSON file", MO_FILE_DOCUMENT},
                            zeros = {"a file of zero bytes", MO_FILE_OTHER};

static int is_space(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static int is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* Kinds whose first bytes are too few to tell them alone. */
static const mo_file_kind_t *by_structure(const uint8_t *first, uint64_t size)
{
    /* First: the length of a header may begin like the name of another kind. It is below 2^40. */
    if (size >= 9 && first[8] == '{' && memcmp(first + 5, "\0\0\0", 3) == 0)
        return &safetensors;
    if (size >= 10 && memcmp(first, "BM", 2) == 0 && memcmp(first + 6, "\0\0\0\0", 4) == 0)
        return &bitmap;
    if (size >= 3 && first[0] == 'P' && first[1] >= '1' && first[1] <= '7' && is_space(first[2]))
        return &netpbm;
    if (size >= 2 && first[0] == 0x80 && first[1] >= 2 && first[1] <= 5)
        return &pickle;
    if (size >= 5 && first[0] == '(' && (first[1] == 'd' || first[1] == 'l') && first[2] == 'p' && is_digit(first[3]))
        return &old_pickle; /* a dictionary or a list and its number in the memo */
    if (size >= 4 && (first[0] == '}' || first[0] == ']') && first[1] == 'q' && first[2] == 0)
        return &old_pickle;
    if (size >= 13 && memcmp(first, "ccollections\n", 13) == 0)
        return &old_pickle;
    if (size >= 4 && first[0] == 8 && first[1] > 0 && first[1] < 64 && first[2] == 0x12) /* a version, then a block */
        return &protobuf;
    return NULL;
}

static int is_all_zero(const uint8_t *first, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        if (first[i] != 0)
            return 0;
    return size > 0;
}

/* No control characters but white space. Bytes beyond ASCII may be of any encoding of one byte a
 * letter, so they must only be few, or valid UTF-8. */
static int is_text(const uint8_t *first, uint64_t size)
{
    uint64_t foreign = 0;
    for (uint64_t i = 0; i < size;) {
        const uint64_t length = mo_utf8_length((const char *)first + i, size - i);
        if (first[i] < ' ' && !is_space(first[i]))
            return 0;
        foreign += length == 0;
        i += length == 0 ? 1 : length;
    }
    return foreign <= size / 8;
}

/* By the words that a text begins with; NULL where they say nothing. */
static const mo_file_kind_t *by_words(const uint8_t *first, uint64_t size)
{
    const uint8_t *end = first + size;
    if (size >= 3 && memcmp(first, "\xef\xbb\xbf", 3) == 0)
        first += 3;
    while (first < end && is_space(*first))
        first++;
    const size_t left = (size_t)(end - first);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const size_t length = strlen(texts[i].begins);
        if (left >= length && strncasecmp((const char *)first, texts[i].begins, length) == 0)
            return &texts[i].kind;
    }
    if (left >= 2 && *first == '{') { /* an object that is laid out over lines */
        const uint8_t *next = first + 1;
        while (next < end && is_space(*next))
            next++;
        if (next < end && (*next == '"' || *next == '}'))
            return &json;
    }
    return NULL;
}

static uint64_t looked_at(uint64_t size)
{
    return size < MO_FILE_KIND_BYTES ? size : MO_FILE_KIND_BYTES;
}

const mo_file_kind_t *mo_file_kind(const uint8_t *first, uint64_t size)
{
    if (first == NULL || size == 0)
        return NULL;
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++)
        if (size >= (uint64_t)magics[i].offset + magics[i].length &&
            memcmp(first + magics[i].offset, magics[i].bytes, magics[i].length) == 0)
            return &magics[i].kind;
    const uint64_t looked = looked_at(size);
    const mo_file_kind_t *kind = by_structure(first, size);
    if (kind == NULL)
        kind = by_words(first, looked);
    if (kind == NULL && is_all_zero(first, looked))
        kind = &zeros;
    if (kind == NULL && is_text(first, looked))
        kind = &text;
    return kind;
}

const mo_file_kind_t *mo_file_kind_of_text(const uint8_t *first, uint64_t size)
{
    if (first == NULL || size == 0 || !is_text(first, looked_at(size)))
        return mo_file_kind(first, size);
    const mo_file_kind_t *kind = by_words(first, looked_at(size));
    return kind == NULL ? &text : kind;
}
