/* cli/cli_watch.h: a video's progress until its end.
 *
 * On a terminal a bar per stage, redrawn in place; elsewhere a line per change; with --json the status
 * document, one per line, on each change. A daemon that goes away is waited for WATCH_PATIENCE_SECONDS.
 *
 * Errors:  exit codes of enum cli_exit: CLI_FAILED when the video failed or was cancelled.
 * Threads: one.
 */
#ifndef SL_CLI_CLI_WATCH_H
#define SL_CLI_CLI_WATCH_H

#include "cli/cli.h"

#define WATCH_PATIENCE_SECONDS 120

int cli_watch_video(struct cli *cli, const char *video);

/* One picture of the progress: lines of at most width columns, width at least CLI_WIDTH_MIN. *out_lines is how
 * many there are. now_unix_ns is for the estimate; waiting says that the daemon does not answer. */
void cli_watch_draw(const struct cli_term *term, const json_t *status, int width,
                    int64_t now_unix_ns, bool waiting, struct sl_buf *out, int *out_lines);

#endif
