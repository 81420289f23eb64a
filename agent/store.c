#include "agent/store.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

struct agent_store {
    atomic_int refs;
    struct objects *objects;
    bool local;
    char id[NODE_UUID_BYTES];
    char path[STORE_URL_BYTES];
    char host[STORE_URL_BYTES];
    int32_t port;
};

static const char *host_of(const struct sync_answer *answer, const char *wire_host)
{
    return answer->http_host[0] ? answer->http_host : wire_host;
}

static bool local_open(struct agent_store *store)
{
    char id[NODE_UUID_BYTES] = "";
    struct sl_failure why = {0};
    int code = objects_open_local(store->path, false, &store->objects, id, &why);
    if (code) {
        sl_debug(NULL, "the store's folder is not used directly: %s", why.message);
        return false;
    }
    int fd = -1;
    if (strcmp(id, store->id) != 0)
        sl_info(NULL, "%s is another store (%s) than the daemon's (%s): objects travel over HTTP",
                store->path, id, store->id);
    else if ((code = objects_open_scratch(store->objects, &fd, &why)) != SL_OK)
        sl_info(NULL, "%s is visible but cannot be written (%s): objects travel over HTTP",
                store->path, why.message);
    else
        close(fd);
    if (fd < 0)
        objects_close(&store->objects);
    return fd >= 0;
}

int agent_store_open(const struct sync_answer *answer, const char *wire_host, bool http,
                     struct agent_store **out, struct sl_failure *why)
{
    struct agent_store *store = calloc(1, sizeof *store);
    if (!store)
        return sl_fail(why, SL_ENOMEM, "not enough memory for the object store");
    atomic_init(&store->refs, 1);
    memcpy(store->id, answer->store_id, sizeof store->id);
    memcpy(store->path, answer->store_path, sizeof store->path);
    snprintf(store->host, sizeof store->host, "%s", host_of(answer, wire_host));
    store->port = answer->http_port;
    store->local = !http && store->path[0] && local_open(store);
    int code = SL_OK;
    if (!store->local) {
        char url[STORE_URL_BYTES + 32];
        bool v6 = strchr(store->host, ':') != NULL;
        snprintf(url, sizeof url, v6 ? "http://[%s]:%d" : "http://%s:%d", store->host, store->port);
        code = objects_open_http(url, &store->objects, why);
        if (!code)
            sl_info(NULL, "objects come from %s", url);
    } else {
        sl_info(NULL, "objects lie in %s, used directly", store->path);
    }
    if (code) {
        free(store);
        return code;
    }
    *out = store;
    return SL_OK;
}

bool agent_store_matches(const struct agent_store *store, const struct sync_answer *answer,
                         const char *wire_host)
{
    return strcmp(store->id, answer->store_id) == 0 &&
           strcmp(store->path, answer->store_path) == 0 && store->port == answer->http_port &&
           strcmp(store->host, host_of(answer, wire_host)) == 0;
}

struct agent_store *agent_store_ref(struct agent_store *store)
{
    atomic_fetch_add(&store->refs, 1);
    return store;
}

void agent_store_unref(struct agent_store **at)
{
    struct agent_store *store = *at;
    if (!store)
        return;
    *at = NULL;
    if (atomic_fetch_sub(&store->refs, 1) != 1)
        return;
    objects_close(&store->objects);
    free(store);
}

struct objects *agent_store_objects(struct agent_store *store)
{
    return store->objects;
}

bool agent_store_is_local(const struct agent_store *store)
{
    return store->local;
}
