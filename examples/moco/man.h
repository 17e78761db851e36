/* Manual pages, made from the same tables as --help: `moco help --man [COMMAND]` writes one to
 * stdout. */
#ifndef PROGRAM_MAN_H
#define PROGRAM_MAN_H

#include "args.h"

/* A command as the program's own page lists it. */
typedef struct man_entry {
    const char *name, *summary;
} man_entry_t;

/* moco-COMMAND(1). */
void man_command_page(const arg_command_t *command);

/* moco(1). */
void man_program_page(const man_entry_t *entries, int count);

#endif
