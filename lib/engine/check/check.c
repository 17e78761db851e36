/* The comparison, and the memory of what it found. */
#include "engine/check/check.h"

#include <math.h>
#include <string.h>

#include "engine/check/narrow.h"
#include "engine/check/trial.h"
#include "engine/run/device_internal.h"
#include "engine/run/gpu.h"
#include "engine/run/process.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/hash.h"

/* How many terms of sums are added up again, in plain loops, for one result. */
#define TERMS ((int64_t)1 << 16)
#define LARGE ((uint64_t)16 << 20) /* bytes that are asked for before they are taken */
/* The first matrix product of a process compiles all kernels that any could want; a failed
 * allocation there ends the process. They are some megabytes, and where an arena of glibc's cannot
 * grow, a new one takes 64 MiB of address space first. */
#define TRIAL_ROOM ((size_t)96 << 20)
enum { FEWEST = 48, MOST = 2048 }; /* numbers of a result that are looked at */
/* Bytes behind what is taken for the run alone: oneDNN 3.12.1 has a matrix product that writes
 * beyond its scratchpad. */
enum { GUARD = 65536, GUARDED = 0xa5 };
enum { VERDICTS = 4096, PATTERN = 8191 /* prime: no stride is a multiple */, TAIL = 1024 };

/* ---- what was found ---- */

static atomic_ullong verdicts[VERDICTS]; /* by open addressing; the lowest bit: right. 0 = free */
static atomic_uint compiled;             /* kinds of primitive that have run: what their first run compiles is there */
static atomic_llong asked, made, refused, nanoseconds;
static pthread_mutex_t first_lock = PTHREAD_MUTEX_INITIALIZER;
static char first[160];

#ifdef MOCO_FAULTS
void (*mo_check_spoil)(const char *implementation, float *result, int64_t count);
int64_t mo_check_overrun = -1;

void mo_checks_forget(void)
{
    for (int i = 0; i < VERDICTS; i++)
        atomic_store(&verdicts[i], 0);
    atomic_store(&refused, 0);
}

static void spoil(const_dnnl_primitive_desc_t pd, const mo_trial_t *t)
{
    for (int i = 0; i < MO_OPERANDS && mo_check_spoil != NULL; i++)
        if (t->reference->operands[i].value != NULL && t->operands[i].at != NULL)
            mo_check_spoil(mo_pd_name(pd), t->operands[i].at, mo_layout_extent(&t->operands[i].layout));
}
#else
#define spoil(pd, trial) ((void)0)
#define overrun(run) ((void)0)
#endif

static unsigned long long entry(uint64_t key, int right)
{
    return ((key | 2) & ~1ull) | (unsigned)right; /* never 0 */
}

/* 1 and the verdict, where there is one. */
static int known(uint64_t key, mo_verdict_t *verdict)
{
    for (uint64_t i = 0; i < VERDICTS; i++) {
        const unsigned long long found = atomic_load(&verdicts[(key + i) % VERDICTS]);
        if (found == 0)
            return 0;
        if ((found & ~1ull) == entry(key, 0)) {
            *verdict = found & 1 ? MO_RIGHT : MO_WRONG;
            return 1;
        }
    }
    return 0;
}

/* A full table remembers nothing more: what is not in it is checked each time. */
static void remember(uint64_t key, mo_verdict_t verdict)
{
    for (uint64_t i = 0; i < VERDICTS; i++) {
        unsigned long long none = 0;
        if (atomic_compare_exchange_strong(&verdicts[(key + i) % VERDICTS], &none, entry(key, verdict == MO_RIGHT)) ||
            (none & ~1ull) == entry(key, 0))
            return;
    }
}

void mo_checks_read(mo_checks_t *checks)
{
    *checks = (mo_checks_t){.asked = atomic_load(&asked),
                            .made = atomic_load(&made),
                            .refused = atomic_load(&refused),
                            .seconds = (double)atomic_load(&nanoseconds) * 1e-9};
    pthread_mutex_lock(&first_lock);
    memcpy(checks->first, first, sizeof first);
    pthread_mutex_unlock(&first_lock);
}

/* ---- a run ---- */

/* Integers from -2 to 2, or from 1 to 4. */
static void make_pattern(float *pattern, int positive)
{
    uint32_t state = 12345;
    for (int i = 0; i < PATTERN; i++) {
        state = state * 1664525u + 1013904223u;
        pattern[i] = positive ? 1.0f + (float)(state >> 30) : (float)((state >> 16) % 5) - 2.0f;
    }
}

/* From another place of the pattern on for each operand. */
static float pattern_at(const float *pattern, int operand, int64_t i)
{
    return pattern[(i + 1021 * operand) % PATTERN];
}

/* Beside the numbers of a tensor lie other tensors, or what is left of them, which may be no finite
 * numbers: what is read there spoils the result even where it is multiplied by 0. The numbers
 * beyond the dims of a padded layout are 0. */
static void fill(mo_operand_t *operand, int number, const float *pattern)
{
    const mo_layout_t *l = &operand->layout;
    const int64_t extent = mo_layout_extent(l), numbers = mo_layout_count(l);
    for (int64_t i = extent; i < extent + TAIL; i++)
        operand->at[i] = mo_unwritten();
    if (mo_layout_is_padded(l) || numbers < extent) {
        int64_t index[MO_RANK] = {0};
        for (int64_t i = 0; i < extent && !mo_layout_is_padded(l); i++)
            operand->at[i] = mo_unwritten();
        for (int64_t i = 0; i < numbers; i++, mo_layout_step(l, index))
            operand->at[mo_layout_at(l, index)] = pattern_at(pattern, number, mo_layout_at(l, index));
        return;
    }
    for (int64_t from = 0, place = 1021 * number; from < extent;) {
        const int64_t rest = PATTERN - place, more = extent - from < rest ? extent - from : rest;
        memcpy(operand->at + from, pattern + place, (size_t)more * sizeof(float));
        from += more;
        place = 0;
    }
}

static int has_sum(const mo_formula_t *f)
{
    for (int i = 0; i < f->post_count; i++)
        if (f->posts[i].is_sum)
            return 1;
    return 0;
}

/* ---- looking at the result ---- */

/* The numbers beyond the dims of a padded layout are 0: what reads them relies on it. */
static int pads_are_zero(const mo_operand_t *result)
{
    const mo_layout_t *l = &result->layout;
    mo_layout_t slab = *l;
    for (int d = 0; d < l->rank; d++) {
        int64_t index[MO_RANK] = {0}, count = 1;
        for (int i = 0; i < l->rank; i++) {
            slab.dims[i] = i == d ? l->padded[i] - l->dims[i] : l->padded[i];
            count *= slab.dims[i];
        }
        for (int64_t i = 0; i < count; i++, mo_layout_step(&slab, index)) {
            int64_t at[MO_RANK];
            memcpy(at, index, sizeof at);
            at[d] += l->dims[d];
            if (result->at[mo_layout_at(l, at)] != 0.0f)
                return 0;
        }
    }
    return 1;
}

/* Everything of the result was written, and nothing beside it: it may lie among other tensors. */
static int wrote_its_own(const mo_operand_t *result)
{
    const mo_layout_t *l = &result->layout;
    const int64_t extent = mo_layout_extent(l);
    int64_t written = 0, beyond = 0, count = 1;
    for (int i = 0; i < l->rank; i++)
        count *= l->padded[i];
    for (int64_t i = 0; i < extent; i++)
        written += !mo_is_unwritten(&result->at[i]);
    for (int64_t i = extent; i < extent + TAIL; i++)
        beyond += !mo_is_unwritten(&result->at[i]);
    return beyond == 0 && written == count && pads_are_zero(result);
}

/* 1 right, 0 wrong, -1 unknown. */
static int number_is_right(const mo_trial_t *t, int result, const int64_t *index, const float *pattern)
{
    const int64_t at = mo_layout_at(&t->operands[result].layout, index);
    mo_answer_t answer = t->reference->operands[result].value(t, index);
    for (int i = 0; i < t->formula.post_count && answer.slack >= 0; i++) {
        const mo_post_t *post = &t->formula.posts[i];
        const mo_answer_t before = answer;
        if (post->is_sum)
            answer.value += (double)post->alpha * (double)pattern_at(pattern, result, at);
        else
            answer = mo_reference_function(post->alg, (double)post->alpha, (double)post->beta, before.value);
        if (answer.slack >= 0 && !post->is_sum)
            answer.slack += 2 * before.slack * (1 + fabs((double)post->alpha));
    }
    if (answer.slack < 0)
        return -1;
    answer.slack += fabs(answer.value) * mo_type_slack(t->operands[result].layout.type);
    return fabs((double)t->operands[result].at[at] - answer.value) <= answer.slack;
}

/* Its corners, then places drawn at random, or all where they are few. */
static int numbers_are_right(const mo_trial_t *t, int result, const float *pattern)
{
    const mo_layout_t *l = &t->operands[result].layout;
    const int64_t count = mo_layout_count(l), terms = t->reference->terms(t);
    int64_t wanted = TERMS / (terms > 0 ? terms : 1), index[MO_RANK] = {0};
    uint64_t state = 0x9e3779b97f4a7c15u;
    wanted = wanted < FEWEST ? FEWEST : wanted > MOST ? MOST : wanted;
    for (int64_t i = 0; i < wanted && i < count; i++) {
        for (int d = 0; d < l->rank && wanted < count; d++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            index[d] = i < 1 << l->rank ? (i >> d & 1) * (l->dims[d] - 1)
                                        : (int64_t)((state >> 33) % (uint64_t)l->dims[d]);
        }
        if (number_is_right(t, result, index, pattern) == 0)
            return 0;
        if (wanted >= count)
            mo_layout_step(l, index);
    }
    return 1;
}

static int results_are_right(const mo_trial_t *t, const float *pattern)
{
    int right = 1;
    for (int i = 0; i < MO_OPERANDS && right; i++)
        if (t->reference->operands[i].value != NULL && t->operands[i].layout.rank > 0)
            right = (has_sum(&t->formula) || wrote_its_own(&t->operands[i])) && numbers_are_right(t, i, pattern);
    return right;
}

/* ---- the check ---- */

/* A call that tests may make fail; what oneDNN itself refuses makes the implementation useless, not
 * the plan impossible, unless memory is the reason. */
#define ASK(call)                                                              \
    do {                                                                       \
        const int pretended_ = mo_fault(MO_FAULT_ENGINE);                      \
        const dnnl_status_t asked_ = pretended_ ? dnnl_runtime_error : (call); \
        if (pretended_ || asked_ == dnnl_out_of_memory)                        \
            TRY(mo_engine_result(asked_, what));                               \
        if (asked_ != dnnl_success)                                            \
            goto cleanup;                                                      \
    } while (0)

enum { EXTRA = 2, ARGS = MO_OPERANDS + EXTRA };
static const int extra_ids[EXTRA] = {DNNL_ARG_WORKSPACE, DNNL_ARG_SCRATCHPAD}; /* taken for the run alone */

/* What a primitive is run with. */
typedef struct run {
    mo_lane_t *lane;
    mo_trial_t *trial;
    dnnl_exec_arg_t args[ARGS];
    int count;
    size_t bytes[MO_OPERANDS];
    uint16_t *low[MO_OPERANDS]; /* what is read and written, of an operand that is not float32 */
    size_t low_bytes[MO_OPERANDS];
    void *extra[EXTRA];
    size_t extra_bytes[EXTRA];
    void *on_gpu[ARGS];  /* of each argument, where the engine is a GPU's: its copy there */
    void *results[ARGS]; /* where that is fetched to, or NULL */
    size_t sizes[ARGS];
    float pattern[PATTERN];
} run_t;

/* The memory of an argument: the host's, or on a GPU a copy of it. A lane is inside the gate, so
 * OpenCL is called without another one. */
static moco_status_t give(run_t *run, mo_cmd_t md, void *bytes, size_t size)
{
    moco_status_t status = MOCO_OK;
    const dnnl_engine_t engine = mo_device_engine(run->lane->device);
    mo_opencl_t *gpu = run->lane->device->gpu;
    void **copy = &run->on_gpu[run->count - 1];
    dnnl_memory_t *memory = &run->args[run->count - 1].memory;
    if (gpu != NULL) {
        TRY(mo_opencl_alloc(gpu, size, copy));
        TRY(mo_opencl_copy(gpu, *copy, bytes, size, 1));
    }
    TRY(mo_engine_make(gpu != NULL ? mo_opencl_memory(memory, md, engine, *copy)
                                   : dnnl_memory_create(memory, md, engine, bytes),
                       "create a memory object"));
cleanup:
    return status;
}

static moco_status_t add_operand(const_dnnl_primitive_desc_t pd, run_t *run, int number)
{
    moco_status_t status = MOCO_OK;
    mo_operand_t *operand = &run->trial->operands[number];
    const int64_t floats = mo_layout_extent(&operand->layout) + TAIL;
    const int is_result = run->trial->reference->operands[number].value != NULL;
    dnnl_exec_arg_t *arg = &run->args[run->count++];
    arg->arg = run->trial->reference->operands[number].id;
    run->bytes[number] = (size_t)floats * sizeof(float);
    TRY(mo_block_create(run->bytes[number], &operand->at));
    for (int64_t i = 0; is_result && i < floats; i++)
        operand->at[i] = mo_unwritten();
    if (!is_result || has_sum(&run->trial->formula))
        fill(operand, number, run->pattern);
    void *memory = operand->at;
    size_t size = run->bytes[number];
    if (operand->layout.type != dnnl_f32) {
        run->low_bytes[number] = (size_t)floats * sizeof *run->low[number];
        TRY(mo_block_create(run->low_bytes[number], &run->low[number]));
        mo_narrow(operand->layout.type, operand->at, floats, run->low[number]);
        memory = run->low[number];
        size = run->low_bytes[number];
    }
    run->results[run->count - 1] = is_result ? memory : NULL;
    run->sizes[run->count - 1] = size;
    TRY(give(run, dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, arg->arg), memory, size));
cleanup:
    return status;
}

static moco_status_t fetch_results(const run_t *run)
{
    moco_status_t status = MOCO_OK;
    for (int i = 0; i < run->count; i++)
        if (run->on_gpu[i] != NULL && run->results[i] != NULL)
            TRY(mo_opencl_copy(run->lane->device->gpu, run->results[i], run->on_gpu[i], run->sizes[i], 1));
cleanup:
    return status;
}

static void widen_results(run_t *run)
{
    for (int i = 0; i < MO_OPERANDS; i++) {
        const mo_operand_t *operand = &run->trial->operands[i];
        if (run->low[i] != NULL && run->trial->reference->operands[i].value != NULL)
            mo_widen(operand->layout.type, run->low[i], mo_layout_extent(&operand->layout) + TAIL, operand->at);
    }
}

/* Of one of the two; of no size where the primitive does not want it. */
static mo_cmd_t extra_md(const_dnnl_primitive_desc_t pd, int number)
{
    return extra_ids[number] == DNNL_ARG_WORKSPACE
               ? dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, DNNL_ARG_WORKSPACE)
               : dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
}

/* Not the lane's scratchpad: that would grow to what the largest implementation wants that was ever
 * looked at, and no plan counts that. */
static moco_status_t add_extra(const_dnnl_primitive_desc_t pd, run_t *run, int number)
{
    moco_status_t status = MOCO_OK;
    mo_cmd_t md = extra_md(pd, number);
    const size_t bytes = mo_md_size(md);
    if (bytes == 0)
        return MOCO_OK;
    dnnl_exec_arg_t *arg = &run->args[run->count++];
    arg->arg = extra_ids[number];
    run->extra_bytes[number] = bytes + GUARD;
    TRY(mo_block_create(run->extra_bytes[number], &run->extra[number]));
    memset((uint8_t *)run->extra[number] + bytes, GUARDED, GUARD);
    TRY(give(run, md, run->extra[number], run->extra_bytes[number]));
cleanup:
    return status;
}

#ifdef MOCO_FAULTS
static void overrun(const run_t *run)
{
    for (int i = 0; i < EXTRA && mo_check_overrun >= 0; i++)
        if (run->extra[i] != NULL) {
            ((uint8_t *)run->extra[i])[run->extra_bytes[i] - 1] = 0;
            mo_check_overrun++;
        }
}
#endif

static int guards_are_whole(const run_t *run)
{
    for (int i = 0; i < EXTRA; i++) {
        const uint8_t *bytes = run->extra[i];
        for (size_t k = bytes != NULL ? run->extra_bytes[i] - GUARD : 0; k < run->extra_bytes[i]; k++)
            if (bytes[k] != GUARDED)
                return 0;
    }
    return 1;
}

static void run_end(run_t *run)
{
    for (int i = 0; i < run->count; i++)
        if (run->args[i].memory != NULL)
            dnnl_memory_destroy(run->args[i].memory);
    for (int i = 0; i < run->count; i++)
        if (run->on_gpu[i] != NULL)
            mo_opencl_free(run->lane->device->gpu, run->on_gpu[i]);
    for (int i = 0; i < MO_OPERANDS; i++) {
        mo_block_free(run->trial->operands[i].at, run->bytes[i]);
        mo_block_free(run->low[i], run->low_bytes[i]);
    }
    for (int i = 0; i < EXTRA; i++)
        mo_block_free(run->extra[i], run->extra_bytes[i]);
}

static moco_status_t try_out(mo_lane_t *lane, const_dnnl_primitive_desc_t pd, mo_trial_t *trial, const char *what,
                             mo_verdict_t *verdict)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_t primitive = NULL;
    run_t run = {.lane = lane, .trial = trial};
    const unsigned kind = 1u << trial->formula.computes;
    *verdict = MO_UNABLE;
    make_pattern(run.pattern, trial->reference->positive);
    if (!mo_headroom_probe(MO_ENGINE_ROOM))
        TRY(mo_engine_result(dnnl_out_of_memory, what));
    ASK(dnnl_primitive_create(&primitive, pd));
    for (int i = 0; i < MO_OPERANDS; i++)
        if (trial->operands[i].layout.rank > 0)
            TRY(add_operand(pd, &run, i));
    for (int i = 0; i < EXTRA; i++)
        TRY(add_extra(pd, &run, i));
    if (!mo_headroom_probe(atomic_load(&compiled) & kind ? MO_ENGINE_ROOM : TRIAL_ROOM))
        TRY(mo_engine_result(dnnl_out_of_memory, what));
    ASK(mo_lane_submit(lane, primitive, run.count, run.args));
    ASK(dnnl_stream_wait(lane->stream));
    atomic_fetch_or(&compiled, kind);
    TRY(fetch_results(&run));
    widen_results(&run);
    spoil(pd, trial);
    overrun(&run);
    *verdict = guards_are_whole(&run) && results_are_right(trial, run.pattern) ? MO_RIGHT : MO_WRONG;
cleanup:
    if (status != MOCO_OK || *verdict == MO_UNABLE)
        dnnl_stream_wait(lane->stream); /* it may be at work on the operands still */
    run_end(&run);
    if (primitive != NULL)
        dnnl_primitive_destroy(primitive);
    return status;
}

/* On a GPU kernels are compiled when the primitive is made, and what is made stays in oneDNN's
 * cache. So what is not worth a comparison is made all the same. */
static moco_status_t can_be_made(const_dnnl_primitive_desc_t pd, const char *what, mo_verdict_t *verdict)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_t primitive = NULL;
    *verdict = MO_UNABLE;
    ASK(dnnl_primitive_create(&primitive, pd));
    *verdict = MO_RIGHT;
cleanup:
    if (primitive != NULL)
        dnnl_primitive_destroy(primitive);
    return status;
}

/* A plan is made before anyone decides whether there is memory for it, so a check takes only what
 * is to spare; without that an implementation is taken unchecked. */
static int has_room(const mo_trial_t *t, const_dnnl_primitive_desc_t pd)
{
    mo_headroom_t memory;
    uint64_t bytes = 0;
    for (int i = 0; i < MO_OPERANDS; i++)
        if (t->operands[i].layout.rank > 0)
            bytes += (uint64_t)(mo_layout_extent(&t->operands[i].layout) + TAIL) *
                     (t->operands[i].layout.type == dnnl_f32 ? sizeof(float) : sizeof(float) + sizeof(uint16_t));
    for (int i = 0; i < EXTRA; i++)
        bytes += mo_md_size(extra_md(pd, i));
    if (bytes < LARGE)
        return 1;
    mo_headroom_read(&memory);
    return bytes <= mo_headroom_spare(&memory);
}

moco_status_t mo_check(mo_lane_t *lane, const_dnnl_primitive_desc_t pd, int number, const char *what,
                       mo_verdict_t *verdict)
{
    mo_trial_t trial;
    atomic_fetch_add(&asked, 1);
    const int on_gpu = mo_device_is_gpu(lane->device);
    *verdict = MO_RIGHT;
    if (!mo_trial_begin(pd, &trial) || !mo_trial_is_worth(&trial))
        return on_gpu ? can_be_made(pd, what, verdict) : MOCO_OK;
    const uint64_t key = mo_hash_add(mo_trial_key(&trial, mo_pd_name(pd), number), (uint64_t)on_gpu);
    if (known(key, verdict))
        return MOCO_OK;
    if (!has_room(&trial, pd))
        return on_gpu ? can_be_made(pd, what, verdict) : MOCO_OK;
    const double from = mo_seconds();
    mo_headroom_planned_begin(); /* has_room has asked */
    moco_status_t status = try_out(lane, pd, &trial, what, verdict);
    mo_headroom_planned_end();
    mo_gate_note(mo_gate_kind(what, mo_pd_name(pd), MO_RUNNING));
    atomic_fetch_add(&nanoseconds, (long long)((mo_seconds() - from) * 1e9));
    if (status != MOCO_OK)
        return status;
    if (*verdict == MO_UNABLE) /* nothing was compared, and the next time it may be made */
        return MOCO_OK;
    atomic_fetch_add(&made, 1);
    remember(key, *verdict);
    if (*verdict != MO_RIGHT && atomic_fetch_add(&refused, 1) == 0) {
        pthread_mutex_lock(&first_lock);
        mo_check_text(pd, first, sizeof first);
        pthread_mutex_unlock(&first_lock);
    }
    return MOCO_OK;
}
