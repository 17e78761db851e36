/* The folder of a run that goes on: a log and a checkpoint that may be anything, and leftovers. The
 * run takes two more steps or says why not. */
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
static void check_log(uint32_t choice)
{
    char line[4096];
    FILE *log = fopen(fuzz_path("run/log.jsonl"), "r");
    int64_t found = 0;
    if (log == NULL && choice & 64) /* deleted after its last line */
        return;
    EXPECT(log != NULL);
    while (fgets(line, sizeof line, log) != NULL && strlen(line) < sizeof line - 1) {
        EXPECT(line[strlen(line) - 1] == '\n');
        found++;
    }
    fclose(log);
    EXPECT(found >= 1);
}

/* What may happen to the folder while the run is at work, by the input's first byte. */
static int32_t disturb(void *choice, const moco_step_report_t *report)
{
    (void)report;
    if (*(const uint32_t *)choice & 64)
        unlink(fuzz_path("run/log.jsonl"));
    return *(const uint32_t *)choice & 16 ? 1 : 0;
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
    options.max_steps = moco_trainer_step_number(trainer) + 2;
    options.overwrite = choice >> 2 & 1;
    options.save_every = choice >> 3 & 1;
    options.progress = disturb;
    options.user = (void *)&choice;
    if (fuzz_taken(moco_trainer_run(trainer, dataset, choice & 32 ? dataset : NULL, fuzz_path("run"), &options)))
        check_log(choice);
    moco_trainer_free(trainer);
    return 0;
}
