/* cli/cli_view.h: documents of the API as text for people.
 *
 * Owns:    nothing; documents are borrowed. Members that are absent are left out of the text.
 * Threads: one.
 */
#ifndef SL_CLI_CLI_VIEW_H
#define SL_CLI_CLI_VIEW_H

#include <jansson.h>
#include <stdint.h>

#include "cli/cli_term.h"

#define CLI_DURATION_BYTES 32
#define CLI_BYTES_BYTES    32

void cli_view_farm(const struct cli_term *term, const json_t *status);
void cli_view_video(const struct cli_term *term, const json_t *status);
void cli_view_list(const struct cli_term *term, const json_t *videos);
void cli_view_explain(const struct cli_term *term, const json_t *document);

/* "1 h 20 min", "34 s", "0.4 s". Returns text. */
char *cli_view_duration(double seconds, char text[CLI_DURATION_BYTES]);
/* "7.6 MB". Returns text. */
char *cli_view_bytes(double bytes, char text[CLI_BYTES_BYTES]);

/* An RFC 3339 time in UTC to unix nanoseconds; 0 when text is none. */
int64_t cli_view_time_parse(const char *text);

#endif
