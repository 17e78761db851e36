/* RUN/log.jsonl: a line per logged step, cut back to the checkpoint's step when a run goes on. */
#ifndef MO_TRAIN_RUN_LOG_H
#define MO_TRAIN_RUN_LOG_H

#include <moco/trainer.h>

#include "util/folder.h"

/* Zeroed: none. Lines that could not be written wait for the next attempt. */
typedef struct mo_run_log {
    const mo_folder_t *folder;
    int fd; /* reads, too: a log that was deleted is written anew from it */
    char *waiting;
    int64_t bytes, capacity;   /* of what waits */
    moco_step_report_t report; /* behind that, where there was no memory for its line … */
    int has_report;            /* … which the next flush makes */
} mo_run_log_t;

/* Opens log.jsonl in the folder for appending, after dropping lines of steps beyond `step`.
 * Anything but a regular file is refused, links too. */
moco_status_t mo_run_log_open(mo_run_log_t *log, const mo_folder_t *folder, int64_t step);
/* MOCO_ERR_IO or MOCO_ERR_MEMORY where it could not be written: it waits. */
moco_status_t mo_run_log_line(mo_run_log_t *log, const moco_step_report_t *report);
/* What waits, to the file. */
moco_status_t mo_run_log_flush(mo_run_log_t *log);
/* To the disk, as far as the file system can. */
moco_status_t mo_run_log_sync(const mo_run_log_t *log);
/* All of it, with the lines that wait, to log.jsonl of another folder. */
moco_status_t mo_run_log_copy(const mo_run_log_t *log, const mo_folder_t *to);
/* Safe on a zeroed struct. With `unused`, an empty log goes too, so that the folder does not count
 * as a run's. */
void mo_run_log_close(mo_run_log_t *log, int unused);

#endif
