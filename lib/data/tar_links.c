/* Names that come again in an archive, and links between its members; see tar_links.h. */
#include "data/tar_links.h"

#include <string.h>

#define MAX_LINKS 16 /* from one to the next */

void mo_tar_join_target(const char *member, const char *target, char *out)
{
    size_t length = 0;
    const char *slash = strrchr(member, '/');
    if (slash != NULL && target[0] != '/') {
        length = (size_t)(slash - member);
        memcpy(out, member, length);
    }
    for (const char *part = target; *part != '\0';) {
        const size_t size = strcspn(part, "/");
        if (size == 2 && memcmp(part, "..", 2) == 0) {
            while (length > 0 && out[--length] != '/') {
            }
        } else if (size > 0 && !(size == 1 && *part == '.')) {
            if (length > 0)
                out[length++] = '/';
            memcpy(out + length, part, size);
            length += size;
        }
        part += size;
        part += *part == '/';
    }
    out[length] = '\0';
}

/* A later member of the same name replaces the earlier one, as when archives are unpacked. */
static void keep_last_of_each(mo_listing_t *listing)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < listing->count; i++) {
        const mo_entry_t entry = listing->entries[i];
        const char *name = listing->text + entry.name;
        if (kept > 0 && strcmp(name, listing->text + listing->entries[kept - 1].name) == 0)
            kept--;
        listing->entries[kept++] = entry;
    }
    listing->count = kept;
}

static const mo_entry_t *find(const mo_listing_t *listing, const char *name)
{
    for (int64_t low = 0, high = listing->count; low < high;) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(name, listing->text + listing->entries[middle].name);
        if (order == 0)
            return &listing->entries[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* Links take the place of what they lead to; those that lead nowhere stay links and are broken
 * images. */
static void resolve_links(mo_listing_t *listing)
{
    for (int64_t i = 0; i < listing->count; i++) {
        const mo_entry_t *target = &listing->entries[i];
        for (int hops = 0; hops < MAX_LINKS && target != NULL && target->kind == MO_ENTRY_LINK; hops++)
            target = find(listing, listing->text + target->target);
        if (target == NULL || target->kind != MO_ENTRY_FILE || target == &listing->entries[i])
            continue;
        listing->entries[i].member = target->member;
        listing->entries[i].kind = MO_ENTRY_FILE;
    }
}

void mo_tar_resolve(mo_listing_t *listing)
{
    keep_last_of_each(listing);
    resolve_links(listing);
}
