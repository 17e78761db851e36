/* Symbol visibility of the public interface. A program that only parses these headers (cffi, a
 * generator of bindings) defines MOCO_API as nothing before it includes them: what remains are
 * plain C declarations. */
#ifndef MOCO_EXPORT_H
#define MOCO_EXPORT_H

#if defined(MOCO_API)
/* the host has chosen */
#elif defined(_WIN32)
#define MOCO_API
#elif defined(__GNUC__) || defined(__clang__)
#define MOCO_API __attribute__((visibility("default")))
#else
#define MOCO_API
#endif

#ifdef __cplusplus
#define MOCO_BEGIN_DECLS extern "C" {
#define MOCO_END_DECLS }
#else
#define MOCO_BEGIN_DECLS
#define MOCO_END_DECLS
#endif

#endif
