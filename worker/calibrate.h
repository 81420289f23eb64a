/* worker/calibrate.h: how fast a device encodes, measured with the golden pictures (hal/hal_golden.h).
 *
 * One line per measurement on standard output, as soon as it is there; cells are separated by tabs:
 *
 *   encoder  codec  preset  class  depth  sessions  threads  mpix_per_s  total_mpix_per_s
 *
 * class is a picture size: 360p, 720p, 1080p or 2160p. mpix_per_s is of one session, total of all that ran at once. A CPU
 * pool is measured with all its CPUs at work, since two hardware threads of a core share it, and caches and memory are
 * shared by all; a GPU with one session and with several, since they share its engines. CPU encoders are also measured
 * with 2 and 4 threads an encode, as many encodes at once as there are CPUs for: the total then says what threads cost.
 *
 * An NVIDIA GPU that encodes nothing is measured by what it is good for: two lines of x264 on CPUs, which end in "alone" and in
 * "fed" (worker/measure_feed.h); class is the source's.
 *
 * Nothing of a source is read, so there is no sandbox but that of the workers that a GPU feeds.
 */
#ifndef SL_WORKER_CALIBRATE_H
#define SL_WORKER_CALIBRATE_H

#include <stdbool.h>

#include "hal/hal.h"

enum calibrate_depth {
    CALIBRATE_QUICK,  /* preset medium at 720p, as an agent does at its first start */
    CALIBRATE_NORMAL, /* preset medium at every size */
    CALIBRATE_FULL    /* three presets */
};

struct calibrate_params {
    enum device_kind kind;
    const char *device_id;
    enum calibrate_depth depth;
    const char *into; /* file of hal/hal_speed.h; NULL: nothing is kept. Never of a stand-in. */
    bool quiet;       /* no lines on standard output */
};

/* The exit status. */
int calibrate(const struct calibrate_params *params);

#endif
