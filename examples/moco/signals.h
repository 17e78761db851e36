/* Signals. The first SIGINT, SIGTERM or SIGHUP asks the call at work to stop; what a run would save
 * then is never lost to another one. SIGPIPE and SIGXFSZ are ignored: what cannot be written is an
 * error like any other. */
#ifndef PROGRAM_SIGNALS_H
#define PROGRAM_SIGNALS_H

#include <moco/moco.h>

moco_status_t signals_catch(void);
int signals_pending(void);

/* For the options of every long call. */
moco_cancel_t *signals_cancel(void);

/* MOCO_ERR_CANCELLED after a signal: between calls that cannot be stopped. */
moco_status_t signals_check(void);

/* What a signal says from now on, up to signals_end: `text` names the work that it saves, which no
 * further signal may cut short. */
void signals_begin(const char *text);
void signals_end(void);

#endif
