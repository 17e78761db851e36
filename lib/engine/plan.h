/* Planned networks as the modules above see them: no oneDNN type here.
 *
 * A plan is made once for (network, mode, shard size). Its operations put instructions on a list,
 * each a primitive or a host function on numbered slots. A slot is a tensor in one of the spaces
 * below; slots of the arena get their place from their lifetimes. A plan is immutable afterwards
 * and may run on any lane. An instance is one arena in flight with the plan's memory objects bound
 * to it. */
#ifndef MO_ENGINE_PLAN_H
#define MO_ENGINE_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/net.h"
#include "util/cancel.h"

typedef enum mo_mode {
    MO_MODE_TRAIN, /* keeps what backward needs          */
    MO_MODE_KEY,   /* batch statistics, keeps nothing    */
    MO_MODE_INFER  /* batch norm folded, ReLU and shortcut fused, weights packed once */
} mo_mode_t;

typedef enum mo_precision { /* of activations and packed weights; a plan refuses what its device has not */
                            MO_PRECISION_FLOAT32,
                            MO_PRECISION_BF16, /* 8 bits of exponent, 7 behind the point */
                            MO_PRECISION_F16   /* 5 and 10                               */
} mo_precision_t;
mo_precision_t mo_precision_of(int32_t number); /* of MOCO_PRECISION_… */

typedef enum mo_space {
    MO_IN_ARENA,      /* activations and their gradients; one arena per shard in flight         */
    MO_IN_PARAMS,     /* the parameter block, plain layouts                                     */
    MO_IN_PACKED,     /* derived copies of parameters in the layouts of the primitives          */
    MO_IN_GRADS,      /* a gradient block, laid out like the parameters; bound per shard        */
    MO_IN_STATS,      /* a statistics block of one group; bound per shard                       */
    MO_IN_DICTIONARY, /* what a contrastive loss compares with                              */
    MO_IN_CONSTANTS,  /* numbers of the plan's own that never change                        */
    MO_SPACES
} mo_space_t;

typedef struct mo_instance mo_instance_t;
typedef struct mo_packed mo_packed_t;

typedef struct mo_plan_spec {
    const mo_net_t *net;
    mo_mode_t mode;
    int32_t shard;            /* images */
    int32_t shards_per_group; /* > 1: batch norm syncs across shards */
    int32_t outputs[4];       /* tensors that, with their gradients, must survive to the end; -1 = none */
    int32_t inputs[4];        /* tensors that the caller fills; -1 = none                          */
    int32_t from_op, to_op;   /* only these operations of the net; 0, 0 = all                      */
    int32_t has_given, given; /* a tensor that the caller fills like inputs, but whose gradient is wanted  */
    int32_t seeded;           /* train: the caller fills the gradient of outputs[0] before the run  */
    mo_precision_t precision; /* of the backbone's operations; inputs and outputs stay float32                       */
    int32_t cut;        /* infer, one image: large products are cut into parts, which lanes share (mo_team_run)  */
    int32_t primitives; /* 1: oneDNN's form of everything, also where a loop is faster: what tests compare with */
} mo_plan_spec_t;

moco_status_t mo_plan_create(moco_device_t *device, const mo_plan_spec_t *spec, mo_plan_t **out);
void mo_plan_free(mo_plan_t *plan);
size_t mo_plan_arena_bytes(const mo_plan_t *plan);
size_t mo_plan_packed_bytes(const mo_plan_t *plan);     /* constants included */
size_t mo_plan_scratchpad_bytes(const mo_plan_t *plan); /* per lane */
int32_t mo_plan_shard(const mo_plan_t *plan);
int mo_plan_is_cut(const mo_plan_t *plan); /* some product has parts for several lanes */
/* The operation that takes over batch norm `bn` in infer plans: the convolution or linear layer in
 * front of it, or, *behind = 1, the linear layer behind it; -1 if none can. */
int32_t mo_fold_target(const mo_op_t *ops, int32_t count, int32_t bn, int *behind);

/* Packed weights of a plan for one parameter block. Refresh after the parameters changed; nothing
 * else writes it. */
moco_status_t mo_packed_create(mo_plan_t *plan, mo_buffer_t params, mo_packed_t **out);
moco_status_t mo_packed_refresh(mo_packed_t *packed);
void mo_packed_free(mo_packed_t *packed);

/* `arena`: mo_plan_arena_bytes, borrowed (may be shared by instances that never run at once). Where
 * this and other buffers that an instance is bound to begin in their memories, is a multiple of
 * MO_BUFFER_ALIGN. */
moco_status_t mo_instance_create(mo_plan_t *plan, mo_buffer_t arena, mo_buffer_t params, mo_packed_t *packed,
                                 mo_instance_t **out);
void mo_instance_free(mo_instance_t *instance);
/* Host access to a tensor of the arena, on a lane: [shard, h, w, c] float32. Unmap before the next
 * instruction. */
moco_status_t mo_instance_map(mo_instance_t *instance, int32_t tensor, mo_access_t access, float **values);
void mo_instance_unmap(mo_instance_t *instance, int32_t tensor, float *values);

/* The same for the gradient of a tensor that the plan was told to keep among its outputs, or to be
 * given (`seeded`). */
moco_status_t mo_instance_map_gradient(mo_instance_t *instance, int32_t tensor, mo_access_t access, float **values);
void mo_instance_unmap_gradient(mo_instance_t *instance, int32_t tensor, float *values);

/* Where the numbers of a tensor, or of such a gradient, are: for kernels. */
moco_status_t mo_instance_value(const mo_instance_t *instance, int32_t tensor, mo_buffer_t *buffer);
moco_status_t mo_instance_gradient(const mo_instance_t *instance, int32_t tensor, mo_buffer_t *buffer);

/* Bind a space of all the instance's slots to `base`; on a lane. */
moco_status_t mo_instance_bind(mo_instance_t *instance, mo_space_t space, mo_buffer_t base);
/* The same where `base` holds the space from byte `skip` on, which no slot of the plan lies
 * before. */
moco_status_t mo_instance_bind_from(mo_instance_t *instance, mo_space_t space, mo_buffer_t base, int64_t skip);

/* Run one shard from begin to end on this lane (plans without synchronisation points). */
moco_status_t mo_instance_run(mo_lane_t *lane, mo_instance_t *instance);

/* Run the one shard of a `cut` plan on as many lanes as its parts keep busy; the numbers are those
 * of mo_instance_run. As embedding; `begin` and `end` run on the lane that comes first and on the
 * one that comes last. `cancel` is looked at before every instruction. */
typedef struct mo_team {
    mo_instance_t *instance;
    moco_status_t (*begin)(void *ctx, mo_lane_t *lane, mo_instance_t *instance);
    moco_status_t (*end)(void *ctx, mo_instance_t *instance);
    void *ctx;
    const moco_cancel_t *cancel; /* NULL = none */
} mo_team_t;
moco_status_t mo_team_run(moco_device_t *device, const mo_team_t *team);

/* One pass: every group of a batch through a plan. `instances` hold sets × shards_per_group arenas;
 * as many groups are in flight. Hooks run on lanes: begin fills inputs and binds, end takes
 * outputs. Groups start in order. */
typedef struct mo_pass {
    mo_plan_t *plan;
    mo_instance_t **instances; /* [sets * shards_per_group] */
    int32_t sets, groups;
    moco_status_t (*begin)(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard);
    moco_status_t (*end)(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard);
    void *ctx;
    const moco_cancel_t *cancel; /* looked at before every instruction of every shard; NULL = none */
    struct mo_pass_state *state; /* made by mo_pass_prepare, so that a step allocates nothing */
} mo_pass_t;
moco_status_t mo_pass_prepare(mo_pass_t *pass);
moco_status_t mo_pass_run(moco_device_t *device, mo_pass_t *pass);
void mo_pass_free(mo_pass_t *pass);

/* Seconds spent in each kind of operation. on 1: start (again) from zero; 0: fill `times`, stop,
 * return their number. For benchmarks on one lane: lanes do not lock the sums. */
typedef struct mo_plan_times {
    const char *kind;
    double forward_seconds, backward_seconds;
} mo_plan_times_t;
int32_t mo_plan_profile(mo_plan_t *plan, int on, mo_plan_times_t *times, int32_t capacity);

#endif
