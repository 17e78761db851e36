/* The kinds of operation a network is listed from. Each function adds one to `net` and returns the
 * tensor it makes (-1 once the net has failed; mo_net_done tells). `name` is the parameter prefix,
 * in torchvision's terms. */
#ifndef MO_ENGINE_OPS_H
#define MO_ENGINE_OPS_H

#include "engine/kernels/epsilon.h"
#include "engine/net.h"

extern const mo_op_kind_t mo_kind_conv, mo_kind_batchnorm, mo_kind_relu, mo_kind_max_pool, mo_kind_mean_pool,
    mo_kind_linear, mo_kind_l2norm, mo_kind_layernorm, mo_kind_gelu, mo_kind_sum, mo_kind_tokens, mo_kind_class_token,
    mo_kind_attention, mo_kind_cross_entropy, mo_kind_drop_path;

/* ---- forms: what a kind alone knows of its operations (mo_op_t.form) ---- */
typedef struct mo_sliding_form { /* convolution, max pooling; square */
    int32_t kernel, stride, pad;
} mo_sliding_form_t;
static inline int32_t mo_sliding_places(const mo_sliding_form_t *f, int32_t size) /* along an axis of `size` */
{
    return (size + 2 * f->pad - f->kernel) / f->stride + 1;
}
typedef struct mo_attention_form {
    int32_t heads;
} mo_attention_form_t;
typedef struct mo_drop_path_form {
    int32_t channel; /* of the tensor of factors */
} mo_drop_path_form_t;
typedef struct mo_cross_entropy_form {
    double batch; /* rows that the mean runs over */
} mo_cross_entropy_form_t;

/* Square convolution without bias. [c,h,w] -> [channels,h',w'] */
int32_t mo_conv(mo_net_t *net, int32_t src, const char *name, int32_t channels, int32_t kernel, int32_t stride,
                int32_t pad, mo_init_t init);
/* Without padding and with bias; frozen: weight and bias keep their first values. */
int32_t mo_conv_bias(mo_net_t *net, int32_t src, const char *name, int32_t channels, int32_t kernel, int32_t stride,
                     mo_init_t init, mo_init_t bias_init, int frozen);
/* Batch norm per group, eps 1e-5, then ReLU if asked. `scale_init` is MO_INIT_ONE, or MO_INIT_ZERO
 * for zero-init residuals. */
int32_t mo_batchnorm(mo_net_t *net, int32_t src, const char *name, int relu, mo_init_t scale_init);
/* The same with only some of scale and shift trained: the others stay 1 and 0 and are in no
 * file. */
typedef enum mo_affine { MO_AFFINE_BOTH, MO_AFFINE_SCALE, MO_AFFINE_NONE } mo_affine_t;
int32_t mo_batchnorm_part(mo_net_t *net, int32_t src, const char *name, int relu, mo_affine_t affine);
int32_t mo_relu(mo_net_t *net, int32_t src);
int32_t mo_max_pool(mo_net_t *net, int32_t src, int32_t kernel, int32_t stride,
                    int32_t pad);                 /* padding counts as -inf */
int32_t mo_mean_pool(mo_net_t *net, int32_t src); /* global: [c,h,w] -> [c] */
/* With bias, on every position: [c,h,w] -> [outputs,h,w]. */
int32_t mo_linear(mo_net_t *net, int32_t src, const char *name, int32_t outputs);
int32_t mo_linear_from(mo_net_t *net, int32_t src, const char *name, int32_t outputs, mo_init_t init, int64_t fan,
                       mo_init_t bias_init);
int32_t mo_linear_plain(mo_net_t *net, int32_t src, const char *name, int32_t outputs,
                        mo_init_t init);                            /* without bias */
int32_t mo_residual(mo_net_t *net, int32_t main, int32_t shortcut); /* ReLU(main + shortcut) */

/* ---- of transformers; tokens are [channels, tokens, 1] ---- */

/* Parameters "cls_token" [1,1,channels] and, the next number, "pos_embed" [1,tokens,channels],
 * sines and cosines. */
int32_t mo_token_parameters(mo_net_t *net, int32_t tokens, int32_t channels, int freeze_positions);
/* Patches [c,h,w] to tokens [c,1+h*w,1]: the class token first, then row by row; each with its
 * position. */
int32_t mo_tokens(mo_net_t *net, int32_t src, int32_t class_token);
int32_t mo_class_token(mo_net_t *net, int32_t src);                 /* [c,tokens,1] -> [c,1,1] */
int32_t mo_layernorm(mo_net_t *net, int32_t src, const char *name); /* eps 1e-6 */
int32_t mo_gelu(mo_net_t *net, int32_t src);                        /* exact */
int32_t mo_sum(mo_net_t *net, int32_t main, int32_t shortcut);      /* main + shortcut */
/* [q | k | v] of width 3D -> D; `heads` divides D. The second for the class token's query alone:
 * [D,1,1]. */
int32_t mo_attention(mo_net_t *net, int32_t src, int32_t heads);
int32_t mo_class_attention(mo_net_t *net, int32_t src, int32_t heads);

int32_t mo_l2norm(mo_net_t *net, int32_t src); /* rows divided by max(norm, 1e-12) */

/* ---- of supervised training; both end or stand in train plans only ---- */

/* Mean over `batch` rows, of which a shard holds some, of the cross entropy of softmax(logits) with
 * `targets`, a tensor [classes] that the caller fills with each class's share. Returns the tensor
 * [1] of per-row losses. */
int32_t mo_cross_entropy(mo_net_t *net, int32_t logits, int32_t targets, double batch);
/* src times a factor per image, which the caller fills in: the next channel of tensor `factors`,
 * which grows by it. */
int32_t mo_drop_path(mo_net_t *net, int32_t src, int32_t factors);

#endif
