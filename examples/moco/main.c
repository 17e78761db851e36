/* The moco program: picks the command and hands it the rest of the line. Each command lives in cmd_NAME.c. */
#include <stdio.h>
#include <string.h>

#include "common.h"
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
    fputs("\nmoco COMMAND --help lists the options. Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted.\n", out);
}

static int unknown_command(const char *name)
{
    const char *names[COMMANDS + 1];
    const char *nearest;

    for (int i = 0; i < COMMANDS; i++)
        names[i] = commands[i].name;
    names[COMMANDS] = NULL;
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

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("moco %s\n", moco_version_string());
        return output_close(EXIT_DONE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_usage(stdout);
        return output_close(EXIT_DONE);
    }
    if (strcmp(argv[1], "help") == 0) {
        char *help[] = {argv[2], "--help"};
        return output_close(run_command(2, help));
    }
    signals_catch();
    log_to_stderr();
    return output_close(run_command(argc - 1, argv + 1));
}
