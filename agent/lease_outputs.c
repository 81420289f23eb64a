#include "agent/lease_outputs.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/scratch.h"
#include "base/log.h"
#include "base/time.h"

#define RETRY_FIRST_NS   SL_MS_TO_NS(250)
#define RETRY_MAX_NS     SL_S_TO_NS(5)
#define COPY_BLOCK_BYTES ((size_t)256 * 1024)

enum output_state { OUTPUT_OPEN, OUTPUT_CLOSED, OUTPUT_STORED, OUTPUT_GONE };

struct output {
    char name[JOB_NAME_BYTES];
    int fd; /* -1 once stored */
    enum output_state state;
    bool named; /* by the report */
    bool tried; /* a put was begun: an object may be there */
    int64_t bytes;
    uint8_t sha256[SHA256_BYTES];
};

struct lease_outputs {
    struct agent_store *store;
    int leases_fd;
    const char *prefix;
    const char *ticket;
    struct lease_token token;
    int fault_fd;

    pthread_t thread;
    bool thread_started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct output *list; /* grows; the thread copies what it works on */
    uint32_t count, room;
    uint32_t next;     /* the first that the thread has not looked at */
    uint32_t unstored; /* open or closed */
    bool away;         /* the store: it is asked again */
    bool stop;
    struct sl_failure fault; /* code 0: none */
};

static int fault_set(struct lease_outputs *o, const struct sl_failure *why)
{
    if (!o->fault.code) {
        o->fault = *why;
        eventfd_write(o->fault_fd, 1);
    }
    pthread_cond_broadcast(&o->changed);
    return why->code;
}

int lease_outputs_open(struct agent_store *store, int leases_fd, const char *prefix,
                       struct lease_token token, const char *ticket, struct lease_outputs **out,
                       struct sl_failure *why)
{
    struct lease_outputs *o = calloc(1, sizeof *o);
    if (!o)
        return sl_fail(why, SL_ENOMEM, "not enough memory for a lease");
    o->fault_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (o->fault_fd < 0) {
        int code = sl_error_from_errno(errno);
        free(o);
        return sl_fail(why, code, "cannot start a lease: %s", sl_error_text(code));
    }
    o->store = agent_store_ref(store);
    o->leases_fd = leases_fd;
    o->prefix = prefix;
    o->ticket = ticket;
    o->token = token;
    pthread_mutex_init(&o->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&o->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    *out = o;
    return SL_OK;
}

void lease_outputs_stop(struct lease_outputs *o)
{
    pthread_mutex_lock(&o->lock);
    o->stop = true;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
}

/* After this nothing is stored any more. */
static void thread_end(struct lease_outputs *o)
{
    if (!o->thread_started)
        return;
    lease_outputs_stop(o);
    pthread_join(o->thread, NULL);
    o->thread_started = false;
}

void lease_outputs_close(struct lease_outputs **at)
{
    struct lease_outputs *o = *at;
    if (!o)
        return;
    *at = NULL;
    thread_end(o);
    for (uint32_t i = 0; i < o->count; i++)
        if (o->list[i].fd >= 0)
            close(o->list[i].fd);
    free(o->list);
    close(o->fault_fd);
    agent_store_unref(&o->store);
    pthread_cond_destroy(&o->changed);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

/* ---- the thread ---- */

static int key_make(const struct lease_outputs *o, const char *name, char key[OBJECT_KEY_BYTES])
{
    return objects_token_key(o->prefix, name, o->token.v, key, OBJECT_KEY_BYTES);
}

static struct timespec time_in(int64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t at_ns = until.tv_nsec + ns;
    until.tv_sec += (time_t)(at_ns / SL_NS_PER_S);
    until.tv_nsec = (long)(at_ns % SL_NS_PER_S);
    return until;
}

/* With the lock held; false when stopped. */
static bool pause_for(struct lease_outputs *o, int64_t ns)
{
    struct timespec until = time_in(ns);
    while (!o->stop && pthread_cond_timedwait(&o->changed, &o->lock, &until) == 0)
        continue;
    return !o->stop;
}

static bool store_away(int code)
{
    return code == SL_EUNREACH || code == SL_ETIMEDOUT;
}

/* Copies in the kernel where it can. A file that has become shorter is found by its sum. */
static int bytes_copy(int from, int to, int64_t bytes)
{
    bool in_kernel = true;
    unsigned char *block = NULL;
    int code = SL_OK;
    for (off_t at = 0; at < bytes && !code;) {
        size_t want = (size_t)(bytes - at);
        off_t start = at;
        ssize_t got = in_kernel ? copy_file_range(from, &start, to, NULL, want, 0) : -1;
        if (got < 0 && (!in_kernel || errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP ||
                        errno == ENOSYS)) {
            in_kernel = false;
            if (!block && !(block = malloc(COPY_BLOCK_BYTES)))
                return SL_ENOMEM;
            got = pread(from, block, want < COPY_BLOCK_BYTES ? want : COPY_BLOCK_BYTES, at);
            if (got > 0)
                got = write(to, block, (size_t)got);
        }
        if (got == 0)
            break;
        if (got > 0)
            at += got;
        else if (errno != EINTR)
            code = sl_error_from_errno(errno);
    }
    free(block);
    return code;
}

/* The worker may still hold the file that it wrote, and a worker is not trusted: what is checked and linked into the
 * store is a copy that no worker ever held. Over HTTP it is the daemon that writes and checks. */
static int copy_make(struct lease_outputs *o, const struct output *output, int *fd,
                     struct sl_failure *why)
{
    int copy = -1;
    int code = objects_open_scratch(agent_store_objects(o->store), &copy, why);
    if (code)
        return code;
    code = bytes_copy(output->fd, copy, output->bytes);
    if (code) {
        close(copy);
        return sl_fail(why, code, "output %s cannot be copied into the store: %s", output->name,
                       sl_error_text(code));
    }
    *fd = copy;
    return SL_OK;
}

static int output_put(struct lease_outputs *o, const struct output *output, const char *key, int fd,
                      struct sl_failure *why)
{
    int64_t start_ns = sl_now_ns(), wait_ns = RETRY_FIRST_NS;
    for (;;) {
        int code = objects_put_new(agent_store_objects(o->store), o->ticket, key, fd, output->bytes,
                                   output->sha256, why);
        if (!store_away(code) || sl_now_ns() - start_ns >= STORE_PATIENCE_NS)
            return code;
        pthread_mutex_lock(&o->lock);
        o->away = true;
        bool on = pause_for(o, wait_ns);
        pthread_mutex_unlock(&o->lock);
        if (!on)
            return sl_fail(why, SL_ECANCELLED, "the lease was stopped");
        wait_ns = wait_ns * 2 < RETRY_MAX_NS ? wait_ns * 2 : RETRY_MAX_NS;
    }
}

static int output_store(struct lease_outputs *o, const struct output *output,
                        struct sl_failure *why)
{
    char key[OBJECT_KEY_BYTES];
    if (key_make(o, output->name, key) != SL_OK)
        return sl_fail(why, SL_EPROTO, "output \"%.90s\" makes no key", output->name);
    if (!agent_store_is_local(o->store))
        return output_put(o, output, key, output->fd, why);
    int copy = -1;
    int code = copy_make(o, output, &copy, why);
    if (code)
        return code;
    code = output_put(o, output, key, copy, why);
    close(copy);
    return code;
}

static void *outputs_run(void *arg)
{
    struct lease_outputs *o = arg;
    pthread_mutex_lock(&o->lock);
    for (;;) {
        while (!o->stop && !o->fault.code &&
               (o->next == o->count || o->list[o->next].state == OUTPUT_OPEN))
            pthread_cond_wait(&o->changed, &o->lock);
        if (o->stop || o->fault.code)
            break;
        uint32_t at = o->next++;
        o->list[at].tried = true;
        struct output output = o->list[at];
        pthread_mutex_unlock(&o->lock);
        struct sl_failure why = {0};
        int code = output_store(o, &output, &why);
        pthread_mutex_lock(&o->lock);
        if (code) {
            fault_set(o, &why);
            break;
        }
        close(o->list[at].fd);
        o->list[at].fd = -1;
        o->list[at].state = OUTPUT_STORED;
        o->away = false;
        o->unstored--;
        pthread_cond_broadcast(&o->changed);
    }
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

/* ---- what the worker asks for ---- */

static int list_grow(struct lease_outputs *o, struct sl_failure *why)
{
    if (o->count < o->room)
        return SL_OK;
    if (o->count == LEASE_OUTPUTS_MAX)
        return sl_fail(why, SL_ELIMIT, "the worker wants to write more than %d objects",
                       LEASE_OUTPUTS_MAX);
    uint32_t room = o->room ? o->room * 2 : 64;
    struct output *list = realloc(o->list, room * sizeof *list);
    if (!list)
        return sl_fail(why, SL_ENOMEM, "not enough memory for %u outputs", room);
    o->list = list;
    o->room = room;
    return SL_OK;
}

/* With the lock held. */
static int output_add(struct lease_outputs *o, const char *name, int fd, uint32_t *number,
                      struct sl_failure *why)
{
    int code = list_grow(o, why);
    if (!code && !o->thread_started) {
        if (pthread_create(&o->thread, NULL, outputs_run, o) != 0)
            return sl_fail(why, SL_ENOMEM, "cannot start a thread for the outputs of a lease");
        o->thread_started = true;
    }
    if (code)
        return code;
    struct output *output = &o->list[o->count];
    *output = (struct output){.fd = fd, .state = OUTPUT_OPEN};
    memcpy(output->name, name, strlen(name) + 1);
    *number = o->count++;
    o->unstored++;
    return SL_OK;
}

/* With the lock held. They are stored in order, so one left open holds up all. */
static int oldest_check(const struct lease_outputs *o, struct sl_failure *why)
{
    uint32_t oldest = o->next;
    if (oldest && o->list[oldest - 1].state == OUTPUT_CLOSED)
        oldest--; /* being stored */
    if (o->list[oldest].state != OUTPUT_OPEN)
        return SL_OK;
    uint32_t open = 0;
    for (uint32_t i = oldest; i < o->count; i++)
        open += o->list[i].state == OUTPUT_OPEN;
    return sl_fail(why, SL_EWORKER,
                   "the worker holds %u outputs open, the oldest of them %.90s, and asks for one "
                   "more; %d may wait to be stored",
                   open, o->list[oldest].name, LEASE_OUTPUTS_OPEN_MAX);
}

/* With the lock held. */
static int room_wait(struct lease_outputs *o, int64_t wait_ns, struct sl_failure *why)
{
    struct timespec until = time_in(wait_ns);
    while (o->unstored >= LEASE_OUTPUTS_OPEN_MAX && !o->stop && !o->fault.code) {
        int code = oldest_check(o, why);
        if (code)
            return code;
        if (pthread_cond_timedwait(&o->changed, &o->lock, &until) != ETIMEDOUT)
            continue;
        if (!o->away)
            return sl_fail(why, SL_EHANG, "storing an output took longer than %.1f s",
                           (double)wait_ns / 1e9);
        until = time_in(wait_ns);
    }
    if (o->fault.code)
        return sl_fail(why, o->fault.code, "%s", o->fault.message);
    return o->stop ? sl_fail(why, SL_ECANCELLED, "the lease was stopped") : SL_OK;
}

int lease_outputs_new(struct lease_outputs *o, const char *name, int64_t wait_ns, uint32_t *number,
                      int *fd, struct sl_failure *why)
{
    char key[OBJECT_KEY_BYTES];
    if (strlen(name) >= JOB_NAME_BYTES || key_make(o, name, key) != SL_OK)
        return sl_fail(why, SL_EPROTO, "the worker asked for an output of the name \"%.90s\"",
                       name);
    pthread_mutex_lock(&o->lock);
    int code = room_wait(o, wait_ns, why);
    pthread_mutex_unlock(&o->lock);
    if (code)
        return code;
    int file = -1;
    code = scratch_file(o->leases_fd, &file, why);
    if (code)
        return code;
    pthread_mutex_lock(&o->lock);
    code = output_add(o, name, file, number, why);
    pthread_mutex_unlock(&o->lock);
    if (code)
        close(file);
    else
        *fd = file;
    return code;
}

int lease_outputs_closed(struct lease_outputs *o, uint32_t number, int64_t bytes,
                         const uint8_t sha256[SHA256_BYTES], struct sl_failure *why)
{
    int code = SL_OK;
    struct stat st;
    pthread_mutex_lock(&o->lock);
    struct output *output = number < o->count ? &o->list[number] : NULL;
    if (!output || output->state != OUTPUT_OPEN)
        code = sl_fail(why, SL_EPROTO, "the worker closed output %u, which is not open", number);
    else if (fstat(output->fd, &st) < 0)
        code = sl_fail(why, sl_error_from_errno(errno), "cannot look at output %s", output->name);
    else if (st.st_size != bytes)
        code = sl_fail(why, SL_EMISMATCH,
                       "the worker says that output %s has %lld bytes; its file has %lld",
                       output->name, (long long)bytes, (long long)st.st_size);
    if (!code) {
        output->bytes = bytes;
        memcpy(output->sha256, sha256, SHA256_BYTES);
        output->state = OUTPUT_CLOSED;
        pthread_cond_broadcast(&o->changed);
    }
    pthread_mutex_unlock(&o->lock);
    return code;
}

int lease_outputs_fault_fd(const struct lease_outputs *o)
{
    return o->fault_fd;
}

int lease_outputs_wait(struct lease_outputs *o, struct sl_failure *why)
{
    pthread_mutex_lock(&o->lock);
    for (uint32_t i = 0; i < o->count && !o->fault.code && !o->stop; i++) {
        if (o->list[i].state == OUTPUT_OPEN) {
            struct sl_failure left;
            sl_fail(&left, SL_EMISMATCH, "the worker ended without closing output %s",
                    o->list[i].name);
            fault_set(o, &left);
        }
        while (o->list[i].state == OUTPUT_CLOSED && !o->fault.code && !o->stop)
            pthread_cond_wait(&o->changed, &o->lock);
    }
    struct sl_failure fault = o->fault;
    bool stop = o->stop;
    pthread_mutex_unlock(&o->lock);
    if (fault.code)
        return sl_fail(why, fault.code, "%s", fault.message);
    return stop ? sl_fail(why, SL_ECANCELLED, "the lease was stopped") : SL_OK;
}

/* ---- afterwards ---- */

static int output_compare(const void *a, const void *b)
{
    return strcmp((*(struct output *const *)a)->name, (*(struct output *const *)b)->name);
}

static void output_delete(struct lease_outputs *o, struct output *output)
{
    char key[OBJECT_KEY_BYTES];
    struct sl_failure why = {0};
    if (!output->tried || output->state == OUTPUT_GONE || key_make(o, output->name, key) != SL_OK)
        return;
    output->state = OUTPUT_GONE;
    int code = objects_delete(agent_store_objects(o->store), o->ticket, key, &why);
    if (code && code != SL_ENOENT)
        sl_warn(NULL, "%s stays until the daemon's sweep: %s", key, why.message);
}

static int output_match(const struct lease_outputs *o, struct output *const *sorted,
                        struct report_output *row, struct sl_failure *why)
{
    struct output wanted, *wanted_at = &wanted;
    memcpy(wanted.name, row->name, sizeof wanted.name);
    struct output *const *found =
        o->count ? bsearch(&wanted_at, sorted, o->count, sizeof *sorted, output_compare) : NULL;
    if (!found)
        return sl_fail(why, SL_EMISMATCH, "the report names output %s, which was never written",
                       row->name);
    if ((*found)->bytes != row->bytes || memcmp((*found)->sha256, row->sha256, SHA256_BYTES) != 0)
        return sl_fail(why, SL_EMISMATCH,
                       "the report describes output %s otherwise than it was "
                       "written (%lld bytes there, %lld here)",
                       row->name, (long long)row->bytes, (long long)(*found)->bytes);
    char key[OBJECT_KEY_BYTES];
    const char *relative = key + strlen(o->prefix);
    if (key_make(o, row->name, key) != SL_OK || strlen(relative) >= sizeof row->key)
        return sl_fail(why, SL_EMISMATCH, "the key of output %s is too long", row->name);
    snprintf(row->key, sizeof row->key, "%s", relative[0] == '/' ? relative + 1 : relative);
    (*found)->named = true;
    return SL_OK;
}

int lease_outputs_match(struct lease_outputs *o, struct report *report, struct sl_failure *why)
{
    thread_end(o);
    struct output **sorted = malloc((o->count + 1) * sizeof *sorted);
    if (!sorted)
        return sl_fail(why, SL_ENOMEM, "not enough memory to check a report");
    for (uint32_t i = 0; i < o->count; i++)
        sorted[i] = &o->list[i];
    if (o->count)
        qsort(sorted, o->count, sizeof *sorted, output_compare);
    int code = SL_OK;
    for (int32_t i = 0; i < report->output_count && !code; i++)
        code = output_match(o, sorted, &report->outputs[i], why);
    for (uint32_t i = 0; i < o->count && !code; i++)
        if (!o->list[i].named)
            output_delete(o, &o->list[i]);
    free(sorted);
    return code;
}

void lease_outputs_delete(struct lease_outputs *o)
{
    thread_end(o);
    for (uint32_t i = 0; i < o->count; i++)
        output_delete(o, &o->list[i]);
}
