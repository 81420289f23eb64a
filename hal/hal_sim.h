/* hal/hal_sim.h: a back end without hardware: settable limits, latencies and faults.
 *
 * It takes pictures and gives packets like an encoder with lookahead and B-frames would, but a packet is a label: the
 * picture's size, times and hash. So tests can see that every picture came through once, and what happens above hal
 * when a device fails in a chosen way.
 *
 * Owns:     the script is copied by hal_sim_set; a session keeps the script it was opened under.
 * Errors:   as the script says.
 * Threads:  any; sessions run in parallel. hal_sim_set while sessions are open changes later ones only.
 * Blocking: a scripted hang blocks submit until hal_sim_release or hal_sim_set.
 */
#ifndef SL_HAL_HAL_SIM_H
#define SL_HAL_HAL_SIM_H

#include "hal/hal.h"

#define HAL_SIM_DEVICES_MAX 8
#define HAL_SIM_NEVER       (-1) /* for members that name a frame */

/* Frames are counted from 0 in each session. */
struct hal_sim_script {
    int32_t devices;       /* "sim0", "sim1" … */
    int32_t session_limit; /* the driver's, for all devices together; 0: none */
    bool limit_told;       /* probing reports it; else hal has to learn it */
    int open_code;         /* what open fails with; 0: it opens */
    int32_t lookahead;     /* frames held back before the first packet */
    int64_t latency_ns;    /* of each submit */
    int32_t fault_frame;   /* submit of this frame fails … */
    int fault_code;        /* … with this */
    int32_t hang_frame;    /* submit of this frame blocks */
    int32_t drop_frame;    /* no packet comes for this frame */
    int32_t resize_frame;  /* this frame's label tells another picture size */
};

/* One device without faults, four frames of lookahead. */
struct hal_sim_script hal_sim_script_default(void);
void hal_sim_set(const struct hal_sim_script *script);
/* Lets every hanging submit go on: it then fails with SL_EHANG. */
void hal_sim_release(void);
/* Sessions open in the driver, and submits that hang now. */
int32_t hal_sim_sessions(void);
int32_t hal_sim_hanging(void);

/* What a packet says. */
struct hal_sim_label {
    int32_t frame; /* number in submission order */
    int32_t width, height;
    int64_t pts;
    uint64_t hash; /* of the picture's samples */
    bool idr;
};

/* SL_EMISMATCH when the bytes are no packet of this back end. */
int hal_sim_label_read(const uint8_t *data, size_t bytes, struct hal_sim_label *out);
uint64_t hal_sim_hash(const struct hal_frame *frame);

extern const struct hal_device_ops hal_sim_device_ops;
extern const struct hal_encode_ops hal_sim_encode_ops; /* "sim", H.264 rows */

#endif
