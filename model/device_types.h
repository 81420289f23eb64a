/* model/device_types.h: what an agent tells the daemon about its node's devices.
 *
 * The scheduler sees devices as these numbers only, never as hal objects.
 */
#ifndef SL_MODEL_DEVICE_TYPES_H
#define SL_MODEL_DEVICE_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "model/policy_types.h"

enum device_health {
    HEALTH_HEALTHY,
    HEALTH_SUSPECT,
    HEALTH_QUARANTINED,
    HEALTH_PROVING,
    HEALTH_COUNT
};

/* What a limit of sessions is a limit of. */
enum session_scope { SCOPE_NONE, SCOPE_DEVICE, SCOPE_SYSTEM, SCOPE_COUNT };

/* Does a GPU that encodes nothing decode and scale for encoders on CPUs? */
enum device_feed {
    FEED_NONE, /* not asked of this device: it encodes, or cannot */
    FEED_UNMEASURED,
    FEED_SLOWER, /* than CPUs alone, or not faster by enough */
    FEED_FASTER, /* it does */
    FEED_NEVER,  /* by the node's configuration */
    FEED_ALWAYS, /* it does, by the node's configuration */
    FEED_COUNT
};

/* From so much on (struct device_row, feed_permille) it is faster: less is lost in what the measure does not see. */
#define DEVICE_FEED_PERMILLE 1050

#define DEVICE_ID_BYTES      64
#define DEVICE_NAME_BYTES    96
#define NODE_DEVICES_MAX     16
#define DEVICE_REASON_BYTES  128

/* What a driver says of a device's present state; -1: it does not say. */
struct device_telemetry {
    int64_t busy_percent;
    int64_t encoder_percent;
    int64_t decoder_percent;
    int64_t memory_used_bytes;
    int64_t temperature_c;
    int64_t power_mw;
};

#define DEVICE_TELEMETRY_MEMBERS 6
extern const struct device_telemetry device_telemetry_unknown;

struct device_row {
    char device_id
        [DEVICE_ID_BYTES]; /* "cpu", a GPU's UUID, a render node's path; unique on a node */
    enum device_kind kind;
    char name[DEVICE_NAME_BYTES];   /* "AMD EPYC 9354, 16 CPUs" */
    char driver[DEVICE_NAME_BYTES]; /* driver and API version, or library version */
    bool standin; /* it encodes in software behind a vendor's interface: for trying and testing */
    enum device_health health;
    char health_reason[DEVICE_REASON_BYTES]; /* empty while healthy */
    uint32_t encodes;                        /* bit 1 << enum codec */
    uint32_t encodes_ten_bit;
    uint32_t decodes;
    int32_t sessions_in_use;
    int32_t session_limit; /* 0: no limit known */
    enum session_scope session_scope;
    /* Of a CPU pool: how many of its leases may encode a codec at once; 0: as many as there are CPUs. */
    int32_t codec_leases[CODEC_COUNT];
    int64_t mpix_per_s[CODEC_COUNT]; /* measured throughput, one session; 0 unknown */
    int64_t vram_bytes;
    int32_t cpus;         /* of a CPU pool: what the node may use; else 0 */
    int64_t memory_bytes; /* of a CPU pool: what the node may use; else 0 */
    enum device_feed feed;
    int32_t
        feed_permille; /* measured: what CPUs make when it feeds them, of 1000 alone; 0 unknown */
    struct device_telemetry telemetry;
};

/* What a node's configuration says of a device, or of all of a kind. */
struct device_setting {
    char device[DEVICE_ID_BYTES]; /* its id, or the word of a kind */
    int32_t sessions;             /* that it may have open; 0: says nothing */
    bool disable;
    enum device_feed
        feed; /* FEED_ALWAYS, FEED_NEVER, FEED_UNMEASURED: as measured; FEED_NONE: says nothing */
};

#define DEVICE_SETTINGS_MAX (NODE_DEVICES_MAX + DEVICE_KIND_COUNT)

/* What a task asks of a node, and what a node offers: same members, same units. */
struct demand {
    int32_t cpu_millicores;
    int32_t sessions;
    int64_t memory_bytes;
    int64_t vram_bytes;
    int64_t work_mpix;   /* decides how long it takes */
    int64_t fetch_bytes; /* of the source */
};

const char *device_health_word(enum device_health health);
/* "faster"; of FEED_NONE "none". */
const char *device_feed_word(enum device_feed feed);
static inline bool device_feeds(enum device_feed feed)
{
    return feed == FEED_FASTER || feed == FEED_ALWAYS;
}

#endif
