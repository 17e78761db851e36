/* Manual pages from the tables of options: see man.h. Called by args.c for a command and by main.c
 * for the program. The pages are in the man macros, checked by tests/check_man.sh; characters
 * outside ASCII become escapes, so that they do not depend on the reader's encoding. */
#include "man.h"

#include <moco/moco.h>
#include <stdio.h>
#include <string.h>

static const char EXIT_STATUS[] = ".SH \"EXIT STATUS\"\n"
                                  ".TP\n0\nDone.\n"
                                  ".TP\n1\nFailed; the reason is on standard error.\n"
                                  ".TP\n2\nWrong usage.\n"
                                  ".TP\n130\nInterrupted by SIGINT or SIGTERM.\n";

/* One character of UTF-8; returns its bytes. */
static int put_character(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;

    if (c[0] >= 0xe0 && c[0] < 0xf0 && c[1] != 0 && c[2] != 0) {
        printf("\\[u%04X]", (c[0] & 15u) << 12 | (c[1] & 63u) << 6 | (c[2] & 63u));
        return 3;
    }
    if (c[0] >= 0xc2 && c[0] < 0xe0 && c[1] != 0) {
        printf("\\[u%04X]", (c[0] & 31u) << 6 | (c[1] & 63u));
        return 2;
    }
    if (c[0] == '\\')
        fputs("\\e", stdout);
    else if (c[0] == '-')
        fputs("\\-", stdout);
    else
        putchar(c[0]);
    return 1;
}

/* Text within a line; `moco embed` in backquotes becomes bold. */
static void put_text(const char *text, size_t length)
{
    int bold = 0;

    /* A point or apostrophe that begins a line would be a request. */
    if (length > 0 && (text[0] == '.' || text[0] == '\''))
        fputs("\\&", stdout);
    for (size_t at = 0; at < length;) {
        if (text[at] == '`') {
            fputs(bold ? "\\fR" : "\\fB", stdout);
            bold = !bold;
            at++;
        } else {
            at += (size_t)put_character(text + at);
        }
    }
}

static void put(const char *text)
{
    put_text(text, strlen(text));
}

/* A line of the notes that begins with two spaces is an item, "  NAME  text"; returns the length of
 * its name, or 0. */
static size_t item_name(const char *line, size_t length)
{
    if (length < 3 || line[0] != ' ' || line[1] != ' ' || line[2] == ' ')
        return 0;
    for (size_t at = 2; at + 2 < length; at++)
        if (line[at] == ' ' && line[at + 1] == ' ')
            return at - 2;
    return 0;
}

/* The notes of --help: paragraphs with an empty line between them, and items. */
static void put_notes(const char *notes)
{
    int in_item = 0;

    for (const char *line = notes; *line != '\0';) {
        const char *end = strchr(line, '\n');
        const size_t length = end != NULL ? (size_t)(end - line) : strlen(line);
        const size_t name = item_name(line, length);
        if (length == 0 || (in_item && name == 0))
            fputs(".PP\n", stdout);
        in_item = name > 0;
        if (name > 0) {
            size_t text = 2 + name;
            while (line[text] == ' ')
                text++;
            fputs(".TP\n\\fB", stdout);
            put_text(line + 2, name);
            fputs("\\fR\n", stdout);
            put_text(line + text, length - text);
            putchar('\n');
        } else if (length > 0) {
            put_text(line, length);
            putchar('\n');
        }
        line += length + (end != NULL);
    }
}

static void put_option(const arg_option_t *o)
{
    fputs(".TP\n", stdout);
    if (o->letter != 0)
        printf("\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-", stdout);
    put(o->name);
    fputs("\\fR", stdout);
    if (o->value != NULL) {
        fputs(" \\fI", stdout);
        put(o->value);
        fputs("\\fR", stdout);
    }
    putchar('\n');
    put(o->help);
    putchar('\n');
}

static void put_head(const char *title, const char *name, const char *summary)
{
    printf(".TH %s 1 \"\" \"libmoco %s\" \"moco\"\n.SH NAME\n", title, moco_version_string());
    put(name);
    fputs(" \\- ", stdout);
    put(summary);
    fputs("\n.SH SYNOPSIS\n", stdout);
}

/* "Learn an encoder." as NAME wants it: without the capital and the point. */
static void summary_text(const char *summary, char *text, size_t capacity)
{
    size_t length;

    snprintf(text, capacity, "%s", summary);
    length = strlen(text);
    if (length > 0 && text[length - 1] == '.')
        text[length - 1] = '\0';
    if (text[0] >= 'A' && text[0] <= 'Z')
        text[0] = (char)(text[0] - 'A' + 'a');
}

void man_command_page(const arg_command_t *command)
{
    char title[64], name[64], summary[160];

    snprintf(name, sizeof name, "moco-%s", command->name);
    snprintf(title, sizeof title, "MOCO\\-");
    for (size_t i = 0, at = strlen(title); command->name[i] != '\0' && at + 1 < sizeof title; i++, at++) {
        const char c = command->name[i];
        title[at] = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
        title[at + 1] = '\0';
    }
    summary_text(command->summary, summary, sizeof summary);
    put_head(title, name, summary);
    printf("\\fBmoco %s\\fR ", command->name);
    put(command->positionals);
    printf("%s[\\fIoptions\\fR]\n.SH DESCRIPTION\n", command->positionals[0] != '\0' ? " " : "");
    put(command->summary);
    putchar('\n');
    if (command->notes != NULL) {
        fputs(".PP\n", stdout);
        put_notes(command->notes);
    }
    fputs(".SH OPTIONS\n", stdout);
    for (const arg_option_t *o = command->options; o->name != NULL; o++)
        put_option(o);
    fputs(".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nShow the options and end.\n", stdout);
    fputs(EXIT_STATUS, stdout);
    fputs(".SH \"SEE ALSO\"\n.BR moco (1)\n", stdout);
}

void man_program_page(const man_entry_t *entries, int count)
{
    put_head("MOCO", "moco", "self-supervised image encoders");
    fputs(
        "\\fBmoco\\fR \\fICOMMAND\\fR [\\fIarguments\\fR]\n.br\n\\fBmoco help\\fR [\\fICOMMAND\\fR]\n.br\n"
        "\\fBmoco \\-\\-version\\fR\n.SH DESCRIPTION\n"
        "Trains image encoders without labels (MoCo, SimCLR, BYOL), measures them and uses them.\n"
        "Every command has a page of its own, and \\fBmoco\\fR \\fICOMMAND\\fR \\fB\\-\\-help\\fR lists its options.\n"
        ".SH COMMANDS\n",
        stdout);
    for (int i = 0; i < count; i++) {
        printf(".TP\n\\fBmoco\\-%s\\fR(1)\n", entries[i].name);
        put(entries[i].summary);
        putchar('\n');
    }
    fputs(EXIT_STATUS, stdout);
    fputs(".SH \"SEE ALSO\"\n", stdout);
    for (int i = 0; i < count; i++)
        printf(".BR moco\\-%s (1)%s\n", entries[i].name, i + 1 < count ? "," : "");
}
