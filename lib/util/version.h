/* The library's version as text, for what it writes into files. */
#ifndef MO_UTIL_VERSION_H
#define MO_UTIL_VERSION_H

#include <moco/version.h>

#define MO_VERSION_PART(x) #x
#define MO_VERSION_DOTTED(a, b, c) MO_VERSION_PART(a) "." MO_VERSION_PART(b) "." MO_VERSION_PART(c)
#define MO_VERSION_TEXT MO_VERSION_DOTTED(MOCO_VERSION_MAJOR, MOCO_VERSION_MINOR, MOCO_VERSION_PATCH)

#endif
