/* The kinds of operation a network is listed from. Each function adds one to `net` and returns the tensor it makes
 * (-1 once the net has failed; mo_net_done tells). `name` is the parameter prefix, in torchvision's terms. */
#ifndef MO_LAYERS_LAYERS_H
#define MO_LAYERS_LAYERS_H

#include "engine/net.h"

extern const mo_layer_t mo_layer_conv, mo_layer_batchnorm, mo_layer_relu, mo_layer_max_pool, mo_layer_mean_pool,
    mo_layer_linear, mo_layer_residual, mo_layer_l2norm;

/* Square convolution without bias. [c,h,w] -> [channels,h',w'] */
int32_t mo_conv(mo_net_t *net, int32_t src, const char *name, int32_t channels, int32_t kernel, int32_t stride,
                int32_t pad, mo_init_t init);
/* Batch norm per group, eps 1e-5, then ReLU if asked. `scale_init` is MO_INIT_ONE, or MO_INIT_ZERO for zero-init
 * residuals. */
int32_t mo_batchnorm(mo_net_t *net, int32_t src, const char *name, int relu, mo_init_t scale_init);
/* The same with only some of scale and shift trained: the others stay 1 and 0 and are in no file. */
typedef enum mo_affine { MO_AFFINE_BOTH, MO_AFFINE_SCALE, MO_AFFINE_NONE } mo_affine_t;
int32_t mo_batchnorm_part(mo_net_t *net, int32_t src, const char *name, int relu, mo_affine_t affine);
int32_t mo_relu(mo_net_t *net, int32_t src);
int32_t mo_max_pool(mo_net_t *net, int32_t src, int32_t kernel, int32_t stride,
                    int32_t pad); /* padding counts as -inf */
int32_t mo_mean_pool(mo_net_t *net, int32_t src); /* global: [c,h,w] -> [c] */
int32_t mo_linear(mo_net_t *net, int32_t src, const char *name, int32_t outputs);             /* with bias */
int32_t mo_linear_plain(mo_net_t *net, int32_t src, const char *name, int32_t outputs, mo_init_t init); /* without */
int32_t mo_residual(mo_net_t *net, int32_t main, int32_t shortcut);                           /* ReLU(main + shortcut) */
int32_t mo_l2norm(mo_net_t *net, int32_t src); /* rows divided by max(norm, 1e-12) */

#endif
