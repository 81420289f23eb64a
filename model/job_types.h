/* model/job_types.h: what a worker is asked to do with one lease.
 *
 * A job carries no path, URL or key. Inputs are numbered descriptors that the agent hands over with
 * it; outputs are asked for by a name relative to the video ("h264/720p/000012.m4s") and the agent
 * turns the name into a key that carries the lease's token.
 * Owns: arrays belong to the arena that the job was built or decoded into.
 */
#ifndef SL_MODEL_JOB_TYPES_H
#define SL_MODEL_JOB_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "model/ids.h"
#include "model/limit_types.h"
#include "model/plan_types.h"
#include "model/task_types.h"

#define JOB_INPUTS_MAX   256
#define JOB_NAME_BYTES   96 /* of an output, its NUL included */

/* Preroll: how far before its first frame a chunk starts to decode. */
#define PREROLL_NONE     0  /* at its own keyframe */
#define PREROLL_LINEAR   15 /* from the start of the source; between: so many keyframes earlier */
/* Doubled from one to this; what needs more is walked from the start. */
#define PREROLL_KEYS_MAX 8

/* One segment of a transcode job. Within it an IDR is forced at the first frame whose time since
 * start_pts reaches k * gop_ns (k = 1, 2 …), unless less than half a GOP would remain. */
struct job_segment {
    int32_t number; /* index in the plan, from 0 */
    int64_t start_pts;
    int64_t end_pts;
    int32_t frame_count; /* predicted by the index */
};

struct job_probe {
    int32_t
        stream_asked; /* index of the video stream to take; -1: the one that av_find_best_stream takes */
};

struct job_transcode {
    struct media_video source;
    struct plan_picture picture;
    int64_t start_pts; /* chunk range, source time base */
    int64_t end_pts;
    int64_t origin_pts;
    int64_t byte_first; /* where the chunk's packets lie in the source; -1 unknown */
    int32_t timescale;
    int64_t reorder_ticks;
    int64_t gop_ns;
    struct rational frame_rate;
    int32_t preroll;
    bool last_chunk; /* no seam behind it */
    bool write_init; /* this chunk writes the rungs' init segments */
    enum check_amount check;
    struct job_segment *segments;
    int32_t segment_count;
    struct plan_rung *rungs; /* all of one codec */
    int32_t rung_count;
};

struct job_audio {
    struct media_audio source;
    struct plan_audio out;
    /* Zero of the time line in the video stream's time base, and that time base: where audio of
     * the source starts before it, it is cut, where later, padded with silence. */
    int64_t origin_pts;
    struct rational origin_time_base;
    int32_t timescale; /* of boundary_ticks: the video's T */
    /* Starts of all segments and, last, the end of the video. */
    int64_t *boundary_ticks;
    int32_t boundary_count;
};

/* Input 0 is the source, or the uploaded file. Times as in job_audio; what is uploaded counts from the plan's
 * zero. */
struct job_text {
    struct plan_text text;
    int64_t origin_pts;
    struct rational origin_time_base;
    int32_t timescale;
    int64_t *boundary_ticks;
    int32_t boundary_count;
};

struct job_images {
    struct media_video source;
    struct plan_picture picture;
    struct plan_images images;
    int64_t origin_pts; /* source time base */
    int64_t end_pts;
};

/* Input 0 is the published set (model/published_types.h) as an object. */
struct job_package {
    char video[VIDEO_ID_TEXT_BYTES];
};

/* A segment to read back: inputs are numbers of the job's inputs. */
struct job_sample {
    int32_t rendition; /* index in the published set: video renditions first, then audio */
    int32_t segment;
    int32_t init_input;
    int32_t segment_input;
};

/* Input 0 is the published set, input 1 the master playlist, input 2 the MPD, 3 … the media playlists of
 * renditions and then of texts in the set's order, then each text whole, then those there are of poster,
 * thumbnails, preview and first sheet; the samples' inputs follow. */
struct job_verify {
    struct lease_token package_token; /* in the names of the playlists */
    struct job_sample *samples;
    int32_t sample_count;
};

struct job {
    enum step step;
    char video[VIDEO_ID_TEXT_BYTES]; /* correlation id of every log line */
    struct task_id task;
    struct lease_token token;
    int64_t watchdog_ns;
    char device_id[DEVICE_ID_BYTES]; /* chosen by the HAL on the node */
    /* Of a job that encodes on CPUs: the GPU that decodes and scales for it; empty: none. */
    char feed_device_id[DEVICE_ID_BYTES];
    int32_t sessions;     /* encoder sessions that it may have open at once; 0: as many as rungs */
    struct limits limits; /* 0: the default of that one */
    union {
        struct job_probe probe;
        struct job_transcode transcode;
        struct job_audio audio;
        struct job_text text;
        struct job_images images;
        struct job_package package;
        struct job_verify verify;
    };
};

#endif
