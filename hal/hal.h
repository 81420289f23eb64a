/* hal/hal.h: what a device is. Names no vendor.
 *
 * A back end registers a struct hal_backend; the list lives where the program is put together
 * (worker/backends.c). hal checks arguments against capability rows once; back ends assume them.
 *
 * Identity:   device_id is a GPU's UUID, a render node's path, or "cpu".
 * Rows:       one per codec and direction; a limit of 0 means unsupported or unknown, as named.
 * Sessions:   counted per device or per system; a limit may be configured or learned.
 * Health:     healthy -> suspect -> quarantined -> proving -> healthy; device lost, hang and wrong output
 *             lead there; session limits and bad parameters do not.
 * Threads:    probing and choosing: one thread. A session: one thread; sessions may run in parallel.
 */
#ifndef SL_HAL_HAL_H
#define SL_HAL_HAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/device_types.h"
#include "model/media_types.h"
#include "model/policy_types.h"

#define HAL_ROWS_MAX     16
#define HAL_BACKENDS_MAX 16

enum hal_direction { HAL_ENCODE, HAL_DECODE };
enum hal_layout { HAL_I420, HAL_I420_10, HAL_NV12, HAL_P010, HAL_LAYOUT_COUNT };
enum hal_limit_source { HAL_LIMIT_UNKNOWN, HAL_LIMIT_CONFIGURED, HAL_LIMIT_LEARNED };

/* Rate control that a row offers. */
#define HAL_RATE_QUALITY        1u /* constant quality */
#define HAL_RATE_QUALITY_CAPPED 2u /* with maxrate and bufsize */

/* One codec in one direction. */
struct hal_row {
    enum codec codec;
    enum hal_direction direction;
    char encoder[POLICY_WORD_BYTES]; /* as policies name it: "x264" */
    uint32_t layouts;                /* bit 1 << enum hal_layout */
    int32_t width_min, height_min, width_max, height_max;
    int32_t bframes_max;
    uint32_t rate_control; /* HAL_RATE_* */
    bool forced_idr;
    bool closed_gop;
    bool lookahead;
    int64_t mpix_per_s; /* luma, one session, its default preset; 0 unknown */
};

struct hal_sessions {
    int32_t in_use;
    int32_t limit; /* 0: unknown or none */
    enum session_scope scope;
    enum hal_limit_source source;
};

struct hal_device {
    char device_id[DEVICE_ID_BYTES];
    enum device_kind kind;
    char name[DEVICE_NAME_BYTES];
    char driver[DEVICE_NAME_BYTES]; /* driver and API version, or library version */
    char note[SL_MESSAGE_BYTES]; /* what others of its kind can and it cannot, and why; or empty */
    struct hal_row rows[HAL_ROWS_MAX];
    int32_t row_count;
    int rows_code; /* not 0: an encoder could not be asked for its rows, for lack of capacity */
    struct hal_sessions sessions;
    enum device_health health;
    char health_reason[DEVICE_REASON_BYTES];
    int32_t health_faults;    /* since it was last healthy */
    int32_t health_successes; /* in a row */
    int64_t memory_bytes;
    int32_t cpus;                /* of a CPU pool */
    bool standin;                /* see struct device_row */
    enum device_feed feed_asked; /* what a node's table asks of it: struct device_setting */
    int32_t feed_permille;       /* see struct device_row */
    struct device_telemetry telemetry;
};

/* ---- encoding ---- */

struct hal_encode_params {
    enum codec codec;
    enum hal_layout layout;
    int32_t width; /* even */
    int32_t height;
    struct {
        int32_t num, den;
    } time_base; /* of pts: 1/timescale */
    struct {
        int32_t num, den;
    } frame_rate; /* nominal */
    struct {
        int32_t num, den;
    } sar;
    int32_t crf_tenths;
    int32_t maxrate_kbps; /* 0: uncapped */
    int32_t bufsize_kbit;
    char preset[POLICY_WORD_BYTES];
    char profile[POLICY_WORD_BYTES];
    int32_t gop_frames; /* hint for lookahead and levels; key frames come from force_idr alone */
    int32_t bframes;    /* -1: the preset's */
    int32_t threads;    /* 1: in the caller's thread */
    int32_t color_primaries, color_transfer, color_matrix; /* ITU-T H.273 */
    bool full_range;
    struct media_hdr hdr; /* what a 10-bit stream of a PQ source says of its mastering */
    void *
        surfaces; /* AVBufferRef of the AVHWFramesContext that surfaces come from; NULL: pictures are in host memory */
};

/* A picture, in planes of host memory or as a surface in the device's own. Frames stay the caller's; submit copies or
 * takes its own reference before it returns. */
struct hal_frame {
    enum hal_layout layout;
    int32_t width, height;
    const void *surface; /* AVFrame of the session's surfaces; then there are no planes */
    const uint8_t *planes[3];
    size_t stride_bytes[3]; /* plane i is rows of stride_bytes[i] */
    int64_t pts;            /* in time_base; strictly increasing */
    bool force_idr;
};

/* An access unit in coding order; data is the session's until the next submit, drain or close. */
struct hal_packet {
    const uint8_t *data;
    size_t bytes;
    int64_t pts;
    int64_t dts; /* the encoder's; renditions compute their own */
    bool idr;
};

struct hal_session;

/* hal/hal_encode.h rules: one thread per session; submit and drain may block without limit; the watchdog
 * in the agent owns deadlines. */
struct hal_encode_ops {
    const char *name; /* as written in policies: "x264" */
    enum device_kind kind;
    size_t session_bytes; /* private state; hal zeroes and frees it */
    /* Fills rows for a device of this kind; 0 rows when the library or driver lacks the encoder. */
    int (*probe)(struct hal_device *device);
    int (*open)(void *state, const struct hal_device *device,
                const struct hal_encode_params *params, struct sl_failure *why);
    /* Parameter sets as the codec's MP4 sample entry wants them (avcC, hvcC …); valid after open. */
    int (*extradata)(void *state, const uint8_t **out, size_t *out_bytes);
    int (*submit)(void *state, const struct hal_frame *frame, struct sl_failure *why);
    /* 1: a packet; 0: none now (submit more, or done after flush); <0: SL_E*. */
    int (*receive)(void *state, struct hal_packet *out, struct sl_failure *why);
    /* No more frames: receive then gives what is left. */
    int (*flush)(void *state, struct sl_failure *why);
    void (*close)(void *state); /* may wait; safe after a failed open */
};

/* Finds devices of a kind and fills identity, sessions, memory; encoders add their rows. */
struct hal_device_ops {
    enum device_kind kind;
    /* Appends at most max devices; *count is how many. Absence is 0 devices and SL_OK, with the reason in why. */
    int (*probe)(struct hal_device *out, int32_t max, int32_t *count, struct sl_failure *why);
    /* Optional: opens the driver on a device that was probed in this process, and keeps it open for the sessions to
     * come. A worker is about to enter a sandbox in which no file can be opened any more. */
    int (*prepare)(const struct hal_device *device, struct sl_failure *why);
    /* Optional: what is said of a device's load without opening it. Asked again and again by one thread; what only clocks
     * tell is of the time since it was asked before, and unknown at first. */
    void (*telemetry)(const char *device_id, struct device_telemetry *out);
};

struct hal_backends {
    const struct hal_device_ops *devices[HAL_BACKENDS_MAX];
    int32_t device_count;
    const struct hal_encode_ops *encoders[HAL_BACKENDS_MAX];
    int32_t encoder_count;
};

/* All devices of all back ends with their rows. What a back end without devices says of the reason is in why. */
int hal_probe(const struct hal_backends *backends, struct hal_device *out, int32_t max,
              int32_t *count, struct sl_failure *why);

/* The devices of one kind alone. */
int hal_probe_kind(const struct hal_backends *backends, enum device_kind kind,
                   struct hal_device *out, int32_t max, int32_t *count, struct sl_failure *why);

/* One device with its rows, made ready for sessions (prepare); no other is asked for its encoders. SL_EDEVICELOST where
 * it is not there any more. */
int hal_probe_one(const struct hal_backends *backends, enum device_kind kind, const char *device_id,
                  struct hal_device *out, struct sl_failure *why);

/* The telemetry of a device; all unknown where nobody says. */
void hal_telemetry(const struct hal_backends *backends, enum device_kind kind,
                   const char *device_id, struct device_telemetry *out);

/* Does it decode and scale for encoders on CPUs? Of a device that encodes anything: FEED_NONE. */
enum device_feed hal_device_feed(const struct hal_device *device);

/* A device as the scheduler sees it. */
void hal_device_report(const struct hal_device *device, struct device_row *out);

/* The row that can encode this, or NULL with the reason in why (rows_code where rows are missing). width 0: of any
 * size. */
const struct hal_row *hal_device_row(const struct hal_device *device, enum codec codec,
                                     const char *encoder, int32_t width, int32_t height,
                                     struct sl_failure *why);

/* Device and encoder for a codec among those of a node: the named encoder, healthy, with a free session,
 * least used first, ties by id; suspect devices after healthy ones, proving ones one session at a time,
 * quarantined ones never. Returns the index or SL_ENOENCODER, SL_ESESSIONS, SL_EDEVICELOST. */
int hal_choose(const struct hal_device *devices, int32_t count, enum codec codec,
               const char *encoder, struct sl_failure *why);

/* Sessions in use that count against a device's limit: its own, or those of all such devices of a system. */
int32_t hal_sessions_counted(const struct hal_device *devices, int32_t count,
                             const struct hal_device *device);
/* How many more it takes; INT32_MAX where no limit is known. */
int32_t hal_sessions_free(const struct hal_device *devices, int32_t count,
                          const struct hal_device *device);

/* Sessions. open checks params against the device's row, takes a session slot, and calls the back end. A limit
 * that nobody knew is learned when the back end answers SL_ESESSIONS. The device must outlive its sessions. */
int hal_encode_open(const struct hal_backends *backends, struct hal_device *device,
                    const char *encoder, const struct hal_encode_params *params,
                    struct hal_session **out, struct sl_failure *why);
int hal_encode_extradata(struct hal_session *session, const uint8_t **out, size_t *out_bytes);
int hal_encode_submit(struct hal_session *session, const struct hal_frame *frame,
                      struct sl_failure *why);
int hal_encode_receive(struct hal_session *session, struct hal_packet *out, struct sl_failure *why);
int hal_encode_flush(struct hal_session *session, struct sl_failure *why);
void hal_encode_close(struct hal_session **session);

/* Outcome of work on a device, for its health: SL_OK of a finished lease or a passed probe, or the code it failed
 * with; codes of other classes than device change nothing. Returns the new health. */
enum device_health hal_health_note(struct hal_device *device, int code, const char *detail);

#endif
