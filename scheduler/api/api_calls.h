/* scheduler/api/api_calls.h: what the HTTP side asks the daemon, as plain structs.
 *
 * The HTTP threads know neither the core nor the daemon: they fill a struct api_call, hand it to the
 * backend, and render what comes back. The daemon answers a call on its own thread, after the commit
 * of the batch in which it was taken, so that no reply reports what a crash could undo.
 *
 * Owns:    a call owns every text and array it points to; all of them live in its arena.
 * Errors:  code and failure of the call; `mistakes` for a policy that does not parse.
 * Threads: a call belongs to the thread that made it, and to the backend while it is handed over.
 */
#ifndef SL_SCHEDULER_API_API_CALLS_H
#define SL_SCHEDULER_API_API_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/device_types.h"
#include "model/ids.h"
#include "model/policy_types.h"
#include "model/sync_types.h"
#include "model/task_types.h"
#include "scheduler/store/store.h"

#define API_MISTAKES_MAX 20
#define API_REASONS_MAX  16
#define API_LIST_MAX     1000 /* videos on one page, dead tasks in one list */

enum api_call_kind {
    API_CALL_SUBMIT,
    API_CALL_VIDEO,    /* one live video in full */
    API_CALL_PROGRESS, /* the percentages of many */
    API_CALL_CANCEL,
    API_CALL_RETRY,
    API_CALL_DELETE,
    API_CALL_NODES,
    API_CALL_DRAIN,
    API_CALL_UNDRAIN,
    API_CALL_EXPLAIN_VIDEO,
    API_CALL_EXPLAIN_TASK,
    API_CALL_DEAD,
    API_CALL_REDRIVE,
    API_CALL_DROP,
    API_CALL_METRICS,
    API_CALL_SIDECAR, /* puts or removes a subtitle file */
    API_CALL_KIND_COUNT
};

enum api_progress {
    API_PENDING,
    API_RUNNING,
    API_COMPLETED,
    API_FAILED,
    API_SKIPPED,
};

#define API_SIDECAR_BYTES_MAX (4 * 1024 * 1024)
#define API_SIDECARS_MAX      12

/* A subtitle file that comes with a video. */
struct api_sidecar {
    const char *language;
    const char *path; /* that the daemon reads; NULL: the bytes are here */
    const void *bytes;
    size_t length;
};

struct api_submit {
    const char *name; /* the file name it came with, or NULL */
    const char *path; /* that the daemon reads, or NULL: the source is uploaded */
    const char *provider;
    const char *external_id;
    const char *policy;      /* a name; NULL: "default" */
    const char *policy_text; /* YAML that is used instead of a named one, or NULL */
    enum priority priority;
    int32_t stream_asked; /* index of the video stream to take; -1: the best */
    bool created;         /* out */
};

struct api_rendition {
    enum codec codec;
    const char *name;
    const char *encoder;
    int32_t width;
    int32_t height;
    int64_t frames;
    int64_t bytes;
    int32_t bitrate_kbps;
    const char **devices;
    int32_t device_count;
};

/* A published subtitle track. */
struct api_text_track {
    const char *language; /* as the source says; may be empty, as the title */
    const char *title;
    const char *key; /* of the whole track, relative to the version's folder */
    int64_t cues;
    bool is_default;
    bool forced;
};

struct api_chapter {
    double start_seconds;
    double end_seconds;
    const char *title;
};

struct api_source {
    bool known; /* probed */
    double duration_seconds;
    int32_t width;
    int32_t height;
    int64_t frames;
    const char *codec;
    const char **notes; /* what was chosen and changed, one sentence each */
    int32_t note_count;
};

struct api_video {
    struct video_id video;
    enum video_status status;
    enum priority priority;
    const char *policy;
    const char *name;
    int64_t created_unix_ns;
    int64_t started_unix_ns; /* 0: not yet; so for the next two */
    int64_t completed_unix_ns;
    int64_t estimated_unix_ns;
    double playable_seconds;
    enum api_progress steps[STEP_COUNT];
    int32_t transcode_completed;
    int32_t transcode_total;
    struct api_source source;
    const char *sha256; /* hexadecimal, of the original; NULL: not here yet */
    struct api_rendition *renditions;
    int32_t rendition_count;
    const char *published_key; /* of the version that plays, or NULL */
    const char *live_key;      /* of the one that plays while it is made, or NULL */
    /* of that version */
    struct api_text_track *texts;
    int32_t text_count;
    struct api_chapter *chapters;
    int32_t chapter_count;
    bool has_poster, has_thumbnails, has_preview;
    struct sl_failure failure;
    enum step failure_step;
};

struct api_percent {
    struct video_id video;
    int32_t percent; /* -1: not live */
};

struct api_node {
    const char *uuid;
    const char *name;
    enum node_state state;
    bool spot;
    int32_t running;
    struct demand total;
    struct demand used;
    struct device_row *devices;
    int32_t device_count;
};

struct api_dead {
    struct task_id task;
    struct video_id video;
    enum step step;
    int32_t piece;
    int32_t attempts;
    struct sl_failure failure;
};

struct api_mistake {
    int32_t line;
    int32_t column;
    const char *message;
};

/* Bounds double from API_BUCKET_FIRST_NS; the last one counts everything slower. */
#define API_BUCKETS         16
#define API_BUCKET_FIRST_NS INT64_C(1000000)

struct api_histogram {
    int64_t counts[API_BUCKETS + 1];
    int64_t sum_ns;
};

void api_histogram_add(struct api_histogram *histogram, int64_t value_ns);

/* Of all live nodes, by kind of device. */
struct api_kind {
    int64_t devices, sessions, session_limit, queued, running, wait_ns;
};

struct api_metrics {
    int64_t queued, waiting, running, dead, nodes_live, videos_live;
    int64_t by_priority[PRIORITY_COUNT];
    int64_t nodes[NODE_STATE_COUNT];
    struct api_kind kinds[DEVICE_KIND_COUNT];
    int64_t grants, completions, failures, lapses, stale;
    int64_t syncs, syncs_refused, syncs_parked;
    int64_t inbox_refused;
    int64_t commit_retries;
    struct api_histogram queue_wait; /* ready to granted */
    struct api_histogram commit;
};

struct api_call {
    enum api_call_kind kind;
    struct sl_arena arena;
    /* in */
    struct video_id video; /* out as well, for a submit */
    struct task_id task;
    const char *node;    /* uuid, or a name that only one node has */
    enum step step;      /* retry: to begin from; STEP_COUNT: where it failed */
    int64_t deadline_ns; /* drain; 0: none */
    bool with_original;  /* delete */
    struct api_submit submit;
    struct api_sidecar *sidecars; /* of a submit, or the one that is put */
    int32_t sidecar_count;
    bool sidecar_remove;
    bool sidecar_created;         /* out */
    struct api_percent *percents; /* in and out */
    int32_t percent_count;
    /* out */
    int code;
    struct sl_failure failure;
    struct api_mistake *mistakes;
    int32_t mistake_count;
    struct api_video *view;
    struct api_node *nodes;
    int32_t node_count;
    struct api_dead *dead;
    int32_t dead_count;
    const char *state; /* explain */
    const char **reasons;
    int32_t reason_count;
    struct api_metrics *metrics;
    const char *original_key; /* delete: where the original was left, or NULL */
};

/* An upload in the making; the backend's. */
struct api_upload;

/* What the daemon gives the HTTP side. Every function may be called from any thread. */
struct api_backend {
    void *arg;

    /* Waits for the answer. SL_OK: *call is answered and still the caller's. SL_EBUSY: no answer in
     * time; *call is NULL, the backend frees it, and it may still take effect. */
    int (*call)(void *arg, struct api_call **call, struct sl_failure *why);

    /* A stored row as the status shows it; texts go into the arena. */
    int (*video_read)(void *arg, const struct store_video *row, struct sl_arena *arena,
                      struct api_video *out);

    /* Appends to the source of a video from offset, which must be what has arrived (offset -1: start
     * anew). total -1: not known yet. On SL_ECONFLICT *have says what has arrived. */
    int (*upload_open)(void *arg, struct video_id video, int64_t offset, int64_t total,
                       struct api_upload **out, int64_t *have, struct sl_failure *why);
    int (*upload_write)(struct api_upload *upload, const void *bytes, size_t length,
                        struct sl_failure *why);
    /* Frees it. finish: the last byte is there; the source is checked, made durable and handed on, and the
     * reply may be given. Otherwise what arrived is kept for a resumption. sha256 NULL: unchecked. */
    int (*upload_close)(struct api_upload **upload, bool finish, const uint8_t *sha256,
                        int64_t *have, struct sl_failure *why);
    /* What has arrived of a source; complete when it is the original. */
    int (*upload_offset)(void *arg, struct video_id video, int64_t *have, bool *complete,
                         struct sl_failure *why);

    /* SL_OK while commits go through. */
    int (*health)(void *arg, struct sl_failure *why);
};

/* Of the whole job, 0 to 100: the encodes are nearly all of it. */
int api_video_percent(const struct api_video *video);

struct api_call *api_call_new(enum api_call_kind kind);
void api_call_free(struct api_call **call);

#endif
