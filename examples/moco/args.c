/* Table-driven option parsing: see args.h. Called by every command before it touches the
 * library. */
#include "args.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "man.h"

/* Edit distance, small and quadratic; words longer than the row are never close to anything. */
static int distance(const char *a, const char *b)
{
    enum { LONGEST = 48 };
    int row[LONGEST + 1];
    const int n = (int)strlen(a), m = (int)strlen(b);

    if (n > LONGEST || m > LONGEST)
        return LONGEST;
    for (int j = 0; j <= m; j++)
        row[j] = j;
    for (int i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            const int above = row[j];
            int best = diagonal + (a[i - 1] != b[j - 1]);
            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = above;
            row[j] = best;
        }
    }
    return row[m];
}

const char *args_nearest(const char *word, const char *const *candidates)
{
    const char *nearest = NULL;
    int best = (int)strlen(word) / 3 + 1; /* "epoch" may miss by two letters, "k" by one */

    for (; *candidates != NULL; candidates++) {
        const int d = distance(word, *candidates);
        if (d <= best && (nearest == NULL || d < best)) {
            best = d;
            nearest = *candidates;
        }
    }
    return nearest;
}

int args_bytes(const char *text, int64_t *bytes)
{
    static const char units[] = "KMGT";
    char *end = NULL;
    double value;

    errno = 0;
    value = strtod(text, &end);
    if (end == text || errno != 0 || !(value >= 0))
        return -1;
    if (*end != '\0') {
        const char letter = (char)(*end >= 'a' && *end <= 'z' ? *end - 'a' + 'A' : *end);
        const char *unit = strchr(units, letter);
        if (unit != NULL) {
            value = ldexp(value, 10 * (int)(unit - units + 1));
            end++;
            if (end[0] == 'i')
                end++;
        }
        if (*end == 'B' || *end == 'b')
            end++;
    }
    if (*end != '\0' || value >= 9.2e18)
        return -1;
    *bytes = (int64_t)value;
    return 0;
}

static int usage_error(const arg_command_t *command, const char *what, const char *name, const char *tail)
{
    fprintf(stderr, "moco %s: %s%s%s\n", command->name, what, name, tail);
    fprintf(stderr, "try: moco %s --help\n", command->name);
    return EXIT_USAGE;
}

static int unknown_option(const arg_command_t *command, const char *word, size_t length)
{
    const char *names[64];
    char given[64], tail[96] = "";
    const char *nearest;
    int count = 0;

    for (const arg_option_t *o = command->options; o->name != NULL && count < 62; o++)
        names[count++] = o->name;
    names[count++] = "help";
    names[count] = NULL;
    snprintf(given, sizeof given, "%.*s", (int)length, word);
    nearest = given[0] == '-' && given[1] == '-' ? args_nearest(given + 2, names) : NULL;
    if (nearest != NULL)
        snprintf(tail, sizeof tail, "; did you mean --%s?", nearest);
    return usage_error(command, "unknown option ", given, tail);
}

static int bad_value(const arg_command_t *command, const arg_option_t *o, const char *text, const char *wanted)
{
    char tail[256];
    snprintf(tail, sizeof tail, ": '%.60s' is not %s", text, wanted);
    return usage_error(command, "--", o->name, tail);
}

static int take_choice(const arg_command_t *command, const arg_option_t *o, const char *text)
{
    const size_t length = strlen(text);
    const char *word = o->value;

    for (int position = 0; word != NULL; position++) {
        const char *bar = strchr(word, '|');
        const size_t size = bar != NULL ? (size_t)(bar - word) : strlen(word);
        if (size == length && memcmp(word, text, size) == 0) {
            *(int *)o->target = position;
            return ARG_GO_ON;
        }
        word = bar != NULL ? bar + 1 : NULL;
    }
    return bad_value(command, o, text, o->value);
}

static int take_integer(const arg_command_t *command, const arg_option_t *o, const char *text)
{
    char *end = NULL, wanted[96];
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < o->min || value > o->max) {
        snprintf(wanted, sizeof wanted, "a whole number %lld..%lld", (long long)o->min, (long long)o->max);
        return bad_value(command, o, text, wanted);
    }
    *(int64_t *)o->target = value;
    return ARG_GO_ON;
}

static int take_setting(const arg_command_t *command, const arg_option_t *o, const char *text)
{
    arg_settings_t *settings = o->target;
    const char *equals = strchr(text, '=');
    const int at = settings->count;

    if (at == ARG_SETTINGS_MAX)
        return usage_error(command, "too many options at --", o->name, "");
    if (o->kind == ARG_FIELD) {
        snprintf(settings->name[at], sizeof settings->name[at], "%s", o->field);
        settings->value[at] = text;
    } else {
        if (equals == NULL || equals == text || (size_t)(equals - text) >= sizeof settings->name[at])
            return bad_value(command, o, text, "name=value");
        snprintf(settings->name[at], sizeof settings->name[at], "%.*s", (int)(equals - text), text);
        settings->value[at] = equals + 1;
    }
    settings->option[at] = o->name;
    settings->count++;
    return ARG_GO_ON;
}

static int take_value(const arg_command_t *command, const arg_option_t *o, const char *text)
{
    char *end = NULL;

    switch (o->kind) {
    case ARG_TEXT:
        if (text[0] == '\0')
            return bad_value(command, o, text, o->value);
        *(const char **)o->target = text;
        return ARG_GO_ON;
    case ARG_INTEGER: return take_integer(command, o, text);
    case ARG_NUMBER:
        *(double *)o->target = strtod(text, &end);
        return end != text && *end == '\0' && isfinite(*(double *)o->target) ? ARG_GO_ON
                                                                             : bad_value(command, o, text, "a number");
    case ARG_BYTES:
        return args_bytes(text, o->target) == 0 ? ARG_GO_ON : bad_value(command, o, text, "a size such as 512M or 2G");
    case ARG_CHOICE: return take_choice(command, o, text);
    default: return take_setting(command, o, text);
    }
}

static const arg_option_t *find_option(const arg_command_t *command, const char *word, size_t length)
{
    for (const arg_option_t *o = command->options; o->name != NULL; o++) {
        if (word[1] == '-' ? strlen(o->name) == length - 2 && memcmp(o->name, word + 2, length - 2) == 0
                           : o->letter != 0 && word[1] == o->letter)
            return o;
    }
    return NULL;
}

/* Two columns; a left one that is too wide gets a line of its own. */
static void print_row(const char *left, const char *right)
{
    enum { COLUMN = 34 };
    int width = 0; /* characters, of which UTF-8 may take several bytes */

    for (const char *c = left; *c != '\0'; c++)
        width += ((unsigned char)*c & 0xc0) != 0x80;
    if (width > COLUMN)
        printf("  %s\n  %*s %s\n", left, COLUMN, "", right);
    else
        printf("  %s%*s %s\n", left, COLUMN - width, "", right);
}

static void print_help(const arg_command_t *command)
{
    printf("usage: moco %s %s%s[options]\n\n%s\n\n", command->name, command->positionals,
           command->positionals[0] != '\0' ? " " : "", command->summary);
    for (const arg_option_t *o = command->options; o->name != NULL; o++) {
        char left[64];
        snprintf(left, sizeof left, "%s%c%s--%s %s", o->letter ? "-" : "", o->letter ? o->letter : ' ',
                 o->letter ? ", " : "   ", o->name, o->value != NULL ? o->value : "");
        print_row(left, o->help);
    }
    print_row("-h, --help", "this text");
    if (command->notes != NULL)
        printf("\n%s\n", command->notes);
}

/* One option at argv[*i]; moves *i past its value. */
static int take_option(const arg_command_t *command, int argc, char **argv, int *i)
{
    const char *word = argv[*i];
    const int is_long = word[1] == '-';
    const char *equals = is_long ? strchr(word, '=') : NULL;
    const size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word);
    const arg_option_t *o = find_option(command, word, length);
    const char *text = equals != NULL ? equals + 1 : !is_long && word[2] != '\0' ? word + 2 : NULL;

    if (o == NULL)
        return unknown_option(command, word, length);
    if (o->kind == ARG_FLAG) {
        if (text != NULL)
            return usage_error(command, "--", o->name, " takes no value");
        *(int *)o->target = 1;
        return ARG_GO_ON;
    }
    if (text == NULL) {
        const char *next = *i + 1 < argc ? argv[*i + 1] : NULL;
        /* A following option is a forgotten value, a negative number is a value. */
        if (next == NULL || (next[0] == '-' && next[1] != '\0' && strchr("0123456789.", next[1]) == NULL))
            return usage_error(command, "missing value for --", o->name, "");
        text = next;
        (*i)++;
    }
    return take_value(command, o, text);
}

int args_parse(const arg_command_t *command, int argc, char **argv, const char **positionals)
{
    int given = 0, only_positionals = 0;

    if (argc == 1 && strcmp(argv[0], "--man") == 0) { /* of `moco help --man COMMAND` */
        man_command_page(command);
        return EXIT_DONE;
    }
    for (int i = 0; i < argc; i++) {
        if (!only_positionals && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            print_help(command);
            return EXIT_DONE;
        }
        if (!only_positionals && strcmp(argv[i], "--") == 0) {
            only_positionals = 1;
        } else if (!only_positionals && argv[i][0] == '-' && argv[i][1] != '\0') {
            const int code = take_option(command, argc, argv, &i);
            if (code != ARG_GO_ON)
                return code;
        } else if (given == command->positional_max) {
            return usage_error(command, "one argument too many: ", argv[i], "");
        } else {
            positionals[given++] = argv[i];
        }
    }
    if (given < command->positional_min)
        return usage_error(command, "wanted: ", command->positionals, "");
    return ARG_GO_ON;
}
