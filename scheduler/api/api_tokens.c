#include "scheduler/api/api_tokens.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/time.h"

#define LINE_BYTES     512
#define LOOK_NS        SL_S_TO_NS(1) /* how often the file is looked at */
#define SESSION_HEAD   "s1."
#define SESSION_ID     16 /* bytes of a token's hash that name it in a session */
#define SESSION_DOMAIN "sluice session "

struct api_tokens {
    const char *path;
    const uint8_t *key;
    size_t key_bytes;
    pthread_mutex_t lock;
    struct api_token secret; /* scopes 0: the farm has none */
    struct api_token *items;
    int count;
    struct stat seen; /* of the file as it was read */
    int64_t look_at_ns;
};

static const char *const scope_words[] = {"read", "submit", "operate", "admin", NULL};

const char *api_scope_word(int n)
{
    return scope_words[n];
}

/* ---- the file ---- */

static bool hex_parse(const char *text, uint8_t *out, size_t bytes)
{
    if (strlen(text) != bytes * 2 || strspn(text, "0123456789abcdefABCDEF") != bytes * 2)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

static bool scopes_parse(char *text, unsigned *out)
{
    unsigned scopes = 0;
    for (char *rest = text, *word; (word = strsep(&rest, ","));) {
        int at = 0;
        while (scope_words[at] && strcmp(scope_words[at], word) != 0)
            at++;
        if (!scope_words[at])
            return false;
        scopes |= 1U << at;
    }
    *out = scopes;
    return scopes != 0;
}

/* Returns what is wrong with the line, or NULL; out->scopes stays 0 for a line without a token. */
static const char *line_parse(char *line, struct api_token *out)
{
    static const char sum[] = "sha256:";
    char *save = NULL;
    line[strcspn(line, "#\r\n")] = '\0';
    char *name = strtok_r(line, " \t", &save);
    char *scopes = strtok_r(NULL, " \t", &save);
    char *hash = strtok_r(NULL, " \t", &save);
    char *expiry = strtok_r(NULL, " \t", &save);
    *out = (struct api_token){0};
    if (!name)
        return NULL;
    if (strlen(name) >= sizeof out->name || strcmp(name, "farm") == 0)
        return "the name has 1 to 63 characters and is not \"farm\"";
    if (!scopes || !hash || strtok_r(NULL, " \t", &save))
        return "a line is NAME SCOPES sha256:DIGITS and perhaps an expiry";
    if (strncmp(hash, sum, strlen(sum)) != 0 ||
        !hex_parse(hash + strlen(sum), out->sha256, sizeof out->sha256))
        return "the third word is sha256: and 64 hexadecimal digits; `sluice token new` makes it";
    if (expiry && sl_time_parse(expiry, &out->expires_unix_ns) != SL_OK)
        return "the expiry is a time like 2027-01-31 or 2027-01-31T12:00:00Z";
    unsigned found = 0;
    if (!scopes_parse(scopes, &found))
        return "scopes are read, submit, operate and admin, by comma";
    snprintf(out->name, sizeof out->name, "%s", name);
    out->scopes = found;
    return NULL;
}

/* Every good line; the first mistake goes to why. Returns SL_EINVAL then. */
static int file_parse(FILE *file, const char *path, struct api_token **out, int *out_count,
                      struct sl_failure *why)
{
    char line[LINE_BYTES];
    struct api_token *items = calloc(API_TOKENS_MAX, sizeof *items);
    int count = 0, code = SL_OK;
    if (!items)
        return sl_fail(why, SL_ENOMEM, "not enough memory for the tokens of %.150s", path);
    for (int number = 1; fgets(line, sizeof line, file); number++) {
        struct api_token token = {0};
        bool cut = !strchr(line, '\n') && !feof(file);
        const char *wrong = cut                      ? "the line is too long"
                            : count < API_TOKENS_MAX ? line_parse(line, &token)
                                                     : "the file has too many tokens";
        for (int c; cut && (c = fgetc(file)) != EOF && c != '\n';)
            continue;
        if (wrong) {
            sl_warn(NULL, "%s:%d: %s", path, number, wrong);
            if (code == SL_OK)
                code = sl_fail(why, SL_EINVAL, "%.120s:%d: %s", path, number, wrong);
        } else if (token.scopes) {
            items[count++] = token;
        }
    }
    *out = items;
    *out_count = count;
    return code;
}

static int file_read(struct api_tokens *tokens, struct sl_failure *why)
{
    struct stat st = {0};
    struct api_token *items = NULL;
    int count = 0, code = SL_OK;
    FILE *file = fopen(tokens->path, "re");
    if (!file || fstat(fileno(file), &st) != 0)
        code = sl_fail(why, sl_error_from_errno(errno), "the file of tokens %.150s: %s",
                       tokens->path, strerror(errno));
    else if (!S_ISREG(st.st_mode) || st.st_mode & 022)
        code = sl_fail(why, SL_EINVAL,
                       "the file of tokens %.150s is no regular file, or others may write it; run "
                       "chmod 640 on it",
                       tokens->path);
    else
        code = file_parse(file, tokens->path, &items, &count, why);
    if (file)
        fclose(file);
    free(tokens->items);
    tokens->items = items;
    tokens->count = count;
    tokens->seen = st;
    return code;
}

/* Under the lock: what the file says now. */
static void file_follow(struct api_tokens *tokens)
{
    struct stat st = {0};
    struct sl_failure why = {0};
    int64_t now_ns = sl_now_ns();
    if (!tokens->path || now_ns < tokens->look_at_ns)
        return;
    tokens->look_at_ns = now_ns + LOOK_NS;
    stat(tokens->path, &st);
    const struct stat *seen = &tokens->seen;
    if (st.st_ino == seen->st_ino && st.st_size == seen->st_size &&
        st.st_mtim.tv_sec == seen->st_mtim.tv_sec && st.st_mtim.tv_nsec == seen->st_mtim.tv_nsec &&
        st.st_mode == seen->st_mode)
        return;
    if (file_read(tokens, &why) != SL_OK)
        sl_error(NULL, "%s; %d tokens count now", why.message, tokens->count);
    else
        sl_info(NULL, "%s was read again: %d tokens", tokens->path, tokens->count);
}

int api_tokens_open(const char *path, const uint8_t *secret, size_t secret_bytes,
                    const uint8_t *key, size_t key_bytes, struct api_tokens **out,
                    struct sl_failure *why)
{
    struct api_tokens *tokens = calloc(1, sizeof *tokens);
    if (!tokens)
        return sl_fail(why, SL_ENOMEM, "not enough memory for tokens");
    pthread_mutex_init(&tokens->lock, NULL);
    tokens->path = path;
    tokens->key = key;
    tokens->key_bytes = key_bytes;
    if (secret) {
        tokens->secret = (struct api_token){.name = "farm", .scopes = API_ADMIN};
        EVP_Digest(secret, secret_bytes, tokens->secret.sha256, NULL, EVP_sha256(), NULL);
    }
    int code = path ? file_read(tokens, why) : SL_OK;
    if (code != SL_OK) {
        api_tokens_close(&tokens);
        return code;
    }
    *out = tokens;
    return SL_OK;
}

void api_tokens_close(struct api_tokens **tokens_at)
{
    struct api_tokens *tokens = *tokens_at;
    if (!tokens)
        return;
    *tokens_at = NULL;
    pthread_mutex_destroy(&tokens->lock);
    free(tokens->items);
    free(tokens);
}

/* ---- looking up ---- */

/* Compares with every token, each in a time that does not depend on where they differ. */
static bool sum_find(struct api_tokens *tokens, const uint8_t *sum, size_t length,
                     struct api_token *out)
{
    const struct api_token *found = NULL;
    pthread_mutex_lock(&tokens->lock);
    file_follow(tokens);
    if (tokens->secret.scopes && CRYPTO_memcmp(tokens->secret.sha256, sum, length) == 0)
        found = &tokens->secret;
    for (int i = 0; i < tokens->count; i++)
        if (CRYPTO_memcmp(tokens->items[i].sha256, sum, length) == 0)
            found = &tokens->items[i];
    bool good = found && (!found->expires_unix_ns || found->expires_unix_ns > sl_now_unix_ns());
    if (good)
        *out = *found;
    pthread_mutex_unlock(&tokens->lock);
    return good;
}

bool api_tokens_find(struct api_tokens *tokens, const char *text, struct api_token *out)
{
    uint8_t sum[API_TOKEN_SUM_BYTES];
    return EVP_Digest(text, strlen(text), sum, NULL, EVP_sha256(), NULL) == 1 &&
           sum_find(tokens, sum, sizeof sum, out);
}

/* ---- sessions: s1.EXPIRES.ID.SUM ---- */

static void session_sign(const struct api_tokens *tokens, const char *text, char sum[65])
{
    char signed_text[API_SESSION_BYTES + sizeof SESSION_DOMAIN];
    uint8_t bytes[32];
    unsigned length = 0;
    /* Tickets are signed with the same key: the first words keep the two apart. */
    int used = snprintf(signed_text, sizeof signed_text, SESSION_DOMAIN "%s", text);
    HMAC(EVP_sha256(), tokens->key, (int)tokens->key_bytes, (const unsigned char *)signed_text,
         (size_t)used, bytes, &length);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(sum + 2 * i, 3, "%02x", bytes[i]);
}

void api_tokens_session_make(struct api_tokens *tokens, const struct api_token *token,
                             int64_t expires_unix_s, char text[API_SESSION_BYTES])
{
    char sum[65];
    int used = snprintf(text, API_SESSION_BYTES, SESSION_HEAD "%lld.", (long long)expires_unix_s);
    for (int i = 0; i < SESSION_ID; i++)
        used += snprintf(text + used, API_SESSION_BYTES - (size_t)used, "%02x", token->sha256[i]);
    session_sign(tokens, text, sum);
    snprintf(text + used, API_SESSION_BYTES - (size_t)used, ".%s", sum);
}

bool api_tokens_session_find(struct api_tokens *tokens, const char *text, struct api_token *out)
{
    char copy[API_SESSION_BYTES], sum[65];
    uint8_t id[SESSION_ID];
    if (strlen(text) >= sizeof copy || strncmp(text, SESSION_HEAD, strlen(SESSION_HEAD)) != 0)
        return false;
    snprintf(copy, sizeof copy, "%s", text);
    char *given = strrchr(copy, '.');
    *given++ = '\0';
    session_sign(tokens, copy, sum);
    if (strlen(given) != 64 || CRYPTO_memcmp(given, sum, 64) != 0)
        return false;
    char *end = NULL;
    long long expires = strtoll(copy + strlen(SESSION_HEAD), &end, 10);
    if (*end != '.' || expires <= sl_now_unix_ns() / SL_NS_PER_S ||
        !hex_parse(end + 1, id, sizeof id))
        return false;
    return sum_find(tokens, id, sizeof id, out);
}
