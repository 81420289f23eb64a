#include "tests/plan/plan_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"

#define PACKET_BYTES 1000

void kit_source_open(struct kit_source *source, int32_t width, int32_t height,
                     struct rational time_base, size_t frames)
{
    memset(source, 0, sizeof *source);
    struct media_index *index = &source->index;
    index->time_base = time_base;
    index->count = frames;
    index->pts = calloc(frames, sizeof *index->pts);
    index->key = calloc(frames, sizeof *index->key);
    index->byte_offset = calloc(frames, sizeof *index->byte_offset);
    index->byte_length = calloc(frames, sizeof *index->byte_length);
    if (!index->pts || !index->key || !index->byte_offset || !index->byte_length)
        abort();
    for (size_t i = 0; i < frames; i++) {
        index->byte_offset[i] = 48 + (int64_t)i * PACKET_BYTES;
        index->byte_length[i] = PACKET_BYTES;
    }
    source->info = (struct media_info){
        .has_video = true,
        .video =
            {
                .width = width,
                .height = height,
                .sar = {1, 1},
                .time_base = time_base,
                .frame_rate = {25, 1},
                .seekable = true,
                .frame_count = (int64_t)frames,
                .bytes = (int64_t)frames * PACKET_BYTES,
            },
        .audio =
            {{.channels = 2, .sample_rate_hz = 48000, .time_base = {1, 48000}, .language = "eng"}},
        .audio_count = 1,
    };
}

void kit_source_cfr(struct kit_source *source, int32_t width, int32_t height,
                    struct rational time_base, int64_t pts_step, size_t frames, size_t key_every)
{
    kit_source_open(source, width, height, time_base, frames);
    for (size_t i = 0; i < frames; i++) {
        source->index.pts[i] = (int64_t)i * pts_step;
        source->index.key[i] = key_every ? i % key_every == 0 : i == 0;
    }
    source->index.end_pts = (int64_t)frames * pts_step;
}

void kit_source_close(struct kit_source *source)
{
    free(source->index.pts);
    free(source->index.key);
    free(source->index.byte_offset);
    free(source->index.byte_length);
}

struct policy kit_policy(void)
{
    static const struct policy_rung rungs[] = {
        {"240p", 240, 230, 400, 800},       {"360p", 360, 230, 800, 1600},
        {"480p", 480, 230, 1400, 2800},     {"720p", 720, 230, 2800, 5600},
        {"1080p", 1080, 230, 5000, 10000},  {"1440p", 1440, 230, 9000, 18000},
        {"2160p", 2160, 230, 16000, 32000},
    };
    struct policy policy = {
        .name = "kit",
        .gop_ns = SL_S_TO_NS(2),
        .segment_ns = SL_S_TO_NS(6),
        .chunk_ns = SL_S_TO_NS(6),
        .attempts_max = 5,
        .check = CHECK_SAMPLE,
        .watchdog_ns = SL_S_TO_NS(60),
        .audio = {{AUDIO_AAC, 128, 2, 48000}},
        .audio_count = 1,
        .codecs = {{.codec = CODEC_H264,
                    .profile = "high",
                    .route = {{.encoder = "x264", .preset = "medium"}},
                    .route_count = 1,
                    .rung_count = 7}},
        .codec_count = 1,
    };
    memcpy(policy.codecs[0].rungs, rungs, sizeof rungs);
    return policy;
}

void kit_policy_codec_add(struct policy *policy, enum codec codec)
{
    policy->codecs[policy->codec_count] = policy->codecs[0];
    policy->codecs[policy->codec_count++].codec = codec;
}

static int32_t output_add(struct report *report, const char *folder, const char *stem)
{
    struct report_output *output = &report->outputs[report->output_count];
    snprintf(output->name, sizeof output->name, "%.40s%.24s.m4s", folder, stem);
    snprintf(output->key, sizeof output->key, "%.40s%.24s.t57.m4s", folder, stem);
    output->bytes = 5000;
    memset(output->sha256, 7, sizeof output->sha256);
    return report->output_count++;
}

struct report *kit_report_transcode(const struct plan *plan, int32_t piece, struct sl_arena *arena)
{
    int32_t chunk_at = piece / plan->codec_count;
    enum codec codec = plan_codec_at(plan, piece % plan->codec_count);
    const struct plan_chunk *chunk = &plan->chunks[chunk_at];
    int32_t first = 0;
    int32_t rungs = plan_codec_rungs(plan, codec, &first);
    struct report *report = sl_arena_alloc(arena, sizeof *report);
    report->step = STEP_TRANSCODE;
    report->renditions = sl_arena_array(arena, (size_t)rungs, sizeof *report->renditions);
    report->rendition_count = rungs;
    report->outputs = sl_arena_array(arena, (size_t)(rungs * (chunk->segment_count + 1)),
                                     sizeof *report->outputs);
    report->transcode.frame_count = chunk->frame_count;
    report->transcode.seam_first = 1000 + (uint64_t)chunk_at;
    report->transcode.seam_next = chunk_at + 1 < plan->chunk_count ? 1001 + (uint64_t)chunk_at : 0;
    for (int32_t r = 0; r < rungs; r++) {
        const struct plan_rung *rung = &plan->rungs[first + r];
        struct report_rendition *rendition = &report->renditions[r];
        char folder[48], stem[16];
        snprintf(folder, sizeof folder, "%s/%.31s/", codec_word(codec), rung->name);
        memcpy(rendition->name, rung->name, sizeof rung->name);
        memcpy(rendition->encoder, rung->encoder, sizeof rung->encoder);
        rendition->codec = codec;
        strcpy(rendition->codecs, "avc1.64001F");
        rendition->width = rung->width;
        rendition->height = rung->height;
        rendition->timescale = plan->timescale;
        memset(rendition->init_sha256, 7, sizeof rendition->init_sha256);
        rendition->init_output = chunk_at == 0 ? output_add(report, folder, "init") : -1;
        rendition->segment_count = chunk->segment_count;
        rendition->segments =
            sl_arena_array(arena, (size_t)chunk->segment_count, sizeof *rendition->segments);
        for (int32_t i = 0; i < chunk->segment_count; i++) {
            const struct plan_segment *planned = &plan->segments[chunk->segment_first + i];
            struct report_segment *segment = &rendition->segments[i];
            snprintf(stem, sizeof stem, "%06d", (int)(chunk->segment_first + i));
            segment->number = chunk->segment_first + i;
            segment->frame_count = planned->frame_count;
            segment->start_ticks = plan_ticks(plan, planned->start_pts);
            segment->end_ticks = plan_ticks(plan, planned->end_pts);
            segment->last_ticks = segment->end_ticks - 1;
            segment->output = output_add(report, folder, stem);
        }
    }
    return report;
}

struct report *kit_report_audio(const struct plan *plan, int32_t piece, struct sl_arena *arena)
{
    const struct plan_audio *audio = &plan->audio[piece];
    struct report *report = sl_arena_alloc(arena, sizeof *report);
    struct report_rendition *rendition = sl_arena_alloc(arena, sizeof *rendition);
    report->step = STEP_AUDIO;
    report->renditions = rendition;
    report->rendition_count = 1;
    report->outputs =
        sl_arena_array(arena, (size_t)plan->segment_count + 1, sizeof *report->outputs);
    memcpy(rendition->name, audio->name, sizeof audio->name);
    strcpy(rendition->encoder, "aac");
    strcpy(rendition->codecs, "mp4a.40.2");
    rendition->timescale = audio->sample_rate_hz;
    memset(rendition->init_sha256, 7, sizeof rendition->init_sha256);
    char folder[48], stem[16];
    snprintf(folder, sizeof folder, "audio/%.31s/", audio->name);
    rendition->init_output = output_add(report, folder, "init");
    rendition->segment_count = plan->segment_count;
    rendition->segments =
        sl_arena_array(arena, (size_t)plan->segment_count, sizeof *rendition->segments);
    int64_t at = 0;
    for (int32_t i = 0; i < plan->segment_count; i++) {
        struct report_segment *segment = &rendition->segments[i];
        /* The access unit of 1024 samples nearest to the video's boundary. */
        int64_t end = sl_muldiv_i64(plan_ticks(plan, plan->segments[i].end_pts),
                                    audio->sample_rate_hz, plan->timescale);
        int64_t units = (end - at + 512) / 1024;
        snprintf(stem, sizeof stem, "%06d", (int)i);
        segment->number = i;
        segment->frame_count = (int32_t)units;
        segment->start_ticks = at;
        segment->end_ticks = at += units * 1024;
        segment->last_ticks = at - 1024;
        segment->output = output_add(report, folder, stem);
    }
    return report;
}
