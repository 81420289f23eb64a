/* model/policy_types.h: what to make of a video. Parsed from YAML by config/, used by
 * scheduler/plan. A snapshot of the YAML text is kept with each video.
 */
#ifndef SL_MODEL_POLICY_TYPES_H
#define SL_MODEL_POLICY_TYPES_H

#include <stdbool.h>
#include <stdint.h>

enum codec { CODEC_H264, CODEC_H265, CODEC_AV1, CODEC_VP9, CODEC_COUNT };
enum audio_codec { AUDIO_AAC, AUDIO_OPUS, AUDIO_CODEC_COUNT };
enum device_kind { DEVICE_CPU, DEVICE_NVENC, DEVICE_VAAPI, DEVICE_KIND_COUNT };

/* How much of what was encoded on a CPU is decoded back before its lease reports. */
enum check_amount { CHECK_NONE, CHECK_SAMPLE, CHECK_ALL };

#define POLICY_NAME_BYTES     64
#define POLICY_WORD_BYTES     32
#define POLICY_RUNGS_MAX      12
#define POLICY_ROUTE_MAX      4
#define POLICY_TIERS_MAX      8
#define POLICY_AUDIO_MAX      8
#define POLICY_TENANTS_MAX    8
#define POLICY_CRF_MAX_TENTHS 510

/* One rung of a ladder. The picture fits into the box height*16/9 x height, turned for portrait. */
struct policy_rung {
    char name[POLICY_WORD_BYTES]; /* "720p" */
    int32_t height;
    int32_t crf_tenths; /* 230 is CRF 23.0 */
    int32_t maxrate_kbps;
    int32_t bufsize_kbit;
};

/* When an encoder of a route may be used. Of what is 0 nothing is asked. All but queue_longer_ns are decided once, for
 * all chunks of a codec: sizes and depth are those of its largest rung as it will be encoded. */
struct policy_when {
    int32_t width_min, width_max;
    int32_t height_min, height_max;
    int32_t depth;                                         /* bits of a sample */
    uint32_t priorities;                                   /* bit 1 << enum priority */
    char providers[POLICY_TENANTS_MAX][POLICY_NAME_BYTES]; /* the video's is one of these */
    int32_t provider_count;
    int64_t queue_longer_ns; /* only while the wait for the encoders before it is longer */
};

/* An encoder in a route. */
struct policy_route {
    char encoder[POLICY_WORD_BYTES]; /* "x264", "nvenc" … */
    char preset[POLICY_WORD_BYTES];
    int32_t crf_offset_tenths; /* added to the crf of each rung */
    struct policy_when when;
};

struct policy_codec {
    enum codec codec;
    char profile[POLICY_WORD_BYTES];             /* empty: the encoder's choice for the bit depth */
    struct policy_route route[POLICY_ROUTE_MAX]; /* in order of preference */
    int32_t route_count;
    bool mix;      /* chunks of one rung may come from different encoders */
    int32_t depth; /* bits a sample: 8, 10, or 0: 10 where the source has more than 8 */
    bool hdr_keep; /* a source of PQ or HLG stays so, in 10 bits; else it is made SDR */
    struct policy_rung rungs[POLICY_RUNGS_MAX];
    int32_t rung_count;
};

struct policy_audio {
    enum audio_codec codec;
    int32_t bitrate_kbps;
    int32_t channels; /* 1, 2, or 6: only of sources with surround sound */
    int32_t sample_rate_hz;
};

/* EBU R128: integrated loudness to reach, and the true peak to keep below. */
struct policy_loudness {
    bool on;
    int32_t target_tenths; /* -230 is -23.0 LUFS */
    int32_t peak_tenths;   /* -10 is -1.0 dBTP */
};

struct policy_images {
    bool poster;
    bool preview;
    int64_t thumbnails_ns; /* one for each so much; 0: none */
};

struct policy {
    char name[POLICY_NAME_BYTES]; /* of the tier, where one was asked for */
    char tiers[POLICY_TIERS_MAX]
              [POLICY_NAME_BYTES]; /* other names in the file, for some of its codecs */
    int32_t tier_count;
    struct policy_codec codecs[CODEC_COUNT];
    int32_t codec_count;
    struct policy_audio audio[POLICY_AUDIO_MAX];
    int32_t audio_count;
    struct policy_loudness loudness; /* of every audio rendition */
    bool subtitles;                  /* text streams and uploaded files are published */
    struct policy_images images;
    int64_t gop_ns;       /* closed GOPs of about this length */
    int64_t segment_ns;   /* segments of about this length, each a whole number of GOPs */
    int64_t chunk_ns;     /* a chunk covers at least this much, and one segment */
    int64_t opening_ns;   /* the opening is a chunk of about this length; 0: as long as others */
    int32_t attempts_max; /* charged, of a task; 0: as the daemon is configured */
    enum check_amount check;
    int64_t watchdog_ns; /* a worker without progress for this long is killed */
};

/* What the policy says of a codec; NULL: nothing. */
const struct policy_codec *policy_codec_find(const struct policy *policy, enum codec codec);

/* "h264", "h265", "av1", "vp9"; NULL past the end. */
const char *codec_word(enum codec codec);
int codec_from_word(const char *word, enum codec *out);
const char *audio_codec_word(enum audio_codec codec);
int audio_codec_from_word(const char *word, enum audio_codec *out);
/* "cpu", "nvenc", "vaapi". */
const char *device_kind_word(enum device_kind kind);

/* What the name of an encoder in a route says of it. */
struct encoder_name {
    const char *name; /* "x264" */
    enum device_kind kind;
    uint32_t codecs; /* bit 1 << enum codec */
};

#define ENCODER_NAMES 6

extern const struct encoder_name encoder_names[ENCODER_NAMES];
/* NULL for a name that is none. */
const struct encoder_name *encoder_find(const char *name);

#endif
