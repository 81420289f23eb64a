#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/random.h>

#include "base/time.h"
#include "cli/cli.h"

#define TOKEN_RANDOM_BYTES 32
#define NAME_LENGTH_MAX    63

static const char *const scope_words[] = {"read", "submit", "operate", "admin"};

static bool scopes_are_known(const char *list)
{
    while (*list) {
        size_t length = strcspn(list, ",");
        bool known = false;
        for (size_t i = 0; i < sizeof scope_words / sizeof scope_words[0]; i++)
            known = known || (strlen(scope_words[i]) == length &&
                              strncmp(list, scope_words[i], length) == 0);
        if (!known)
            return false;
        list += length;
        if (*list == ',' && *++list == '\0')
            return false;
    }
    return true;
}

static bool name_is_plain(const char *name)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t length = strlen(name);
    return length > 0 && length <= NAME_LENGTH_MAX && strspn(name, letters) == length &&
           strcmp(name, "farm") != 0;
}

/* "90d" from now on, or a time to come. */
static bool expiry_read(const char *text, char out[SL_TIME_TEXT_BYTES])
{
    int64_t unix_ns, duration_ns, now_unix_ns = sl_now_unix_ns();
    if (sl_time_parse(text, &unix_ns) != SL_OK) {
        if (sl_duration_parse(text, &duration_ns) != SL_OK || duration_ns > INT64_MAX - now_unix_ns)
            return false;
        unix_ns = now_unix_ns + duration_ns;
    }
    if (unix_ns <= now_unix_ns)
        return false;
    sl_time_format(unix_ns, out);
    return true;
}

/* "slt_" and random bytes as hexadecimal digits, and the SHA-256 of that text. */
static bool token_make(char token[4 + 2 * TOKEN_RANDOM_BYTES + 1], char sum[65])
{
    uint8_t random[TOKEN_RANDOM_BYTES], hash[EVP_MAX_MD_SIZE];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return false;
    strcpy(token, "slt_");
    for (int i = 0; i < TOKEN_RANDOM_BYTES; i++)
        snprintf(token + 4 + 2 * i, 3, "%02x", random[i]);
    if (EVP_Digest(token, strlen(token), hash, NULL, EVP_sha256(), NULL) != 1)
        return false;
    for (int i = 0; i < 32; i++)
        snprintf(sum + 2 * i, 3, "%02x", hash[i]);
    return true;
}

int cli_token_run(struct cli *cli, const struct cli_args *args)
{
    const char *name = args->words[1];
    const char *scopes = cli_args_text(args, "scope");
    const char *expires = cli_args_text(args, "expires");
    char token[4 + 2 * TOKEN_RANDOM_BYTES + 1], sum[65], line[512];
    char expiry[SL_TIME_TEXT_BYTES] = "";
    if (strcmp(args->words[0], "new") != 0)
        return cli_fail(cli, CLI_USAGE, "invalid", "token: there is \"token new NAME\", not \"%s\"",
                        args->words[0]);
    if (!name_is_plain(name))
        return cli_fail(cli, CLI_USAGE, "invalid",
                        "\"%s\" is no name for a token: 1 to %d letters, digits, dots, dashes and "
                        "underscores, and not \"farm\"",
                        name, NAME_LENGTH_MAX);
    scopes = scopes ? scopes : "read";
    if (!scopes_are_known(scopes))
        return cli_fail(cli, CLI_USAGE, "invalid",
                        "--scope: \"%s\"; there are read, submit, operate and admin, by comma",
                        scopes);
    if (expires && !expiry_read(expires, expiry))
        return cli_fail(cli, CLI_USAGE, "invalid",
                        "--expires: \"%s\" is no time to come (2027-01-31) and no duration (90d)",
                        expires);
    if (!token_make(token, sum))
        return cli_fail(cli, CLI_FAILED, "internal", "no random bytes for a token: %s",
                        strerror(errno));
    snprintf(line, sizeof line, "%s  %s  sha256:%s%s%s", name, scopes, sum, expiry[0] ? "  " : "",
             expiry);
    if (cli->json) {
        json_t *document =
            json_pack("{s:s,s:s,s:s,s:s,s:s*}", "name", name, "scopes", scopes, "token", token,
                      "line", line, "expires_at", expiry[0] ? expiry : NULL);
        cli_json_print(cli, document, false);
        json_decref(document);
        return CLI_OK;
    }
    cli_note(cli, "The token, for its holder (SLUICE_TOKEN, or a file for --token-file):");
    printf("%s\n", token);
    fflush(stdout);
    cli_note(cli, "The line for the daemon's file (daemon.api.tokens in its configuration):");
    printf("%s\n", line);
    return CLI_OK;
}
