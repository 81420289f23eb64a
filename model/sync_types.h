/* model/sync_types.h: the one request between agent and daemon, level-triggered.
 *
 * Each sync states every token that the node holds; the answer states what the daemon holds for the
 * node. Repeating either changes nothing. docs/architecture.md, "The sync".
 * Owns: arrays and texts belong to the arena that the message was decoded into or built from.
 */
#ifndef SL_MODEL_SYNC_TYPES_H
#define SL_MODEL_SYNC_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/device_types.h"
#include "model/ids.h"
#include "model/task_types.h"

#define SYNC_VERSION     1
#define SYNC_BYTES_MAX   (1024 * 1024)
#define SYNC_HELD_MAX    512
#define SYNC_GRANTS_MAX  256
#define NODE_NAME_BYTES  64
#define OBJECT_KEY_BYTES 256
#define STORE_URL_BYTES  512
#define TICKET_BYTES     512

enum held_state {
    HELD_RUNNING,     /* accepted; waiting for a worker or running */
    HELD_FINISHED,    /* report attached; outputs are stored */
    HELD_FAILED,      /* failure attached */
    HELD_HANDED_BACK, /* not done, and the node will not do it */
    HELD_STATE_COUNT
};

struct sync_held {
    struct lease_token token;
    struct task_id task;
    struct video_id video;
    enum held_state state;
    int64_t done_units;  /* running: frames or packets so far */
    int64_t total_units; /* 0 unknown */
    struct sl_failure failure;
    char device_id[DEVICE_ID_BYTES]; /* that ran it */
    const uint8_t *report;           /* finished: an encoded struct report */
    size_t report_bytes;
};

/* What the node can take beyond what it holds. */
struct sync_request {
    uint32_t version;
    char node_uuid[NODE_UUID_BYTES];
    char node_name[NODE_NAME_BYTES];
    uint64_t session; /* random, new with each start of the agent */
    uint64_t seq;     /* grows with each request of a session */
    bool spot;
    bool park;                   /* may be answered later, when there is work */
    bool leaving;                /* the agent is going away: grant nothing more */
    int64_t notice_remaining_ns; /* the node will be taken in so long; 0: no notice */
    struct demand total;         /* the node's whole capacity */
    struct device_row devices[NODE_DEVICES_MAX];
    int32_t device_count;
    struct sync_held *held;
    int32_t held_count;
};

struct sync_input {
    char key[OBJECT_KEY_BYTES];
    int64_t bytes;
};

struct sync_grant {
    struct lease_token token;
    struct task_id task;
    struct video_id video;
    enum step step;
    struct demand demand;
    int64_t watchdog_ns;
    struct sync_input *inputs; /* become the job's descriptors, in this order */
    int32_t input_count;
    char output_prefix[OBJECT_KEY_BYTES]; /* "published/v…/1/": where outputs go */
    char ticket[TICKET_BYTES];            /* opens the objects of this lease over HTTP */
    const uint8_t *job;                   /* an encoded struct job */
    size_t job_bytes;
};

enum verdict_kind {
    VERDICT_ACCEPTED, /* finished, failed or handed back: taken note of; forget the token */
    VERDICT_STALE     /* given to another, cancelled or unknown: stop, delete its outputs, forget */
};

struct sync_verdict {
    struct lease_token token;
    enum verdict_kind kind;
};

struct sync_answer {
    uint32_t version;
    struct sl_failure refused; /* code 0: accepted */
    uint64_t seq;              /* of the request answered */
    int64_t wait_ns;           /* when to sync again if nothing happens */
    int64_t lease_timeout_ns;
    enum node_state node_state;
    char store_id[NODE_UUID_BYTES];   /* the object store's identity */
    char store_path[STORE_URL_BYTES]; /* its folder, for agents that see it; may be empty */
    char http_host[STORE_URL_BYTES];  /* empty: the host of the wire address */
    int32_t http_port;
    struct sync_grant *grants;
    int32_t grant_count;
    struct sync_verdict *verdicts;
    int32_t verdict_count;
};

#endif
