#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scheduler/daemon/daemon_internal.h"

static int folder_open(struct daemon *d, const char *data, struct sl_failure *why)
{
    if (strlen(data) >= sizeof d->data - 1)
        return sl_fail(why, SL_EINVAL, "--data: the path has more than %zu bytes",
                       sizeof d->data - 2);
    if (mkdir(data, 0755) != 0 && errno != EEXIST)
        return sl_fail(why, sl_error_from_errno(errno),
                       "--data %s: the folder cannot be made: %s; make it, or name another", data,
                       strerror(errno));
    char *whole = realpath(data, NULL);
    struct stat st;
    if (!whole || stat(whole, &st) != 0 || !S_ISDIR(st.st_mode) ||
        strlen(whole) >= sizeof d->data) {
        free(whole);
        return sl_fail(why, SL_EINVAL,
                       "--data %s is not a folder; name one, or a path where one can "
                       "be made",
                       data);
    }
    snprintf(d->data, sizeof d->data, "%s", whole);
    free(whole);
    if (access(d->data, R_OK | W_OK | X_OK) != 0)
        return sl_fail(why, SL_EACCES,
                       "--data %s: %s; let the daemon's user write there, or name another folder",
                       d->data, strerror(errno));
    return SL_OK;
}

/* --store says where state or objects lie, by its scheme; both default to the data folder. */
static int stores_open(struct daemon *d, struct sl_failure *why)
{
    const char *url = d->config.daemon.store_url;
    const char *folder = d->data;
    snprintf(d->store_url, sizeof d->store_url, "sqlite:%s/sluice.db", d->data);
    if (strncmp(url, "file://", 7) == 0) {
        folder = url + 7;
        if (folder[0] != '/')
            return sl_fail(why, SL_EINVAL, "--store %s: file:// is followed by an absolute path",
                           url);
    } else if (strncmp(url, "sqlite:", 7) == 0 && url[7]) {
        snprintf(d->store_url, sizeof d->store_url, "%s", url);
    } else if (url[0]) {
        return sl_fail(
            why, SL_EINVAL,
            "--store %s: use file:///FOLDER (where objects lie) or sqlite:FILE (where the "
            "state lies)",
            url);
    }
    int code = store_open(d->store_url, false, &d->store, why);
    if (code != SL_OK)
        return code;
    code = objects_open_local(folder, true, &d->objects, d->store_id, why);
    if (code != SL_OK)
        return code;
    snprintf(d->store_path, sizeof d->store_path, "%s", folder);
    return SL_OK;
}

static int secrets_load(struct daemon *d, struct sl_failure *why)
{
    const struct config_farm *farm = &d->config.daemon.farm;
    if (farm->secret_bytes > 0) {
        memcpy(d->ticket_secret, farm->secret, farm->secret_bytes);
        d->ticket_secret_bytes = farm->secret_bytes;
        return SL_OK;
    }
    int code = store_secret(d->store, d->ticket_secret);
    if (code != SL_OK)
        return sl_fail(why, code, "the key that signs tickets cannot be read: %s",
                       store_why(d->store));
    d->ticket_secret_bytes = STORE_SECRET_BYTES;
    return SL_OK;
}

static int core_open(struct daemon *d, struct sl_failure *why)
{
    struct sched_config config;
    sched_config_default(&config);
    config.lease_timeout_ns = d->config.daemon.lease_timeout_ns;
    config.renew_interval_ns = d->config.daemon.renew_interval_ns;
    config.retry_base_ns = d->config.daemon.retry_base_ns;
    config.retry_max_ns = d->config.daemon.retry_max_ns;
    config.attempts_max = d->config.daemon.attempts_max;
    memcpy(config.aging_ns, d->config.daemon.aging_ns, sizeof config.aging_ns);
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint64_t)sl_now_unix_ns();
    int code = sched_open(&config, seed, &d->sched);
    return code ? sl_fail(why, code, "not enough memory to start") : SL_OK;
}

/* The first folder that is there, of places named from the program's own. */
static void beside_program(const char *const *places, size_t count, char out[CONFIG_PATH_BYTES])
{
    char program[CONFIG_PATH_BYTES / 2];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0)
        return;
    program[length] = '\0';
    *strrchr(program, '/') = '\0';
    for (size_t i = 0; i < count; i++) {
        char folder[CONFIG_PATH_BYTES];
        snprintf(folder, sizeof folder, "%s/%s", program, places[i]);
        if (access(folder, R_OK | X_OK) == 0) {
            snprintf(out, CONFIG_PATH_BYTES, "%s", folder);
            return;
        }
    }
}

/* As configured, else as installed (PREFIX/bin beside PREFIX/share), else beside the program as built. */
static void shipped_choose(struct daemon *d)
{
    static const char *const web[] = {"../share/sluice/web", "web"};
    static const char *const policies[] = {"../share/sluice/policies", "../config/policies"};
    if (!d->config.daemon.web_dir[0])
        beside_program(web, sizeof web / sizeof *web, d->config.daemon.web_dir);
    beside_program(policies, sizeof policies / sizeof *policies, d->policies_shipped);
}

static int http_open(struct daemon *d, struct sl_failure *why)
{
    const struct config_daemon *c = &d->config.daemon;
    shipped_choose(d);
    struct api_config config = {
        .host = c->http_host,
        .port = c->http_port,
        .secret = c->farm.secret_bytes ? c->farm.secret : NULL,
        .secret_bytes = c->farm.secret_bytes,
        .tokens_file = c->api.tokens_file[0] ? c->api.tokens_file : NULL,
        .tokens_on_loopback = c->api.tokens_on_loopback,
        .limits = {.connections = c->api.connections,
                   .connections_per_address = c->api.connections_per_address,
                   .header_ns = c->api.header_timeout_ns,
                   .body_ns = c->api.body_timeout_ns,
                   .idle_ns = c->api.idle_timeout_ns,
                   .body_bytes_max = c->api.body_bytes_max,
                   .requests_per_s = c->api.rate,
                   .burst = c->api.burst,
                   .on_loopback = c->api.limits_on_loopback},
        .ticket_secret = d->ticket_secret,
        .ticket_secret_bytes = d->ticket_secret_bytes,
        .store_url = d->store_url,
        .objects = d->objects,
        .upload_bytes_max = c->upload_bytes_max,
        .web_dir = c->web_dir[0] ? c->web_dir : NULL,
        .backend =
            {
                .arg = d,
                .call = daemon_api_call,
                .video_read = daemon_video_read,
                .upload_open = daemon_upload_open,
                .upload_write = daemon_upload_write,
                .upload_close = daemon_upload_close,
                .upload_offset = daemon_upload_offset,
                .health = daemon_health,
            },
    };
    return api_start(&config, &d->api, why);
}

static bool host_is_any(const char *host)
{
    return host[0] == '\0' || strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0 ||
           strcmp(host, "::") == 0;
}

/* Agents ask for objects at the host of the wire, unless the HTTP side listens on one other address. */
static void http_host_choose(struct daemon *d)
{
    const char *host = d->config.daemon.http_host;
    if (host_is_any(host))
        return;
    char wire_host[CONFIG_URL_BYTES];
    snprintf(wire_host, sizeof wire_host, "%s", d->config.daemon.wire_url);
    const char *wire = strstr(wire_host, "://");
    wire = wire ? wire + 3 : wire_host;
    char *colon = strrchr(wire, ':');
    if (colon)
        *colon = '\0';
    bool both_here = api_host_is_loopback(host) && api_host_is_loopback(wire);
    if (strcmp(host, wire) != 0 && !both_here)
        snprintf(d->http_host, sizeof d->http_host, "%s", host);
    if (api_host_is_loopback(host) && !api_host_is_loopback(wire))
        sl_warn(NULL,
                "the wire is open to other machines and --http %s is not; agents there will not "
                "reach objects: let --http listen on the same address",
                host);
}

static int wire_open(struct daemon *d, struct sl_failure *why)
{
    const struct config_farm *farm = &d->config.daemon.farm;
    struct wire_secret secret = {.length = farm->secret_bytes};
    memcpy(secret.bytes, farm->secret, farm->secret_bytes);
    return wire_server_open(d->config.daemon.wire_url, &secret, daemon_wire_request, d, &d->wire,
                            why);
}

int daemon_open(const struct daemon_options *options, struct daemon **out, struct sl_failure *why)
{
    struct sl_failure unread = {0};
    why = why ? why : &unread;
    *why = (struct sl_failure){0};
    struct daemon *d = calloc(1, sizeof *d);
    if (!d || daemon_inbox_init(&d->inbox) != SL_OK) {
        free(d);
        return sl_fail(why, SL_ENOMEM, "not enough memory to start");
    }
    pthread_mutex_init(&d->workers.lock, NULL);
    pthread_cond_init(&d->workers.some, NULL);
    pthread_mutex_init(&d->health_lock, NULL);
    pthread_mutex_init(&d->uploads_lock, NULL);
    d->config = options->config;
    d->commit_fault = options->commit_fault;
    d->commit_fault_arg = options->commit_fault_arg;
    d->late_ns = options->late_ns > 0 ? options->late_ns : DAEMON_LATE_NS;

    int code = folder_open(d, options->data, why);
    if (code == SL_OK)
        code = stores_open(d, why);
    if (code == SL_OK)
        code = secrets_load(d, why);
    if (code == SL_OK)
        code = core_open(d, why);
    if (code == SL_OK)
        code = daemon_restore(d, why);
    if (code == SL_OK)
        daemon_leftovers_sweep(d);
    if (code == SL_OK)
        code = http_open(d, why);
    if (code == SL_OK) {
        http_host_choose(d);
        code = wire_open(d, why);
    }
    if (code == SL_OK)
        code = daemon_workers_start(d);
    /* What the restore found to be due. */
    if (code == SL_OK && !daemon_batch_end(d))
        code = sl_fail(why, SL_EIO, "the state in %s cannot be written", d->data);
    if (code == SL_OK) {
        code = pthread_create(&d->thread, NULL, daemon_loop, d) == 0 ? SL_OK : SL_ENOMEM;
        d->thread_started = code == SL_OK;
    }
    if (code != SL_OK) {
        if (!why->message[0])
            sl_fail(why, code, "the daemon does not start: %s", sl_error_text(code));
        daemon_close(&d);
        return code;
    }
    *out = d;
    return SL_OK;
}

/* What was waiting when the shell's thread ended. Calls are answered, so that HTTP threads go on. */
static void inbox_empty(struct daemon *d)
{
    struct daemon_item *item;
    while ((item = daemon_inbox_take(&d->inbox, 1, 0))) {
        if (item->kind == ITEM_SYNC) {
            daemon_sync_free(&item->sync);
        } else if (item->kind == ITEM_WORK) {
            daemon_work_free(&item->work);
        } else {
            struct daemon_call *call = item->call;
            call->code = sl_fail(&call->failure, SL_EBUSY, "the daemon is stopping");
            if (call->api) {
                call->api->code = call->code;
                call->api->failure = call->failure;
            }
            daemon_call_answer(d, call);
        }
        free(item);
    }
}

/* A batch that was not committed: nobody gets an answer from it, but nobody waits in vain either. */
static void batch_drop(struct daemon *d)
{
    struct daemon_batch *b = &d->batch;
    for (size_t i = 0; i < b->syncs.count; i++) {
        struct daemon_sync *sync = b->syncs.items[i];
        daemon_sync_free(&sync);
    }
    for (size_t i = 0; i < b->calls.count; i++) {
        struct daemon_call *call = b->calls.items[i];
        call->code = sl_fail(&call->failure, SL_EBUSY, "the daemon is stopping");
        if (call->api) {
            call->api->code = call->code;
            call->api->failure = call->failure;
        }
        daemon_call_answer(d, call);
    }
    for (size_t i = 0; i < b->works.count; i++) {
        struct daemon_work *work = b->works.items[i];
        daemon_work_free(&work);
    }
    for (size_t i = 0; i < b->works_done.count; i++) {
        struct daemon_work *work = b->works_done.items[i];
        daemon_work_free(&work);
    }
    for (size_t i = 0; i < b->gone.count; i++)
        daemon_video_free(d, b->gone.items[i]);
    daemon_list_fini(&b->syncs);
    daemon_list_fini(&b->calls);
    daemon_list_fini(&b->touched);
    daemon_list_fini(&b->works);
    daemon_list_fini(&b->works_done);
    daemon_list_fini(&b->gone);
    daemon_list_fini(&b->wake);
    daemon_list_fini(&b->news);
    daemon_list_fini(&b->live);
    free(b->ops);
    sched_actions_fini(&b->actions);
}

static void deletions_answer(struct daemon *d)
{
    for (size_t i = 0; i < d->videos.capacity; i++) {
        struct daemon_video *video = d->videos.slots[i].key ? d->videos.slots[i].pointer : NULL;
        if (!video || !video->delete_call)
            continue;
        video->delete_call->api->code = sl_fail(&video->delete_call->api->failure, SL_EBUSY,
                                                "the daemon is stopping; delete the video again");
        daemon_call_answer(d, video->delete_call);
        video->delete_call = NULL;
    }
}

void daemon_close(struct daemon **daemon)
{
    struct daemon *d = *daemon;
    if (!d)
        return;
    *daemon = NULL;
    atomic_store(&d->stopping, true);
    pthread_mutex_lock(&d->inbox.lock);
    d->inbox.stop = true;
    pthread_cond_signal(&d->inbox.some);
    pthread_mutex_unlock(&d->inbox.lock);
    if (d->thread_started)
        pthread_join(d->thread, NULL);
    daemon_workers_stop(d);
    batch_drop(d);
    deletions_answer(d);
    inbox_empty(d);
    daemon_parks_drop(d);
    api_stop(&d->api);
    wire_server_close(&d->wire);
    inbox_empty(d);
    for (size_t i = 0; i < d->videos.capacity; i++)
        if (d->videos.slots[i].key)
            daemon_video_free(d, d->videos.slots[i].pointer);
    for (struct daemon_deleted *next; d->deleted; d->deleted = next) {
        next = d->deleted->next;
        free(d->deleted);
    }
    daemon_map_fini(&d->videos);
    daemon_map_fini(&d->queued_since);
    daemon_list_fini(&d->again);
    sl_arena_fini(&d->scratch);
    sched_close(&d->sched);
    objects_close(&d->objects);
    store_close(&d->store);
    daemon_inbox_fini(&d->inbox);
    pthread_cond_destroy(&d->workers.some);
    pthread_mutex_destroy(&d->workers.lock);
    pthread_mutex_destroy(&d->health_lock);
    pthread_mutex_destroy(&d->uploads_lock);
    free(d);
}

int daemon_http_port(const struct daemon *daemon)
{
    return api_port(daemon->api);
}

int daemon_wire_port(const struct daemon *daemon)
{
    return wire_server_port(daemon->wire);
}

bool daemon_is_broken(const struct daemon *daemon)
{
    return atomic_load(&daemon->broken);
}
