/* Counting by the ending of the name, and by first bytes where that says nothing; see
 * left_out.h. */
#include "data/left_out.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* clang-format off */
static const char *const pictures[] = {
    "png", "webp", "gif", "bmp", "tif", "tiff", "heic", "heif", "avif", "jxl", "jp2", "j2k", "jpe", "jfif", "jfi", "jif",
    "pjpeg", "pjp", "ppm", "pgm", "pbm", "pnm", "tga", "ico", "svg", "psd", "exr", "hdr", "qoi", "dng", "cr2", "cr3", "nef",
    "arw", "orf", "rw2", "raf", "dcm", "mpo",
};
static const char *const no_pictures[] = {
    "txt", "json", "jsonl", "csv", "tsv", "md", "xml", "html", "htm", "yml", "yaml", "toml", "ini", "cls", "npy", "npz", "pt",
    "pth", "pkl", "mat", "h5", "safetensors", "py", "sh", "c", "h", "log", "db", "lst", "list", "rec", "idx", "zip", "gz",
    "tgz", "xz", "zst", "bz2", "7z", "rar", "tar", "mp4", "mov", "avi", "mkv", "webm", "mp3", "wav", "pdf", "doc", "docx",
    "xmp", "part", "tmp", "bak",
};
/* clang-format on */

static int is_among(const char *ending, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(ending + 1, list[i]) == 0)
            return 1;
    return 0;
}

/* ".png" of "a/b.PNG"; "" where there is none, or one that no format would have. */
static void ending_of(const char *name, char ending[12])
{
    const char *slash = strrchr(name, '/'), *dot = strrchr(slash == NULL ? name : slash + 1, '.');
    const size_t length = dot == NULL ? 0 : strlen(dot);
    ending[0] = '\0';
    if (length < 2 || length >= 12)
        return;
    for (size_t i = 1; i < length; i++)
        if (!isalnum((unsigned char)dot[i]))
            return;
    for (size_t i = 0; i <= length; i++)
        ending[i] = (char)tolower((unsigned char)dot[i]);
}

mo_left_out_kind_t *mo_left_out_add(mo_left_out_t *left, const char *name)
{
    char ending[12];
    ending_of(name, ending);
    for (int32_t i = 0; i < left->kind_count; i++)
        if (strcmp(left->kinds[i].ending, ending) == 0) {
            left->kinds[i].count++;
            return &left->kinds[i];
        }
    if (left->kind_count == MO_LEFT_OUT_KINDS) {
        left->others++;
        return NULL;
    }
    mo_left_out_kind_t *kind = &left->kinds[left->kind_count++];
    *kind = (mo_left_out_kind_t){.count = 1};
    memcpy(kind->ending, ending, sizeof ending);
    kind->is_image = ending[0] != '\0' && is_among(ending, pictures, sizeof pictures / sizeof pictures[0]);
    return kind;
}

int mo_left_out_wants_look(const mo_left_out_kind_t *kind)
{
    if (kind == NULL || kind->is_image || kind->looks >= MO_LEFT_OUT_LOOKS)
        return 0;
    return kind->ending[0] == '\0' || !is_among(kind->ending, no_pictures, sizeof no_pictures / sizeof no_pictures[0]);
}

void mo_left_out_look(mo_left_out_kind_t *kind, const uint8_t *first, uint64_t size)
{
    const mo_file_kind_t *found = mo_file_kind(first, size);
    kind->looks++;
    if (found == NULL || found->group != MO_FILE_IMAGE)
        return;
    kind->is_image = 1;
    kind->what = found->what;
}

int64_t mo_left_out_images(const mo_left_out_t *left)
{
    int64_t count = 0;
    for (int32_t i = 0; i < left->kind_count; i++)
        count += left->kinds[i].is_image ? left->kinds[i].count : 0;
    return count;
}

void mo_left_out_name(const mo_left_out_kind_t *kind, char *text, size_t capacity)
{
    const char *ending = kind->ending[0] == '\0' ? "no ending" : kind->ending;
    if (kind->what == NULL)
        snprintf(text, capacity, "%s", ending);
    else
        snprintf(text, capacity, "%s (%s)", ending, kind->what);
}

void mo_left_out_order(const mo_left_out_t *left, int32_t order[MO_LEFT_OUT_KINDS])
{
    for (int32_t i = 0; i < left->kind_count; i++) {
        int32_t at = i;
        for (; at > 0 && left->kinds[order[at - 1]].count < left->kinds[i].count; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

void mo_left_out_text(const mo_left_out_t *left, int images, char text[MO_LEFT_OUT_TEXT])
{
    int32_t order[MO_LEFT_OUT_KINDS];
    size_t used = 0;
    text[0] = '\0';
    mo_left_out_order(left, order);
    for (int32_t i = 0; i < left->kind_count; i++) {
        const mo_left_out_kind_t *kind = &left->kinds[order[i]];
        char name[48];
        if (images && !kind->is_image)
            continue;
        mo_left_out_name(kind, name, sizeof name);
        const int length = snprintf(text + used, MO_LEFT_OUT_TEXT - used, "%s%s %lld", used > 0 ? ", " : "", name,
                                    (long long)kind->count);
        if ((size_t)length >= MO_LEFT_OUT_TEXT - used) { /* the most frequent are named */
            text[used] = '\0';
            break;
        }
        used += (size_t)length;
    }
    if (!images && left->others > 0 && used + 32 < MO_LEFT_OUT_TEXT)
        snprintf(text + used, MO_LEFT_OUT_TEXT - used, ", others %lld", (long long)left->others);
}
