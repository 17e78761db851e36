/* JSON results in the text rule of moco_build_info. */
#ifndef MO_UTIL_JSON_H
#define MO_UTIL_JSON_H

#include <jansson.h>
#include <stdint.h>
#include <moco/status.h>

/* Writes `object` as one line and drops the reference to it; NULL (no memory while building it) is an error. */
moco_status_t mo_json_text(json_t *object, char *text, uint64_t capacity, uint64_t *needed);

#endif
