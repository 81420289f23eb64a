#include "worker/link.h"

#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

struct worker_link {
    int socket;
    pthread_t reader;
    pthread_mutex_t lock; /* queue */
    pthread_cond_t arrived;
    pthread_mutex_t send_lock;
    struct control_frame queue[LINK_QUEUE_MAX];
    int first, count;
    atomic_bool finished;
    bool lasting;
};

/* Ends the process at once: other threads may sit in calls that cannot be cancelled. */
static _Noreturn void orphaned(int code)
{
    if (code != SL_EUNREACH)
        sl_warn(NULL, "the agent sent something that a worker cannot read (%s); giving up",
                sl_error_text(code));
    _exit(LINK_EXIT_ORPHAN);
}

static void *reader_run(void *arg)
{
    struct worker_link *link = arg;
    for (;;) {
        struct control_frame frame = {0};
        int code = control_receive(link->socket, &frame, -1);
        if (code != SL_OK && atomic_load(&link->finished)) {
            if (!link->lasting)
                return NULL;
            fflush(NULL);
            _exit(0);
        }
        if (code != SL_OK)
            orphaned(code);
        pthread_mutex_lock(&link->lock);
        if (link->count == LINK_QUEUE_MAX)
            orphaned(SL_ELIMIT);
        link->queue[(link->first + link->count++) % LINK_QUEUE_MAX] = frame;
        pthread_cond_signal(&link->arrived);
        pthread_mutex_unlock(&link->lock);
    }
}

int worker_link_open(int socket, bool lasting, struct worker_link **out)
{
    struct worker_link *link = calloc(1, sizeof *link);
    if (!link)
        return SL_ENOMEM;
    link->socket = socket;
    link->lasting = lasting;
    pthread_mutex_init(&link->lock, NULL);
    pthread_mutex_init(&link->send_lock, NULL);
    pthread_cond_init(&link->arrived, NULL);
    if (pthread_create(&link->reader, NULL, reader_run, link) != 0) {
        free(link);
        return SL_ENOMEM;
    }
    pthread_detach(link->reader);
    *out = link;
    return SL_OK;
}

int worker_link_take(struct worker_link *link, struct control_frame *out)
{
    pthread_mutex_lock(&link->lock);
    while (link->count == 0)
        pthread_cond_wait(&link->arrived, &link->lock);
    *out = link->queue[link->first];
    link->first = (link->first + 1) % LINK_QUEUE_MAX;
    link->count--;
    pthread_mutex_unlock(&link->lock);
    return SL_OK;
}

int worker_link_send(struct worker_link *link, enum control_kind kind, const void *body,
                     size_t length)
{
    pthread_mutex_lock(&link->send_lock);
    int code = control_send(link->socket, kind, body, length, NULL, 0);
    pthread_mutex_unlock(&link->send_lock);
    return code;
}

int worker_link_closed(struct worker_link *link, uint32_t output, int64_t bytes,
                       const uint8_t sha256[SHA256_BYTES])
{
    pthread_mutex_lock(&link->send_lock);
    int code = control_closed_send(link->socket, output, bytes, sha256);
    pthread_mutex_unlock(&link->send_lock);
    return code;
}

int worker_link_progress(struct worker_link *link, int64_t done, int64_t total)
{
    pthread_mutex_lock(&link->send_lock);
    int code = control_progress_send(link->socket, done, total);
    pthread_mutex_unlock(&link->send_lock);
    return code;
}

int worker_link_failed(struct worker_link *link, const struct sl_failure *failure)
{
    pthread_mutex_lock(&link->send_lock);
    int code = control_failed_send(link->socket, failure);
    pthread_mutex_unlock(&link->send_lock);
    return code;
}

void worker_link_violation(struct worker_link *link, int number)
{
    if (atomic_load(&link->finished) || pthread_mutex_trylock(&link->send_lock) != 0)
        return;
    struct {
        uint32_t code;
        char sentence[SL_MESSAGE_BYTES];
    } body = {.code = htole32((uint32_t)SL_ECRASH)};
    int length = snprintf(
        body.sentence, sizeof body.sentence,
        "worker killed by the sandbox: it tried system call %d, which no worker may make", number);
    control_send(link->socket, CONTROL_FAILED, &body, sizeof body.code + (size_t)length, NULL, 0);
}

void worker_link_begin(struct worker_link *link)
{
    atomic_store(&link->finished, false);
}

void worker_link_finish(struct worker_link *link)
{
    atomic_store(&link->finished, true);
}
