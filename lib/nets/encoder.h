/* The nets module: encoders as lists of operations, and the initial values of their parameters. */
#ifndef MO_NETS_ENCODER_H
#define MO_NETS_ENCODER_H

#include <stdint.h>

#include "engine/buffer.h"
#include "engine/net.h"

/* What an encoder is; numbers as MOCO_ARCH_… , MOCO_STEM_… , MOCO_HEAD_… in <moco/trainer.h>. */
typedef struct mo_encoder_spec {
    int32_t arch, stem, head;        /* head: -1 = none (backbone only) */
    int32_t head_width, head_layers; /* 0 = the backbone's width; as published */
    double width;
    int32_t image_size;
    int32_t dimension; /* of the projection */
    int32_t zero_init_residual;
    int32_t drop_path; /* 1: residual branches are multiplied by the net's tensor `paths` */
    /* Of a ViT; 0 = as published. */
    int32_t patch_size, depth, heads;
    int32_t vit_norm;        /* MOCO_VIT_NORM_… */
    int32_t freeze_patch;    /* 1: the patch projection is not trained */
    int32_t train_positions; /* 1: the positions are */
} mo_encoder_spec_t;

/* Fills an empty net: input [3,S,S], backbone [features], projection [dimension] before its
 * normalisation (-1 without a head). Parameters and batch norms carry torchvision's names
 * ("layer1.0.conv1.weight", "bn1", "fc.0.weight"), those of a ViT timm's ("cls_token",
 * "blocks.0.attn.qkv.weight"). MOCO_ERR_ARGUMENT for a ViT that mo_vit_check refuses. */
moco_status_t mo_encoder_net(const mo_encoder_spec_t *spec, mo_net_t *net);

/* An encoder: what it is made of, and its numbers. A trainer holds two; a model, a file that was
 * read, and fine-tuning hold one each. A trainer's net goes on behind the projection (predictor,
 * loss); what stands before it lies at the same offsets in every net of one specification. */
typedef struct mo_encoder {
    mo_encoder_spec_t spec;
    mo_net_t net;
    int32_t embedding;  /* tensor: what is compared, rows of length 1; -1 = none */
    mo_buffer_t params; /* [net.params]; none until memory is taken             */
    float *running;     /* [net.stats] running means and variances               */
    int64_t steps;      /* of training behind it; -1 = unknown                   */
} mo_encoder_t;

/* The net of `spec` with its projection normalised, into a zeroed encoder; no memory for numbers
 * yet. */
moco_status_t mo_encoder_build(mo_encoder_t *encoder, const mo_encoder_spec_t *spec);
/* Memory for the numbers of a net that is built, zeroed; of the host where `device` is NULL. */
moco_status_t mo_encoder_take(mo_encoder_t *encoder, moco_device_t *device);
/* First values: random parameters, means 0, variances 1. */
moco_status_t mo_encoder_start(mo_encoder_t *encoder, uint64_t seed);
/* The numbers that `to`'s net has, which are the first ones of `from`'s. */
moco_status_t mo_encoder_copy_numbers(const mo_encoder_t *from, mo_encoder_t *to);
void mo_encoder_free(mo_encoder_t *encoder); /* safe on a zeroed struct */

int32_t mo_resnet(mo_net_t *net, const mo_encoder_spec_t *spec, int32_t input);         /* -> backbone */
int32_t mo_vit(mo_net_t *net, const mo_encoder_spec_t *spec, int32_t input);            /* -> backbone */
int32_t mo_head(mo_net_t *net, const mo_encoder_spec_t *spec, int32_t backbone);        /* -> projection */
int32_t mo_predictor(mo_net_t *net, const mo_encoder_spec_t *spec, int32_t projection); /* "predictor.…" */
int mo_is_vit(int32_t arch);
int32_t mo_scaled_channels(int32_t base, double width);
/* Blocks of the four stages. Returns 1 for bottleneck blocks, 0 for basic ones, -1 if `arch` is no
 * ResNet. */
int mo_resnet_blocks(int32_t arch, int32_t blocks[4]);

/* What a specification makes of a published ViT. */
typedef struct mo_vit_form {
    int32_t patch, depth, heads, channels, tokens; /* tokens: patches and the class token */
    int conv_stem;
} mo_vit_form_t;
mo_vit_form_t mo_vit_form(const mo_encoder_spec_t *spec); /* of a ViT */
/* MOCO_ERR_ARGUMENT names the option that does not fit; MOCO_OK for other encoders. */
moco_status_t mo_vit_check(const mo_encoder_spec_t *spec);

/* Initial parameters (section "initialisation" of docs/architecture.md); tensor number = random
 * stream index. */
void mo_init_params(const mo_net_t *net, uint64_t seed, float *params);
/* The fixed positions of a ViT: a parameter [1, 1 + grid * grid, channels], channels a multiple of
 * 4. */
void mo_init_positions(const mo_parameter_t *parameter, float *values);
/* Statistics of a fresh encoder: mean 0, variance 1. */
void mo_init_stats(const mo_net_t *net, float *stats);

#endif
