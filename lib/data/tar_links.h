/* Links of an archive, and names that come again. Called by tar.c. */
#ifndef MO_DATA_TAR_LINKS_H
#define MO_DATA_TAR_LINKS_H

#include "data/listing.h"

/* A symbolic link's target as a path of the archive: joined to the link's folder, "." and ".."
 * worked off. `out` has room for both and three bytes. */
void mo_tar_join_target(const char *member, const char *target, char *out);
/* In a listing that is sorted: a later member of a name replaces earlier ones, and links take the
 * place of what they lead to. */
void mo_tar_resolve(mo_listing_t *listing);

#endif
