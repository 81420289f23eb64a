/* tests/daemon/farm_kit.h: a daemon in a folder of its own, a scripted agent, and an HTTP client.
 *
 * The agent speaks real syncs over real nng and stores objects that only look like segments, since the
 * daemon never opens media. Whatever goes wrong in the kit itself fails the test.
 */
#ifndef SL_TESTS_DAEMON_FARM_KIT_H
#define SL_TESTS_DAEMON_FARM_KIT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/buf.h"
#include "model/job_types.h"
#include "model/report_types.h"
#include "model/sync_types.h"
#include "objects/objects.h"
#include "scheduler/daemon/daemon.h"
#include "wire/wire_codec.h"
#include "wire/wire_transport.h"

#define FARM_SECONDS 60 /* length of the synthetic source, unless told otherwise */
#define FARM_FPS     25
#define FARM_CHUNKS  11 /* the opening, then ten from keyframe to keyframe */
/* Of 2 rungs and audio: init, segments by two names each, a playlist that grew and the final one each; the two manifests;
 * poster, preview, a sheet of thumbnails and its map. */
#define FARM_OBJECTS (3 * (2 * FARM_CHUNKS + 3) + 2 + 4)

struct farm {
    char folder[64];
    char data[80];
    char source[80]; /* a file to submit */
    struct daemon_options options;
    struct daemon *daemon; /* in this process, or */
    pid_t pid;             /* build/sluiced */
    int http_port;
    int wire_port;
    struct objects *objects;
};

/* A folder, a source and short times; nothing runs yet. */
void farm_open(struct farm *farm);
void farm_start(struct farm *farm); /* in this process */
void farm_stop(struct farm *farm);
void farm_spawn(struct farm *farm); /* build/sluiced, on the same ports each time */
void farm_kill(struct farm *farm);  /* kill -9 */
void farm_close(struct farm *farm);

/* Runs build/sluiced with arguments until it ends; its standard error, and its exit code. */
int farm_run(const char *const *args, char *errors, size_t bytes);

/* ---- HTTP ---- */

struct reply {
    long status;
    struct sl_buf body;
    struct sl_buf headers;
};

/* headers: lines, NULL-terminated; may be NULL. path begins with "/". */
void farm_http(const struct farm *farm, const char *method, const char *path,
               const char *const *headers, const void *body, size_t length, struct reply *out);
void reply_free(struct reply *reply);
bool reply_has_header(const struct reply *reply, const char *line);
/* The body as JSON; the status must be as given. The caller's to decref. */
json_t *farm_json(const struct farm *farm, const char *method, const char *path, const char *body,
                  long status);
/* The message of an error reply, which must have the status and code. */
void farm_error(const struct farm *farm, const char *method, const char *path, const char *body,
                long status, const char *code, const char *part_of_message);

void farm_submit(const struct farm *farm, char video[VIDEO_ID_TEXT_BYTES]);
void farm_submit_policy(const struct farm *farm, const char *policy_text,
                        char video[VIDEO_ID_TEXT_BYTES]);
json_t *farm_status(const struct farm *farm, const char *video);
bool farm_status_is(const struct farm *farm, const char *video, const char *status);
void farm_status_wait(const struct farm *farm, const char *video, const char *status);

/* ---- the agent ---- */

#define AGENT_HELD_MAX 64

struct agent_held {
    struct lease_token token;
    struct task_id task;
    struct video_id video;
    enum step step;
    int32_t piece_start; /* first segment of a transcode */
    int32_t preroll;
    char output_prefix[OBJECT_KEY_BYTES];
    char ticket[TICKET_BYTES];
    enum held_state state;
    struct sl_failure failure;
    struct sl_buf report;
    struct sl_buf job;
    struct sync_input inputs[JOB_INPUTS_MAX];
    int32_t input_count;
};

struct agent {
    struct farm *farm;
    struct wire_client *client;
    char uuid[NODE_UUID_BYTES];
    char name[32];
    uint64_t session;
    uint64_t seq;
    struct demand total;
    struct agent_held held[AGENT_HELD_MAX];
    int32_t held_count;
    int32_t transcodes; /* leases finished so far */
    int32_t stale;      /* tokens refused as stale so far */
    bool forget;        /* drop tokens once a verdict came (else they are stated again) */
    uint64_t seam_lie;  /* added to seam_first of chunks whose preroll is less than seam_cure */
    int32_t seam_cure;
    int32_t seconds;              /* of the source that its probe finds, */
    int32_t fps;                  /* with so many frames each */
    int64_t patience_ns;          /* for an answer */
    struct device_row devices[2]; /* beside its CPU */
    int32_t device_count;
    const char *encoder_lie; /* what its reports call the encoder; NULL: as asked */
    struct sync_answer last;
    struct sl_arena arena;
};

void agent_open(struct agent *agent, struct farm *farm, int number);
void agent_close(struct agent *agent);
/* One sync; grants are added to held, verdicts applied. The answer stays in agent->last until the next. */
int agent_sync(struct agent *agent, bool park);
/* Does the work of one held lease: objects stored, report made. */
void agent_work(struct agent *agent, struct agent_held *held);
/* Works and syncs until nothing is held and nothing comes for a while, or the video has that status. */
void agent_run(struct agent *agent, const char *video, const char *until_status);
struct agent_held *agent_holds(struct agent *agent, enum step step);
/* Syncs until a lease of that step is held. */
struct agent_held *agent_wait(struct agent *agent, enum step step);

#endif
