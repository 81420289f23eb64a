/* cli/cli_upload.h: a file to the daemon in pieces that survive a broken line.
 *
 * PUT /api/v1/videos/{id}/source with "Content-Range: bytes A-B/TOTAL" per piece; GET of the same says how
 * far the daemon has come ("offset") and whether that is all ("complete").
 *
 * Errors:  exit codes; the failure has been said. A line that breaks is taken up again for
 *          UPLOAD_PATIENCE_SECONDS.
 * Threads: one.
 */
#ifndef SL_CLI_CLI_UPLOAD_H
#define SL_CLI_CLI_UPLOAD_H

#include <stdint.h>

#include "cli/cli.h"

#define UPLOAD_PATIENCE_SECONDS 60

/* resume: the daemon may have a part, or all, from an earlier submit; it is asked first. */
int cli_upload_file(struct cli *cli, const char *video, int fd, int64_t total_bytes, bool resume);

#endif
