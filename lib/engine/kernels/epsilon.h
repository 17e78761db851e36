/* What is added to a variance before its root is taken, so that a constant channel or row divides
 * by no zero. */
#ifndef MO_KERNELS_EPSILON_H
#define MO_KERNELS_EPSILON_H

#define MO_BATCHNORM_EPSILON 1e-5
#define MO_LAYERNORM_EPSILON 1e-6

#endif
