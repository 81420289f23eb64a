/* worker/frame_ring.h: decoded frames on their way from one decoder to the rungs.
 *
 * Every reader sees every frame, in order. A frame stays until the slowest reader has released it, so that the decoder
 * runs at most RING_FRAMES ahead.
 *
 * Owns:     references to the frames in it.
 * Threads:  one writer, one thread per reader.
 * Blocking: put and take block; abort wakes everybody and makes them fail with SL_ECANCELLED.
 */
#ifndef SL_WORKER_FRAME_RING_H
#define SL_WORKER_FRAME_RING_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "media/media_frame.h"
#include "model/policy_types.h"

/* At 2160p a frame is 12 MB. Deeper gains nothing: in the long run all wait for the slowest rung. */
#define RING_FRAMES      8
#define RING_READERS_MAX POLICY_RUNGS_MAX

struct ring_slot {
    AVFrame *frame;
    AVFrame *pictures[RING_READERS_MAX]; /* each reader's own, made of it already; else empty */
    int64_t ticks;                       /* presentation time in the rendition's time scale */
    int32_t segment;                     /* index in the job's segments */
    bool force_idr;
};

struct frame_ring {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    pthread_cond_t freed;
    struct ring_slot slots[RING_FRAMES];
    uint64_t put_count;
    uint64_t taken[RING_READERS_MAX]; /* released by each reader */
    int readers;
    bool ended;
    bool aborted;
};

int frame_ring_init(struct frame_ring *ring, int readers);
void frame_ring_fini(struct frame_ring *ring);

/* Takes the frame's reference, and those of the readers' pictures where they are made already (else NULL); they are empty
 * afterwards. */
int frame_ring_put(struct frame_ring *ring, AVFrame *frame, AVFrame *const *pictures, int64_t ticks,
                   int32_t segment, bool force_idr);
/* No more frames. */
void frame_ring_end(struct frame_ring *ring);
void frame_ring_abort(struct frame_ring *ring);

/* 1 and the next slot, valid until release; 0 at the end. */
int frame_ring_take(struct frame_ring *ring, int reader, const struct ring_slot **out);
void frame_ring_release(struct frame_ring *ring, int reader);

#endif
