/* model/plan_types.h: what will be made of one video, decided once.
 *
 * Times are in the video's own time base, scaled by 1/timescale and counted from the plan's zero:
 * a frame's out_pts = (pts - origin_pts) * time_base, in 1/timescale, and 0 is where every track's
 * time line starts. Ranges are half-open. Segment boundaries are equal for all rungs and codecs.
 * Owns:  arrays belong to the arena given to the function that filled them.
 */
#ifndef SL_MODEL_PLAN_TYPES_H
#define SL_MODEL_PLAN_TYPES_H

#include <stdint.h>

#include "model/media_types.h"
#include "model/policy_types.h"

/* Limits that a plan never passes; a source that would is refused by name. */
#define PLAN_CHUNK_SEGMENTS_MAX 64 /* longer keyframe spans become further chunks in linear mode */
#define PLAN_SEGMENTS_MAX       200000 /* 13 days of 6 s */
#define PLAN_NOTE_BYTES         256
#define PLAN_AUDIO_MAX          24 /* audio renditions; streams beyond are left out, and named */

struct plan_rung {
    enum codec codec;
    char name[POLICY_WORD_BYTES];
    int32_t width; /* even */
    int32_t height;
    int32_t crf_tenths;
    int32_t maxrate_kbps;
    int32_t bufsize_kbit;
    char encoder[POLICY_WORD_BYTES]; /* empty: one of the route, chosen with each grant */
    char preset[POLICY_WORD_BYTES];
    char profile[POLICY_WORD_BYTES];
};

/* The addressable unit of every rendition; starts with an IDR. */
struct plan_segment {
    int64_t start_pts; /* source time base */
    int64_t end_pts;
    int32_t frame_count; /* predicted by the index */
    int32_t chunk;       /* index into chunks; -1 where there is no picture */
};

/* What one transcode task covers. */
struct plan_chunk {
    int64_t start_pts; /* a source keyframe's, except in linear mode */
    int64_t end_pts;
    int32_t segment_first; /* index into segments */
    int32_t segment_count;
    int64_t frame_count;
    int64_t byte_first; /* of the source: where its packets begin and end, -1 unknown */
    int64_t byte_end;
    int64_t work_mpix; /* luma samples decoded and encoded, all rungs of one codec */
};

/* One stream of the source in one entry of the policy. */
struct plan_audio {
    enum audio_codec codec;
    int32_t bitrate_kbps;
    int32_t channels;
    int32_t sample_rate_hz;
    char name[POLICY_WORD_BYTES];  /* "aac-128", "aac-128-deu": a folder, unique */
    char group[POLICY_WORD_BYTES]; /* "aac-128": the policy's entry */
    char label[MEDIA_TITLE_BYTES]; /* what a person chooses it by, unique among the streams */
    int32_t track;                 /* index into the plan's sources; 0 is the default */
    struct policy_loudness loudness;
};

/* One published subtitle track: a text stream of the source, or an uploaded file. */
struct plan_text {
    char name[POLICY_WORD_BYTES];    /* its folder under subtitles/: "eng", "eng-2" */
    char language[MEDIA_WORD_BYTES]; /* ISO 639-2 or RFC 5646, or empty */
    char title[MEDIA_TITLE_BYTES];
    bool is_default; /* of at most one track */
    bool forced;
    bool impaired;
    int32_t stream_index;         /* -1: an uploaded file */
    char codec[MEDIA_WORD_BYTES]; /* of the stream, as probed */
    int64_t sidecar_bytes;        /* of the uploaded file */
    uint8_t sidecar_sha256[SHA256_BYTES];
};

#define PLAN_TEXTS_MAX      MEDIA_TEXTS_MAX
#define PLAN_STILLS_MAX     800 /* keyframes looked at; longer videos get longer intervals */
#define PLAN_PREVIEW_STILLS 10

/* Pictures taken from keyframes of the source. No stills: no images. */
struct plan_images {
    bool poster;
    bool preview;
    int64_t interval_ns; /* each thumbnail stands for so long; 0: no thumbnails */
    int32_t poster_width, poster_height;
    int32_t tile_width, tile_height;
    int32_t preview_width, preview_height;
    int64_t *stills; /* pts of keyframes, ascending, distinct */
    int32_t still_count;
};

/* How decoded pictures become what is encoded in one codec, the same for all chunks. What is not said here follows from the
 * source: crop, then square samples by scaling, then mirror and turn. Colours are ITU-T H.273 numbers. */
struct plan_picture {
    bool deinterlace; /* frames that say they are interlaced; one frame out for each frame in */
    int32_t tonemap_peak_nits; /* 0: the source is SDR, or its HDR is kept */
    int32_t source_primaries;  /* of frames that leave it unsaid */
    int32_t source_transfer;
    int32_t source_matrix;
    int32_t primaries; /* of every rung; the range is limited */
    int32_t transfer;  /* PQ or HLG: HDR is kept */
    int32_t matrix;
    int32_t bit_depth;    /* of every rung: 8 or 10 */
    struct media_hdr hdr; /* of every rung, where HDR is kept */
};

struct plan {
    /* As probed. Without a picture there are no rungs and no chunks, and only time_base means something. */
    struct media_video video;
    struct plan_picture pictures
        [CODEC_COUNT]; /* that of H.264, always SDR of 8 bits, is also what images are made of */
    struct media_audio *sources; /* audio streams that renditions are made of */
    int32_t source_count;
    char left_out[PLAN_NOTE_BYTES]; /* what of the source is not published and why; empty: all is */
    int64_t origin_pts;             /* zero of the time line */
    int64_t end_pts;                /* source time base */
    int32_t timescale;              /* T: media time scale of every video rendition */
    int64_t reorder_ticks; /* D of docs/architecture.md: the edit list's media time, in 1/T */
    int64_t gop_ns;
    int64_t segment_duration_max_ns;
    struct rational frame_rate; /* given to every encoder */
    struct plan_rung *rungs;    /* by codec, then descending height */
    int32_t rung_count;
    struct plan_audio *audio;
    int32_t audio_count;
    struct plan_segment *segments;
    int32_t segment_count;
    struct plan_chunk *chunks;
    int32_t chunk_count;
    int32_t codec_count; /* transcode tasks = chunk_count * codec_count */
    struct plan_text *texts;
    int32_t text_count;
    struct plan_images images;
    struct media_chapter
        *chapters; /* from the plan's zero, inside it, ascending, without overlap */
    int32_t chapter_count;
};

#endif
