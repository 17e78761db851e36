/* What a plan holds: shared by the engine's own files. */
#ifndef MO_ENGINE_PLAN_INTERNAL_H
#define MO_ENGINE_PLAN_INTERNAL_H

#include "engine/buffer.h"
#include "engine/emit.h"
#include "engine/run/lane.h"
#include "engine/run/process.h"
#include "engine/plan.h"
#include "util/alloc.h"
#include "util/status.h"

#define MO_ALIGN 64 /* bytes: where slots and parameters begin */
#define MO_ALIGNED(bytes) (((bytes) + MO_ALIGN - 1) / MO_ALIGN * MO_ALIGN)
#define MO_MAX_ARGS 12
#define MO_MEMO 4

typedef struct mo_slot {
    mo_space_t space;
    int64_t offset; /* bytes from the base of its space            */
    size_t bytes;
    mo_md_t md;
    int32_t root;        /* slot whose memory this is; itself when not a view */
    int32_t next;        /* another view of the same root, -1; from the root on */
    int64_t within;      /* bytes from the root's first                  */
    int32_t first, last; /* instructions that touch it (root, arena)    */
} mo_slot_t;

typedef struct mo_arg {
    int32_t id, slot;
} mo_arg_t;

typedef enum mo_instr_kind { MO_RUN_PRIMITIVE, MO_RUN_HOST, MO_RUN_SYNC } mo_instr_kind_t;

typedef struct mo_instr {
    mo_instr_kind_t kind;
    dnnl_primitive_t primitive;
    int32_t arg_count;
    mo_arg_t args[MO_MAX_ARGS];
    mo_access_t access[MO_MAX_ARGS]; /* host and sync */
    mo_host_fn host;
    int32_t rows; /* host: images it covers */
    mo_sync_fn sync;
    mo_queue_fn queue; /* on a GPU in the place of either; NULL: the slots are mapped */
    const mo_op_t *op;
    int32_t first_memory_arg; /* of the instance's flat argument array */
    int backward;
    int32_t parts;      /* of a cut product, at the first of them: so many instructions may run at once; else 1 or 0 */
    uint64_t kind_made; /* a primitive's, see run/process.h */
} mo_instr_t;

/* A parameter copied into the layout a primitive wants. */
typedef struct mo_pack {
    dnnl_primitive_t reorder;
    int32_t from, to; /* slots */
    uint64_t kind_made;
} mo_pack_t;

struct mo_plan {
    moco_device_t *device;
    mo_mode_t mode;
    int32_t shard, shards_per_group;
    int primitives, cut;
    dnnl_data_type_t low; /* type of tensors of low precision; float32: there are none */
    const mo_net_t *net;  /* borrowed: the owner of the plan keeps it */
    mo_op_t *ops;         /* own copy: fusion marks it */
    int32_t op_count;

    mo_slot_t *slots;
    int32_t slot_count;
    mo_instr_t *instrs;
    int32_t instr_count;
    mo_pack_t *packs;
    int32_t pack_count;

    int32_t *plain[2];            /* [parameters] slot in the parameter and in the gradient block, -1 */
    int32_t *value;               /* [tensors] slot of each tensor, -1           */
    uint8_t *is_low;              /* [tensors] of type `low`                     */
    int32_t *converted;           /* [tensors] slot of its copy in the other type, -1 */
    int32_t *gradient;            /* [tensors] slot of its gradient, -1          */
    uint8_t *shared;              /* [tensors] gradient slot also serves another */
    uint8_t *blocked;             /* [tensors] lies in blocks of 16 channels, see layouts.c */
    uint8_t *no_grad;             /* [tensors] nobody wants its gradient         */
    int32_t *memo;                /* [op_count * MO_MEMO] slots kept for backward */
    dnnl_primitive_desc_t *hints; /* [op_count * MO_MEMO] forward descriptors */
    int emitting_backward;
    mo_lane_t *lane;        /* where the plan is made; not used later */
    atomic_int ran, packed; /* its last instruction, and all of its packs, have run once */

    size_t arena_bytes, packed_bytes, scratchpad_bytes;
    float *constant_values; /* while the plan is made */
    size_t constant_bytes;
    mo_buffer_t constants;
    int32_t total_args;
    double *seconds; /* [instr_count] when profiling, else NULL */
};

/* Slots and instructions; the emitters build on these. */
moco_status_t mo_plan_slot(mo_plan_t *plan, mo_space_t space, int64_t offset, mo_cmd_t md, int32_t *slot);
moco_status_t mo_plan_view(mo_plan_t *plan, int32_t of, mo_cmd_t md, int32_t *slot);
/* From `bytes` on: for columns of a matrix. */
moco_status_t mo_plan_view_at(mo_plan_t *plan, int32_t of, int64_t bytes, mo_cmd_t md, int32_t *slot);
/* Takes the first implementation of oneDNN's list that can be made and is right (check/choose.c),
 * those first whose name has `prefer` in it, if that is not NULL. pd: the first of the list;
 * `hint`: what it was made with, or NULL. On failure pd is freed and NULL. For those whose
 * descriptor is asked for its layouts or kept, and for those with a hint. */
moco_status_t mo_plan_choose(mo_plan_t *plan, dnnl_primitive_desc_t *pd, const_dnnl_primitive_desc_t hint,
                             const char *prefer, const char *what);
/* Chooses, and makes the chosen one an instruction. Takes ownership of pd, which has no hint. args:
 * pairs (id, slot), `count` of them. */
moco_status_t mo_plan_primitive(mo_plan_t *plan, const mo_op_t *op, dnnl_primitive_desc_t pd, int count,
                                const mo_arg_t *args, const char *what);
/* The same of one that mo_plan_choose has given. */
moco_status_t mo_plan_chosen(mo_plan_t *plan, const mo_op_t *op, dnnl_primitive_desc_t pd, int count,
                             const mo_arg_t *args, const char *what);
moco_status_t mo_plan_instr(mo_plan_t *plan, const mo_instr_t *instr);
/* Slot that holds parameter `parameter` in layout `md`: the parameter itself when it is laid out
 * so, else a packed copy. */
moco_status_t mo_plan_weights(mo_plan_t *plan, int32_t parameter, mo_cmd_t md, int32_t *slot);
/* The same from a slot of the parameter block: the parameter itself or a view of it. */
moco_status_t mo_plan_packed(mo_plan_t *plan, int32_t plain, mo_cmd_t md, int32_t *slot);
/* The plain slot of a parameter in the parameter or gradient block. */
moco_status_t mo_plan_parameter(mo_plan_t *plan, mo_space_t space, int32_t parameter, int32_t *slot);

/* Which tensors are of low precision, after fusion (types.c); refused where the device has no such
 * products. */
moco_status_t mo_plan_types(mo_plan_t *plan, const mo_plan_spec_t *spec);
/* Of a plan that is made: low precision that oneDNN emulates here. On the thread of the caller. */
void mo_plan_warn(const mo_plan_t *plan);
/* N,H,W,C in a type. */
moco_status_t mo_plan_tensor_md(const mo_plan_t *plan, int32_t tensor, dnnl_data_type_t type, mo_md_t *md);
/* Around an operation: its sources are in the type that it takes, by copies where they were made in
 * the other one. `kept`: for mo_plan_sources_back. */
typedef struct mo_sources {
    int32_t tensor[2], slot[2];
} mo_sources_t;
moco_status_t mo_plan_sources(mo_plan_t *plan, const mo_op_t *op, mo_sources_t *kept);
void mo_plan_sources_back(mo_plan_t *plan, const mo_sources_t *kept);
/* Whether the operation reads and makes low precision in this plan. */
int mo_plan_takes_low(const mo_plan_t *plan, const mo_op_t *op);
/* The gradient of the operation's result as its backward takes it: a copy of low precision, or the
 * slot itself. */
moco_status_t mo_plan_low_gradient(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t *slot);
/* Into how many parts a product is cut whose result has `units` rows that can be made one by one;
 * 1: it stays whole. By size alone, so that the same is done on every machine. */
int32_t mo_plan_parts(const mo_plan_t *plan, const mo_op_t *op, int64_t units);
/* The instructions from `first` on write different places and none reads what another writes. */
void mo_plan_at_once(mo_plan_t *plan, int32_t first);

/* Marks what others take over in infer mode. */
void mo_plan_fuse(mo_plan_t *plan, const mo_plan_spec_t *spec);
/* Chooses tensors to lie in blocks of channels. */
moco_status_t mo_plan_layouts(mo_plan_t *plan, const mo_plan_spec_t *spec);
/* A slot for a tensor's numbers as N,H,W,C, whatever its own layout is. */
moco_status_t mo_plan_plain(mo_plan_t *plan, int32_t tensor, mo_slot_id_t *slot);
/* A tensor of one position as the layout of `like` has it: the numbers lie the same. */
moco_status_t mo_plan_like(mo_plan_t *plan, int32_t tensor, int32_t like, mo_slot_id_t *slot);
/* Gives the slots of the arena their places, from their lifetimes. */
moco_status_t mo_plan_place(mo_plan_t *plan);

#endif
