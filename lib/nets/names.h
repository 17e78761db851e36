/* What options, files and JSON call the parts of an encoder: tables by number, each ending with
 * NULL. Names stand in files and never change. */
#ifndef MO_NETS_NAMES_H
#define MO_NETS_NAMES_H

enum { MO_ARCHS = 11, MO_STEMS = 2, MO_HEADS = 5, MO_VIT_NORMS = 2 };

extern const char *const mo_arch_names[MO_ARCHS + 1];         /* MOCO_ARCH_…     */
extern const char *const mo_stem_names[MO_STEMS + 1];         /* MOCO_STEM_…     */
extern const char *const mo_head_names[MO_HEADS + 1];         /* MOCO_HEAD_…     */
extern const char *const mo_vit_norm_names[MO_VIT_NORMS + 1]; /* MOCO_VIT_NORM_… */

#endif
