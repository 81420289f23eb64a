/* model/media_types.h: what the probe learned about a source.
 *
 * Units: pts in the video stream's time base unless the name says otherwise.
 * Owns:  texts are inline; arrays belong to the arena of whoever filled them.
 */
#ifndef SL_MODEL_MEDIA_TYPES_H
#define SL_MODEL_MEDIA_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rational {
    int32_t num;
    int32_t den;
};

#define MEDIA_WORD_BYTES   32
#define MEDIA_TITLE_BYTES  64
#define MEDIA_TEXTS_MAX    12 /* text streams that are taken; further ones are left out */
#define MEDIA_CHAPTERS_MAX 200
#define SHA256_BYTES       32
#define MEDIA_STREAMS_MAX  16 /* rows that are kept to tell a person what there was to choose from */

/* Where the times of frames come from. Whoever reads the source takes them from the same place. */
enum frame_times {
    FRAME_TIMES_PACKETS, /* the container's, of each packet */
    FRAME_TIMES_DECODED, /* some packets have none: as a decoder that walks from the start makes them up */
    FRAME_TIMES_COUNTED, /* none has one (a raw stream): the frame's number at the stream's rate */
    FRAME_TIMES_COUNT,
};

/* Of SMPTE ST 2086 and CTA-861.3, in the units of their SEI messages (ITU-T H.265 D.3.28, D.3.35). */
struct media_hdr {
    bool mastering;          /* the next four */
    int32_t primaries[3][2]; /* x, y of red, green and blue in 1/50000 */
    int32_t white[2];        /* in 1/50000 */
    int64_t luminance_max;   /* in 1/10000 cd/m2 */
    int64_t luminance_min;
    bool light;                 /* the next two */
    int32_t light_max_nits;     /* MaxCLL */
    int32_t light_average_nits; /* MaxFALL */
};

/* The stream that av_find_best_stream takes, or the one that was asked for. */
struct media_video {
    int32_t stream_index;
    char codec[MEDIA_WORD_BYTES];   /* libavcodec's name: "h264" */
    char profile[MEDIA_WORD_BYTES]; /* "High", or empty */
    char pix_fmt[MEDIA_WORD_BYTES]; /* "yuv420p" */
    int32_t width; /* as decoded, before the container's crop, sample aspect, rotation */
    int32_t height;
    int32_t crop_left; /* what the container hides of the decoded picture */
    int32_t crop_top;
    int32_t crop_right;
    int32_t crop_bottom;
    bool mirrored;            /* to be shown with left and right exchanged, before it is turned */
    int32_t rotation_degrees; /* clockwise turn that shows it upright: 0, 90, 180, 270 */
    int32_t bit_depth;
    struct rational sar; /* 1:1 where the file says nothing */
    struct rational
        frame_sar; /* what the first frame itself says; another later means another shape */
    struct rational time_base;  /* of pts */
    struct rational frame_rate; /* average; for CODECS, keyint and estimates, never for timing */
    bool variable_frame_rate;
    bool interlaced;      /* some frame may hold two fields; each frame says so itself */
    bool top_field_first; /* of most interlaced frames looked at */
    bool telecined;       /* film in 2:3 pulldown, as hard fields */
    /* ITU-T H.273 numbers; 2 is unspecified. */
    int32_t color_primaries;
    int32_t color_transfer;
    int32_t color_matrix;
    bool full_range;
    int32_t hdr_peak_nits; /* brightest the source says to hold; 0: it says nothing */
    struct media_hdr hdr;  /* what it says of its mastering, of PQ or HLG */
    int32_t dolby_vision;  /* the profile, of which the base layer alone is read; 0: none */
    enum frame_times times;
    bool seekable;       /* false: one lease walks the whole source */
    int64_t first_pts;   /* of the first presented frame */
    int64_t end_pts;     /* last pts + its duration */
    int64_t frame_count; /* packets with a presentable pts; a prediction until decoded */
    int64_t bytes;       /* of the stream's packets */
};

#define MEDIA_NOTE_BYTES 160
#define MEDIA_AUDIO_MAX  16 /* audio streams that are described; all are counted */

/* What an audio stream is to the others. */
enum audio_role {
    AUDIO_ROLE_MAIN,
    AUDIO_ROLE_COMMENTARY,
    AUDIO_ROLE_DESCRIPTION,
    AUDIO_ROLE_COUNT
};

struct media_audio {
    int32_t stream_index;
    char codec[MEDIA_WORD_BYTES];
    char layout[MEDIA_WORD_BYTES]; /* libavutil's: "stereo", "5.1(side)"; empty: not known */
    int32_t channels;
    int32_t sample_rate_hz;
    struct rational time_base;
    int64_t first_pts; /* in time_base of this stream */
    int64_t end_pts;
    char language[MEDIA_WORD_BYTES]; /* ISO 639-2, or empty */
    char title[MEDIA_TITLE_BYTES];   /* UTF-8 without control characters, or empty */
    enum audio_role role;
};

/* A subtitle stream of text. Streams of pictures (DVD, PGS, DVB) are counted and left out. */
struct media_text {
    int32_t stream_index;
    char codec
        [MEDIA_WORD_BYTES]; /* libavcodec's name: "subrip", "ass", "mov_text", "webvtt", "text" */
    char language[MEDIA_WORD_BYTES]; /* ISO 639-2, or empty */
    char title[MEDIA_TITLE_BYTES];   /* UTF-8 without control characters, or empty */
    bool is_default;
    bool forced;
    bool impaired; /* written for those who cannot hear */
};

struct media_chapter {
    int64_t start_ns; /* as the container counts; in plans and sets from their zero */
    int64_t end_ns;
    char title[MEDIA_TITLE_BYTES]; /* as above */
};

/* A video stream of the file, for the person who chooses. */
struct media_stream {
    int32_t index;
    int32_t program; /* of a transport stream; -1: none */
    char codec[MEDIA_WORD_BYTES];
    int32_t width;
    int32_t height;
    bool is_default;
};

struct media_info {
    char container[MEDIA_WORD_BYTES]; /* libavformat's name: "mov,mp4,m4a,3gp,3g2,mj2" */
    int64_t size_bytes;
    int64_t duration_ns; /* of the presented video, or audio where there is none */
    int32_t video_stream_count;
    int32_t audio_stream_count;
    int32_t subtitle_stream_count;
    struct media_stream streams[MEDIA_STREAMS_MAX]; /* video streams, the first so many */
    int32_t stream_count;
    int32_t stream_asked; /* index that the submission named; -1: none, the best was taken */
    bool has_video;
    struct media_video video;
    struct media_audio
        audio[MEDIA_AUDIO_MAX]; /* those that can be decoded; the first is the default */
    int32_t audio_count;
    char audio_note[MEDIA_NOTE_BYTES]; /* which audio streams are left out, and why; or empty */
    struct media_text *texts;
    int32_t text_count;
    int32_t
        text_left_out; /* subtitle streams of pictures, of unknown kinds, and beyond the limit */
    struct media_chapter *chapters; /* ascending */
    int32_t chapter_count;
};

#define MEDIA_INDEX_ROWS_MAX (64 * 1024 * 1024) /* 12 days at 60 Hz */

/* One row per video packet, in presentation order. It is an object beside the source: 2.2 million
 * rows for ten hours at 60 Hz. Parallel arrays, because readers walk one column at a time. */
struct media_index {
    struct rational time_base;
    int64_t end_pts;
    size_t count;
    int64_t *pts;         /* ascending, distinct */
    uint8_t *key;         /* 1: decoding can start here */
    int64_t *byte_offset; /* -1 where the container does not say */
    int32_t *byte_length;
};

#endif
