/* Version numbers as functions. */
#include <moco/version.h>

#define TEXT(x) #x
#define DOTTED(a, b, c) TEXT(a) "." TEXT(b) "." TEXT(c)

int32_t moco_version_number(void)
{
    return MOCO_VERSION_MAJOR * 10000 + MOCO_VERSION_MINOR * 100 + MOCO_VERSION_PATCH;
}

const char *moco_version_string(void)
{
    return DOTTED(MOCO_VERSION_MAJOR, MOCO_VERSION_MINOR, MOCO_VERSION_PATCH);
}
