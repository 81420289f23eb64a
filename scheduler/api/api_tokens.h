/* scheduler/api/api_tokens.h: who holds which token, and what its scopes allow.
 *
 * The file has a line for each token: NAME SCOPES sha256:DIGITS [EXPIRY]; "#" begins a comment. It holds
 * hashes only: tokens are long random texts, so a plain SHA-256 gives nothing away. It is read again when
 * it changes; then a line with a mistake is left out and told in the log, and a file that is gone leaves
 * no tokens, so that a mistake never lets in whom the file no longer names.
 *
 * Threads: all but open and close may be called from any.
 */
#ifndef SL_SCHEDULER_API_API_TOKENS_H
#define SL_SCHEDULER_API_API_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Scopes; API_ADMIN includes the others. */
#define API_READ             1
#define API_SUBMIT           2
#define API_OPERATE          4
#define API_ADMIN            8
#define API_ANY              (API_READ | API_SUBMIT | API_OPERATE | API_ADMIN)

#define API_TOKENS_MAX       1024
#define API_TOKEN_NAME_BYTES 64
#define API_TOKEN_SUM_BYTES  32
#define API_SESSION_BYTES    192
#define API_SESSION_S        (12 * 3600)

struct api_token {
    char name[API_TOKEN_NAME_BYTES];
    unsigned scopes;
    int64_t expires_unix_ns; /* 0: never */
    uint8_t sha256[API_TOKEN_SUM_BYTES];
};

struct api_tokens;

/* path NULL: no file. The farm's secret, where there is one, counts as a token of all scopes with the name
 * "farm". key signs sessions and is borrowed. SL_EINVAL with file and line of a mistake. */
int api_tokens_open(const char *path, const uint8_t *secret, size_t secret_bytes,
                    const uint8_t *key, size_t key_bytes, struct api_tokens **out,
                    struct sl_failure *why);
void api_tokens_close(struct api_tokens **tokens);

/* The one whose text this is, unless it has expired. */
bool api_tokens_find(struct api_tokens *tokens, const char *text, struct api_token *out);

/* A session is a signed text that stands for its token until it expires; it dies with the token. */
void api_tokens_session_make(struct api_tokens *tokens, const struct api_token *token,
                             int64_t expires_unix_s, char text[API_SESSION_BYTES]);
bool api_tokens_session_find(struct api_tokens *tokens, const char *text, struct api_token *out);

/* "read"; NULL beyond the last. */
const char *api_scope_word(int n);

#endif
