/* hal/hal_speed.h: the speeds of devices as they were measured, kept in a file.
 *
 * One line per measurement, cells separated by tabs (see worker/calibrate.h), with the device's id and driver in front: after
 * a change of driver its figures no longer count. sluice-worker --calibrate writes the file, agents read it.
 *
 * Owns:    a table holds its lines until fini.
 * Errors:  lines that cannot be read are left out. A file that is not there is an empty table.
 * Threads: one per table. Writers of one file wait for each other.
 */
#ifndef SL_HAL_HAL_SPEED_H
#define SL_HAL_HAL_SPEED_H

#include "hal/hal.h"

#define HAL_SPEED_LINES_MAX 4096

enum hal_speed_feed { HAL_SPEED_PLAIN, HAL_SPEED_ALONE, HAL_SPEED_FED, HAL_SPEED_FEED_COUNT };

struct hal_speed {
    char device_id[DEVICE_ID_BYTES];
    char driver[DEVICE_NAME_BYTES];
    char encoder[POLICY_WORD_BYTES];
    enum codec codec;
    char preset[POLICY_WORD_BYTES];
    char class[POLICY_WORD_BYTES]; /* "720p" */
    int32_t depth;
    int32_t sessions;
    int32_t threads; /* of each session */
    /* Of encoding on CPUs a source that was decoded and scaled: all by them, or by the device. mpix_per_s is of the rungs. */
    enum hal_speed_feed feed;
    double mpix_per_s; /* of one session */
    double total_mpix_per_s;
};

struct hal_speeds {
    struct hal_speed *items;
    int32_t count;
};

int hal_speeds_load(const char *path, struct hal_speeds *out, struct sl_failure *why);
/* The table with one figure put in, in place of an earlier one of the same measurement, or of an earlier driver. */
int hal_speeds_put(const char *path, const struct hal_speed *speed, struct sl_failure *why);
void hal_speeds_fini(struct hal_speeds *speeds);

/* "encoder codec preset …" of a line, without device and driver, by tabs; behind it "alone" or "fed". Returns the length or
 * SL_ELIMIT. */
int hal_speed_print(const struct hal_speed *speed, char *out, size_t out_bytes);

/* Has anything been measured of this device under its present driver? */
bool hal_speeds_know(const struct hal_speeds *speeds, const struct device_row *row);
/* Fills row->mpix_per_s from what is known of the device: with preset "medium" at the size nearest to 720p, 8 bit; per CPU
 * of a CPU pool with all of them at work, of a GPU all sessions together. Codecs that were not measured stay as they
 * are. And row->feed_permille, from the newest figure of CPUs that the device fed and that of the same measure without. */
void hal_speeds_fill(const struct hal_speeds *speeds, struct device_row *row);
#endif
