/* model/report_types.h: what a worker says it made.
 *
 * A report is bounded (REPORT_BYTES_MAX) and travels inside the sync; the daemon keeps its bytes
 * with the task in the same transaction that marks the task done, so that a completion can not be
 * half there.
 * Units: ticks are 1/timescale of the rendition, counted from the plan's zero.
 */
#ifndef SL_MODEL_REPORT_TYPES_H
#define SL_MODEL_REPORT_TYPES_H

#include <stdint.h>

#include "model/job_types.h"

#define REPORT_BYTES_MAX (896 * 1024)
#define CODECS_BYTES     48 /* an RFC 6381 codecs string */

/* One output object of the lease. name is what the worker asked for; key is what the agent made of
 * it: relative to the video's version folder, with the token in it ("h264/720p/000012.t57.m4s"). */
struct report_output {
    char name[JOB_NAME_BYTES];
    char key[JOB_NAME_BYTES];
    int64_t bytes;
    uint8_t sha256[SHA256_BYTES];
};

struct report_segment {
    int32_t number;
    int32_t frame_count; /* audio: access units */
    int64_t start_ticks; /* tfdt as presented: of the first frame */
    int64_t end_ticks;   /* start + duration: where the next segment starts */
    int64_t last_ticks;  /* presentation time of the last frame */
    int32_t output;      /* index into outputs */
};

struct report_rendition {
    char name[POLICY_WORD_BYTES];    /* rung or audio name */
    enum codec codec;                /* of a video rendition */
    char codecs[CODECS_BYTES];       /* "avc1.64001F", "mp4a.40.2" */
    char encoder[POLICY_WORD_BYTES]; /* what encoded it: "x264" */
    int32_t width;
    int32_t height;
    int32_t timescale;
    int32_t init_output; /* index into outputs; -1 where this lease wrote none */
    uint8_t
        init_sha256[SHA256_BYTES]; /* of the init segment, written or not: equal for all chunks */
    struct report_segment *segments;
    int32_t segment_count;
};

struct report_probe {
    struct media_info info;
    int32_t index_output; /* index into outputs: an encoded media_index */
};

struct report_transcode {
    /* Hashes of the decoded source frame at each end of the chunk: its own first frame, and the
     * first frame after its end, decoded on from inside. Neighbours must agree. */
    uint64_t seam_first;
    uint64_t seam_next; /* 0 in the last chunk */
    int64_t frame_count;
    int64_t decode_cpu_ns;
    int64_t scale_cpu_ns;
    int64_t encode_cpu_ns;
    /* Encoder sessions open at once. Fewer than both the job allowed and its rungs: the device gave no more. */
    int32_t sessions;
};

/* -1: none of it. The sheets are outputs one after another. */
struct report_images {
    int32_t poster_output;
    int32_t thumbnails_output; /* the WebVTT map */
    int32_t preview_output;
    int32_t sheet_first_output;
    int32_t sheet_count;
    int32_t tile_count;
};

struct report_package {
    int32_t master_output;
    int32_t mpd_output;      /* -1: none */
    int32_t chapters_output; /* -1: none */
};

struct report_verify {
    int64_t frames_decoded;
    int64_t av_drift_ns;
    int64_t duration_ns;
};

struct report {
    enum step step;
    char device_id[DEVICE_ID_BYTES];
    char feed_device_id
        [DEVICE_ID_BYTES]; /* that made the pictures of a transcode on CPUs; or empty */
    int64_t cpu_ns;        /* user + system of the worker while it had the lease */
    int64_t wall_ns;       /* lease received to report sent */
    int64_t first_work_ns; /* lease received to first packet decoded or read */
    int64_t memory_max_bytes;
    struct report_output *outputs;
    int32_t output_count;
    /* transcode: one per rung; audio: one; subtitles: one, whose init output is the track in one file and whose
     * frames are cues. */
    struct report_rendition *renditions;
    int32_t rendition_count;
    union {
        struct report_probe probe;
        struct report_transcode transcode;
        struct report_images images;
        struct report_package package;
        struct report_verify verify;
    };
};

#endif
