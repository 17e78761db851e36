/* The folder of a run that goes on: a log and a checkpoint that may be anything, and leftovers. The
 * run takes one more step or says why not. */
#include "fuzz.h"

static moco_dataset_t *images(void)
{
    static moco_dataset_t *dataset;
    char path[256];
    if (dataset == NULL) {
        const char *jpeg = getenv("MOCO_FUZZ_JPEG"); /* a small sound image, made with the seeds */
        EXPECT(jpeg != NULL);
        fuzz_file("list.txt", "", 0);
        FILE *list = fopen(fuzz_path("list.txt"), "w");
        EXPECT(list != NULL);
        for (int i = 0; i < 4; i++) {
            snprintf(path, sizeof path, "%s/%d.jpg", fuzz_folder(), i);
            EXPECT(symlink(jpeg, path) == 0);
            fprintf(list, "%d.jpg\t%s\n", i, i % 2 ? "a" : "b");
        }
        fclose(list);
        OK(moco_dataset_open(fuzz_path("list.txt"), NULL, &dataset));
    }
    return dataset;
}

static void clear(void)
{
    char command[160];
    snprintf(command, sizeof command, "%s/run", fuzz_folder());
    mkdir(command, 0700);
    static const char *const names[] = {"run/log.jsonl", "run/checkpoint.safetensors", "run/model.safetensors"};
    for (int i = 0; i < 3; i++)
        unlink(fuzz_path(names[i]));
}

/* Whole lines only, whatever was there before. */
static void check_log(void)
{
    char line[4096];
    FILE *log = fopen(fuzz_path("run/log.jsonl"), "r");
    int64_t found = 0;
    EXPECT(log != NULL);
    while (fgets(line, sizeof line, log) != NULL && strlen(line) < sizeof line - 1) {
        EXPECT(line[strlen(line) - 1] == '\n');
        found++;
    }
    fclose(log);
    EXPECT(found >= 1);
}

static int32_t stop_at_once(void *user, const moco_step_report_t *report)
{
    (void)user;
    (void)report;
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    const uint32_t choice = fuzz_byte(&input);
    const uint32_t log_size = fuzz_word(&input);
    const size_t cut = log_size < input.size ? log_size : input.size;
    moco_trainer_t *trainer = NULL;
    moco_run_options_t options;
    moco_dataset_t *dataset = images();
    clear();
    fuzz_file("run/log.jsonl", input.bytes, cut);
    if (choice & 1)
        fuzz_file("run/model.safetensors", input.bytes + cut, input.size - cut);
    if (choice & 2) {
        fuzz_file("run/checkpoint.safetensors", input.bytes + cut, input.size - cut);
        if (!fuzz_taken(moco_trainer_load(fuzz_path("run/checkpoint.safetensors"), NULL, fuzz_device(), &trainer)))
            return 0;
    } else {
        trainer = fuzz_trainer();
    }
    OK(moco_run_options_init(&options, sizeof options));
    options.max_steps = moco_trainer_step_number(trainer) + 1;
    options.overwrite = choice >> 2 & 1;
    options.save_every = choice >> 3 & 1;
    options.progress = choice & 16 ? stop_at_once : NULL;
    if (fuzz_taken(moco_trainer_run(trainer, dataset, choice & 32 ? dataset : NULL, fuzz_path("run"), &options)))
        check_log();
    moco_trainer_free(trainer);
    return 0;
}
