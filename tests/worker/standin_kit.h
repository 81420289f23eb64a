/* tests/worker/standin_kit.h: workers of tests/standin's GPU. */
#ifndef SL_TESTS_WORKER_STANDIN_KIT_H
#define SL_TESTS_WORKER_STANDIN_KIT_H

#include "tests/worker/worker_kit.h"

/* A folder made from its XXXXXX, one GPU with this script, and its name; close removes the folder, and returns what a group's
 * teardown has to. */
void standin_open(char *folder, const char *faults, char device_id[DEVICE_ID_BYTES]);
int standin_close(const char *folder, struct kit_video *video);
/* One GPU for the workers to come, with this script; what it counts lies in folder. */
void standin_set(const char *folder, const char *faults);
/* What it counted: the number behind a word. */
long standin_counted(const char *folder, const char *word);
/* A worker up to its first frame, whose kind is returned; option: "--device" or "--feed". */
enum control_kind standin_worker_start(struct kit_worker *worker, const char *option,
                                       const char *device, struct sl_failure *why);

#endif
