/* Status codes and the message that goes with the last failure. */
#ifndef MOCO_STATUS_H
#define MOCO_STATUS_H

#include <stdint.h>
#include <moco/export.h>

MOCO_BEGIN_DECLS

/** What a call returns. Numbers are pinned: they never change and are never used again. */
typedef int32_t moco_status_t;

/** The numbers of moco_status_t. */
enum moco_status {
    MOCO_OK = 0,
    MOCO_ERR_ARGUMENT = 1,    /**< a value or pointer that the call does not accept                            */
    MOCO_ERR_MEMORY = 2,      /**< the system gave no memory                                                   */
    MOCO_ERR_IO = 3,          /**< a file could not be opened, read or written                                 */
    MOCO_ERR_FORMAT = 4,      /**< a file is not what it claims to be, or is damaged                           */
    MOCO_ERR_IMAGE = 5,       /**< an image is broken, unsupported or over the size limit                      */
    MOCO_ERR_SHAPE = 6,       /**< a tensor or vector has other sizes than wanted                              */
    MOCO_ERR_NO_DATA = 7,     /**< fewer images or vectors than the call needs, or the object lacks what was asked for */
    MOCO_ERR_FULL = 8,        /**< more images pushed than a batch holds                                       */
    MOCO_ERR_NONFINITE = 9,   /**< a loss, gradient, weight, pushed number or embedding is infinite or no number */
    MOCO_ERR_EXISTS = 10,     /**< a file that would be replaced is an input of the call, or belongs to another run */
    MOCO_ERR_FORKED = 11,     /**< the process was forked while this object was at work                        */
    MOCO_ERR_UNSUPPORTED = 12,/**< known, but not in this build or version                                     */
    MOCO_ERR_ENGINE = 13,     /**< oneDNN refused or failed                                                    */
    MOCO_ERR_CANCELLED = 14,  /**< a callback, or another thread through moco_cancel_t, asked to stop           */
    MOCO_ERR_MEMORY_CAP = 15, /**< more than the memory cap, or than this process may take; the message says both */
    MOCO_ERR_MISMATCH = 16,   /**< a checkpoint, option or data set disagrees with what it must match          */
    MOCO_ERR_STATE = 17,      /**< the object is not in a state that allows this call                          */
    MOCO_ERR_VERSION = 18,    /**< a file or header is newer than this library                                 */
    MOCO_ERR_BROKEN_DATA = 19,/**< more broken images than the limit allows                                    */
    MOCO_ERR_THREAD = 20,     /**< a thread could not be started                                               */
    MOCO_STATUS_COUNT = 21    /**< of this header; a newer library may return larger numbers                   */
};

/** @return the name of a status, such as "MOCO_ERR_ARGUMENT"; "unknown status" for any other
 * number. Since: 0.1. */
MOCO_API const char *moco_status_name(moco_status_t status);

/**
 * One line about the last failure on this thread: what was found and what was wanted. Empty before
 * the first failure, and read it right after a call has failed: a call that succeeds may change it.
 * @return thread-local text, valid until this thread's next call. Since: 0.1.
 */
MOCO_API const char *moco_last_message(void);

/** How grave a log line is. */
enum moco_log { MOCO_LOG_ERROR = 0, MOCO_LOG_WARNING = 1, MOCO_LOG_INFO = 2, MOCO_LOG_DEBUG = 3 };

/**
 * Receives log lines (no newline at the end). Called only on threads that are inside a call into
 * this library.
 *
 * This holds for every callback of the interface: it must return, so it must not throw an exception
 * through the library, leave by longjmp or end its thread; and it must not call a function of the
 * library on the objects that the call it is inside of works on. What it is handed is borrowed
 * until it returns.
 */
typedef void (*moco_log_fn)(void *user, int32_t level, const char *line);

/**
 * Choose who receives log lines for calls made by this thread; the library itself never prints.
 * @param fn     NULL for nobody (the default).
 * @param user   handed to `fn` unchanged.
 * @param level  the highest level that is delivered, MOCO_LOG_ERROR … MOCO_LOG_DEBUG.
 * Thread-local, so two hosts in one process do not disturb each other. Since: 0.1.
 */
MOCO_API void moco_set_log(moco_log_fn fn, void *user, int32_t level);

MOCO_END_DECLS

#endif
