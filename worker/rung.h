/* worker/rung.h: one rung of a fused ladder: scale, encode, cut into segments, write.
 *
 * Invariants
 *   1. A segment starts with the IDR at its planned start, and no other packet before the next such IDR belongs elsewhere.
 *   2. A segment is written when the encoder has given as many packets for it as the decoder gave frames.
 *   3. The init segment depends on the rung's parameters alone, never on pictures.
 *   4. A pass that is done again leaves what was written before as it is: a segment is whole, whoever scaled its pictures.
 *
 * Owns:    the session, the scaler, the writer and one scaled picture.
 * Threads: open and close on the main thread, run on the rung's own.
 * Errors:  the first failure of any rung stops all of them (struct ladder).
 */
#ifndef SL_WORKER_RUNG_H
#define SL_WORKER_RUNG_H

#include <stdatomic.h>

#include "cpu/cpu_scale.h"
#include "package/cmaf.h"
#include "worker/frame_ring.h"
#include "worker/run.h"

/* What the decoder knows of a segment. Written before the first frame of the next one enters the ring. */
struct ladder_segment {
    int64_t start_ticks;
    int64_t end_ticks;
    int64_t last_ticks;
    int32_t frame_count;
    int32_t idr_count;
};

struct surfaces; /* worker/surfaces.h */

/* What the rungs of one job share. Where its device has fewer sessions than the job has rungs, they are done in
 * passes, each of which decodes the source again. */
struct ladder {
    struct worker_run *run;
    const struct job_transcode *job;
    int32_t rung_first; /* of this pass, among the job's rungs */
    int32_t rung_count;
    /* Decodes and scales: the device that encodes, or (fed) a GPU beside the CPUs that do. */
    const struct hal_device *maker;
    bool fed;
    /* Filters and scalers are the CPU's: the maker came upon pictures that it does not make. */
    bool on_cpu;
    bool laid_later;   /* the surfaces' scaler crops, mirrors and turns (media/media_filter.h) */
    bool fields_later; /* and pictures are deinterlaced on the device before it */
    struct surfaces *surfaces; /* NULL: each rung scales for itself */
    struct frame_ring ring;
    struct ladder_segment *segments; /* one per segment of the job; of this pass */
    int64_t frame_total;             /* predicted, over all rungs */
    atomic_int_fast64_t frames_done; /* encoded, over all rungs */
    int32_t check_rung;              /* whose segment is decoded back; -1: none, -2: all of all */
    int32_t check_segment;
    pthread_mutex_t lock;
    struct sl_failure failure; /* the first */
};

struct rung {
    struct ladder *ladder;
    const struct plan_rung *plan;
    int index; /* among the job's rungs */
    pthread_t thread;
    bool started;
    enum hal_layout layout; /* as the encoder reads pictures */
    struct hal_session *session;
    struct cmaf_writer *cmaf;
    struct cpu_scale *scale;
    bool scale_is_copy;
    AVFrame *scaled;
    struct sl_buf init;
    struct report_rendition *rendition;
    /* The segment being collected. */
    int32_t segment; /* index in the job's segments; -1 before the first */
    struct sl_buf bytes;
    struct cmaf_packet *packets;
    size_t *offsets; /* of the packets in bytes */
    size_t packet_count, packet_room;
    int32_t idr_count;
    struct sl_buf out;
    uint8_t **firsts; /* of each segment that is to be checked: its first picture, see first_keep */
    int64_t scale_cpu_ns;
    int64_t encode_cpu_ns;
};

/* How pictures for the rung's encoder on this device have to lie. */
int rung_layout(const struct ladder *ladder, const struct plan_rung *plan,
                const struct hal_device *device, enum hal_layout *out, struct sl_failure *why);
/* Opens session and writer and makes the init segment. device: to encode on. */
int rung_open(struct rung *rung, struct ladder *ladder, int index, struct hal_device *device,
              struct report_rendition *rendition, struct sl_failure *why);
/* Encodes what comes out of the ring until its end. For pthread_create. */
void *rung_run(void *rung);
void rung_close(struct rung *rung);

/* Notes the first failure and stops the others. Returns code. */
int ladder_fail(struct ladder *ladder, const struct sl_failure *why);

#endif
