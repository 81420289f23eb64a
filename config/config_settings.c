#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "config/config_read.h"

#define SECRET_BYTES_MIN 16
#define GIB              (INT64_C(1) << 30)

static const struct config_key root_keys[] = {
    {"farm", false}, {"daemon", false}, {"agent", false}, {"limits", false}, {NULL, false}};
#define LIMIT_KEY(name, kind, least, most, otherwise) {#name, false},
static const struct config_key limit_keys[] = {LIMIT_LIST(LIMIT_KEY){NULL, false}};
#undef LIMIT_KEY
static const struct config_key farm_keys[] = {{"secret_file", false}, {NULL, false}};
static const struct config_key daemon_keys[] = {
    {"http", false},  {"wire", false},  {"store", false}, {"policies", false},
    {"lease", false}, {"retry", false}, {"aging", false}, {"upload_max", false},
    {"api", false},   {"web", false},   {NULL, false}};
static const struct config_key api_keys[] = {{"tokens", false},
                                             {"loopback_tokens", false},
                                             {"loopback_limits", false},
                                             {"connections", false},
                                             {"connections_per_address", false},
                                             {"header_timeout", false},
                                             {"body_timeout", false},
                                             {"idle_timeout", false},
                                             {"body_max", false},
                                             {"rate", false},
                                             {"burst", false},
                                             {NULL, false}};
static const struct config_key lease_keys[] = {{"timeout", false}, {"renew", false}, {NULL, false}};
static const struct config_key retry_keys[] = {
    {"base", false}, {"max", false}, {"attempts", false}, {NULL, false}};
static const struct config_key aging_keys[] = {
    {"low", false}, {"normal", false}, {"high", false}, {"urgent", false}, {NULL, false}};
static const struct config_key agent_keys[] = {
    {"cpus", false},        {"memory", false},  {"cache", false},   {"objects", false},
    {"spot", false},        {"give_up", false}, {"devices", false}, {"calibrate", false},
    {"prove_after", false}, {"pools", false},   {NULL, false}};
static const struct config_key pool_keys[] = {
    {"h264", false}, {"h265", false}, {"av1", false}, {"vp9", false}, {NULL, false}};
static const struct config_key device_keys[] = {
    {"sessions", false}, {"disable", false}, {"feed", false}, {NULL, false}};

void config_default(struct config *out)
{
    *out = (struct config){
        .daemon =
            {
                .http_host = "127.0.0.1",
                .http_port = 8800,
                .wire_url = "tcp://127.0.0.1:8801",
                .lease_timeout_ns = SL_S_TO_NS(12),
                .renew_interval_ns = SL_S_TO_NS(3),
                .retry_base_ns = SL_S_TO_NS(2),
                .retry_max_ns = SL_S_TO_NS(300),
                .attempts_max = 5,
                .aging_ns = {[PRIORITY_LOW] = 0,
                             [PRIORITY_NORMAL] = SL_S_TO_NS(600),
                             [PRIORITY_HIGH] = SL_S_TO_NS(3600),
                             [PRIORITY_URGENT] = SL_S_TO_NS(86400)},
                .upload_bytes_max = 256 * GIB,
                .api = {.connections = 512,
                        .connections_per_address = 64,
                        .header_timeout_ns = SL_S_TO_NS(10),
                        .body_timeout_ns = SL_S_TO_NS(60),
                        .idle_timeout_ns = SL_S_TO_NS(30),
                        .body_bytes_max = 1 << 20,
                        .rate = 50,
                        .burst = 200},
            },
        .agent =
            {
                .cache_bytes_max = 2 * GIB,
                .give_up_ns = SL_S_TO_NS(600),
                .calibrate = true,
                .prove_after_ns = SL_S_TO_NS(10),
            },
    };
    limits_default(&out->daemon.limits);
}

/* "host:port" or "[v6]:port"; the host without brackets. */
static bool address_split(const char *text, char *host, size_t host_bytes, int32_t *port)
{
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || !colon[1])
        return false;
    const char *first = text;
    size_t length = (size_t)(colon - text);
    if (text[0] == '[') {
        if (length < 3 || colon[-1] != ']')
            return false;
        first++;
        length -= 2;
        if (strspn(first, "0123456789abcdefABCDEF:.") != length)
            return false;
    } else {
        static const char letters[] =
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-*";
        if (strspn(text, letters) != length)
            return false;
    }
    int32_t number = 0;
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits > 5 || colon[1 + digits] != '\0' || length >= host_bytes)
        return false;
    for (const char *digit = colon + 1; *digit; digit++)
        number = number * 10 + (*digit - '0');
    if (number > 65535)
        return false;
    memset(host, 0, host_bytes);
    memcpy(host, first, length);
    *port = number;
    return true;
}

/* A text that must satisfy a form; shown in the mistake. */
static bool read_formed(const struct config_reader *reader, const struct config_node *node,
                        char *out, size_t out_bytes, bool (*valid)(const char *text),
                        const char *expected)
{
    char text[CONFIG_URL_BYTES] = "", safe[CONFIG_SAFE_BYTES];
    if (!node)
        return true;
    if (!config_read_text(reader, node, text, sizeof text < out_bytes ? sizeof text : out_bytes))
        return false;
    if (!valid(text)) {
        config_node_mistake(reader, node, "\"%s\"; expected %s", config_text_safe(text, safe),
                            expected);
        return false;
    }
    memset(out, 0, out_bytes);
    memcpy(out, text, strlen(text));
    return true;
}

static bool path_or_none_is_valid(const char *text)
{
    return text[0] == '/' || text[0] == '\0';
}

static bool http_is_valid(const char *text)
{
    char host[64];
    int32_t port;
    return address_split(text, host, sizeof host, &port);
}

static bool wire_is_valid(const char *text)
{
    static const char tcp[] = "tcp://", ipc[] = "ipc:///";
    if (strncmp(text, ipc, strlen(ipc)) == 0)
        return text[strlen(ipc)] != '\0';
    return strncmp(text, tcp, strlen(tcp)) == 0 && http_is_valid(text + strlen(tcp));
}

static bool store_is_valid(const char *text)
{
    static const char file[] = "file:///";
    return text[0] == '\0' || (strncmp(text, file, strlen(file)) == 0 && text[strlen(file)]);
}

/* ---- the farm's secret ---- */

/* Reads at most one byte more than a secret may have. */
static ssize_t secret_read(int fd, uint8_t *bytes, size_t most)
{
    size_t used = 0;
    while (used < most) {
        ssize_t got = read(fd, bytes + used, most - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        used += (size_t)got;
    }
    return (ssize_t)used;
}

static void secret_take(const struct config_reader *reader, const struct config_node *node, int fd,
                        struct config_farm *farm)
{
    /* The secret, CR and LF, and one byte that would be too many. */
    uint8_t bytes[sizeof farm->secret + 3];
    char safe[CONFIG_SAFE_BYTES];
    struct stat st;
    config_text_safe(farm->secret_file, safe);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        config_node_mistake(reader, node, "%s is no regular file; it must hold the secret", safe);
        return;
    }
    if (st.st_mode & 077) {
        config_node_mistake(reader, node,
                            "%s may be read or written by others (mode %03o); run chmod 600 on it",
                            safe, (unsigned)st.st_mode & 0777u);
        return;
    }
    ssize_t length = secret_read(fd, bytes, sizeof bytes);
    if (length < 0) {
        config_node_mistake(reader, node, "%s: %s", safe, strerror(errno));
        return;
    }
    if (length > 0 && bytes[length - 1] == '\n')
        length--;
    if (length > 0 && bytes[length - 1] == '\r')
        length--;
    if (length < SECRET_BYTES_MIN || (size_t)length > sizeof farm->secret) {
        config_node_mistake(
            reader, node,
            "%s holds %s than a secret may have; %d to %zu bytes and a newline are valid", safe,
            length < SECRET_BYTES_MIN ? "fewer bytes" : "more bytes", SECRET_BYTES_MIN,
            sizeof farm->secret);
    } else {
        memcpy(farm->secret, bytes, (size_t)length);
        farm->secret_bytes = (size_t)length;
    }
    explicit_bzero(bytes, sizeof bytes);
}

static void read_farm(const struct config_reader *reader, const struct config_node *node,
                      struct config_farm *farm)
{
    if (!node || !config_map_check(reader, node, farm_keys))
        return;
    const struct config_node *file = config_map_find(node, "secret_file");
    if (!read_formed(reader, file, farm->secret_file, sizeof farm->secret_file,
                     path_or_none_is_valid, "an absolute path, or \"\" for none") ||
        !farm->secret_file[0])
        return;
    int fd = open(farm->secret_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        char safe[CONFIG_SAFE_BYTES];
        config_node_mistake(reader, file,
                            "%s: %s; it must hold the farm's secret and be readable by this user",
                            config_text_safe(farm->secret_file, safe), strerror(errno));
        return;
    }
    secret_take(reader, file, fd, farm);
    close(fd);
}

/* ---- daemon and agent ---- */

static void read_lease(const struct config_reader *reader, const struct config_node *node,
                       struct config_daemon *daemon)
{
    if (!node || !config_map_check(reader, node, lease_keys))
        return;
    const struct config_node *renew = config_map_find(node, "renew");
    bool timed = config_read_duration(reader, config_map_find(node, "timeout"), SL_S_TO_NS(1),
                                      SL_S_TO_NS(600), &daemon->lease_timeout_ns);
    bool renewed = config_read_duration(reader, renew, SL_MS_TO_NS(100), SL_S_TO_NS(300),
                                        &daemon->renew_interval_ns);
    if (timed && renewed && daemon->renew_interval_ns * 2 > daemon->lease_timeout_ns)
        config_node_mistake(
            reader, renew ? renew : config_map_find(node, "timeout"),
            "renewing every %g s keeps no lease of %g s; renew at most half of timeout "
            "would be valid",
            (double)daemon->renew_interval_ns / 1e9, (double)daemon->lease_timeout_ns / 1e9);
}

static void read_retry(const struct config_reader *reader, const struct config_node *node,
                       struct config_daemon *daemon)
{
    if (!node || !config_map_check(reader, node, retry_keys))
        return;
    const struct config_node *base = config_map_find(node, "base");
    const struct config_node *max = config_map_find(node, "max");
    bool based = config_read_duration(reader, base, SL_MS_TO_NS(100), SL_S_TO_NS(3600),
                                      &daemon->retry_base_ns);
    bool limited = config_read_duration(reader, max, SL_MS_TO_NS(100), SL_S_TO_NS(86400),
                                        &daemon->retry_max_ns);
    if (based && limited && daemon->retry_max_ns < daemon->retry_base_ns)
        config_node_mistake(reader, max ? max : base,
                            "max %g s is below base %g s; max of base or more would be valid",
                            (double)daemon->retry_max_ns / 1e9,
                            (double)daemon->retry_base_ns / 1e9);
    config_read_int(reader, config_map_find(node, "attempts"), 1, 100, &daemon->attempts_max);
}

static void read_aging(const struct config_reader *reader, const struct config_node *node,
                       struct config_daemon *daemon)
{
    if (!node || !config_map_check(reader, node, aging_keys))
        return;
    bool good = true;
    for (int32_t i = 0; i < PRIORITY_COUNT; i++)
        good &= config_read_duration(reader, config_map_find(node, aging_keys[i].name), 0,
                                     SL_S_TO_NS(30 * 86400), &daemon->aging_ns[i]);
    for (int32_t i = 1; good && i < PRIORITY_COUNT; i++)
        if (daemon->aging_ns[i] < daemon->aging_ns[i - 1]) {
            const struct config_node *at = config_map_find(node, aging_keys[i].name);
            config_node_mistake(
                reader, at ? at : node,
                "%s has %g s and %s has %g s; a higher priority needs no shorter head "
                "start",
                aging_keys[i].name, (double)daemon->aging_ns[i] / 1e9, aging_keys[i - 1].name,
                (double)daemon->aging_ns[i - 1] / 1e9);
        }
}

static void read_api(const struct config_reader *reader, const struct config_node *node,
                     struct config_api *api)
{
    if (!node || !config_map_check(reader, node, api_keys))
        return;
    read_formed(reader, config_map_find(node, "tokens"), api->tokens_file, sizeof api->tokens_file,
                path_or_none_is_valid, "the absolute path of a file, or \"\" for none");
    config_read_bool(reader, config_map_find(node, "loopback_tokens"), &api->tokens_on_loopback);
    config_read_bool(reader, config_map_find(node, "loopback_limits"), &api->limits_on_loopback);
    config_read_int(reader, config_map_find(node, "connections"), 16, 16384, &api->connections);
    config_read_int(reader, config_map_find(node, "connections_per_address"), 1, 16384,
                    &api->connections_per_address);
    config_read_duration(reader, config_map_find(node, "header_timeout"), SL_MS_TO_NS(500),
                         SL_S_TO_NS(300), &api->header_timeout_ns);
    config_read_duration(reader, config_map_find(node, "body_timeout"), SL_S_TO_NS(1),
                         SL_S_TO_NS(3600), &api->body_timeout_ns);
    config_read_duration(reader, config_map_find(node, "idle_timeout"), SL_S_TO_NS(3),
                         SL_S_TO_NS(3600), &api->idle_timeout_ns);
    config_read_bytes(reader, config_map_find(node, "body_max"), 4096, 64 << 20,
                      &api->body_bytes_max);
    config_read_int(reader, config_map_find(node, "rate"), 0, 1000000, &api->rate);
    config_read_int(reader, config_map_find(node, "burst"), 1, 1000000, &api->burst);
    if (api->tokens_on_loopback && !api->tokens_file[0])
        config_node_mistake(reader, config_map_find(node, "loopback_tokens"),
                            "true, and there is no file of tokens; expected daemon.api.tokens "
                            "beside it");
}

static void read_daemon(const struct config_reader *reader, const struct config_node *node,
                        struct config_daemon *daemon)
{
    if (!node || !config_map_check(reader, node, daemon_keys))
        return;
    char http[80] = "";
    if (read_formed(reader, config_map_find(node, "http"), http, sizeof http, http_is_valid,
                    "ADDRESS:PORT, like 127.0.0.1:8800 or [::1]:8800") &&
        http[0])
        address_split(http, daemon->http_host, sizeof daemon->http_host, &daemon->http_port);
    read_formed(reader, config_map_find(node, "wire"), daemon->wire_url, sizeof daemon->wire_url,
                wire_is_valid, "tcp://ADDRESS:PORT or ipc:///PATH");
    read_formed(reader, config_map_find(node, "store"), daemon->store_url, sizeof daemon->store_url,
                store_is_valid, "file:///PATH, or \"\" for the data folder");
    read_formed(reader, config_map_find(node, "policies"), daemon->policy_dir,
                sizeof daemon->policy_dir, path_or_none_is_valid,
                "the absolute path of a folder, or \"\" for none");
    read_formed(reader, config_map_find(node, "web"), daemon->web_dir, sizeof daemon->web_dir,
                path_or_none_is_valid,
                "the absolute path of a folder, or \"\" for the pages beside the program");
    read_lease(reader, config_map_find(node, "lease"), daemon);
    read_retry(reader, config_map_find(node, "retry"), daemon);
    read_aging(reader, config_map_find(node, "aging"), daemon);
    config_read_bytes(reader, config_map_find(node, "upload_max"), 1 << 20, INT64_C(16) << 40,
                      &daemon->upload_bytes_max);
    read_api(reader, config_map_find(node, "api"), &daemon->api);
}

static void read_feed(const struct config_reader *reader, const struct config_node *node,
                      struct device_setting *setting)
{
    static const char *const words[] = {"measured", "always", "never", NULL};
    static const enum device_feed feeds[] = {FEED_UNMEASURED, FEED_ALWAYS, FEED_NEVER};
    int32_t at = 0;
    if (!node)
        return;
    if (strcmp(setting->device, device_kind_word(DEVICE_VAAPI)) == 0 ||
        strncmp(setting->device, "/dev/", 5) == 0)
        config_node_mistake(reader, node, "only NVIDIA GPUs decode and scale for CPUs");
    else if (config_read_choice(reader, node, words, &at))
        setting->feed = feeds[at];
}

/* Keys are the devices' own ids, or a kind for all of it. */
static void read_devices(const struct config_reader *reader, const struct config_node *node,
                         struct config_agent *agent)
{
    if (!node || (node->kind == CONFIG_SCALAR && !node->text[0] && !node->quoted))
        return;
    if (node->kind != CONFIG_MAP) {
        config_node_mistake(reader, node,
                            "expected a mapping of devices as sluice hw names them, or of nvenc or "
                            "vaapi, like nvenc: {sessions: 8}");
        return;
    }
    for (const struct config_node *child = node->first; child; child = child->next) {
        struct device_setting setting = {0};
        if (strcmp(child->key, device_kind_word(DEVICE_CPU)) == 0) {
            config_node_mistake(
                reader, child,
                "the CPU serves every step and has no sessions; agent.cpus says how "
                "many CPUs are used");
            continue;
        }
        if (snprintf(setting.device, sizeof setting.device, "%s", child->key) >=
                (int)sizeof setting.device ||
            agent->device_count == DEVICE_SETTINGS_MAX) {
            config_node_mistake(reader, child,
                                "expected at most %d devices with names of %zu bytes",
                                DEVICE_SETTINGS_MAX, sizeof setting.device - 1);
            continue;
        }
        if (!config_map_check(reader, child, device_keys))
            continue;
        config_read_int(reader, config_map_find(child, "sessions"), 1, 1024, &setting.sessions);
        config_read_bool(reader, config_map_find(child, "disable"), &setting.disable);
        read_feed(reader, config_map_find(child, "feed"), &setting);
        agent->devices[agent->device_count++] = setting;
    }
}

static void read_agent(const struct config_reader *reader, const struct config_node *node,
                       struct config_agent *agent)
{
    static const char *const object_words[] = {"auto", "http", NULL};
    if (!node || !config_map_check(reader, node, agent_keys))
        return;
    config_read_int(reader, config_map_find(node, "cpus"), 0, 4096, &agent->cpus);
    config_read_bytes(reader, config_map_find(node, "memory"), 0, INT64_C(64) << 40,
                      &agent->memory_bytes);
    config_read_bytes(reader, config_map_find(node, "cache"), 64 << 20, INT64_C(64) << 40,
                      &agent->cache_bytes_max);
    int32_t at = agent->objects_http;
    if (config_read_choice(reader, config_map_find(node, "objects"), object_words, &at))
        agent->objects_http = at == 1;
    config_read_bool(reader, config_map_find(node, "spot"), &agent->spot);
    config_read_bool(reader, config_map_find(node, "calibrate"), &agent->calibrate);
    config_read_duration(reader, config_map_find(node, "prove_after"), SL_S_TO_NS(1),
                         SL_S_TO_NS(3600), &agent->prove_after_ns);
    config_read_duration(reader, config_map_find(node, "give_up"), SL_S_TO_NS(10),
                         SL_S_TO_NS(86400), &agent->give_up_ns);
    read_devices(reader, config_map_find(node, "devices"), agent);
    const struct config_node *pools = config_map_find(node, "pools");
    for (int codec = 0; pools && config_map_check(reader, pools, pool_keys) && codec < CODEC_COUNT;
         codec++)
        config_read_int(reader, config_map_find(pools, codec_word((enum codec)codec)), 0, 4096,
                        &agent->pools[codec]);
}

static void read_limit_COUNT(const struct config_reader *reader, const struct config_node *node,
                             int64_t least, int64_t most, int64_t *out)
{
    int32_t count = (int32_t)*out;
    if (config_read_int(reader, node, least, most, &count))
        *out = count;
}

static void read_limits(const struct config_reader *reader, const struct config_node *node,
                        struct limits *limits)
{
    if (!node || !config_map_check(reader, node, limit_keys))
        return;
#define read_limit_TIME config_read_duration
#define read_limit_SIZE config_read_bytes
#define LIMIT_READ(name, kind, least, most, otherwise)                                             \
    read_limit_##kind(reader, config_map_find(node, #name), least, most, &limits->name);
    LIMIT_LIST(LIMIT_READ)
#undef LIMIT_READ
}

int config_parse(const char *name, const char *text, size_t length, struct config *out,
                 struct config_mistakes *mistakes)
{
    (void)name;
    mistakes->count = 0;
    struct sl_arena arena = {0};
    struct config_reader reader = {&arena, mistakes};
    struct config config;
    config_default(&config);
    const struct config_node *root = config_tree_build(&reader, text, length);
    if (root && config_map_check(&reader, root, root_keys)) {
        struct config_farm farm = {0};
        read_farm(&reader, config_map_find(root, "farm"), &farm);
        read_daemon(&reader, config_map_find(root, "daemon"), &config.daemon);
        read_agent(&reader, config_map_find(root, "agent"), &config.agent);
        read_limits(&reader, config_map_find(root, "limits"), &config.daemon.limits);
        config.daemon.farm = farm;
        config.agent.farm = farm;
        explicit_bzero(&farm, sizeof farm);
    }
    sl_arena_fini(&arena);
    if (mistakes->count)
        return SL_EINVAL;
    *out = config;
    return SL_OK;
}
