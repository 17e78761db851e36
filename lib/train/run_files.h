/* What a run leaves: its folder with checkpoint, model and log; and, where the folder does not take
 * them, a place beside it. Nothing that was learnt is lost with a folder that was deleted, a disk
 * that is full or a file system that does not answer. */
#ifndef MO_TRAIN_RUN_FILES_H
#define MO_TRAIN_RUN_FILES_H

#include "train/run_folder.h"
#include "train/run_log.h"
#include "train/trainer.h"

/* Zeroed: a run without files, of which every call below makes nothing. */
typedef struct mo_run_files {
    moco_trainer_t *trainer; /* NULL: no files */
    const moco_run_options_t *options;
    mo_run_folder_t run;
    mo_run_log_t log;
    int64_t step, epoch;       /* that the files hold; -1 = none of this run yet */
    double saved_at, tried_at; /* mo_seconds */
    int failing;               /* since when: */
    double failing_since;
    int given_up;                /* the run ends for it, and says where its files are */
    mo_folder_t rescue;          /* where the files are instead */
    int has_rescue, told_rescue; /* the log says where */
} mo_run_files_t;

/* Opens the folder and locks it. MOCO_ERR_EXISTS where another run is at work in it, or has left
 * files that are further than this trainer, unless the options allow to overwrite them. `folder`
 * NULL: a run without files. */
moco_status_t mo_run_files_open(mo_run_files_t *files, moco_trainer_t *trainer, const char *folder,
                                const moco_run_options_t *options);
/* Opens the log and cuts it back to the trainer's step: the first change in the folder. */
moco_status_t mo_run_files_begin(mo_run_files_t *files);

moco_status_t mo_run_files_log(mo_run_files_t *files, const moco_step_report_t *report);
/* Whether the options want a save inside an epoch now: by steps or by time. */
int mo_run_files_due(const mo_run_files_t *files);
/* Checkpoint and model, if there is something new. What the folder does not take goes beside it,
 * and the run goes on for a while, as it may be taken later. MOCO_ERR_NONFINITE: nothing is
 * written. */
moco_status_t mo_run_files_save(mo_run_files_t *files);
/* The last save of a run. MOCO_ERR_IO where the folder has not taken it; the message says where it
 * is. */
moco_status_t mo_run_files_finish(mo_run_files_t *files);
void mo_run_files_close(mo_run_files_t *files, int unused);

/* Steps that a checkpoint or model of an earlier run has learnt; -1 where there is none, and
 * INT64_MAX where that cannot be read: it might be anything. */
int64_t mo_run_steps_in(const char *path);
/* run_rescues.c: a warning where earlier runs that could not save have left folders beside RUN, of
 * the one that has learnt most. `step`: what this run begins with. */
moco_status_t mo_run_rescues_tell(const mo_run_folder_t *run, int64_t step);

#endif
