/* What a GPU's fixed engines say: whether NVENC opens a session, and how long NVDEC takes for a frame.
 *
 * The stream that NVDEC is timed with is written here, bit by bit: H.264 whose first picture is grey and whose others repeat it. No
 * picture decodes faster, so that what a kernel takes of this time is the most it ever takes.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/gpu_check.h"

/* ---- NVENC ---- */

#define NVENC_API         (11u | 1u << 24)
#define NVENC_STRUCT(v)   (NVENC_API | (v) << 16 | 7u << 28)
#define NVENC_OPEN_NUMBER 29 /* nvEncOpenEncodeSessionEx among the functions */
#define NVENC_DESTROY     27

struct nvenc_functions {
    uint32_t version, reserved;
    void *functions[400];
};

struct nvenc_open {
    uint32_t version;
    uint32_t device_type; /* 1: CUDA */
    void *device;
    void *reserved;
    uint32_t api_version;
    uint32_t reserved1[253];
    void *reserved2[64];
};

static const char *nvenc_word(int code)
{
    switch (code) {
    case 0:
        return "an encode session opens";
    case 1:
    case 2:
        return "no engine: this GPU does not encode";
    case 10:
    case 21:
        return "no session is free";
    case 15:
        return "the driver is too old for NVENC 11.1";
    default:
        return "not known here";
    }
}

void check_nvenc(FILE *report, void *context)
{
    int (*max_version)(uint32_t *);
    int (*create)(struct nvenc_functions *);
    void *lib = dlopen("libnvidia-encode.so.1", RTLD_NOW);
    if (!lib) {
        printf("NVENC: libnvidia-encode.so.1 is not there\n");
        fprintf(report, "  \"nvenc\": {\"library\": false},\n");
        return;
    }
    *(void **)&max_version = dlsym(lib, "NvEncodeAPIGetMaxSupportedVersion");
    *(void **)&create = dlsym(lib, "NvEncodeAPICreateInstance");
    struct nvenc_functions table = {.version = NVENC_STRUCT(2u)};
    struct nvenc_open open = {
        .version = NVENC_STRUCT(1u), .device_type = 1, .device = context, .api_version = NVENC_API};
    uint32_t version = 0;
    void *session = NULL;
    int code = max_version ? max_version(&version) : -1;
    if (code == 0)
        code = create ? create(&table) : -1;
    if (code == 0) {
        int (*open_session)(struct nvenc_open *, void **);
        int (*destroy)(void *);
        *(void **)&open_session = table.functions[NVENC_OPEN_NUMBER];
        *(void **)&destroy = table.functions[NVENC_DESTROY];
        code = open_session(&open, &session);
        if (session)
            destroy(session);
    }
    printf("NVENC %u.%u: code %d, %s\n", version >> 4, version & 15, code, nvenc_word(code));
    fprintf(report,
            "  \"nvenc\": {\"library\": true, \"api\": \"%u.%u\", \"code\": %d, \"says\": "
            "\"%s\"},\n",
            version >> 4, version & 15, code, nvenc_word(code));
}

/* ---- a stream ---- */

struct bits {
    uint8_t *bytes;
    size_t room, length; /* of bytes */
    uint32_t part;
    int count, zeros; /* bits in part; zero bytes in a row */
    bool escape;
};

static void byte_put(struct bits *b, uint8_t byte)
{
    if (b->length + 2 > b->room) {
        b->room = b->room * 2 + 256;
        b->bytes = realloc(b->bytes, b->room);
        if (!b->bytes)
            abort();
    }
    if (b->escape && b->zeros >= 2 && byte <= 3) {
        b->bytes[b->length++] = 3;
        b->zeros = 0;
    }
    b->bytes[b->length++] = byte;
    b->zeros = byte ? 0 : b->zeros + 1;
}

static void put(struct bits *b, uint32_t value, int count)
{
    while (count-- > 0) {
        b->part = b->part << 1 | (value >> count & 1);
        if (++b->count == 8) {
            byte_put(b, (uint8_t)b->part);
            b->part = 0;
            b->count = 0;
        }
    }
}

/* Exp-Golomb. */
static void put_ue(struct bits *b, uint32_t value)
{
    int length = 0;
    while ((value + 1) >> (length + 1))
        length++;
    put(b, 0, length);
    put(b, value + 1, length + 1);
}

static void unit_begin(struct bits *b, uint8_t type)
{
    static const uint8_t start[] = {0, 0, 0, 1};
    b->escape = false;
    for (size_t i = 0; i < sizeof start; i++)
        byte_put(b, start[i]);
    byte_put(b, type);
    b->zeros = 0;
    b->escape = true;
}

static void unit_end(struct bits *b)
{
    put(b, 1, 1);
    while (b->count)
        put(b, 0, 1);
}

/* Baseline, frames only, one reference, pictures in order. */
static void sets_write(struct bits *b, int32_t columns, int32_t rows)
{
    unit_begin(b, 0x67);
    put(b, 66, 8); /* profile */
    put(b, 0xc0, 8);
    put(b, 52, 8); /* level 5.2 */
    put_ue(b, 0);  /* its number */
    put_ue(b, 4);  /* frame numbers of 8 bits */
    put_ue(b, 2);  /* order: as decoded */
    put_ue(b, 1);  /* reference frames */
    put(b, 0, 1);
    put_ue(b, (uint32_t)columns - 1);
    put_ue(b, (uint32_t)rows - 1);
    put(b, 1, 1); /* frames */
    put(b, 1, 1); /* 8x8 inference */
    put(b, 0, 1); /* no crop */
    put(b, 0, 1); /* no VUI */
    unit_end(b);
    unit_begin(b, 0x68);
    put_ue(b, 0);
    put_ue(b, 0);
    put(b, 0, 2); /* CAVLC, no order in slices */
    put_ue(b, 0); /* one slice group */
    put_ue(b, 0);
    put_ue(b, 0); /* one reference each */
    put(b, 0, 3); /* no weights */
    put_ue(b, 0);
    put_ue(b, 0);
    put_ue(b, 0); /* QP 26, no offset */
    put(b, 0, 3);
    unit_end(b);
}

static void picture_write(struct bits *b, int number, int32_t columns, int32_t rows)
{
    bool idr = number == 0;
    unit_begin(b, idr ? 0x65 : 0x61);
    put_ue(b, 0);           /* first macroblock */
    put_ue(b, idr ? 7 : 5); /* I or P, all of the picture */
    put_ue(b, 0);           /* parameter set */
    put(b, (uint32_t)number & 255, 8);
    if (idr) {
        put_ue(b, 0); /* its number */
        put(b, 0, 2);
    } else {
        put(b, 0, 2); /* as many references as the set says, in order */
        put(b, 0, 1); /* no marking */
    }
    put_ue(b, 0); /* QP */
    if (!idr) {
        put_ue(b, (uint32_t)(columns * rows)); /* every macroblock is skipped */
        unit_end(b);
        return;
    }
    for (int32_t i = 0; i < columns * rows; i++) {
        put_ue(b, 3); /* intra 16x16 by the mean, without coefficients */
        put_ue(b, 0); /* chroma likewise */
        put_ue(b, 0); /* same QP */
        put(b, 1, 1); /* no coefficient of the means */
    }
    unit_end(b);
}

/* ---- NVDEC ---- */

/* libnvcuvid's interface, as far as a parser that hands pictures on needs it. */
struct cuvid_packet {
    unsigned long flags, bytes; /* 1: end of the stream */
    const uint8_t *data;
    long long time;
};

struct cuvid_parser {
    int codec; /* 4: H.264 */
    unsigned surfaces, clock, error_threshold, display_delay;
    unsigned annexb;
    unsigned reserved1[4];
    void *user;
    int (*sequence)(void *user, void *format);
    int (*decode)(void *user, void *picture);
    int (*display)(void *user, void *shown);
    void *reserved2[7];
    void *format;
};

struct cuvid_decoder {
    unsigned long width, height, surfaces;
    int codec, chroma;
    unsigned long flags, depth_minus_8, intra, width_max, height_max, reserved1;
    short area[4];
    int output, deinterlace;
    unsigned long target_width, target_height, outputs;
    void *lock;
    short rect[4];
    unsigned long histogram, reserved2[4];
};

struct cuvid {
    int (*parser_create)(void **parser, struct cuvid_parser *params);
    int (*parse)(void *parser, struct cuvid_packet *packet);
    int (*parser_destroy)(void *parser);
    int (*create)(void **decoder, struct cuvid_decoder *info);
    int (*decode)(void *decoder, void *picture);
    int (*map)(void *decoder, int index, device_address *at, unsigned *pitch, void *params);
    int (*unmap)(void *decoder, device_address at);
    int (*destroy)(void *decoder);
};

struct decoding {
    struct cuvid cuvid;
    void *decoder;
    struct cuvid_decoder info;
    int shown, failed; /* the first code that was not 0 */
};

enum { SURFACES = 8 };

static void note(struct decoding *d, int code)
{
    if (code != 0 && d->failed == 0)
        d->failed = code;
}

static int on_sequence(void *user, void *format)
{
    struct decoding *d = user;
    (void)format;
    if (!d->decoder)
        note(d, d->cuvid.create(&d->decoder, &d->info));
    return d->decoder ? SURFACES : 0;
}

static int on_decode(void *user, void *picture)
{
    struct decoding *d = user;
    note(d, d->cuvid.decode(d->decoder, picture));
    return d->failed == 0;
}

/* A picture counts when it can be read. */
static int on_display(void *user, void *shown)
{
    struct decoding *d = user;
    int index;
    union {
        int progressive;
        uint8_t bytes[512];
    } params = {.progressive = 1};
    device_address at = 0;
    unsigned pitch = 0;
    if (!shown)
        return 1;
    memcpy(&index, shown, sizeof index);
    note(d, d->cuvid.map(d->decoder, index, &at, &pitch, &params));
    if (at)
        note(d, d->cuvid.unmap(d->decoder, at));
    d->shown++;
    return d->failed == 0;
}

static bool cuvid_load(struct cuvid *cuvid)
{
    void *lib = dlopen("libnvcuvid.so.1", RTLD_NOW);
    const struct {
        const char *name;
        void *to;
    } all[] = {
        {"cuvidCreateVideoParser", &cuvid->parser_create},
        {"cuvidParseVideoData", &cuvid->parse},
        {"cuvidDestroyVideoParser", &cuvid->parser_destroy},
        {"cuvidCreateDecoder", &cuvid->create},
        {"cuvidDecodePicture", &cuvid->decode},
        {"cuvidMapVideoFrame64", &cuvid->map},
        {"cuvidUnmapVideoFrame64", &cuvid->unmap},
        {"cuvidDestroyDecoder", &cuvid->destroy},
    };
    for (size_t i = 0; lib && i < sizeof all / sizeof *all; i++) {
        void *symbol = dlsym(lib, all[i].name);
        if (!symbol)
            return false;
        memcpy(all[i].to, &symbol, sizeof symbol);
    }
    return lib != NULL;
}

double check_nvdec(FILE *report, void *context, int32_t width, int32_t height, int frames)
{
    (void)context;
    struct decoding d = {0};
    if (!cuvid_load(&d.cuvid)) {
        printf("NVDEC: libnvcuvid.so.1 is not there\n");
        fprintf(report, "  \"nvdec\": {\"library\": false},\n");
        return 0;
    }
    d.info = (struct cuvid_decoder){
        .width = (unsigned long)width,
        .height = (unsigned long)height,
        .surfaces = SURFACES,
        .codec = 4,
        .chroma = 1,
        .flags = 4, /* the decode engine */
        .width_max = (unsigned long)width,
        .height_max = (unsigned long)height,
        .area = {0, 0, (short)width, (short)height},
        .target_width = (unsigned long)width,
        .target_height = (unsigned long)height,
        .outputs = 2,
    };
    struct bits stream = {0};
    size_t *ends = calloc((size_t)frames, sizeof *ends);
    sets_write(&stream, width / 16, height / 16);
    for (int i = 0; i < frames; i++) {
        picture_write(&stream, i, width / 16, height / 16);
        ends[i] = stream.length;
    }
    struct cuvid_parser params = {.codec = 4,
                                  .surfaces = SURFACES,
                                  .user = &d,
                                  .sequence = on_sequence,
                                  .decode = on_decode,
                                  .display = on_display};
    void *parser = NULL;
    struct timespec from = {0}, to;
    note(&d, d.cuvid.parser_create(&parser, &params));
    /* The first tenth starts the engine and is not timed. */
    int first = frames / 10, first_shown = 0;
    for (int i = 0; i < frames && d.failed == 0; i++) {
        size_t begin = i ? ends[i - 1] : 0;
        struct cuvid_packet packet = {.bytes = ends[i] - begin, .data = stream.bytes + begin};
        if (i == first) {
            clock_gettime(CLOCK_MONOTONIC, &from);
            first_shown = d.shown;
        }
        note(&d, d.cuvid.parse(parser, &packet));
    }
    struct cuvid_packet end = {.flags = 1};
    if (d.failed == 0)
        note(&d, d.cuvid.parse(parser, &end));
    clock_gettime(CLOCK_MONOTONIC, &to);
    int timed = d.shown - first_shown;
    double ms =
        ((double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6);
    bool good = d.failed == 0 && d.shown == frames && timed > 0;
    if (good)
        printf("NVDEC H.264 %dx%d: %.3f ms a frame (of the easiest stream there is)\n", width,
               height, ms / timed);
    else
        printf("NVDEC: code %d after %d of %d frames\n", d.failed, d.shown, frames);
    fprintf(report,
            "  \"nvdec\": {\"library\": true, \"code\": %d, \"frames\": %d, \"of\": %d, "
            "\"frame_ms\": ",
            d.failed, d.shown, frames);
    if (good)
        fprintf(report, "%.4f},\n", ms / timed);
    else
        fprintf(report, "null},\n");
    if (parser)
        d.cuvid.parser_destroy(parser);
    if (d.decoder)
        d.cuvid.destroy(d.decoder);
    free(stream.bytes);
    free(ends);
    return good ? ms / timed : 0;
}
