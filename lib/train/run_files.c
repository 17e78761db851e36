/* The files of a run; see run_files.h. Called by run.c. */
#include "train/run_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "eval/model_file.h"
#include "persist/tensor_file.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/status.h"

#define GIVE_UP_SECONDS 600.0 /* a run goes on for so long without being able to save */
#define RETRY_SECONDS 30.0    /* and tries again after so long                         */
#define LAST_TRIES 4          /* of the last save                                      */

/* ---- opening ---- */

int64_t mo_run_steps_in(const char *path)
{
    mo_tensor_file_t file = {0};
    int64_t steps = INT64_MAX;
    struct stat info;
    if (stat(path, &info) != 0)
        return -1;
    if (mo_tensor_file_peek(&file, path) == MOCO_OK) {
        const char *text = mo_tensor_file_text(&file, "step"); /* of a checkpoint */
        if (text == NULL)
            text = mo_tensor_file_text(&file, "steps"); /* of a model */
        if (text != NULL)
            steps = strtoll(text, NULL, 10);
        if (steps < 0) /* a model that another program has trained does not know */
            steps = INT64_MAX;
    }
    mo_tensor_file_close(&file);
    return steps;
}

/* A run replaces only what it goes on from. */
static moco_status_t check_file(const mo_run_files_t *f, const char *path)
{
    const int64_t now = f->trainer->state.step, steps = mo_run_steps_in(path);
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return mo_fail(MOCO_ERR_IO, "'%s' is not a regular file", path);
    if (f->options->overwrite || steps <= now)
        return MOCO_OK;
    if (now == 0)
        return mo_fail(MOCO_ERR_EXISTS,
                       "'%s' is of another run, which this trainer at step 0 would replace: load its checkpoint, "
                       "choose another folder or set 'overwrite'",
                       path);
    if (steps == INT64_MAX) /* damaged, and this trainer has learnt something */
        return MOCO_OK;
    return mo_fail(MOCO_ERR_EXISTS,
                   "'%s' is of step %lld, which this trainer at step %lld would replace: load it, choose another "
                   "folder or set 'overwrite'",
                   path, (long long)steps, (long long)now);
}

moco_status_t mo_run_files_open(mo_run_files_t *files, moco_trainer_t *trainer, const char *folder,
                                const moco_run_options_t *options)
{
    static const char *const names[] = {MO_RUN_CHECKPOINT, MO_RUN_MODEL};
    moco_status_t status = MOCO_OK;
    mo_run_files_t made = {.trainer = trainer, .options = options, .step = -1, .epoch = -1, .saved_at = mo_seconds()};
    char *path = NULL;
    *files = (mo_run_files_t){0};
    if (folder == NULL)
        return MOCO_OK;
    TRY(mo_run_folder_open(&made.run, folder));
    for (int i = 0; i < 2; i++) {
        TRY(mo_folder_path(&made.run.folder, names[i], &path));
        TRY(check_file(&made, path));
        mo_free(path);
        path = NULL;
    }
    TRY(mo_run_rescues_tell(&made.run, trainer->state.step));
    *files = made;
    made = (mo_run_files_t){0};
cleanup:
    mo_free(path);
    mo_run_files_close(&made, 1);
    return status;
}

moco_status_t mo_run_files_begin(mo_run_files_t *f)
{
    return f->trainer != NULL ? mo_run_log_open(&f->log, &f->run.folder, f->trainer->state.step) : MOCO_OK;
}

void mo_run_files_close(mo_run_files_t *f, int unused)
{
    unused = unused && f->run.owner == getpid();
    mo_run_log_close(&f->log, unused);
    mo_run_folder_close(&f->run, unused);
    if (f->has_rescue)
        mo_folder_close(&f->rescue);
    *f = (mo_run_files_t){0};
}

/* ---- saving ---- */

static moco_status_t save_into(const mo_run_files_t *f, const mo_folder_t *folder)
{
    mo_state_t *state = &f->trainer->state;
    const mo_encoder_t encoder = mo_state_model(state);
    mo_transform_t transform;
    moco_status_t status = MOCO_OK;
    mo_transform_of(&state->options, &transform);
    TRY(mo_state_save(state, folder, MO_RUN_CHECKPOINT));
    TRY(mo_model_write_encoder(&encoder, &transform, folder, MO_RUN_MODEL));
cleanup:
    return status;
}

static moco_status_t save_rescue(mo_run_files_t *f)
{
    moco_status_t status = save_into(f, &f->rescue);
    return status == MOCO_OK ? mo_run_log_copy(&f->log, &f->rescue) : status;
}

/* Something that is in the folder and not ours keeps it. */
static void drop_folder(mo_folder_t *rescue)
{
    static const char *const names[] = {MO_RUN_CHECKPOINT, MO_RUN_MODEL, MO_RUN_LOG};
    char *place = NULL;
    for (int i = 0; i < 3; i++)
        unlinkat(rescue->fd, names[i], 0);
    if (mo_run_folder_place(rescue, &place) == MOCO_OK)
        rmdir(place);
    mo_free(place);
    mo_folder_close(rescue);
}

static void drop_rescue(mo_run_files_t *f)
{
    if (f->has_rescue)
        drop_folder(&f->rescue);
    f->has_rescue = 0;
}

/* What was learnt to a place beside RUN, where it also goes from then on. Where that place takes no
 * more, another one is made; the older state stays until the newer one is safe. */
static moco_status_t rescue(mo_run_files_t *f)
{
    moco_status_t status = MOCO_ERR_IO;
    mo_folder_t older = f->rescue;
    const int had_older = f->has_rescue;
    if (had_older && save_rescue(f) == MOCO_OK)
        return MOCO_OK;
    f->has_rescue = 0;
    for (int i = 0; i < 2 && status != MOCO_OK; i++) {
        f->rescue = (mo_folder_t){0};
        status = mo_run_folder_rescue(&f->run, i, &f->rescue);
        f->has_rescue = status == MOCO_OK;
        f->told_rescue = 0;
        if (status == MOCO_OK && (status = save_rescue(f)) != MOCO_OK) {
            char why[MO_MESSAGE_SIZE];
            mo_message_copy(why);
            drop_rescue(f);
            mo_message_set(status, why);
        }
    }
    if (had_older && status == MOCO_OK) {
        drop_folder(&older);
    } else if (had_older) {
        f->rescue = older;
        f->has_rescue = 1;
    }
    return status;
}

/* For good: neither RUN took it, for the reason `why`, nor another place, as the last message
 * says. */
static moco_status_t not_saved(const mo_run_files_t *f, moco_status_t failure, const char *why)
{
    const long long step = (long long)f->trainer->state.step;
    char nor[MO_MESSAGE_SIZE], *place = NULL;
    mo_message_copy(nor);
    if (f->has_rescue && mo_run_folder_place(&f->rescue, &place) == MOCO_OK)
        mo_fail(failure,
                "what was learnt until step %lld is not saved, an older state is in '%s': %s; nor elsewhere: %s", step,
                place, why, nor);
    else
        mo_fail(failure, "what was learnt until step %lld is not saved: %.300s; nor elsewhere: %s", step, why, nor);
    mo_free(place);
    return failure;
}

/* RUN did not take something, as the last message says. */
static moco_status_t trouble(mo_run_files_t *f, moco_status_t failure, int last)
{
    const double now = mo_seconds();
    const int is_first = !f->failing;
    const long long step = (long long)f->trainer->state.step;
    char why[MO_MESSAGE_SIZE], *place = NULL;
    mo_message_copy(why);
    if (is_first)
        f->failing_since = now;
    f->failing = 1;
    f->tried_at = now;
    last = last || mo_run_folder_deleted(&f->run) || now - f->failing_since >= GIVE_UP_SECONDS;
    f->given_up = last;
    moco_status_t status = rescue(f);
    if (status == MOCO_OK)
        status = mo_run_folder_place(&f->rescue, &place);
    if (status != MOCO_OK) {
        mo_free(place);
        if (last)
            return not_saved(f, failure, why);
        if (is_first)
            mo_log(MOCO_LOG_ERROR,
                   "what was learnt until step %lld is not saved: %s; nor elsewhere: %s; the run goes on "
                   "and tries again",
                   step, why, moco_last_message());
        return MOCO_OK;
    }
    if (last)
        status = mo_fail(failure, "what was learnt until step %lld is in '%s', because %s", step, place, why);
    else if (!f->told_rescue)
        mo_log(MOCO_LOG_WARNING,
               "what was learnt until step %lld is in '%s', because %s; the run goes on and tries again", step, place,
               why);
    f->told_rescue = 1;
    mo_free(place);
    return status;
}

static moco_status_t try_to_save(mo_run_files_t *f)
{
    moco_status_t status = MOCO_OK;
    if (f->run.owner != getpid())
        return mo_fail(MOCO_ERR_FORKED, "a forked child may not save into its parent's run");
    TRY(mo_run_log_flush(&f->log));
    TRY(mo_run_log_sync(&f->log)); /* so that it is never behind the checkpoint */
    TRY(save_into(f, &f->run.folder));
    f->step = f->trainer->state.step;
    f->epoch = f->trainer->state.epoch;
    f->saved_at = mo_seconds();
    if (f->failing) {
        mo_log(MOCO_LOG_WARNING, "'%s' takes the files of the run again", f->run.folder.path);
        drop_rescue(f);
    }
    f->failing = 0;
cleanup:
    return status;
}

static int is_new(const mo_run_files_t *f)
{
    return f->step != f->trainer->state.step || f->epoch != f->trainer->state.epoch;
}

moco_status_t mo_run_files_save(mo_run_files_t *f)
{
    if (f->trainer == NULL || !is_new(f))
        return MOCO_OK;
    const moco_status_t status = try_to_save(f);
    const int is_kept = status == MOCO_ERR_NONFINITE || status == MOCO_ERR_FORKED;
    return status == MOCO_OK || is_kept ? status : trouble(f, status, 0);
}

int mo_run_files_due(const mo_run_files_t *f)
{
    const moco_run_options_t *o = f->options;
    if (f->trainer == NULL)
        return 0;
    const double now = mo_seconds();
    return (o->save_every > 0 && f->trainer->state.step % o->save_every == 0) ||
           (o->save_minutes > 0 && now - f->saved_at >= 60 * o->save_minutes) ||
           (f->failing && now - f->tried_at >= RETRY_SECONDS);
}

moco_status_t mo_run_files_finish(mo_run_files_t *f)
{
    const struct timespec pause = {.tv_nsec = 300000000};
    moco_status_t status = MOCO_OK;
    char *place = NULL;
    if (f->trainer == NULL || f->given_up)
        return MOCO_OK;
    for (int i = 0; i < LAST_TRIES && (is_new(f) || f->log.bytes > 0); i++) {
        if (i > 0)
            nanosleep(&pause, NULL);
        status = try_to_save(f);
        if (status == MOCO_ERR_FORKED)
            return status;
        if (status == MOCO_OK || status == MOCO_ERR_NONFINITE || mo_run_folder_deleted(&f->run))
            break;
    }
    if (status != MOCO_OK)
        return status == MOCO_ERR_NONFINITE ? status : trouble(f, status, 1);
    if (mo_run_folder_moved(&f->run) && mo_run_folder_place(&f->run.folder, &place) == MOCO_OK)
        mo_log(MOCO_LOG_WARNING, "'%s' was moved while the run was at work: its files are in '%s'", f->run.folder.path,
               place);
    mo_free(place);
    return MOCO_OK;
}

/* ---- the log ---- */

/* A log that cannot be written is trouble once; then its lines wait for the next save. */
moco_status_t mo_run_files_log(mo_run_files_t *f, const moco_step_report_t *report)
{
    if (f->trainer == NULL || f->run.owner != getpid()) /* a forked child is told when it saves or reads */
        return MOCO_OK;
    const moco_status_t status = mo_run_log_line(&f->log, report);
    if (status != MOCO_ERR_IO)
        return status;
    return f->failing && mo_seconds() - f->failing_since < GIVE_UP_SECONDS ? MOCO_OK : trouble(f, status, 0);
}
