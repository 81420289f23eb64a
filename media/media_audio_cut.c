#include "media/media_audio_cut.h"

#include <stdlib.h>

#include "base/time.h"

int media_audio_cut_init(struct media_audio_cut *cut, const struct job_audio *job,
                         const struct media_audio_sink *sink, int32_t frame_samples,
                         int32_t priming, struct sl_failure *why)
{
    if (frame_samples <= 0 || priming < 0)
        return sl_fail(why, SL_EENCODE, "the audio encoder has frames of %d samples behind %d",
                       frame_samples, priming);
    *cut = (struct media_audio_cut){
        .job = job, .sink = sink, .frame_samples = frame_samples, .priming = priming};
    return SL_OK;
}

static int64_t packet_pts(const struct media_audio_cut *cut, int64_t index)
{
    return index * cut->frame_samples - cut->priming;
}

/* The packet that starts nearest to the start of a segment; everything before zero belongs to the first. */
static int64_t boundary_packet(const struct media_audio_cut *cut, int32_t segment)
{
    if (segment == 0)
        return 0;
    if (segment >= cut->job->boundary_count - 1)
        return INT64_MAX;
    int64_t at = sl_muldiv_i64(cut->job->boundary_ticks[segment], cut->job->out.sample_rate_hz,
                               cut->job->timescale);
    return (at + cut->priming + cut->frame_samples / 2) / cut->frame_samples;
}

static int segment_emit(struct media_audio_cut *cut, struct sl_failure *why)
{
    if (cut->held == 0)
        return sl_fail(why, SL_EMISMATCH, "audio segment %d would hold nothing: it is too short",
                       cut->segment);
    size_t at = 0;
    for (size_t i = 0; i < cut->held; i++) {
        cut->packets[i] = (struct media_audio_packet){
            cut->bytes.data + at, cut->lengths[i], packet_pts(cut, cut->packet_first + (int64_t)i)};
        at += cut->lengths[i];
    }
    struct media_audio_segment segment = {
        .number = cut->segment,
        .packets = cut->packets,
        .packet_count = cut->held,
        .start_ticks = cut->packets[0].pts,
        .end_ticks = packet_pts(cut, cut->packet_count),
        .last_ticks = cut->packets[cut->held - 1].pts,
    };
    cut->segment++;
    cut->packet_first = cut->packet_count;
    cut->held = 0;
    int code = cut->sink->segment(cut->sink->arg, &segment, why);
    sl_buf_reset(&cut->bytes);
    return code;
}

int media_audio_cut_take(struct media_audio_cut *cut, const void *data, size_t bytes,
                         struct sl_failure *why)
{
    if (cut->packet_count >= boundary_packet(cut, cut->segment + 1)) {
        int code = segment_emit(cut, why);
        if (code != SL_OK)
            return code;
    }
    if (cut->held == cut->room) {
        size_t room = cut->room ? cut->room * 2 : 512;
        size_t *lengths = realloc(cut->lengths, room * sizeof *lengths);
        if (lengths)
            cut->lengths = lengths;
        struct media_audio_packet *packets = realloc(cut->packets, room * sizeof *packets);
        if (packets)
            cut->packets = packets;
        if (!lengths || !packets)
            return sl_fail(why, SL_ENOMEM, "no memory for an audio segment");
        cut->room = room;
    }
    sl_buf_append(&cut->bytes, data, bytes);
    if (cut->bytes.failed)
        return sl_fail(why, SL_ENOMEM, "no memory for an audio segment");
    cut->lengths[cut->held++] = bytes;
    cut->packet_count++;
    return SL_OK;
}

int media_audio_cut_end(struct media_audio_cut *cut, struct sl_failure *why)
{
    int32_t last = cut->job->boundary_count - 2;
    if (cut->segment != last)
        return sl_fail(why, SL_EMISMATCH, "the audio ended in segment %d of %d", cut->segment,
                       last + 1);
    return segment_emit(cut, why);
}

void media_audio_cut_fini(struct media_audio_cut *cut)
{
    sl_buf_fini(&cut->bytes);
    free(cut->lengths);
    free(cut->packets);
    *cut = (struct media_audio_cut){0};
}
