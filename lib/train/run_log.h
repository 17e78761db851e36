/* RUN/log.jsonl: a line per logged step, cut back to the checkpoint's step when a run goes on. */
#ifndef MO_TRAIN_RUN_LOG_H
#define MO_TRAIN_RUN_LOG_H

#include <moco/trainer.h>
#include <stdio.h>

/* Opens FOLDER/log.jsonl for appending after dropping lines of steps beyond `step`. */
moco_status_t mo_run_log_open(const char *folder, int64_t step, FILE **out);
moco_status_t mo_run_log_line(FILE *log, const moco_step_report_t *report);
/* Closes it; NULL is fine. With `unused`, an empty log goes too, so that the folder does not count
 * as a run's. */
void mo_run_log_close(const char *folder, FILE *log, int unused);

#endif
