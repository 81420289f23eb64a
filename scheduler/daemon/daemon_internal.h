/* scheduler/daemon/daemon_internal.h: the shell's state, shared by its files and by nobody else.
 *
 * Numbered invariants of the shell's thread:
 *  1. The core steps only inside a batch; a batch ends with its commit, and no reply, no work and no
 *     answer to a node leaves before it.
 *  2. The same batch is written again until its commit succeeds; meanwhile the core does not step.
 *  3. A video has at most one piece of work on the work threads (video->work). While it is there, the
 *     video's plan, policy and texts do not change and its record is not freed.
 *  4. Everything that a video still needs follows from its row, its tasks and its objects
 *     (daemon_video_advance), so that a crash at any point is followed by the same steps again.
 *  5. An object is written before the row that names it, and deleted after the row that no longer does.
 *
 * Threads: members are the shell's thread's own unless a comment says otherwise.
 */
#ifndef SL_SCHEDULER_DAEMON_DAEMON_INTERNAL_H
#define SL_SCHEDULER_DAEMON_DAEMON_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/time.h"
#include "model/published_types.h"
#include "objects/objects.h"
#include "scheduler/api/api.h"
#include "scheduler/core/sched.h"
#include "scheduler/daemon/daemon.h"
#include "scheduler/daemon/daemon_map.h"
#include "scheduler/plan/plan.h"
#include "scheduler/store/store.h"
#include "wire/wire_codec.h"
#include "wire/wire_transport.h"

#define DAEMON_INBOX_MAX       8192 /* requests that wait for the shell's thread */
#define DAEMON_BATCH_MAX       256  /* of them in one transaction */
#define DAEMON_WORKERS         3    /* of which one never copies sources */
#define DAEMON_ANSWER_BYTES    (SYNC_BYTES_MAX - 64 * 1024) /* of grants in one answer */
#define DAEMON_CALL_WAIT_NS    SL_S_TO_NS(10)
#define DAEMON_DELETE_WAIT_NS  SL_S_TO_NS(60)
#define DAEMON_WORK_RETRY_NS   SL_S_TO_NS(5)
#define DAEMON_WORK_TRIES      5 /* of work that fails for a transient reason other than a full disk */
#define DAEMON_COMMIT_FIRST_NS SL_MS_TO_NS(20)
#define DAEMON_COMMIT_MAX_NS   SL_S_TO_NS(2)
#define DAEMON_STALL_NS        SL_MS_TO_NS(500) /* longer than a batch should take */
#define DAEMON_TICKET_NS       SL_S_TO_NS(24 * 3600)
#define DAEMON_KEY_BYTES       OBJECT_KEY_BYTES
/* A node that hears nothing of a deletion encodes and stores on until it gives up, after 10 minutes. */
#define DAEMON_LATE_NS         SL_S_TO_NS(15 * 60)
/* So many of the newest ready videos keep their tasks, for people to look at. With each that gets ready some older
 * ones lose theirs, at start all. */
#define DAEMON_TASKS_KEPT      1000
#define DAEMON_PRUNE_MAX       4

/* ---- policies: texts are equal for most videos, so each is kept once ---- */

struct daemon_policy {
    struct daemon_policy *next;
    int64_t refs;
    char *text;
    char name[POLICY_NAME_BYTES];
    struct policy policy;
};

/* ---- videos ---- */

/* A transcode task's outcome as far as its neighbours need it. */
struct daemon_piece {
    struct task_id task; /* 0: not inserted yet */
    uint64_t seam_first;
    uint64_t seam_next;
    int32_t preroll; /* of the report */
    bool done;
    char *lines; /* that it adds to the growing playlists, until it is announced there */
};

/* What package and verify are given: derived from the committed reports by daemon_work_set. */
struct daemon_set {
    struct sl_arena arena;
    char key[DAEMON_KEY_BYTES]; /* of the published set's object */
    int64_t bytes;
    int32_t playlist_count;          /* renditions, then subtitle tracks */
    char (*folders)[JOB_NAME_BYTES]; /* "h264/720p", one per playlist */
    struct sync_input *extra_inputs; /* whole tracks and pictures, in verify's order */
    int32_t extra_input_count;
    struct published_images images;
    struct job_sample *samples;
    int32_t sample_count;
    struct sync_input *sample_inputs; /* the job's inputs behind the playlists */
    int32_t sample_input_count;
    int64_t duration_ns;
    uint8_t *result; /* as the store keeps it */
    size_t result_bytes;
};

/* What the package step committed. Keys are whole. */
struct daemon_package {
    char master[DAEMON_KEY_BYTES];
    int64_t master_bytes;
    char mpd[DAEMON_KEY_BYTES]; /* empty: none */
    int64_t mpd_bytes;
    char chapters[DAEMON_KEY_BYTES]; /* empty: none */
    struct sync_input *playlists;    /* as reported; matched to renditions by folder */
    int32_t playlist_count;
};

/* What lies at a version's root under a name that does not change. */
#define DAEMON_STABLE_MAX 6

struct daemon_stable {
    const char *name;           /* "master.m3u8" */
    char key[DAEMON_KEY_BYTES]; /* whole, with a lease's token in it */
};

/* How a codec of the plan may be encoded; as the core has it. */
struct daemon_route {
    struct plan_route chosen;
    bool put; /* the core has it */
};

struct daemon_work;
struct daemon_live; /* what plays before the video is ready: daemon_live.c */

struct daemon_video {
    struct video_id id;
    char text[VIDEO_ID_TEXT_BYTES];
    char *provider;
    char *external_id;
    char *name;
    struct daemon_policy *policy;
    int32_t stream_asked; /* index of the video stream to take; -1: the best */
    enum priority priority;
    enum video_status status;
    bool has_original;
    char original_key[32];
    int64_t original_bytes;
    uint8_t original_sha256[SHA256_BYTES];
    char *source_path; /* registered and not copied yet */
    int64_t created_unix_ns;
    int64_t started_unix_ns;
    int64_t completed_unix_ns;
    uint8_t *info;
    size_t info_bytes;
    char *index_key;
    char *plan_key;
    int32_t version;
    char *published_key;
    uint8_t *result;
    size_t result_bytes;
    struct sched_video_row row; /* the core's last word */

    struct sl_arena plan_arena;
    struct plan *plan;
    struct daemon_route routes[CODEC_COUNT];
    struct daemon_piece *pieces;
    int32_t piece_count;
    int32_t inserted;                 /* transcode pieces looked at so far */
    bool audio_tasks[PLAN_AUDIO_MAX]; /* audio pieces that have their task */
    uint32_t text_tasks;              /* bit per subtitle track that has its task */
    bool images_task;
    struct daemon_set *set;
    struct daemon_package *package;
    struct daemon_live *live;
    bool live_stale;                 /* to be made from the stored reports anew */
    bool live_touched;               /* on the batch's list */
    int64_t transcode_begun_unix_ns; /* in this process: the estimate counts from here */
    int64_t work_mpix_done;          /* since then */

    struct daemon_work *work;
    int work_tries;
    bool probed_anew;                /* since what the first probe left could not be read */
    int64_t retry_at_ns;             /* 0: none */
    struct sl_failure waiting;       /* why own work is repeated; code 0: it is not */
    bool dirty;                      /* its row belongs to this batch */
    bool touched;                    /* on the batch's list of videos to look at */
    bool gone;                       /* left the core; freed when no batch and no work holds it */
    struct daemon_call *delete_call; /* answered when its objects are gone */
    bool deleting;
    bool delete_original;
    struct daemon_video *next_timed;
};

/* ---- work: what takes long, on threads of its own ---- */

enum daemon_work_kind {
    WORK_INGEST, /* copy a registered source */
    WORK_PLAN,   /* index and policy to a plan, or the plan object read back */
    WORK_SET,    /* committed reports to the published set */
    WORK_FINISH, /* manifests under their stable names, orphans swept */
    WORK_DELETE, /* a video's objects */
    WORK_CLEAN,  /* work/<video>/ of a finished video */
    WORK_LATE    /* what nodes stored of a video after its deletion */
};

struct daemon_work {
    struct daemon_work *next;
    enum daemon_work_kind kind;
    struct daemon_video *video; /* NULL for WORK_CLEAN */
    char text[VIDEO_ID_TEXT_BYTES];
    bool with_original;
    bool is_void; /* its result is not wanted any more; the shell's thread only */
    int32_t version;
    int32_t old_version; /* that goes when this one is published; 0: none */
    char manifests[DAEMON_STABLE_MAX]
                  [DAEMON_KEY_BYTES]; /* WORK_CLEAN: they have stable names now */
    uint64_t *tokens;                 /* committed, ascending */
    size_t token_count;
    /* out */
    int code;
    struct sl_failure failure;
    int64_t bytes;
    uint8_t sha256[SHA256_BYTES];
    struct sl_arena arena;
    struct plan *plan;
    struct plan_route routes[CODEC_COUNT];
    char plan_key[DAEMON_KEY_BYTES];
    struct daemon_set *set;
};

struct daemon_workers {
    pthread_t threads[DAEMON_WORKERS];
    int thread_count;
    pthread_mutex_t lock;
    pthread_cond_t some;
    /* Each bounded by one per video. Copies of sources take as long as their bytes; what takes
     * milliseconds must not wait behind them. */
    struct daemon_work_queue {
        struct daemon_work *first;
        struct daemon_work *last;
    } quick, copies;
    bool stop;
};

/* ---- the inbox ---- */

/* A sync, decoded. */
struct daemon_sync {
    struct wire_pending *pending;
    struct sl_arena arena;
    struct sync_request request;
    struct report **reports; /* per held; NULL where none or unreadable */
    struct sl_failure *report_failures;
    int64_t received_at_ns;
    /* filled while it is handled */
    struct node_id node;
    struct sl_failure refused;
    struct sync_verdict *verdicts;
    int32_t verdict_count;
};

enum daemon_call_kind {
    CALL_API,
    CALL_SOURCE_CHECK,  /* may a source be uploaded? */
    CALL_SOURCE_ARRIVED /* it is at its key, checked and durable */
};

/* A call of an HTTP thread, which waits on `answered`. */
struct daemon_call {
    enum daemon_call_kind kind;
    struct api_call *api; /* the call's while nobody waits */
    struct video_id video;
    int64_t bytes;
    uint8_t sha256[SHA256_BYTES];
    int code;
    struct sl_failure failure;
    bool arrived; /* out: the source is there already */
    /* of a submit, prepared by the HTTP thread */
    struct policy policy;
    char *policy_text;
    bool held_back; /* a deletion answers later */
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool is_answered;
    bool is_abandoned;
};

enum daemon_item_kind { ITEM_SYNC, ITEM_CALL, ITEM_WORK };

struct daemon_item {
    struct daemon_item *next;
    enum daemon_item_kind kind;
    union {
        struct daemon_sync *sync;
        struct daemon_call *call;
        struct daemon_work *work;
    };
};

struct daemon_inbox {
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct daemon_item *first;
    struct daemon_item *last;
    int count;
    bool stop;
};

/* ---- one batch ---- */

enum daemon_op_kind {
    OP_ACTION, /* a put of the core */
    OP_VIDEO,
    OP_REPORT,
    OP_DELETE_VIDEO,
    OP_CLEAR_REPORTS,
    OP_DELETE_TASKS,
    OP_PRUNE_TASKS
};

struct daemon_op {
    enum daemon_op_kind kind;
    size_t action; /* index into batch.actions */
    struct daemon_video *video;
    struct video_id video_id;
    uint32_t step_mask;
    struct task_id task;
    const uint8_t *bytes;
    size_t length;
    int32_t most; /* videos to prune */
};

struct daemon_list {
    void **items;
    size_t count;
    size_t capacity;
};

struct daemon_batch {
    struct sched_actions actions;
    size_t handled; /* actions looked at so far */
    struct daemon_op *ops;
    size_t op_count;
    size_t op_capacity;
    struct daemon_list syncs; /* answered after the commit */
    struct daemon_list calls;
    struct daemon_list touched;    /* videos to advance */
    struct daemon_list works;      /* started after the commit */
    struct daemon_list works_done; /* freed after it */
    struct daemon_list gone;       /* videos to free */
    struct daemon_list wake;       /* node ids */
    struct daemon_list news;       /* videos whose status changed */
    struct daemon_list live;       /* videos of which more may play, or less */
    struct daemon_sync *sync;      /* that verdicts are for */
    int64_t now_ns;
    int64_t now_unix_ns;
};

/* A sync that waits at the daemon. In order of arrival, which is the order of their deadlines. */
struct daemon_park {
    struct daemon_park *next;
    struct daemon_park *prev;
    struct node_id node;
    struct wire_pending *pending;
    uint64_t seq;
    int64_t deadline_at_ns;
};

/* A deleted video, until nobody stores anything of it any more. */
struct daemon_deleted {
    struct daemon_deleted *next;
    char text[VIDEO_ID_TEXT_BYTES];
    int64_t due_at_ns;
};

/* ---- the daemon ---- */

struct daemon_upload_slot;

struct daemon {
    struct config config;
    char data[CONFIG_PATH_BYTES];
    char store_url[CONFIG_PATH_BYTES + 32];
    char store_path[STORE_URL_BYTES];
    char store_id[NODE_UUID_BYTES];
    char http_host[STORE_URL_BYTES]; /* as answers tell it to agents */
    int (*commit_fault)(void *arg);
    void *commit_fault_arg;
    uint8_t ticket_secret[64];
    size_t ticket_secret_bytes;

    struct sched *sched;
    struct store *store;
    struct objects *objects; /* any thread */
    struct api *api;         /* any thread */
    struct wire_server *wire;
    struct daemon_workers workers; /* any thread */
    struct daemon_inbox inbox;     /* any thread */
    pthread_t thread;
    bool thread_started;

    struct daemon_map videos;                      /* id to struct daemon_video */
    struct daemon_video *timed;                    /* whose own work is repeated later */
    struct daemon_deleted *deleted, *deleted_last; /* to be swept once more, the soonest first */
    int64_t late_ns;
    struct daemon_policy *policies;
    char policies_shipped[CONFIG_PATH_BYTES]; /* a folder, or empty */
    struct daemon_map parks;                  /* node to struct daemon_park */
    struct daemon_park *park_first;
    struct daemon_park *park_last;
    struct daemon_map queued_since; /* task to the instant it was queued */
    struct daemon_batch batch;
    struct daemon_list again; /* videos to look at in the next batch */
    struct sl_arena scratch;  /* of one answer */
    struct api_metrics metrics;

    /* any thread */
    pthread_mutex_t health_lock;
    struct sl_failure health;
    atomic_bool stopping;
    atomic_bool broken;
    atomic_llong inbox_refused;
    atomic_llong syncs_refused;
    atomic_llong refused_logged_at_ns;
    pthread_mutex_t uploads_lock;
    struct api_upload *uploads;
};

/* ---- daemon_inbox.c ---- */

int daemon_inbox_init(struct daemon_inbox *inbox);
void daemon_inbox_fini(struct daemon_inbox *inbox);
/* SL_ELIMIT when it is full and not forced; nothing is taken then. */
int daemon_inbox_post(struct daemon_inbox *inbox, enum daemon_item_kind kind, void *what,
                      bool forced);
/* At most max items, waiting until deadline_at_ns for the first. */
struct daemon_item *daemon_inbox_take(struct daemon_inbox *inbox, int max, int64_t deadline_at_ns);
bool daemon_list_push(struct daemon_list *list, void *item);
void daemon_list_fini(struct daemon_list *list);

/* ---- daemon_batch.c ---- */

/* Steps the core and looks at what it did. */
int daemon_step(struct daemon *d, const struct sched_event *event);
void daemon_actions_handle(struct daemon *d);
struct sched_event daemon_event(struct daemon *d, enum sched_event_kind kind);
void daemon_op_add(struct daemon *d, struct daemon_op op);
void daemon_video_dirty(struct daemon *d, struct daemon_video *video);
void daemon_video_touch(struct daemon *d, struct daemon_video *video);
/* Writes the batch, again and again until it holds. False when the daemon is broken or stops. */
bool daemon_batch_commit(struct daemon *d);
void daemon_health_set(struct daemon *d, const struct sl_failure *failure);
int daemon_health(void *arg, struct sl_failure *why);

/* ---- daemon_loop.c ---- */

void *daemon_loop(void *arg);
void daemon_batch_begin(struct daemon *d);
/* Commits and lets everything out. */
bool daemon_batch_end(struct daemon *d);

/* ---- daemon_record.c ---- */

struct daemon_video *daemon_video_find(const struct daemon *d, struct video_id id);
struct daemon_video *daemon_video_new(struct daemon *d, struct video_id id);
/* A record of a stored row; NULL when memory is out or the policy's snapshot does not parse. */
struct daemon_video *daemon_video_load(struct daemon *d, const struct store_video *row);
/* Which version plays; 0: none. */
int32_t daemon_video_published(const struct daemon_video *video);
void daemon_video_free(struct daemon *d, struct daemon_video *video);
/* Out of the core and out of the table; freed when nothing holds it. */
void daemon_video_leave(struct daemon *d, struct daemon_video *video);
void daemon_video_plan_drop(struct daemon_video *video);
void daemon_video_set_drop(struct daemon_video *video);
void daemon_video_row(const struct daemon_video *video, struct store_video *row);
void daemon_video_prefix(const struct daemon_video *video, char prefix[DAEMON_KEY_BYTES]);
/* "work/<video>/<version>/": by version, so that cleaning up after one never meets the next. */
void daemon_work_prefix(const char *text, int version, char prefix[DAEMON_KEY_BYTES]);
struct sl_log_about daemon_about(const struct daemon_video *video);

/* ---- daemon_video.c ---- */

/* Does what is due next: invariant 4. */
void daemon_video_advance(struct daemon *d, struct daemon_video *video);
/* Takes it up again from a step, STEP_COUNT: from what failed; fails as SCHED_VIDEO_RETRY does. */
int daemon_video_again(struct daemon *d, struct daemon_video *video, enum step step);
void daemon_video_fail(struct daemon *d, struct daemon_video *video, const struct sl_failure *why);
void daemon_work_result(struct daemon *d, struct daemon_work *work);
/* The plan of a WORK_PLAN that went well. */
void daemon_plan_take(struct daemon *d, struct daemon_video *video, struct daemon_work *work);
/* Once the video has left the core: its objects go, then its row, then `delete_call` is answered. */
void daemon_delete_begin(struct daemon *d, struct daemon_video *video);
/* Its folder is swept once more when nodes that missed the deletion have given up. */
void daemon_deleted_add(struct daemon *d, const char *text);
void daemon_deleted_sweep(struct daemon *d);

/* ---- daemon_report.c ---- */

/* Holds a finished lease's report against what was asked; fills failure where it does not match. */
void daemon_report_check(struct daemon *d, const struct sched_task_row *task, uint64_t token,
                         const struct report *report, struct sl_failure *failure);
/* What a committed report means for its video. */
void daemon_report_commit(struct daemon *d, struct daemon_video *video,
                          const struct sched_task_row *task, const struct report *report,
                          const uint8_t *bytes, size_t length);
/* Package's report, kept in memory: from a commit or from the store. */
int daemon_package_keep(struct daemon_video *video, const struct report *report);
/* Do all seams hold between the committed chunks? Has done again what does not. */
bool daemon_seams_hold(struct daemon *d, struct daemon_video *video);

/* ---- daemon_live.c ---- */

/* A committed report of any step; it counts once its batch is committed. */
void daemon_live_note(struct daemon *d, struct daemon_video *video, enum step step, int32_t piece,
                      const struct report *report, const uint8_t *bytes, size_t length);
/* A committed piece is done again. */
void daemon_live_redo(struct daemon *d, struct daemon_video *video, int32_t piece);
/* What was announced may not hold any more. */
void daemon_live_stale(struct daemon *d, struct daemon_video *video);
void daemon_live_touch(struct daemon *d, struct daemon_video *video);
/* After the commit: tells the HTTP side. */
void daemon_live_tell(struct daemon *d, struct daemon_video *video);
int64_t daemon_live_playable_ns(const struct daemon_video *video);
/* Before the plan goes. */
void daemon_live_free(struct daemon_video *video);

/* ---- daemon_route.c ---- */

/* Which entries of its policy's routes the video may use; SL_EINVAL when a codec has none left. Any thread. */
int daemon_routes_choose(const struct daemon_video *video, const struct plan *plan,
                         struct plan_route routes[CODEC_COUNT], struct sl_failure *why);
/* The routes of the video's plan, to the core: before its tasks. */
int daemon_routes_put(struct daemon *d, struct daemon_video *video);
/* The entry of the policy that a task of the codec was granted under; NULL: the plan is not there, or has changed. */
const struct policy_route *daemon_route_entry(const struct daemon_video *video, enum codec codec,
                                              int32_t entry);
/* A committed chunk is wanted again, from another encoder. */
void daemon_route_again(struct daemon *d, struct daemon_video *video, struct task_id task);

/* ---- daemon_sync.c, daemon_grant.c ---- */

void daemon_wire_request(void *arg, struct wire_pending *pending, const void *bytes, size_t length);
void daemon_sync_handle(struct daemon *d, struct daemon_sync *sync);
void daemon_sync_answer(struct daemon *d, struct daemon_sync *sync);
void daemon_sync_free(struct daemon_sync **sync);
void daemon_park_wake(struct daemon *d, struct node_id node);
void daemon_parks_expire(struct daemon *d, int64_t now_ns);
void daemon_parks_drop(struct daemon *d);
/* SL_EBUSY: the video is not ready for it yet. */
int daemon_grant_build(struct daemon *d, const struct sched_grant_view *view,
                       struct sl_arena *arena, struct sync_grant *out);

/* ---- daemon_calls.c ---- */

int daemon_api_call(void *arg, struct api_call **call, struct sl_failure *why);
/* Posts and waits. SL_EBUSY: the call is abandoned, *call is NULL. */
int daemon_call_wait(struct daemon *d, struct daemon_call **call, int64_t timeout_ns);
struct daemon_call *daemon_call_new(enum daemon_call_kind kind);
void daemon_call_free(struct daemon_call **call);
void daemon_call_handle(struct daemon *d, struct daemon_call *call);
/* After the commit. */
void daemon_call_answer(struct daemon *d, struct daemon_call *call);

/* ---- daemon_view.c ---- */

/* Fills what a call shows. */
void daemon_view_call(struct daemon *d, struct api_call *call);

int daemon_video_read(void *arg, const struct store_video *row, struct sl_arena *arena,
                      struct api_video *out);
/* The result as the store keeps it. devices[rendition] are texts separated by tabs. */
int daemon_result_encode(const struct published_set *set, int64_t duration_ns, int32_t transcodes,
                         char *const *devices, struct sl_buf *out);

/* ---- daemon_policy.c ---- */

/* By name or text; fills the text (malloc'd). Any thread. */
int daemon_policy_load(struct daemon *d, struct api_call *call, struct policy *out,
                       char **out_text);
/* The shell's thread: the one record of that text. */
struct daemon_policy *daemon_policy_ref(struct daemon *d, const char *name, const char *text,
                                        const struct policy *policy);
void daemon_policy_unref(struct daemon *d, struct daemon_policy **policy);

/* ---- daemon_ingest.c: sources; any thread ---- */

int daemon_upload_open(void *arg, struct video_id video, int64_t offset, int64_t total,
                       struct api_upload **out, int64_t *have, struct sl_failure *why);
int daemon_upload_write(struct api_upload *upload, const void *bytes, size_t length,
                        struct sl_failure *why);
int daemon_upload_close(struct api_upload **upload, bool finish, const uint8_t *sha256,
                        int64_t *have, struct sl_failure *why);
int daemon_upload_offset(void *arg, struct video_id video, int64_t *have, bool *complete,
                         struct sl_failure *why);
/* Is it a regular file that can be read and is not over the limit? */
int daemon_source_check(struct daemon *d, const char *path, struct sl_failure *why);
/* Where the original lies; SL_ENOENT when it has not arrived. */
int daemon_original_find(struct daemon *d, const char *video, int64_t *bytes);
int daemon_ingest_copy(struct daemon *d, const char *video, const char *path, int64_t *bytes,
                       uint8_t sha256[SHA256_BYTES], struct sl_failure *why);
int daemon_source_path_put(struct daemon *d, const char *video, const char *path,
                           struct sl_failure *why);
char *daemon_source_path_get(struct daemon *d, const char *video);
/* With what of the copy or upload is there. */
void daemon_source_path_drop(struct daemon *d, const char *video);

/* ---- daemon_sidecar.c: uploaded subtitle files ---- */

void daemon_sidecar_key(const char *video, const char *language, char key[DAEMON_KEY_BYTES]);
/* Any thread: reads those given by path and judges all as far as bytes alone tell. */
int daemon_sidecars_prepare(struct daemon *d, struct api_call *call);
/* The shell's thread: stores or removes them. video NULL: it is not live. */
int daemon_sidecars_take(struct daemon *d, const char *text, const struct daemon_video *video,
                         struct api_call *call);
/* A work thread: those that are there become tracks of the plan. */
int daemon_sidecars_plan(struct daemon *d, const char *video, const struct policy *policy,
                         struct plan *plan, struct sl_failure *why);

/* ---- daemon_work.c, daemon_steps.c ---- */

int daemon_workers_start(struct daemon *d);
void daemon_workers_stop(struct daemon *d);
struct daemon_work *daemon_work_new(enum daemon_work_kind kind, struct daemon_video *video);
void daemon_work_free(struct daemon_work **work);
void daemon_work_post(struct daemon *d, struct daemon_work *work);
/* On a work thread, or while restoring: `reader` is a store handle of the caller. */
void daemon_work_run(struct daemon *d, struct daemon_work *work, struct store *reader);
void daemon_set_free(struct daemon_set **set);
/* What the finished version has of them; returns how many. */
int daemon_stable_list(const struct daemon_video *video,
                       struct daemon_stable list[DAEMON_STABLE_MAX]);

/* ---- daemon_restore.c ---- */

int daemon_restore(struct daemon *d, struct sl_failure *why);
void daemon_leftovers_sweep(struct daemon *d);

#endif
