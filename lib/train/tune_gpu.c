/* What a step of fine-tuning does where its numbers lie on a GPU: images, targets and factors go up
 * once, before everything else; losses, sums and batch statistics come down with the one wait, in
 * front of the commit. The hooks are those of tune_step.c without a map. */
#include "engine/kernel.h"
#include "train/finetune.h"
#include "util/status.h"

void mo_tune_gpu_list(mo_tuner_t *t, mo_blocks_t *b)
{
    const size_t f = sizeof(float), batch = (size_t)t->options.batch_size, classes = (size_t)t->classes;
    mo_tune_gpu_t *g = &t->gpu;
    if (!mo_device_is_gpu(t->device))
        return;
    mo_blocks_add_buffer(b, "views", batch * (size_t)t->feature, &g->images);
    mo_blocks_add_buffer(b, "views", sizeof t->lut, &g->table);
    mo_blocks_add_buffer(b, "batch_results", batch * classes * f, &g->targets);
    mo_blocks_add(b, "batch_results", batch * classes * f, &g->host_targets);
    if (t->branches > 0)
        mo_blocks_add_buffer(b, "batch_results", batch * (size_t)t->branches * f, &g->factors);
    mo_blocks_add_buffer(b, "batch_results", batch * f, &g->losses);
    mo_blocks_add(b, "statistics", (size_t)t->staged.rows * (size_t)t->encoder.net.stats * f, &g->staged);
}

moco_status_t mo_tune_gpu_take(mo_tuner_t *t)
{
    return mo_device_is_gpu(t->device) ? mo_buffer_write(t->gpu.table, t->lut) : MOCO_OK;
}

typedef struct job {
    mo_tuner_t *tuner;
    const mo_tune_batch_t *batch;
} job_t;

static moco_status_t upload(mo_lane_t *lane, void *ctx)
{
    const job_t *job = ctx;
    mo_tuner_t *t = job->tuner;
    const mo_tune_batch_t *batch = job->batch;
    moco_status_t status = MOCO_OK;
    (void)lane;
    for (int64_t i = 0; i < t->options.batch_size; i++)
        mo_tune_target(t->classes, t->options.label_smoothing, batch->labels[i],
                       batch->labels[t->options.batch_size - 1 - i], batch->share,
                       t->gpu.host_targets + i * t->classes);
    TRY(mo_upload_rows(t->gpu.images, batch->rows, t->options.batch_size));
    TRY(mo_buffer_upload(t->gpu.targets, t->gpu.host_targets));
    if (t->branches > 0)
        TRY(mo_buffer_upload(t->gpu.factors, batch->factors));
cleanup:
    return status;
}

moco_status_t mo_tune_gpu_begin(mo_tuner_t *t, const mo_tune_batch_t *batch)
{
    job_t job = {t, batch};
    return mo_device_is_gpu(t->device) ? mo_device_call(t->device, upload, &job) : MOCO_OK;
}

/* Rows from `first` on of a block, `width` numbers each. */
static mo_buffer_t rows_of(const mo_tuner_t *t, mo_buffer_t block, int64_t first, int64_t width)
{
    return mo_buffer_floats(block, first * width, (int64_t)t->learner.cut.shard * width);
}

moco_status_t mo_tune_gpu_before(mo_tuner_t *t, mo_instance_t *instance, int64_t first, double share)
{
    const mo_net_t *net = &t->encoder.net;
    moco_status_t status = MOCO_OK;
    mo_buffer_t slot;
    TRY(mo_instance_value(instance, net->input, &slot));
    TRY(mo_kernel_run(t->device, MO_KERNEL_MIXED, (int64_t)t->learner.cut.shard * t->feature, mo_arg_buffer(slot),
                      mo_arg_buffer(t->gpu.images), mo_arg_whole(first), mo_arg_whole(t->options.batch_size),
                      mo_arg_whole(t->feature), mo_arg_buffer(t->gpu.table), mo_arg_float((float)share),
                      mo_arg_float((float)(1 - share))));
    TRY(mo_instance_value(instance, t->targets, &slot));
    TRY(mo_buffer_move(slot, rows_of(t, t->gpu.targets, first, t->classes)));
    if (t->branches > 0) {
        TRY(mo_instance_value(instance, net->paths, &slot));
        TRY(mo_buffer_move(slot, rows_of(t, t->gpu.factors, first, t->branches)));
    }
cleanup:
    return status;
}

moco_status_t mo_tune_gpu_after(mo_tuner_t *t, mo_instance_t *instance, int64_t first)
{
    mo_buffer_t slot;
    const moco_status_t status = mo_instance_value(instance, t->loss, &slot);
    return status == MOCO_OK ? mo_buffer_move(rows_of(t, t->gpu.losses, first, 1), slot) : status;
}

static moco_status_t fetch(mo_lane_t *lane, void *ctx)
{
    mo_tuner_t *t = ctx;
    moco_status_t status = MOCO_OK;
    (void)lane;
    TRY(mo_buffer_fetch(t->gpu.losses, t->losses));
    TRY(mo_buffer_fetch(t->staged.values, t->gpu.staged));
    TRY(mo_device_wait(t->device));
cleanup:
    return status;
}

moco_status_t mo_tune_gpu_end(mo_tuner_t *t)
{
    return mo_device_is_gpu(t->device) ? mo_device_call(t->device, fetch, t) : MOCO_OK;
}
