/* model/published_types.h: one version of a video, complete: what manifests are written from.
 *
 * The daemon builds it from committed reports and writes it as an object; package and verify read
 * it. Keys are relative to the version's folder, which is also where the manifests lie.
 */
#ifndef SL_MODEL_PUBLISHED_TYPES_H
#define SL_MODEL_PUBLISHED_TYPES_H

#include "model/report_types.h"

struct published_segment {
    char key[JOB_NAME_BYTES];
    int64_t bytes;
    int32_t frame_count;
    int64_t start_ticks;
    int64_t end_ticks;
    int64_t last_ticks;
};

struct published_rendition {
    bool audio;
    enum codec codec;             /* video */
    enum audio_codec audio_codec; /* audio */
    char name[POLICY_WORD_BYTES];
    char codecs[CODECS_BYTES];
    char encoder[POLICY_WORD_BYTES];
    char language[MEDIA_WORD_BYTES];
    char group[POLICY_WORD_BYTES]; /* audio: renditions that a player chooses a track from */
    char label[MEDIA_TITLE_BYTES]; /* audio: the track's name for people */
    int32_t track;                 /* audio: the same number is the same stream; 0 is the default */
    enum audio_role role;
    int32_t width;
    int32_t height;
    int32_t channels;
    int32_t sample_rate_hz;
    int32_t
        bit_depth; /* video; as are the colours, numbers of ITU-T H.273, and what HDR says of itself */
    int32_t color_primaries;
    int32_t color_transfer;
    int32_t color_matrix;
    struct media_hdr hdr;
    int32_t maxrate_kbps; /* as planned; measured rates come from the segments */
    int64_t
        declared_bps; /* the peak while most segments are not there to be measured; 0: they are */
    int32_t timescale;
    char init_key[JOB_NAME_BYTES];
    int64_t init_bytes;
    char playlist_key[JOB_NAME_BYTES]; /* empty until packaged */
    struct published_segment *segments;
    int32_t segment_count;
};

struct published_text {
    char name[POLICY_WORD_BYTES];
    char language[MEDIA_WORD_BYTES];
    char title[MEDIA_TITLE_BYTES];
    bool is_default;
    bool forced;
    bool impaired;
    int32_t timescale;
    int64_t cue_count;
    char whole_key[JOB_NAME_BYTES]; /* the track in one file */
    int64_t whole_bytes;
    char playlist_key[JOB_NAME_BYTES]; /* empty until packaged */
    struct published_segment *segments;
    int32_t segment_count;
};

/* An empty key: there is none. */
struct published_image {
    char key[JOB_NAME_BYTES];
    int64_t bytes;
};

#define PUBLISHED_SHEETS_MAX 16

struct published_images {
    struct published_image poster;
    struct published_image thumbnails; /* the WebVTT map over the sheets */
    struct published_image preview;
    struct published_image sheets[PUBLISHED_SHEETS_MAX];
    int32_t sheet_count;
};

struct published_set {
    char video[VIDEO_ID_TEXT_BYTES];
    struct rational frame_rate;
    int64_t duration_ticks; /* of the video, in 1/timescale */
    int32_t timescale;
    int64_t frame_count; /* as planned, per rung */
    /* Video renditions first, by codec and descending height, then audio. */
    struct published_rendition *renditions;
    int32_t rendition_count;
    struct published_text *texts;
    int32_t text_count;
    struct published_images images;
    struct media_chapter *chapters;
    int32_t chapter_count;
};

#endif
