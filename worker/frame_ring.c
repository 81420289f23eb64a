#include "worker/frame_ring.h"

#include <string.h>

#include "base/error.h"

static bool slot_init(struct ring_slot *slot, int readers)
{
    slot->frame = av_frame_alloc();
    bool whole = slot->frame != NULL;
    for (int i = 0; i < readers; i++) {
        slot->pictures[i] = av_frame_alloc();
        whole &= slot->pictures[i] != NULL;
    }
    return whole;
}

int frame_ring_init(struct frame_ring *ring, int readers)
{
    memset(ring, 0, sizeof *ring);
    if (readers < 1 || readers > RING_READERS_MAX)
        return SL_ELIMIT;
    pthread_mutex_init(&ring->lock, NULL);
    pthread_cond_init(&ring->filled, NULL);
    pthread_cond_init(&ring->freed, NULL);
    ring->readers = readers;
    for (int i = 0; i < RING_FRAMES; i++)
        if (!slot_init(&ring->slots[i], readers)) {
            frame_ring_fini(ring);
            return SL_ENOMEM;
        }
    return SL_OK;
}

void frame_ring_fini(struct frame_ring *ring)
{
    if (ring->readers == 0)
        return;
    for (int i = 0; i < RING_FRAMES; i++) {
        av_frame_free(&ring->slots[i].frame);
        for (int j = 0; j < ring->readers; j++)
            av_frame_free(&ring->slots[i].pictures[j]);
    }
    pthread_cond_destroy(&ring->filled);
    pthread_cond_destroy(&ring->freed);
    pthread_mutex_destroy(&ring->lock);
    ring->readers = 0;
}

static uint64_t slowest(const struct frame_ring *ring)
{
    uint64_t least = ring->put_count;
    for (int i = 0; i < ring->readers; i++)
        if (ring->taken[i] < least)
            least = ring->taken[i];
    return least;
}

int frame_ring_put(struct frame_ring *ring, AVFrame *frame, AVFrame *const *pictures, int64_t ticks,
                   int32_t segment, bool force_idr)
{
    pthread_mutex_lock(&ring->lock);
    while (!ring->aborted && ring->put_count - slowest(ring) == RING_FRAMES)
        pthread_cond_wait(&ring->freed, &ring->lock);
    int code = ring->aborted ? SL_ECANCELLED : SL_OK;
    if (code == SL_OK) {
        struct ring_slot *slot = &ring->slots[ring->put_count++ % RING_FRAMES];
        av_frame_unref(slot->frame);
        av_frame_move_ref(slot->frame, frame);
        for (int i = 0; pictures && i < ring->readers; i++)
            av_frame_move_ref(slot->pictures[i], pictures[i]);
        slot->ticks = ticks;
        slot->segment = segment;
        slot->force_idr = force_idr;
        pthread_cond_broadcast(&ring->filled);
    }
    pthread_mutex_unlock(&ring->lock);
    return code;
}

void frame_ring_end(struct frame_ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    ring->ended = true;
    pthread_cond_broadcast(&ring->filled);
    pthread_mutex_unlock(&ring->lock);
}

void frame_ring_abort(struct frame_ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    ring->aborted = true;
    pthread_cond_broadcast(&ring->filled);
    pthread_cond_broadcast(&ring->freed);
    pthread_mutex_unlock(&ring->lock);
}

int frame_ring_take(struct frame_ring *ring, int reader, const struct ring_slot **out)
{
    pthread_mutex_lock(&ring->lock);
    while (!ring->aborted && !ring->ended && ring->taken[reader] == ring->put_count)
        pthread_cond_wait(&ring->filled, &ring->lock);
    int got = 1;
    if (ring->aborted)
        got = SL_ECANCELLED;
    else if (ring->taken[reader] == ring->put_count)
        got = 0;
    else
        *out = &ring->slots[ring->taken[reader] % RING_FRAMES];
    pthread_mutex_unlock(&ring->lock);
    return got;
}

void frame_ring_release(struct frame_ring *ring, int reader)
{
    /* The reader's alone; a device has few surfaces. */
    av_frame_unref(ring->slots[ring->taken[reader] % RING_FRAMES].pictures[reader]);
    pthread_mutex_lock(&ring->lock);
    ring->taken[reader]++;
    pthread_cond_signal(&ring->freed);
    pthread_mutex_unlock(&ring->lock);
}
