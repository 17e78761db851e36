/* For gcc's -fanalyzer, which sees one source file at a time: mo_fail gives the status that it got,
 * and is never called with MOCO_OK. */
#ifndef TESTS_ANALYZER_MODEL_H
#define TESTS_ANALYZER_MODEL_H

#include "util/status.h"

#define mo_fail(status, ...) (mo_fail((status), __VA_ARGS__), (status) == MOCO_OK ? MOCO_ERR_STATE : (status))

#endif
