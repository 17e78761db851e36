/* util/file_kind: files are told by their first bytes, and a list is never taken for a picture
 * because of the name that it begins with. */
#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/file_kind.h"

typedef struct example {
    const char *bytes;
    size_t size;
    const char *what; /* NULL: of no known kind */
    int32_t group;
} example_t;

#define E(text) text, sizeof(text) - 1

static const example_t examples[] = {
    {E("\xff\xd8\xff\xe0"), "a JPEG file", MO_FILE_IMAGE},
    {E("\x89PNG\r\n\x1a\n...."), "a PNG file", MO_FILE_IMAGE},
    {E("RIFF\1\2\3\4WEBPVP8 "), "a WebP file", MO_FILE_IMAGE},
    {E("GIF89a"), "a GIF file", MO_FILE_IMAGE},
    {E("BM\1\1\1\1\0\0\0\0\x36"), "a BMP file", MO_FILE_IMAGE},
    {E("MM\0*\0\0\0\10"), "a TIFF file", MO_FILE_IMAGE},
    {E("\0\0\0\x18"
       "ftypheic"),
     "a HEIF file", MO_FILE_IMAGE},
    {E("\0\0\0\x18"
       "ftypmp42"),
     "a video", MO_FILE_VIDEO},
    {E("\0\0\0\x18"
       "ftypmif1"),
     "a HEIF file", MO_FILE_IMAGE},
    {E("\0\0\0\x18"
       "ftypmif2"),
     "a video", MO_FILE_VIDEO},
    {E("P6\n2 2\n255\n............"), "a Netpbm file", MO_FILE_IMAGE},
    {E("P6\r2 2"), "a Netpbm file", MO_FILE_IMAGE},
    {E("PK\3\4...."), "a zip file", MO_FILE_COMPRESSED},
    {E("\x1f\x8b\x08"), "a gzip file", MO_FILE_COMPRESSED},
    {E("\x93NUMPY\1\0"), "a NumPy file", MO_FILE_TENSORS},
    {E("\x40\0\0\0\0\0\0\0{\"a\":"), "a safetensors file", MO_FILE_TENSORS},
    {E("\x80\2}q\0."), "a Python pickle", MO_FILE_TENSORS},
    {E("(dp0\nVa\np1\nI"), "a Python pickle of protocol 0 or 1, wanted protocol 2 to 5", MO_FILE_TENSORS},
    {E("]q\0(K\1K\2e."), "a Python pickle of protocol 0 or 1, wanted protocol 2 to 5", MO_FILE_TENSORS},
    {E("ccollections\nOrderedDict\nq\0"), "a Python pickle of protocol 0 or 1, wanted protocol 2 to 5",
     MO_FILE_TENSORS},
    {E("(draft)\na/1.jpg\n"), "a text", MO_FILE_TEXT},
    {E("\x1c\0\0\0TFL3"), "a TensorFlow Lite file", MO_FILE_TENSORS},
    {E("\x1c\0\0\0TFL2"), NULL, 0},
    {E("\x08\x07\x12\x07"), "a model of ONNX or TensorFlow", MO_FILE_TENSORS},
    {E("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 132735\n"),
     "a git-lfs pointer to the file, not the file itself (git lfs pull fetches it)", MO_FILE_POINTER},
    {E("\xef\xbb\xbf\n <!DOCTYPE HTML>"), "a web page", MO_FILE_DOCUMENT},
    {E("<HTML><body>"), "a web page", MO_FILE_DOCUMENT},
    {E("<?xml version=\"1.0\"?>"), "an XML file", MO_FILE_DOCUMENT},
    {E("{\n  \"message\": \"Not Found\"\n}"), "a JSON file", MO_FILE_DOCUMENT},
    {E("%PDF-1.4\n%\xe2\xe3\xcf\xd3"), "a PDF file", MO_FILE_DOCUMENT},
    {E("\xff\xfe"
       "a\0"),
     "a text in UTF-16", MO_FILE_DOCUMENT},
    {E("Access denied\n"), "a text", MO_FILE_TEXT},
    {E("Access denied\r\n"), "a text", MO_FILE_TEXT},
    {E("caf\xc3\xa9/1.jpg\n"), "a text", MO_FILE_TEXT},
    {E("caf\xe9/1.jpg\n"), "a text", MO_FILE_TEXT},
    {E("\0\0\0\0\0\0\0\0\0\0\0\0"), "a file of zero bytes", MO_FILE_OTHER},
    {E("\x89PN"), NULL, 0},
    {E("\1\2\3\4"), NULL, 0},
    {"", 0, NULL, 0},
};
enum { EXAMPLES = sizeof examples / sizeof examples[0] };

START_TEST(first_bytes)
{
    const example_t *e = &examples[_i];
    uint8_t *exact = malloc(e->size > 0 ? e->size : 1); /* so that a sanitizer sees a byte too many */
    memcpy(exact, e->bytes, e->size);
    const mo_file_kind_t *kind = mo_file_kind(exact, e->size);
    if (e->what == NULL) {
        ck_assert_msg(kind == NULL, "taken for %s", kind == NULL ? "" : kind->what);
    } else {
        ck_assert_msg(kind != NULL, "not taken for %s", e->what);
        ck_assert_str_eq(kind->what, e->what);
        ck_assert_int_eq(kind->group, e->group);
    }
    for (size_t size = 0; size < e->size; size++) { /* cut anywhere: no read beyond */
        uint8_t *cut = malloc(size > 0 ? size : 1);
        memcpy(cut, e->bytes, size);
        mo_file_kind(cut, size);
        mo_file_kind_of_text(cut, size);
        free(cut);
    }
    free(exact);
}
END_TEST

START_TEST(tar_by_its_mark)
{
    uint8_t header[512] = "a/1.jpg";
    memcpy(header + 257, "ustar", 5);
    ck_assert_int_eq(mo_file_kind(header, sizeof header)->group, MO_FILE_TAR);
}
END_TEST

START_TEST(names_in_lists_are_no_first_bytes)
{
    static const char *const lists[] = {"GIF8/1.jpg\n", "MATLAB/1.jpg\n", "BZh/1.jpg\n", "GGUF/x.jpg\nqoif/x.jpg\n"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const mo_file_kind_t *kind = mo_file_kind_of_text((const uint8_t *)lists[i], strlen(lists[i]));
        ck_assert_str_eq(kind->what, "a text");
    }
    const char *page = "<html>\n";
    ck_assert_str_eq(mo_file_kind_of_text((const uint8_t *)page, strlen(page))->what, "a web page");
    ck_assert_str_eq(mo_file_kind_of_text((const uint8_t *)"\x1f\x8b\x08\0", 4)->what, "a gzip file");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("file_kind");
    TCase *tcase = tcase_create("file_kind");
    tcase_add_loop_test(tcase, first_bytes, 0, EXAMPLES);
    tcase_add_test(tcase, tar_by_its_mark);
    tcase_add_test(tcase, names_in_lists_are_no_first_bytes);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
