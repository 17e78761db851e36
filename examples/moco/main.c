/* The moco program: picks the command and hands it the rest of the line. Each command lives in
 * cmd_NAME.c. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "man.h"
#include "output.h"

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} command_t;

static const command_t commands[] = {
    {"train", cmd_train, "learn an encoder from a folder, tar or list of JPEG images"},
    {"embed", cmd_embed, "turn images into rows of a .npy file"},
    {"knn", cmd_knn, "measure an encoder by weighted k-nearest-neighbour classification"},
    {"probe", cmd_probe, "measure an encoder by a linear classifier on its frozen features"},
    {"finetune", cmd_finetune, "train all of an encoder and a classifier on labelled images"},
    {"near", cmd_near, "find the images most similar to one image"},
    {"views", cmd_views, "show the augmented views that training draws"},
    {"info", cmd_info, "describe a model, a checkpoint, a data set or this machine"},
    {"convert", cmd_convert, "read and write the checkpoints of other programs"},
    {"demo", cmd_demo, "draw a small image set, train on it, show what was learnt"},
    {"bench", cmd_bench, "measure the speed of training and embedding"},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_usage(FILE *out)
{
    fprintf(out, "usage: moco COMMAND …\n\nSelf-supervised image encoders (libmoco %s).\n\n", moco_version_string());
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fputs("\nmoco COMMAND --help lists the options, moco help --man [COMMAND] writes a manual page. Exit codes: 0 "
          "done, 1 failed, 2 usage, 130 interrupted.\n",
          out);
}

static int unknown_command(const char *name)
{
    static const char *const others[] = {"help", "--help", "--version", NULL};
    const char *names[COMMANDS + sizeof others / sizeof others[0]];
    const char *nearest;

    for (int i = 0; i < COMMANDS; i++)
        names[i] = commands[i].name;
    memcpy(names + COMMANDS, others, sizeof others);
    nearest = args_nearest(name, names);
    fprintf(stderr, "moco: unknown command '%s'", name);
    if (nearest != NULL)
        fprintf(stderr, "; did you mean '%s'?", nearest);
    fputs("\ntry: moco --help\n", stderr);
    return EXIT_USAGE;
}

static int run_command(int argc, char **argv)
{
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(argv[0], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return unknown_command(argv[0]);
}

static void print_page(void)
{
    man_entry_t entries[COMMANDS];

    for (int i = 0; i < COMMANDS; i++)
        entries[i] = (man_entry_t){commands[i].name, commands[i].summary};
    man_program_page(entries, COMMANDS);
}

/* moco help [--man] [COMMAND]; argv begins after "help". */
static int help(int argc, char **argv)
{
    const int man = argc > 0 && strcmp(argv[0], "--man") == 0;

    if (argc > man) {
        char *line[] = {argv[man], man ? "--man" : "--help"};
        return run_command(2, line);
    }
    if (man)
        print_page();
    else
        print_usage(stdout);
    return EXIT_DONE;
}

/* Descriptors 0 to 2 are taken, if by nothing else: a file of the work that got the number of a
 * closed stdout or stderr would receive what is printed. */
static int take_standard_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
        if (fd < 0)
            fd = open("/", O_RDONLY); /* refuses what is written */
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

int main(int argc, char **argv)
{
    if (take_standard_descriptors() != 0)
        return EXIT_FAILED;
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("moco %s\n", moco_version_string());
        return output_close(EXIT_DONE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_usage(stdout);
        return output_close(EXIT_DONE);
    }
    if (strcmp(argv[1], "help") == 0)
        return output_close(help(argc - 2, argv + 2));
    if (signals_catch() != MOCO_OK)
        return fail("%s", moco_last_message());
    log_to_stderr();
    return output_close(run_command(argc - 1, argv + 1));
}
