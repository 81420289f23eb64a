#include "agent/lease_ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "wire/wire_control.h"

#define RETRY_NS SL_MS_TO_NS(250)

void lease_ranges_init(struct lease_ranges *r, struct range_cache *cache, struct agent_store *store,
                       const struct sync_grant *grant)
{
    *r = (struct lease_ranges){.cache = cache, .store = store, .grant = grant, .socket = -1};
}

static int64_t patience_ns(const struct lease_ranges *r)
{
    int64_t watchdog_ns = r->grant->watchdog_ns > 0 ? r->grant->watchdog_ns : SL_S_TO_NS(60);
    return watchdog_ns / 4 * 3;
}

/* range_fetch_fn */
static int fetch(void *arg, const char *key, uint64_t offset, void *into, size_t length,
                 size_t *out_read, struct sl_failure *why)
{
    struct lease_ranges *r = arg;
    int64_t start_ns = sl_now_ns();
    for (;;) {
        int code = objects_get_range(agent_store_objects(r->store), r->grant->ticket, key, offset,
                                     into, length, out_read, why);
        bool away = code == SL_EUNREACH || code == SL_ETIMEDOUT;
        if (!away || atomic_load(&r->stop) || sl_now_ns() - start_ns > patience_ns(r))
            return code;
        struct timespec pause = {.tv_nsec = RETRY_NS};
        nanosleep(&pause, NULL);
    }
}

static int input_read(struct lease_ranges *r, const struct control_range_request *request,
                      void *into, size_t *out_read, struct sl_failure *why)
{
    if (request->input >= (uint32_t)r->grant->input_count)
        return sl_fail(why, SL_EPROTO, "the worker asked for input %u of %d", request->input,
                       r->grant->input_count);
    const struct sync_input *input = &r->grant->inputs[request->input];
    if (agent_store_is_local(r->store)) {
        if (request->offset >= (uint64_t)input->bytes) {
            *out_read = 0;
            return SL_OK;
        }
        return fetch(r, input->key, request->offset, into, request->length, out_read, why);
    }
    struct range_source source = {input->key, input->bytes, fetch, r};
    return range_cache_read(r->cache, &source, request->offset, into, request->length, out_read,
                            why);
}

static void *ranges_run(void *arg)
{
    struct lease_ranges *r = arg;
    struct control_range_request request;
    unsigned char *bytes = malloc(CONTROL_RANGE_MAX);
    while (control_range_receive(r->socket, &request) == SL_OK) {
        struct sl_failure why = {0};
        size_t got = 0;
        int code = bytes ? input_read(r, &request, bytes, &got, &why) : SL_ENOMEM;
        if (code && !atomic_load(&r->stop))
            sl_warn(NULL, "a range for token %llu could not be read: %s",
                    (unsigned long long)r->grant->token.v,
                    why.code ? why.message : sl_error_text(code));
        /* The worker reports it as its own verdict, and what this node lacks is no mistake of the job. */
        if (sl_error_class(code) == SL_CLASS_CONFIG)
            code = SL_EIO;
        if (control_range_reply(r->socket, code, bytes, (uint32_t)got))
            break;
    }
    free(bytes);
    return NULL;
}

int lease_ranges_start(struct lease_ranges *r, int *worker_fd, struct sl_failure *why)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return sl_fail(why, sl_error_from_errno(errno), "cannot open a socket for ranges: %s",
                       strerror(errno));
    r->socket = pair[0];
    if (pthread_create(&r->thread, NULL, ranges_run, r) != 0) {
        close(pair[0]);
        close(pair[1]);
        r->socket = -1;
        return sl_fail(why, SL_ENOMEM, "cannot start a thread for ranges");
    }
    r->started = true;
    *worker_fd = pair[1];
    return SL_OK;
}

void lease_ranges_stop(struct lease_ranges *r)
{
    atomic_store(&r->stop, true);
}

void lease_ranges_end(struct lease_ranges *r)
{
    if (!r->started)
        return;
    atomic_store(&r->stop, true);
    shutdown(r->socket, SHUT_RDWR);
    pthread_join(r->thread, NULL);
    close(r->socket);
    r->socket = -1;
    r->started = false;
}
