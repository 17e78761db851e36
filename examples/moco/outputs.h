/* Files that a command is asked to write: what is there already must be an earlier result. */
#ifndef PROGRAM_OUTPUTS_H
#define PROGRAM_OUTPUTS_H

typedef enum output_kind {
    OUTPUT_ROWS,    /* .npy                                 */
    OUTPUT_TENSORS, /* .safetensors                         */
    OUTPUT_SHEET,   /* .jpg or .jpeg, drawn by sheet.h      */
    OUTPUT_TABLE,   /* .tsv or .txt, written by confusion.h */
} output_kind_t;

/* What a sheet carries as a comment, so that it is told from a photo. */
#define OUTPUT_SHEET_MARK "a sheet of moco"

/* EXIT_DONE where `path` may be written; EXIT_USAGE with a message for "-" and for a name with the
 * ending of something else, EXIT_FAILED for one of `inputs` (a list that ends in NULL) under
 * whatever name and for a file of another kind. A path of NULL is fine. */
int output_check(const char *path, output_kind_t kind, const char *const *inputs);

#endif
