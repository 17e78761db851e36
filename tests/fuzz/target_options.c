/* Options from text: lines "name=value" into a struct of one of the tables, then the struct as JSON
 * and back; or JSON that was never ours. */
#include "fuzz.h"

#include "api/options.h"
#include "util/alloc.h"
#include "util/json.h"
#include "util/options.h"

static uint8_t saved[MO_OPTION_STRUCT_SIZE], again[MO_OPTION_STRUCT_SIZE];

/* A struct and its text say the same. */
static void there_and_back(const mo_option_table_t *table)
{
    char *json = NULL;
    OK(mo_option_to_json(table, saved, &json));
    memset(again, 0, sizeof again);
    OK(mo_option_from_json(table, json, again));
    for (int32_t i = 0; i < table->count; i++)
        if (table->rows[i].type != MO_OPTION_POINTER)
            EXPECT(memcmp(saved + table->rows[i].offset, again + table->rows[i].offset, 4) == 0);
    OK(mo_option_compare(table, saved, again));
    mo_free(json);
}

static void set_lines(const mo_option_table_t *table, char *text)
{
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char *equals = strchr(line, '=');
        if (equals == NULL)
            continue;
        *equals = '\0';
        memcpy(again, saved, sizeof again);
        if (!fuzz_taken(mo_option_set(table, saved, line, equals + 1)))
            EXPECT(memcmp(again, saved, sizeof again) == 0);
    }
    if (fuzz_taken(mo_option_check(table, saved)))
        there_and_back(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    int32_t count;
    const mo_option_table_t *const *tables = mo_option_tables(&count);
    const uint32_t choice = fuzz_byte(&input), preset = fuzz_byte(&input);
    const mo_option_table_t *table = tables[choice / 2 % (uint32_t)count];
    const int32_t presets = mo_preset_count(table);
    char *text = malloc(input.size + 1), reason[MO_JSON_REASON];
    json_t *json = NULL;
    EXPECT(text != NULL);
    memcpy(text, input.bytes, input.size);
    text[input.size] = '\0';
    memset(saved, 0, sizeof saved);
    OK(mo_option_init(table, presets > 0 ? table->presets[preset % (uint32_t)presets].number : 0, saved, table->size));
    if (choice & 1) {
        if (fuzz_taken(mo_option_from_json(table, text, saved)))
            there_and_back(table);
        if (mo_json_load(text, input.size, 4, &json, reason) == MOCO_OK)
            json_decref(json);
    } else {
        set_lines(table, text);
    }
    free(text);
    return 0;
}
