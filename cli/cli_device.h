/* cli/cli_device.h: rows of devices as a table. Threads: one. */
#ifndef SL_CLI_CLI_DEVICE_H
#define SL_CLI_CLI_DEVICE_H

#include <jansson.h>

#include "cli/cli_term.h"

/* rows: the array "devices" of the API or of sluice-worker --probe-devices. */
void cli_device_print(const struct cli_term *term, const json_t *rows);

#endif
