/* What a step changes. Prepared first: loss and gradient norm, and are they numbers; then plain
 * loops over flat blocks. */
#include <string.h>

#include "train/trainer.h"
#include "util/status.h"

/* ---- the numbers on the host ---- */

enum { HOLDS = 10 };

static void holds_of(moco_trainer_t *t, mo_hold_t holds[HOLDS])
{
    mo_mapped_t *m = &t->mapped;
    const mo_hold_t all[HOLDS] = {{t->state.query.params, MO_UPDATE, &m->query},
                                  {t->state.key.params, MO_UPDATE, &m->key},
                                  {t->gradients[0].total, MO_READ, &m->gradients[0]},
                                  {t->gradients[1].total, MO_READ, &m->gradients[1]},
                                  {t->query_staged.values, MO_READ, &m->query_staged},
                                  {t->key_staged.values, MO_READ, &m->key_staged},
                                  {t->state.queue.rows, MO_UPDATE, &m->queue},
                                  {t->keys, MO_READ, &m->keys},
                                  {t->state.optimizer[0], MO_UPDATE, &t->optim.state[0]},
                                  {t->state.optimizer[1], MO_UPDATE, &t->optim.state[1]}};
    memcpy(holds, all, sizeof all);
}

static moco_status_t map_numbers(moco_trainer_t *t)
{
    const mo_net_t *net = &t->state.query.net;
    const int64_t body = t->state.method.two_pass ? net->body_params : net->params;
    moco_status_t status = MOCO_OK;
    mo_hold_t holds[HOLDS];
    holds_of(t, holds);
    if (!mo_device_is_gpu(t->device))
        TRY(mo_holds_map(holds, HOLDS));
    t->optim.params = t->mapped.query;
    t->optim.pieces[0] = (mo_gradient_piece_t){t->mapped.gradients[0], 0, body, t->gradients[0].total};
    t->optim.pieces[1] = (mo_gradient_piece_t){t->mapped.gradients[1], body, net->params - body, t->gradients[1].total};
cleanup:
    return status;
}

void mo_commit_done(moco_trainer_t *t)
{
    mo_hold_t holds[HOLDS];
    holds_of(t, holds);
    if (mo_device_is_gpu(t->device))
        t->mapped = (mo_mapped_t){0};
    else
        mo_holds_release(holds, HOLDS);
    t->optim.params = NULL;
}

/* ---- what can be refused ---- */

static void read_outcome(const moco_trainer_t *t, mo_outcome_t *out)
{
    const mo_method_t *m = &t->state.method;
    int64_t rows = m->rows, first = 0, fifth = 0;
    double loss = 0;
    for (int64_t i = 0; i < rows; i++) {
        const float *row = t->results + i * MO_LOSS_WIDTH;
        loss += row[MO_LOSS_VALUE];
        first += row[MO_LOSS_RANK] < 1;
        fifth += row[MO_LOSS_RANK] < 5;
    }
    *out = (mo_outcome_t){loss / m->mean_rows, 100.0 * (double)first / (double)rows,
                          100.0 * (double)fifth / (double)rows, 0, out->rates};
    if (m->loss->chance == NULL)
        out->top1 = out->top5 = -1;
}

/* All that can be refused, before anything has changed. */
moco_status_t mo_commit_prepare(moco_trainer_t *t, mo_commit_t *c)
{
    const moco_trainer_options_t *o = &t->state.options;
    moco_status_t status = MOCO_OK;
    c->outcome.rates = c->rates;
    c->update = (mo_update_t){
        .optim = &t->optim,
        .rates = {.kind = (mo_optimizer_t)o->optimizer,
                  .lr = c->rates.lr,
                  .momentum = o->sgd_momentum,
                  .weight_decay = o->weight_decay,
                  .trust = o->lars_trust,
                  .beta1 = o->adam_beta1,
                  .beta2 = o->adam_beta2,
                  .epsilon = o->adam_epsilon,
                  .step = t->state.step + 1},
        .follower = {.at = t->state.key.params, .count = t->state.key.net.params, .momentum = c->rates.key_momentum}};
    TRY(map_numbers(t));
    c->update.follower.params = t->mapped.key;
    TRY(mo_update_measure(&c->update, t->device));
    TRY(mo_gpu_step_end(t)); /* a GPU's one wait */
    read_outcome(t, &c->outcome);
    TRY(mo_update_prepare(&c->update, t->device, c->outcome.loss, &c->outcome.gradient_norm));
cleanup:
    return status;
}

/* ---- the commit ---- */

static void commit_statistics(moco_trainer_t *t)
{
    const mo_method_t *m = &t->state.method;
    const int64_t rows = m->mixed ? m->rows : t->state.options.batch_size;
    const int first = t->state.options.bn_running == MOCO_BN_RUNNING_FIRST;
    mo_running_commit(&t->state.query, &t->query_staged, t->mapped.query_staged, rows, m->mixed ? 1 : m->query_views,
                      first);
    if (m->key_views > 0)
        mo_running_commit(&t->state.key, &t->key_staged, t->mapped.key_staged, rows, m->key_views, first);
}

/* Pushed batches of a run without data set; with one, epochs are its own, and this step is in none
 * of them. */
static void count_pushed(mo_state_t *s, double loss)
{
    const int64_t per_epoch = s->options.steps_per_epoch;
    if (s->listing_count != 0)
        return;
    if (per_epoch > 0) {
        s->epoch = (s->step - 1) / per_epoch;
        s->step_in_epoch = (s->step - 1) % per_epoch + 1;
    } else {
        s->step_in_epoch++;
    }
    if (s->step_in_epoch == 1)
        s->epoch_loss_sum = 0;
    s->epoch_loss_sum += loss;
}

static void count(moco_trainer_t *t, const mo_commit_t *c)
{
    mo_state_t *s = &t->state;
    s->step++;
    if (c->views->pushed) {
        mo_push_done(t);
        count_pushed(s, c->outcome.loss);
    } else {
        s->position = c->views->position;
        s->step_in_epoch++;
        s->epoch_loss_sum += c->outcome.loss;
    }
}

/* Tensor by tensor over the flat blocks; each part moves the query encoder, then the key encoder
 * after it: k <- m k + (1-m) q. */
void mo_commit(moco_trainer_t *t, mo_commit_t *c)
{
    mo_update_commit(&c->update, t->device);
    commit_statistics(t); /* the stages only staged them */
    if (t->state.method.loss->after_commit != NULL)
        t->state.method.loss->after_commit(t);
    count(t, c);
}
