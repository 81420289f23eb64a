#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "config/config.h"

static int words_check(struct cli *cli, const char *command, const struct cli_args *args)
{
    if (strcmp(args->words[0], "check") == 0)
        return CLI_OK;
    return cli_fail(cli, CLI_USAGE, "invalid", "%s: \"%s\" is not check: sluice %s check FILE",
                    command, args->words[0], command);
}

static int file_load(struct cli *cli, const char *file, struct sl_buf *text)
{
    struct sl_failure why;
    int result = config_file_read(file, text, &why);
    if (result == SL_OK)
        return CLI_OK;
    return cli_fail(cli, result == SL_ENOENT ? CLI_NOT_FOUND : CLI_FAILED, sl_error_word(result),
                    "%s", why.message);
}

/* Prints what was found and returns the exit code. */
static int result_say(struct cli *cli, const char *file, int result,
                      const struct config_mistakes *mistakes, const char *fine)
{
    bool ok = result == SL_OK;
    const struct cli_term whole = {.utf8 = true};
    if (cli->json) {
        json_t *list = json_array();
        struct sl_buf text = {0};
        for (int32_t i = 0; i < mistakes->count; i++) {
            const struct config_mistake *mistake = &mistakes->items[i];
            cli_term_text(&whole, &text, mistake->message, -1);
            json_array_append_new(list, json_pack("{s:i,s:i,s:s}", "line", (int)mistake->line,
                                                  "column", (int)mistake->column, "message",
                                                  text.data ? (const char *)text.data : ""));
            sl_buf_reset(&text);
        }
        cli_term_text(&whole, &text, file, -1);
        json_t *document =
            json_pack("{s:s,s:b,s:o}", "file", (const char *)text.data, "ok", ok, "mistakes", list);
        cli_json_print(cli, document, false);
        json_decref(document);
        sl_buf_fini(&text);
        return ok ? CLI_OK : CLI_FAILED;
    }
    struct sl_buf lines = {0};
    struct sl_buf out = {0};
    if (ok) {
        cli_term_text(&cli->out, &out, file, -1);
        sl_buf_printf(&out, ": %s\n", fine);
        cli_term_write(&cli->out, &out);
    } else {
        config_mistakes_print(file, mistakes, &lines);
        for (char *line = lines.data ? strtok((char *)lines.data, "\n") : NULL; line;
             line = strtok(NULL, "\n")) {
            cli_term_text(&cli->err, &out, line, -1);
            sl_buf_text(&out, "\n");
        }
        cli_term_write(&cli->err, &out);
    }
    sl_buf_fini(&lines);
    sl_buf_fini(&out);
    return ok ? CLI_OK : CLI_FAILED;
}

int cli_check_policy(struct cli *cli, const struct cli_args *args)
{
    struct sl_buf text = {0};
    struct config_mistakes mistakes = {0};
    struct policy policy;
    int code = words_check(cli, "policy", args);
    if (code == CLI_OK)
        code = file_load(cli, args->words[1], &text);
    if (code == CLI_OK) {
        int result =
            config_policy_parse(NULL, (const char *)text.data, text.length, &policy, &mistakes);
        char fine[128 + POLICY_TIERS_MAX * (POLICY_NAME_BYTES + 2)] = "";
        if (result == SL_OK)
            snprintf(fine, sizeof fine, "policy \"%s\" is fine", policy.name);
        for (int32_t i = 0; result == SL_OK && i < policy.tier_count; i++) {
            size_t used = strlen(fine);
            snprintf(fine + used, sizeof fine - used, "%s%s", i ? ", " : "; its tiers are ",
                     policy.tiers[i]);
        }
        code = result_say(cli, args->words[1], result, &mistakes, fine);
    }
    sl_buf_fini(&text);
    return code;
}

int cli_check_config(struct cli *cli, const struct cli_args *args)
{
    struct sl_buf text = {0};
    struct config_mistakes mistakes = {0};
    struct config *config = malloc(sizeof *config);
    int code = words_check(cli, "config", args);
    if (code == CLI_OK && !config)
        code = cli_fail(cli, CLI_FAILED, "out_of_memory", "not enough memory");
    if (code == CLI_OK)
        code = file_load(cli, args->words[1], &text);
    if (code == CLI_OK) {
        int result =
            config_parse(args->words[1], (const char *)text.data, text.length, config, &mistakes);
        code = result_say(cli, args->words[1], result, &mistakes, "the configuration is fine");
    }
    free(config);
    sl_buf_fini(&text);
    return code;
}
