/* Playlists and MPDs as the verify step reads them back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "package/manifest.h"
#include "package/manifest_read.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct published_segment video_segments[] = {
    {.key = "h264/180p/000000.t5.m4s", .bytes = 1000, .frame_count = 150, .end_ticks = 540000},
    {.key = "h264/180p/000001.t5.m4s",
     .bytes = 900,
     .frame_count = 50,
     .start_ticks = 540000,
     .end_ticks = 720000}};
static struct published_segment audio_segments[] = {
    {.key = "audio/aac-96/000000.t6.m4s", .bytes = 700, .end_ticks = 384000}};
static struct published_rendition renditions[] = {{.name = "180p",
                                                   .codecs = "avc1.64000d",
                                                   .width = 320,
                                                   .height = 180,
                                                   .maxrate_kbps = 400,
                                                   .timescale = 90000,
                                                   .init_key = "h264/180p/init.t5.mp4",
                                                   .init_bytes = 700,
                                                   .playlist_key = "h264/180p/playlist.t9.m3u8",
                                                   .segments = video_segments,
                                                   .segment_count = 2},
                                                  {.audio = true,
                                                   .name = "aac-96",
                                                   .group = "aac-96",
                                                   .label = "English",
                                                   .codecs = "mp4a.40.2",
                                                   .channels = 2,
                                                   .sample_rate_hz = 48000,
                                                   .maxrate_kbps = 96,
                                                   .timescale = 48000,
                                                   .init_key = "audio/aac-96/init.t6.mp4",
                                                   .init_bytes = 600,
                                                   .playlist_key = "audio/aac-96/playlist.t9.m3u8",
                                                   .segments = audio_segments,
                                                   .segment_count = 1}};
static struct published_set set = {.video = "v0000000000001",
                                   .frame_rate = {25, 1},
                                   .duration_ticks = 720000,
                                   .timescale = 90000,
                                   .frame_count = 200,
                                   .renditions = renditions,
                                   .rendition_count = 2};

static struct sl_buf valid[4];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    struct sl_failure why = {0};
    if (manifest_hls_media(&set, 0, renditions[0].playlist_key, &valid[0], &why) != SL_OK ||
        manifest_hls_media(&set, 1, renditions[1].playlist_key, &valid[1], &why) != SL_OK ||
        manifest_hls_master(&set, &valid[2], &why) != SL_OK ||
        manifest_dash(&set, &valid[3], &why) != SL_OK)
        abort();
    return 0;
}

static void read_all(const char *text, size_t bytes)
{
    struct sl_arena arena = {0};
    struct manifest_playlist playlist;
    struct sl_failure why = {0};
    if (manifest_hls_read(text, bytes, &arena, &playlist, &why) != SL_OK && !why.message[0])
        abort();
    sl_arena_fini(&arena);
    for (int32_t i = 0; i < set.rendition_count; i++)
        manifest_hls_check(&set, i, renditions[i].playlist_key, text, bytes, &why);
    manifest_master_check(&set, text, bytes, &why);
    manifest_dash_check(&set, text, bytes, &why);
}

/* An even first byte: the text itself. Else a valid one with a stretch replaced. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    if (data[0] % 2 == 0) {
        char *exact = malloc(size);
        memcpy(exact, data + 1, size - 1);
        read_all(exact, size - 1);
        free(exact);
        return 0;
    }
    const struct sl_buf *base = &valid[data[0] / 2 % 4];
    size_t at = ((size_t)data[1] << 8 | data[2]) % base->length;
    size_t gone = data[3] % (base->length - at + 1);
    size_t length = base->length - gone + size - 4;
    char *text = malloc(length + 1);
    memcpy(text, base->data, at);
    memcpy(text + at, data + 4, size - 4);
    memcpy(text + at + size - 4, base->data + at + gone, base->length - at - gone);
    read_all(text, length);
    free(text);
    return 0;
}
