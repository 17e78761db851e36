/* An encoder as a file gave it, ours or another program's: what it is made of and its numbers.
 * Models and conversion begin here. */
#ifndef MO_EVAL_LOADED_H
#define MO_EVAL_LOADED_H

#include "eval/model.h"
#include "persist/checkpoint.h"

/* What is wanted of a file; all zero = the query encoder with its head, as the file has it. */
typedef struct mo_wanted {
    int32_t key;            /* 1: the key encoder                          */
    int32_t no_head;        /* 1: the backbone alone                       */
    int32_t image_size;     /* pixels; 0 = the file's, or as published     */
    int32_t eval_resize;    /* pixels; 0 = the file's, or by image_size   */
    int32_t vit_heads;      /* of a ViT; 0 = the file's, or as is usual    */
    int32_t precision;      /* MOCO_PRECISION_… of a model                 */
    int64_t memory_cap;     /* bytes of a model; 0 = what may be taken     */
    double mean[3], std[3]; /* std all 0 = the file's, or as published */
    const char *prefix;     /* of another program's encoder, as in persist/roots.h; NULL = by the names */
} mo_wanted_t;

typedef struct mo_loaded {
    mo_encoder_t encoder;
    mo_transform_t transform;
    int foreign;    /* another program wrote the file      */
    json_t *report; /* what was taken, ignored and missing */
} mo_loaded_t;

moco_status_t mo_loaded_read(const char *path, const mo_wanted_t *wanted, mo_loaded_t *out);
/* The same from a file that is open, wherever its bytes lie. `path` names it in messages. */
moco_status_t mo_loaded_take(const mo_tensor_file_t *file, const char *path, const mo_wanted_t *wanted,
                             mo_loaded_t *out);
/* What mo_loaded_read would read, without the numbers: the encoder has no memory. Every tensor that
 * it needs is there, with the sizes that it claims. */
moco_status_t mo_loaded_look(const char *path, const mo_wanted_t *wanted, mo_loaded_t *out);
void mo_loaded_free(mo_loaded_t *loaded); /* safe on a zeroed struct */

/* Whether this library wrote the file. */
int mo_is_ours(const mo_tensor_file_t *file);
/* The evaluation transform that a foreign encoder was published with: ImageNet's, or with the CIFAR
 * stem CIFAR-10's. */
void mo_published_transform(const mo_encoder_spec_t *spec, mo_transform_t *transform);

/* file_info.c. What a file of tensors is, whether or not an encoder is known in it, or a .npy file.
 * *out is NULL before. */
moco_status_t mo_file_describe(const char *path, json_t **out);

/* Other programs' names, in safetensors: `scheme` of persist/layout.h. With head if the net has
 * one. */
struct mo_scheme;
moco_status_t mo_export(const mo_loaded_t *loaded, const struct mo_scheme *scheme, const char *path);

#endif
