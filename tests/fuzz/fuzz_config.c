/* YAML from anybody: policies, which the API takes as text, and settings. */
#include <stdint.h>
#include <stdlib.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mistakes_check(int code, const struct config_mistakes *mistakes)
{
    if ((code == SL_OK) != (mistakes->count == 0) || mistakes->count > CONFIG_MISTAKES_MAX)
        abort();
    struct sl_buf lines = {0};
    config_mistakes_print("f.yaml", mistakes, &lines);
    for (size_t i = 0; i < lines.length; i++)
        if (lines.data[i] < 32 && lines.data[i] != '\n')
            abort(); /* nothing of the file reaches a terminal as it is */
    sl_buf_fini(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    static struct config_mistakes mistakes;
    static struct policy policy;
    static struct config config;
    const char *text = (const char *)data + 1;
    mistakes = (struct config_mistakes){0};
    int code = data[0] & 1 ? config_parse("f.yaml", text, size - 1, &config, &mistakes)
                           : config_policy_parse("f.yaml", text, size - 1, &policy, &mistakes);
    mistakes_check(code, &mistakes);
    return 0;
}
