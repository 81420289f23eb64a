#include "worker/rung.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "media/media_check.h"
#include "media/media_digest.h"
#include "worker/surfaces.h"

int ladder_fail(struct ladder *ladder, const struct sl_failure *why)
{
    pthread_mutex_lock(&ladder->lock);
    if (ladder->failure.code == SL_OK)
        ladder->failure = *why;
    pthread_mutex_unlock(&ladder->lock);
    frame_ring_abort(&ladder->ring);
    return why->code;
}

/* ---- segments ---- */

static int output_name(const struct rung *rung, const char *file, char out[JOB_NAME_BYTES],
                       struct sl_failure *why)
{
    int n = snprintf(out, JOB_NAME_BYTES, "%s/%s/%s", codec_word(rung->plan->codec),
                     rung->plan->name, file);
    if (n < 0 || n >= JOB_NAME_BYTES)
        return sl_fail(why, SL_ELIMIT, "the name of rung %s is too long", rung->plan->name);
    return SL_OK;
}

static bool is_checked(const struct rung *rung, int32_t segment)
{
    const struct ladder *ladder = rung->ladder;
    return ladder->check_rung == -2 ||
           (ladder->check_rung == rung->index && ladder->check_segment == segment);
}

static int eight_bit(const struct hal_frame *frame, int32_t x, int32_t y)
{
    const uint8_t *row = frame->planes[0] + (size_t)y * frame->stride_bytes[0];
    if (frame->layout == HAL_I420 || frame->layout == HAL_NV12)
        return row[x];
    int value = ((const uint16_t *)(const void *)row)[x];
    return value >> (frame->layout == HAL_P010 ? 8 : 2);
}

/* Luma as means of blocks: what of a picture survives however few bits an encoder had. */
#define BLOCK 16

static size_t blocks_count(int32_t width, int32_t height)
{
    return (size_t)((width + BLOCK - 1) / BLOCK) * (size_t)((height + BLOCK - 1) / BLOCK);
}

static void blocks_mean(const struct hal_frame *frame, uint8_t *out)
{
    for (int32_t top = 0; top < frame->height; top += BLOCK)
        for (int32_t left = 0; left < frame->width; left += BLOCK) {
            int32_t sum = 0, count = 0;
            for (int32_t y = top; y < top + BLOCK && y < frame->height; y++)
                for (int32_t x = left; x < left + BLOCK && x < frame->width; x++, count++)
                    sum += eight_bit(frame, x, y);
            *out++ = (uint8_t)(sum / count);
        }
}

/* What goes into the encoder first, for first_compare. */
static int first_keep(struct rung *rung, int32_t segment, const struct hal_frame *view,
                      struct sl_failure *why)
{
    struct hal_frame in_memory = *view;
    AVFrame *copy = NULL;
    if (view->surface) {
        copy = av_frame_alloc();
        int got = copy ? av_hwframe_transfer_data(copy, view->surface, 0) : AVERROR(ENOMEM);
        if (got < 0) {
            av_frame_free(&copy);
            return media_fail(why, got, SL_EDEVICELOST, "a picture cannot be read from the device");
        }
        in_memory.layout = copy->format == AV_PIX_FMT_P010LE ? HAL_P010 : HAL_NV12;
        in_memory.planes[0] = copy->data[0];
        in_memory.stride_bytes[0] = (size_t)copy->linesize[0];
    }
    rung->firsts[segment] = malloc(blocks_count(view->width, view->height));
    if (rung->firsts[segment])
        blocks_mean(&in_memory, rung->firsts[segment]);
    av_frame_free(&copy);
    return rung->firsts[segment] ? SL_OK : sl_fail(why, SL_ENOMEM, "no memory for a picture");
}

struct compared {
    const uint8_t *first; /* blocks of what went in */
    bool wrong;
};

/* Blocks of another picture, of garbage or of one grey differ from those that went in by as much as these vary, or more;
 * of the right one they are nearly equal, even where noise had to go without bits. */
static void first_compare(void *arg, int64_t number, const struct hal_frame *picture)
{
    struct compared *compared = arg;
    size_t count = blocks_count(picture->width, picture->height);
    uint8_t *found = number == 0 ? malloc(count) : NULL;
    int64_t sum = 0, squares = 0, differences = 0;
    if (!found)
        return; /* one picture is looked at; without memory, none */
    blocks_mean(picture, found);
    for (size_t i = 0; i < count; i++) {
        int64_t a = compared->first[i], d = a - found[i];
        sum += a;
        squares += a * a;
        differences += d * d;
    }
    free(found);
    int64_t blocks = (int64_t)count, varies = squares - sum * sum / blocks;
    compared->wrong = differences > varies / 2 + 32 * blocks;
}

static int segment_check(struct rung *rung, struct sl_failure *why)
{
    const struct ladder *ladder = rung->ladder;
    if (!is_checked(rung, rung->segment))
        return SL_OK;
    struct compared compared = {.first = rung->firsts[rung->segment]};
    if (!compared.first)
        return sl_fail(why, SL_EINTERNAL, "%s segment %d was written before it began",
                       rung->plan->name, rung->segment);
    const struct ladder_segment *segment = &ladder->segments[rung->segment];
    struct media_check_want want = {
        .timescale = ladder->job->timescale,
        .frame_count = segment->frame_count,
        .start_ticks = segment->start_ticks,
        .last_ticks = segment->last_ticks,
        .width = rung->plan->width,
        .height = rung->plan->height,
        .bit_depth = ladder->job->picture.bit_depth,
        .color_primaries = ladder->job->picture.primaries,
        .color_transfer = ladder->job->picture.transfer,
        .color_matrix = ladder->job->picture.matrix,
        .hdr = &ladder->job->picture.hdr,
        .decode = MEDIA_CHECK_WHOLE,
        .shown = first_compare,
        .shown_arg = &compared,
    };
    struct sl_failure found = {0};
    int code = media_check_segment(rung->init.data, rung->init.length, rung->out.data,
                                   rung->out.length, &want, NULL, &found);
    free(rung->firsts[rung->segment]);
    rung->firsts[rung->segment] = NULL;
    if (code == SL_OK && compared.wrong)
        code = sl_fail(&found, SL_EMISMATCH, "its first picture is not the one that went in");
    if (code == SL_OK)
        return SL_OK;
    return sl_fail(why, code, "%s segment %d does not read back: %.180s", rung->plan->name,
                   ladder->job->segments[rung->segment].number, found.message);
}

static void segment_forget(struct rung *rung)
{
    sl_buf_reset(&rung->bytes);
    rung->packet_count = 0;
    rung->idr_count = 0;
}

static int segment_write(struct rung *rung, struct sl_failure *why)
{
    struct ladder *ladder = rung->ladder;
    const struct ladder_segment *segment = &ladder->segments[rung->segment];
    int32_t number = ladder->job->segments[rung->segment].number;
    if (rung->packet_count != (size_t)segment->frame_count)
        return sl_fail(why, SL_EMISMATCH,
                       "%s segment %d: %d frames were decoded and %zu came out of %s",
                       rung->plan->name, number, segment->frame_count, rung->packet_count,
                       rung->plan->encoder);
    if (rung->idr_count != segment->idr_count)
        return sl_fail(
            why, SL_EMISMATCH, "%s segment %d: %d keyframes were asked for and %s made %d",
            rung->plan->name, number, segment->idr_count, rung->plan->encoder, rung->idr_count);
    for (size_t i = 0; i < rung->packet_count; i++)
        rung->packets[i].data = rung->bytes.data + rung->offsets[i];
    if (rung->segment < rung->rendition->segment_count) {
        segment_forget(rung); /* by a pass before this one */
        return SL_OK;
    }
    sl_buf_reset(&rung->out);
    int code = cmaf_segment(rung->cmaf, number, rung->packets, rung->packet_count,
                            segment->start_ticks, segment->end_ticks, &rung->out, why);
    if (code == SL_OK)
        code = segment_check(rung, why);
    char file[24], name[JOB_NAME_BYTES];
    snprintf(file, sizeof file, "%06d.m4s", number);
    if (code == SL_OK)
        code = output_name(rung, file, name, why);
    int32_t output = -1;
    if (code == SL_OK)
        code = run_output(ladder->run, name, rung->out.data, rung->out.length, &output, why);
    if (code != SL_OK)
        return code;
    rung->rendition->segments[rung->rendition->segment_count++] = (struct report_segment){
        .number = number,
        .frame_count = segment->frame_count,
        .start_ticks = segment->start_ticks,
        .end_ticks = segment->end_ticks,
        .last_ticks = segment->last_ticks,
        .output = output,
    };
    segment_forget(rung);
    return SL_OK;
}

static int packet_keep(struct rung *rung, const struct hal_packet *packet, struct sl_failure *why)
{
    if (rung->packet_count == rung->packet_room) {
        size_t room = rung->packet_room ? rung->packet_room * 2 : 256;
        struct cmaf_packet *packets = realloc(rung->packets, room * sizeof *packets);
        if (packets)
            rung->packets = packets;
        size_t *offsets = realloc(rung->offsets, room * sizeof *offsets);
        if (offsets)
            rung->offsets = offsets;
        if (!packets || !offsets)
            return sl_fail(why, SL_ENOMEM, "no memory for the packets of a segment");
        rung->packet_room = room;
    }
    rung->offsets[rung->packet_count] = rung->bytes.length;
    rung->packets[rung->packet_count++] =
        (struct cmaf_packet){.bytes = packet->bytes, .pts = packet->pts, .idr = packet->idr};
    rung->idr_count += packet->idr;
    sl_buf_append(&rung->bytes, packet->data, packet->bytes);
    if (rung->bytes.failed)
        return sl_fail(why, SL_ENOMEM, "no memory for the packets of a segment");
    return SL_OK;
}

static int packet_take(struct rung *rung, const struct hal_packet *packet, struct sl_failure *why)
{
    struct ladder *ladder = rung->ladder;
    int32_t next = rung->segment + 1;
    bool starts = packet->idr && next < ladder->job->segment_count &&
                  packet->pts == ladder->segments[next].start_ticks;
    if (starts) {
        int code = rung->segment >= 0 ? segment_write(rung, why) : SL_OK;
        if (code != SL_OK)
            return code;
        rung->segment = next;
    } else if (rung->segment < 0) {
        return sl_fail(why, SL_EMISMATCH, "%s: the first packet of %s is not the planned keyframe",
                       rung->plan->name, rung->plan->encoder);
    }
    int code = packet_keep(rung, packet, why);
    if (code != SL_OK)
        return code;
    int64_t done = atomic_fetch_add(&ladder->frames_done, 1) + 1;
    run_progress(ladder->run, done / ladder->job->rung_count,
                 ladder->frame_total / ladder->job->rung_count);
    return SL_OK;
}

static int packets_take(struct rung *rung, struct sl_failure *why)
{
    for (;;) {
        struct hal_packet packet;
        int got = hal_encode_receive(rung->session, &packet, why);
        if (got <= 0)
            return got;
        int code = packet_take(rung, &packet, why);
        if (code != SL_OK)
            return code;
    }
}

/* ---- pictures ---- */

/* The picture to encode: the decoded one where it fits, else the scaled one. */
static int picture(struct rung *rung, const AVFrame *frame, const AVFrame **out,
                   struct sl_failure *why)
{
    if (!rung->scale || !cpu_scale_fits(rung->scale, frame)) {
        const struct ladder *ladder = rung->ladder;
        struct cpu_scale_target target = {
            .layout = rung->layout,
            .width = rung->plan->width,
            .height = rung->plan->height,
            .color_primaries = ladder->job->picture.primaries,
            .color_transfer = ladder->job->picture.transfer,
            .color_matrix = ladder->job->picture.matrix,
        };
        cpu_scale_close(&rung->scale);
        int code = cpu_scale_open(frame, &target, &rung->scale, why);
        if (code != SL_OK)
            return code;
        rung->scale_is_copy = cpu_scale_is_copy(rung->scale);
    }
    if (rung->scale_is_copy) {
        *out = frame;
        return SL_OK;
    }
    if (!rung->scaled)
        rung->scaled = media_frame_make(rung->layout, rung->plan->width, rung->plan->height);
    if (!rung->scaled)
        return sl_fail(why, SL_ENOMEM, "no memory for a picture of %dx%d", rung->plan->width,
                       rung->plan->height);
    *out = rung->scaled;
    return cpu_scale_run(rung->scale, frame, rung->scaled, why);
}

static int frame_encode(struct rung *rung, const struct ring_slot *slot, struct sl_failure *why)
{
    int64_t before_ns = run_thread_cpu_ns();
    const AVFrame *made = slot->pictures[rung->index - rung->ladder->rung_first];
    const AVFrame *from = made;
    int code = rung->ladder->surfaces ? SL_OK : picture(rung, slot->frame, &from, why);
    int64_t between_ns = run_thread_cpu_ns();
    if (code != SL_OK)
        return code;
    struct hal_frame view = {
        .layout = rung->layout, .width = made->width, .height = made->height, .surface = made};
    if (from != made || rung->ladder->fed)
        media_frame_view(from, rung->layout, &view);
    view.pts = slot->ticks;
    view.force_idr = slot->force_idr;
    if (slot->ticks == rung->ladder->segments[slot->segment].start_ticks &&
        is_checked(rung, slot->segment))
        code = first_keep(rung, slot->segment, &view, why);
    if (code == SL_OK)
        code = hal_encode_submit(rung->session, &view, why);
    if (code == SL_OK)
        code = packets_take(rung, why);
    rung->scale_cpu_ns += between_ns - before_ns;
    rung->encode_cpu_ns += run_thread_cpu_ns() - between_ns;
    return code;
}

static int rung_work(struct rung *rung, struct sl_failure *why)
{
    struct ladder *ladder = rung->ladder;
    const int reader = rung->index - ladder->rung_first;
    const struct ring_slot *slot;
    int got;
    while ((got = frame_ring_take(&ladder->ring, reader, &slot)) > 0) {
        int code = frame_encode(rung, slot, why);
        frame_ring_release(&ladder->ring, reader);
        if (code != SL_OK)
            return code;
    }
    if (got < 0)
        return got;
    int64_t before_ns = run_thread_cpu_ns();
    int code = hal_encode_flush(rung->session, why);
    if (code == SL_OK)
        code = packets_take(rung, why);
    if (code == SL_OK && rung->segment != ladder->job->segment_count - 1)
        code = sl_fail(why, SL_EMISMATCH, "%s: %s ended in segment %d of %d", rung->plan->name,
                       rung->plan->encoder, rung->segment + 1, ladder->job->segment_count);
    if (code == SL_OK)
        code = segment_write(rung, why);
    rung->encode_cpu_ns += run_thread_cpu_ns() - before_ns;
    return code;
}

void *rung_run(void *arg)
{
    struct rung *rung = arg;
    struct sl_failure why = {0};
    int code = rung_work(rung, &why);
    if (code != SL_OK && code != SL_ECANCELLED) {
        if (why.code == SL_OK)
            sl_fail(&why, code, "%s: %s", rung->plan->name, sl_error_text(code));
        ladder_fail(rung->ladder, &why);
    }
    return NULL;
}

/* ---- opening ---- */

/* Chroma in pairs where the encoder reads it so: devices do, and would convert planes again for every picture. */
int rung_layout(const struct ladder *ladder, const struct plan_rung *plan,
                const struct hal_device *device, enum hal_layout *out, struct sl_failure *why)
{
    bool deep = ladder->job->picture.bit_depth > 8;
    const enum hal_layout choices[] = {deep ? HAL_P010 : HAL_NV12, deep ? HAL_I420_10 : HAL_I420};
    struct sl_failure none = {0};
    const struct hal_row *row =
        hal_device_row(device, plan->codec, plan->encoder, plan->width, plan->height, &none);
    if (!row)
        return sl_fail(why, none.code, "%s", none.message);
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (row->layouts & 1u << choices[i]) {
            *out = choices[i];
            return SL_OK;
        }
    return sl_fail(why, SL_EINVAL, "%s on %s has no %d-bit %s", plan->encoder, device->device_id,
                   deep ? 10 : 8, codec_word(plan->codec));
}

static int session_open(struct rung *rung, struct hal_device *device, struct sl_failure *why)
{
    const struct ladder *ladder = rung->ladder;
    const struct job_transcode *job = ladder->job;
    const struct plan_rung *plan = rung->plan;
    struct hal_encode_params params = {
        .codec = plan->codec,
        .layout = rung->layout,
        .width = plan->width,
        .height = plan->height,
        .time_base = {1, job->timescale},
        .frame_rate = {job->frame_rate.num, job->frame_rate.den},
        .sar = {1, 1},
        .crf_tenths = plan->crf_tenths,
        .maxrate_kbps = plan->maxrate_kbps,
        .bufsize_kbit = plan->bufsize_kbit,
        .gop_frames = (int32_t)sl_muldiv_i64(job->gop_ns, job->frame_rate.num,
                                             job->frame_rate.den * SL_NS_PER_S),
        .bframes = -1,
        .threads = 1,
        .color_primaries = ladder->job->picture.primaries,
        .color_transfer = ladder->job->picture.transfer,
        .color_matrix = ladder->job->picture.matrix,
        .hdr = ladder->job->picture.hdr,
        .surfaces = surfaces_pool(ladder->surfaces, rung->index - ladder->rung_first),
    };
    snprintf(params.preset, sizeof params.preset, "%s", plan->preset);
    snprintf(params.profile, sizeof params.profile, "%s", plan->profile);
    return hal_encode_open(ladder->run->backends, device, plan->encoder, &params, &rung->session,
                           why);
}

static int init_make(struct rung *rung, struct sl_failure *why)
{
    struct ladder *ladder = rung->ladder;
    struct report_rendition *rendition = rung->rendition;
    struct cmaf_track track = {
        .codec = rung->plan->codec,
        .timescale = ladder->job->timescale,
        .reorder_ticks = ladder->job->reorder_ticks,
        .width = rung->plan->width,
        .height = rung->plan->height,
        .color_primaries = ladder->job->picture.primaries,
        .color_transfer = ladder->job->picture.transfer,
        .color_matrix = ladder->job->picture.matrix,
        .bit_depth = ladder->job->picture.bit_depth,
        .hdr = ladder->job->picture.hdr,
        .frame_rate = ladder->job->frame_rate,
        .maxrate_kbps = rung->plan->maxrate_kbps,
    };
    int code = hal_encode_extradata(rung->session, &track.extradata, &track.extradata_bytes);
    if (code != SL_OK)
        return sl_fail(why, code, "%s: %s gave no parameter sets", rung->plan->name,
                       rung->plan->encoder);
    code = cmaf_open(&track, &rung->cmaf, why);
    if (code == SL_OK)
        code = cmaf_init(rung->cmaf, &rung->init, why);
    if (code == SL_OK)
        code = cmaf_codecs(&track, rendition->codecs, why);
    uint8_t sha256[SHA256_BYTES] = {0};
    if (code == SL_OK)
        code = media_digest(rung->init.data, rung->init.length, sha256);
    bool written = rendition->init_output >= 0;
    if (code == SL_OK && (written || rendition->segment_count > 0) &&
        memcmp(sha256, rendition->init_sha256, sizeof sha256) != 0)
        code = sl_fail(why, SL_EMISMATCH, "%s: %s begins otherwise when it begins anew",
                       rung->plan->name, rung->plan->encoder);
    memcpy(rendition->init_sha256, sha256, sizeof sha256);
    if (code != SL_OK || written || !ladder->job->write_init)
        return code;
    char name[JOB_NAME_BYTES];
    code = output_name(rung, "init.mp4", name, why);
    if (code != SL_OK)
        return code;
    return run_output(ladder->run, name, rung->init.data, rung->init.length,
                      &rendition->init_output, why);
}

int rung_open(struct rung *rung, struct ladder *ladder, int index, struct hal_device *device,
              struct report_rendition *rendition, struct sl_failure *why)
{
    const struct plan_rung *plan = &ladder->job->rungs[index];
    *rung = (struct rung){
        .ladder = ladder, .plan = plan, .index = index, .rendition = rendition, .segment = -1};
    if (!rendition->segments)
        *rendition = (struct report_rendition){
            .codec = plan->codec,
            .width = plan->width,
            .height = plan->height,
            .timescale = ladder->job->timescale,
            .init_output = -1,
            .segments = sl_arena_array(&ladder->run->arena, (size_t)ladder->job->segment_count,
                                       sizeof *rendition->segments),
        };
    rung->firsts = calloc((size_t)ladder->job->segment_count, sizeof *rung->firsts);
    if (!rendition->segments || !rung->firsts)
        return sl_fail(why, SL_ENOMEM, "no memory for a report");
    memcpy(rendition->name, plan->name, sizeof rendition->name);
    memcpy(rendition->encoder, plan->encoder, sizeof rendition->encoder);
    int code = rung_layout(ladder, plan, device, &rung->layout, why);
    if (code == SL_OK)
        code = session_open(rung, device, why);
    return code == SL_OK ? init_make(rung, why) : code;
}

void rung_close(struct rung *rung)
{
    hal_encode_close(&rung->session);
    cmaf_close(&rung->cmaf);
    cpu_scale_close(&rung->scale);
    av_frame_free(&rung->scaled);
    sl_buf_fini(&rung->init);
    sl_buf_fini(&rung->bytes);
    sl_buf_fini(&rung->out);
    for (int32_t i = 0; rung->firsts && i < rung->ladder->job->segment_count; i++)
        free(rung->firsts[i]);
    free(rung->firsts);
    free(rung->packets);
    free(rung->offsets);
    *rung = (struct rung){0};
}
