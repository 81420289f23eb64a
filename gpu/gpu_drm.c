#include "gpu/gpu_drm.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DRI         "/dev/dri"
#define CLIENTS_MAX 256

/* ---- small files ---- */

__attribute__((format(printf, 2, 3))) static bool path_make(char out[PATH_MAX], const char *fmt,
                                                            ...)
{
    va_list args;
    va_start(args, fmt);
    int length = vsnprintf(out, PATH_MAX, fmt, args);
    va_end(args);
    return length >= 0 && length < PATH_MAX;
}

/* The number at the start of a file; -1 where there is none. */
static int64_t number_read(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    long long value;
    bool got = fscanf(file, "%lld", &value) == 1;
    fclose(file);
    return got && value >= 0 ? value : -1;
}

static int64_t device_number(const char *root, const char *node, const char *name)
{
    char path[PATH_MAX];
    return path_make(path, "%s/sys/class/drm/%s/device/%s", root, node, name) ? number_read(path)
                                                                              : -1;
}

/* The last part of what a link of the node's device points to. */
static void link_read(const char *root, const char *node, const char *name,
                      char out[GPU_DRM_WORD_BYTES])
{
    char path[PATH_MAX], to[PATH_MAX];
    out[0] = '\0';
    if (!path_make(path, "%s/sys/class/drm/%s/%s", root, node, name))
        return;
    ssize_t length = readlink(path, to, sizeof to - 1);
    if (length <= 0)
        return;
    to[length] = '\0';
    const char *slash = strrchr(to, '/');
    snprintf(out, GPU_DRM_WORD_BYTES, "%s", slash ? slash + 1 : to);
}

/* ---- nodes ---- */

static int node_compare(const void *a, const void *b)
{
    return atoi((const char *)a + strlen("renderD")) - atoi((const char *)b + strlen("renderD"));
}

int32_t gpu_drm_nodes(const char *root, char nodes[][GPU_DRM_NODE_BYTES], int32_t max)
{
    char path[PATH_MAX];
    DIR *folder = path_make(path, "%s" DRI, root) ? opendir(path) : NULL;
    int32_t count = 0;
    for (const struct dirent *entry; folder && count < max && (entry = readdir(folder));)
        if (strncmp(entry->d_name, "renderD", strlen("renderD")) == 0 &&
            strlen(entry->d_name) < GPU_DRM_NODE_BYTES)
            snprintf(nodes[count++], GPU_DRM_NODE_BYTES, "%s", entry->d_name);
    if (folder)
        closedir(folder);
    qsort(nodes, (size_t)count, GPU_DRM_NODE_BYTES, node_compare);
    return count;
}

void gpu_drm_driver(const char *root, const char *node, char out[GPU_DRM_WORD_BYTES])
{
    link_read(root, node, "device/driver", out);
}

void gpu_drm_address(const char *root, const char *node, char out[GPU_DRM_WORD_BYTES])
{
    link_read(root, node, "device", out);
}

int64_t gpu_drm_memory_bytes(const char *root, const char *node)
{
    int64_t bytes = device_number(root, node, "mem_info_vram_total");
    return bytes > 0 ? bytes : 0;
}

/* A file of the device's hwmon; the first such folder counts. */
static int64_t hwmon_number(const char *root, const char *node, const char *name)
{
    char path[PATH_MAX];
    int64_t value = -1;
    if (!path_make(path, "%s/sys/class/drm/%s/device/hwmon", root, node))
        return -1;
    DIR *folder = opendir(path);
    for (const struct dirent *entry; folder && value < 0 && (entry = readdir(folder));)
        if (strncmp(entry->d_name, "hwmon", strlen("hwmon")) == 0 &&
            path_make(path, "%s/sys/class/drm/%s/device/hwmon/%s/%s", root, node, entry->d_name,
                      name))
            value = number_read(path);
    if (folder)
        closedir(folder);
    return value;
}

/* ---- the engines' time ---- */

/* One open node of one process, as its fdinfo tells it. */
struct client {
    char address[GPU_DRM_WORD_BYTES];
    int64_t id;
    int64_t busiest_ns, encode_ns, decode_ns;
    bool any;
};

struct engine {
    char name[GPU_DRM_WORD_BYTES];
    int64_t ns;
    int64_t capacity; /* engines of that kind */
};

#define ENGINES_MAX 16

static struct engine *engine_find(struct engine *engines, int *count, const char *name)
{
    for (int i = 0; i < *count; i++)
        if (strcmp(engines[i].name, name) == 0)
            return &engines[i];
    if (*count == ENGINES_MAX)
        return NULL;
    struct engine *engine = &engines[(*count)++];
    *engine = (struct engine){.capacity = 1};
    snprintf(engine->name, sizeof engine->name, "%s", name);
    return engine;
}

/* drm-engine-video: 123 ns, drm-engine-capacity-video: 2. */
static void engine_line(const char *line, struct engine *engines, int *count)
{
    char name[GPU_DRM_WORD_BYTES];
    long long value;
    if (sscanf(line, "drm-engine-capacity-%31[^:]: %lld", name, &value) == 2) {
        struct engine *engine = engine_find(engines, count, name);
        if (engine && value > 0)
            engine->capacity = value;
    } else if (sscanf(line, "drm-engine-%31[^:]: %lld ns", name, &value) == 2) {
        struct engine *engine = engine_find(engines, count, name);
        if (engine)
            engine->ns = value;
    }
}

/* Intel's "video" engines do both ways; AMD tells "enc" and "dec" apart, and newer ones have "jpeg" beside them. */
static void client_sum(struct client *client, const struct engine *engines, int count)
{
    for (int i = 0; i < count; i++) {
        const struct engine *engine = &engines[i];
        int64_t ns = engine->ns / engine->capacity;
        client->any = true;
        if (ns > client->busiest_ns)
            client->busiest_ns = ns;
        bool video = strcmp(engine->name, "video") == 0;
        if (video || strncmp(engine->name, "enc", 3) == 0)
            client->encode_ns += ns;
        if (video || strcmp(engine->name, "dec") == 0)
            client->decode_ns += ns;
    }
}

static bool client_read(const char *path, struct client *out)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    struct engine engines[ENGINES_MAX];
    int count = 0;
    long long id = -1;
    char line[256];
    *out = (struct client){.id = -1};
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "drm-client-id: %lld", &id) == 1)
            out->id = id;
        else if (sscanf(line, "drm-pdev: %31s", out->address) != 1)
            engine_line(line, engines, &count);
    }
    fclose(file);
    client_sum(out, engines, count);
    return out->id >= 0;
}

struct clients {
    int64_t seen[CLIENTS_MAX]; /* descriptors that share one opening of the node tell the same */
    int count;
};

static void client_add(struct clients *clients, const struct client *client,
                       struct gpu_drm_sample *out)
{
    for (int i = 0; i < clients->count; i++)
        if (clients->seen[i] == client->id)
            return;
    if (clients->count == CLIENTS_MAX)
        return;
    clients->seen[clients->count++] = client->id;
    out->any |= client->any;
    out->all_ns += client->busiest_ns;
    out->encode_ns += client->encode_ns;
    out->decode_ns += client->decode_ns;
}

static void process_add(const char *root, const char *pid, const char *address,
                        struct clients *clients, struct gpu_drm_sample *out)
{
    char path[PATH_MAX], to[64];
    struct client client;
    if (!path_make(path, "%s/proc/%s/fd", root, pid))
        return;
    DIR *folder = opendir(path);
    for (const struct dirent *entry; folder && (entry = readdir(folder));) {
        /* The link tells at once which of a thousand descriptors is worth a look. */
        if (!path_make(path, "%s/proc/%s/fd/%s", root, pid, entry->d_name))
            continue;
        ssize_t length = readlink(path, to, sizeof to - 1);
        if (length <= 0)
            continue;
        to[length] = '\0';
        if (strncmp(to, DRI "/", strlen(DRI "/")) == 0 &&
            path_make(path, "%s/proc/%s/fdinfo/%s", root, pid, entry->d_name) &&
            client_read(path, &client) && strcmp(client.address, address) == 0)
            client_add(clients, &client, out);
    }
    if (folder)
        closedir(folder);
}

void gpu_drm_sample(const char *root, const char *node, int64_t now_ns, struct gpu_drm_sample *out)
{
    char address[GPU_DRM_WORD_BYTES], path[PATH_MAX];
    struct clients clients = {.count = 0};
    *out = (struct gpu_drm_sample){.at_ns = now_ns,
                                   .energy_uj = hwmon_number(root, node, "energy1_input")};
    gpu_drm_address(root, node, address);
    DIR *folder = path_make(path, "%s/proc", root) ? opendir(path) : NULL;
    for (const struct dirent *entry; folder && (entry = readdir(folder));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            process_add(root, entry->d_name, address, &clients, out);
    if (folder)
        closedir(folder);
}

/* ---- telemetry ---- */

static int64_t percent(int64_t part_ns, int64_t whole_ns)
{
    int64_t value = part_ns < 0 ? 0 : part_ns * 100 / whole_ns;
    return value > 100 ? 100 : value;
}

void gpu_drm_telemetry(const char *root, const char *node, const struct gpu_drm_sample *before,
                       const struct gpu_drm_sample *after, struct device_telemetry *out)
{
    *out = device_telemetry_unknown;
    out->busy_percent = device_number(root, node, "gpu_busy_percent");
    out->memory_used_bytes = device_number(root, node, "mem_info_vram_used");
    int64_t millidegrees = hwmon_number(root, node, "temp1_input");
    if (millidegrees >= 0)
        out->temperature_c = millidegrees / 1000;
    int64_t microwatts = hwmon_number(root, node, "power1_average");
    if (microwatts < 0)
        microwatts = hwmon_number(root, node, "power1_input");
    if (microwatts >= 0)
        out->power_mw = microwatts / 1000;
    if (!before || after->at_ns <= before->at_ns)
        return;
    int64_t between_ns = after->at_ns - before->at_ns;
    if (before->any && after->any) {
        out->encoder_percent = percent(after->encode_ns - before->encode_ns, between_ns);
        out->decoder_percent = percent(after->decode_ns - before->decode_ns, between_ns);
        if (out->busy_percent < 0)
            out->busy_percent = percent(after->all_ns - before->all_ns, between_ns);
    }
    /* 1 uJ in 1 ns is 1 kW, which is a million milliwatts. */
    if (out->power_mw < 0 && before->energy_uj >= 0 && after->energy_uj >= before->energy_uj)
        out->power_mw = (after->energy_uj - before->energy_uj) * 1000000 / between_ns;
}
