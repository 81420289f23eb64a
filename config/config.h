/* config/config.h: YAML in, typed settings out, mistakes explained with their place.
 *
 * A mistake is one line: FILE:LINE:COLUMN: key: what is wrong; what would be valid.
 * Unknown keys, duplicate keys, wrong types, values out of range, aliases and anchors, tabs, NUL
 * bytes and files over CONFIG_BYTES_MAX are mistakes. Parsing goes on after a mistake where it can, up to
 * CONFIG_MISTAKES_MAX of them.
 *
 * Owns:    results are plain structs, copied. Threads: any.
 */
#ifndef SL_CONFIG_CONFIG_H
#define SL_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "model/device_types.h"
#include "model/limit_types.h"
#include "model/policy_types.h"
#include "model/task_types.h"

#define CONFIG_BYTES_MAX    (1024 * 1024)
#define CONFIG_MISTAKES_MAX 20
#define CONFIG_POLICIES_MAX 64
#define CONFIG_PATH_BYTES   512
#define CONFIG_URL_BYTES    512

struct config_mistake {
    int32_t line; /* 1-based; 0: the file as a whole */
    int32_t column;
    char message[SL_MESSAGE_BYTES * 2]; /* key, what is wrong and what would be valid */
};

struct config_mistakes {
    struct config_mistake items[CONFIG_MISTAKES_MAX];
    int32_t count;
};

/* ---- policies ---- */

/* The policy of design section 10, shipped as config/policies/default.yaml and built in. */
void config_policy_default(struct policy *out);

/* The built-in policy's YAML text. */
const char *config_policy_default_text(void);

/* name: a tier of the file, which then has the codecs of that tier alone; any other name, or NULL, is the whole. SL_EINVAL
 * with mistakes filled. */
int config_policy_parse(const char *name, const char *text, size_t length, struct policy *out,
                        struct config_mistakes *mistakes);

/* ---- the daemon's and agent's own settings (one file may hold both; each reads its part) ---- */

struct config_farm {
    /* Secret shared by daemon and agents, read from secret_file; without it only loopback is served. */
    char secret_file[CONFIG_PATH_BYTES];
    uint8_t secret[64];
    size_t secret_bytes;
};

/* What of the HTTP interface one client may take; as struct api_limits of scheduler/api/api.h. */
struct config_api {
    char tokens_file[CONFIG_PATH_BYTES]; /* may be empty */
    bool tokens_on_loopback;
    bool limits_on_loopback;
    int32_t connections;
    int32_t connections_per_address;
    int64_t header_timeout_ns;
    int64_t body_timeout_ns;
    int64_t idle_timeout_ns;
    int64_t body_bytes_max;
    int32_t rate; /* requests a second; 0: any number */
    int32_t burst;
};

struct config_daemon {
    char http_host[64];
    int32_t http_port;
    char wire_url[CONFIG_URL_BYTES];    /* tcp://127.0.0.1:8801 */
    char store_url[CONFIG_URL_BYTES];   /* empty: the data folder; file:///path */
    char policy_dir[CONFIG_PATH_BYTES]; /* *.yaml in it are policies by their name; may be empty */
    char web_dir[CONFIG_PATH_BYTES];    /* the pages; empty: those beside the program */
    int64_t lease_timeout_ns;
    int64_t renew_interval_ns;
    int64_t retry_base_ns;
    int64_t retry_max_ns;
    int32_t attempts_max;
    int64_t aging_ns[PRIORITY_COUNT];
    int64_t upload_bytes_max;
    struct config_api api;
    struct limits limits; /* the section `limits` */
    struct config_farm farm;
};

struct config_agent {
    int32_t cpus;            /* 0: from the cgroup and affinity */
    int64_t memory_bytes;    /* 0: from the cgroup */
    int64_t cache_bytes_max; /* source ranges kept in scratch */
    bool objects_http;       /* fetch over HTTP even where the store's folder is visible */
    bool spot;
    int64_t prove_after_ns;     /* a quarantined device's first golden chunk */
    bool calibrate;             /* measure devices whose speed is not known */
    int64_t give_up_ns;         /* without any daemon: leases are dropped after so long */
    int32_t pools[CODEC_COUNT]; /* leases that may encode a codec on CPUs at once; 0: all CPUs */
    struct device_setting devices[DEVICE_SETTINGS_MAX];
    int32_t device_count;
    struct config_farm farm;
};

struct config {
    struct config_daemon daemon;
    struct config_agent agent;
};

void config_default(struct config *out);

/* Starts from the defaults. Reads secret files named in it. */
int config_parse(const char *name, const char *text, size_t length, struct config *out,
                 struct config_mistakes *mistakes);

/* Whole file into buf; SL_ENOENT, SL_EACCES, SL_ETOOBIG … with the sentence in why. */
int config_file_read(const char *path, struct sl_buf *out, struct sl_failure *why);

/* Appends one line per mistake: "FILE:LINE:COLUMN: message\n". */
void config_mistakes_print(const char *name, const struct config_mistakes *mistakes,
                           struct sl_buf *out);

#endif
