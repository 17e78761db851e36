/* Names of the enumerations of <moco/types.h> that several options structs share, by number. */
#ifndef MO_UTIL_NAMES_H
#define MO_UTIL_NAMES_H

extern const char *const mo_optimizer_names[4];  /* MOCO_OPTIMIZER_…  */
extern const char *const mo_lr_scaling_names[3]; /* MOCO_LR_SCALING_… */
extern const char *const mo_schedule_names[3];   /* MOCO_SCHEDULE_…   */
extern const char *const mo_filter_names[2];     /* MOCO_FILTER_…     */
extern const char *const mo_precision_names[3];  /* MOCO_PRECISION_…  */

#endif
