#include "tests/wire/wire_random.h"

static void *array(struct random *r, size_t count, size_t element_bytes)
{
    return sl_arena_array(&r->arena, count, element_bytes);
}

void random_device(struct random *r, struct device_row *out)
{
    TEXT(r, out->device_id);
    out->kind = (enum device_kind)random_below(r, DEVICE_KIND_COUNT);
    TEXT(r, out->name);
    out->health = (enum device_health)random_below(r, HEALTH_COUNT);
    TEXT(r, out->health_reason);
    out->encodes = (uint32_t)random_i64(r);
    out->decodes = (uint32_t)random_i64(r);
    out->sessions_in_use = random_i32(r);
    out->session_limit = random_i32(r);
    for (int i = 0; i < CODEC_COUNT; i++)
        out->mpix_per_s[i] = random_i64(r);
    out->vram_bytes = random_i64(r);
    out->cpus = random_i32(r);
    out->memory_bytes = random_i64(r);
    TEXT(r, out->driver);
    out->standin = random_below(r, 2);
    for (int i = 0; i < CODEC_COUNT; i++)
        out->codec_leases[i] = random_i32(r);
    out->encodes_ten_bit = (uint32_t)random_i64(r);
    out->session_scope = (enum session_scope)random_below(r, SCOPE_COUNT);
    out->telemetry.busy_percent = random_i64(r);
    out->telemetry.power_mw = random_i64(r);
    out->feed = (enum device_feed)random_below(r, FEED_COUNT);
    out->feed_permille = random_i32(r);
}

static void random_demand(struct random *r, struct demand *out)
{
    out->cpu_millicores = random_i32(r);
    out->sessions = random_i32(r);
    out->memory_bytes = random_i64(r);
    out->vram_bytes = random_i64(r);
    out->work_mpix = random_i64(r);
    out->fetch_bytes = random_i64(r);
}

static void random_failure(struct random *r, struct sl_failure *out)
{
    out->code = -(int)(1 + random_below(r, 40));
    TEXT(r, out->message);
}

void random_request(struct random *r, struct sync_request *out)
{
    out->version = SYNC_VERSION;
    TEXT(r, out->node_uuid);
    TEXT(r, out->node_name);
    out->session = random_next(r);
    out->seq = random_next(r);
    out->spot = out->park = out->leaving = true;
    out->notice_remaining_ns = random_i64(r);
    random_demand(r, &out->total);
    out->device_count = (int32_t)random_below(r, NODE_DEVICES_MAX + 1);
    for (int i = 0; i < out->device_count; i++)
        random_device(r, &out->devices[i]);
    out->held_count = (int32_t)random_below(r, 20);
    out->held = array(r, (size_t)out->held_count, sizeof *out->held);
    for (int i = 0; i < out->held_count; i++) {
        struct sync_held *held = &out->held[i];
        held->token.v = random_next(r) | 1;
        held->task.v = random_i64(r);
        held->video.v = random_i64(r);
        held->state = (enum held_state)random_below(r, HELD_STATE_COUNT);
        held->done_units = random_i64(r);
        held->total_units = random_i64(r);
        random_failure(r, &held->failure);
        TEXT(r, held->device_id);
        held->report_bytes = 1 + random_below(r, 3000);
        held->report = random_bytes(r, held->report_bytes);
    }
}

void random_answer(struct random *r, struct sync_answer *out)
{
    out->version = SYNC_VERSION;
    random_failure(r, &out->refused);
    out->seq = random_next(r);
    out->wait_ns = random_i64(r);
    out->lease_timeout_ns = random_i64(r);
    out->node_state = (enum node_state)random_below(r, NODE_STATE_COUNT);
    TEXT(r, out->store_id);
    TEXT(r, out->store_path);
    TEXT(r, out->http_host);
    out->http_port = random_i32(r);
    out->grant_count = (int32_t)random_below(r, 10);
    out->grants = array(r, (size_t)out->grant_count, sizeof *out->grants);
    for (int i = 0; i < out->grant_count; i++) {
        struct sync_grant *grant = &out->grants[i];
        grant->token.v = random_next(r) | 1;
        grant->task.v = random_i64(r);
        grant->video.v = random_i64(r);
        grant->step = (enum step)random_below(r, STEP_COUNT);
        random_demand(r, &grant->demand);
        grant->watchdog_ns = random_i64(r);
        grant->input_count = (int32_t)random_below(r, 6);
        grant->inputs = array(r, (size_t)grant->input_count, sizeof *grant->inputs);
        for (int k = 0; k < grant->input_count; k++) {
            TEXT(r, grant->inputs[k].key);
            grant->inputs[k].bytes = random_size(r);
        }
        TEXT(r, grant->output_prefix);
        TEXT(r, grant->ticket);
        grant->job_bytes = 1 + random_below(r, 3000);
        grant->job = random_bytes(r, grant->job_bytes);
    }
    out->verdict_count = (int32_t)random_below(r, 20);
    out->verdicts = array(r, (size_t)out->verdict_count, sizeof *out->verdicts);
    for (int i = 0; i < out->verdict_count; i++) {
        out->verdicts[i].token.v = random_next(r);
        out->verdicts[i].kind = (enum verdict_kind)random_below(r, 2);
    }
}

static void random_hdr(struct random *r, struct media_hdr *out)
{
    if (random_below(r, 2))
        return;
    out->mastering = true;
    for (int i = 0; i < 6; i++)
        out->primaries[i / 2][i % 2] = random_i32(r);
    out->white[0] = random_i32(r);
    out->white[1] = random_i32(r);
    out->luminance_max = random_i64(r);
    out->luminance_min = random_i64(r);
    out->light = random_below(r, 2);
    out->light_max_nits = random_i32(r);
    out->light_average_nits = random_i32(r);
}

static void random_video(struct random *r, struct media_video *out)
{
    out->stream_index = random_i32(r);
    TEXT(r, out->codec);
    TEXT(r, out->profile);
    TEXT(r, out->pix_fmt);
    out->width = random_i32(r);
    out->height = random_i32(r);
    out->rotation_degrees = random_i32(r);
    out->bit_depth = random_i32(r);
    out->sar = random_rational(r);
    out->time_base = random_rational(r);
    out->frame_rate = random_rational(r);
    out->variable_frame_rate = out->interlaced = out->full_range = out->seekable = true;
    out->color_primaries = random_i32(r);
    out->color_transfer = random_i32(r);
    out->color_matrix = random_i32(r);
    out->first_pts = random_i64(r);
    out->end_pts = random_i64(r);
    out->frame_count = random_i64(r);
    out->bytes = random_i64(r);
    out->crop_left = random_i32(r);
    out->crop_top = random_i32(r);
    out->crop_right = random_i32(r);
    out->crop_bottom = random_i32(r);
    out->mirrored = out->top_field_first = out->telecined = true;
    out->hdr_peak_nits = random_i32(r);
    out->times = (enum frame_times)random_below(r, FRAME_TIMES_COUNT);
    out->frame_sar = (struct rational){random_i32(r), random_i32(r)};
    out->dolby_vision = random_i32(r);
    random_hdr(r, &out->hdr);
}

static void random_audio(struct random *r, struct media_audio *out)
{
    out->stream_index = random_i32(r);
    TEXT(r, out->codec);
    out->channels = random_i32(r);
    out->sample_rate_hz = random_i32(r);
    out->time_base = random_rational(r);
    out->first_pts = random_i64(r);
    out->end_pts = random_i64(r);
    TEXT(r, out->language);
    TEXT(r, out->layout);
    TEXT(r, out->title);
    out->role = (enum audio_role)random_below(r, AUDIO_ROLE_COUNT);
}

static struct media_chapter *random_chapters(struct random *r, int32_t *count)
{
    *count = (int32_t)random_below(r, 20);
    struct media_chapter *chapters = array(r, (size_t)*count, sizeof *chapters);
    for (int i = 0; i < *count; i++) {
        chapters[i].start_ns = random_i64(r);
        chapters[i].end_ns = random_i64(r);
        TEXT(r, chapters[i].title);
    }
    return chapters;
}

static void random_picture(struct random *r, struct plan_picture *out)
{
    out->deinterlace = true;
    out->tonemap_peak_nits = random_i32(r);
    out->source_primaries = random_i32(r);
    out->source_transfer = random_i32(r);
    out->source_matrix = random_i32(r);
    out->primaries = random_i32(r);
    out->transfer = random_i32(r);
    out->matrix = random_i32(r);
    out->bit_depth = random_i32(r);
    random_hdr(r, &out->hdr);
}

void random_info(struct random *r, struct media_info *out)
{
    out->text_left_out = random_i32(r);
    out->text_count = (int32_t)random_below(r, MEDIA_TEXTS_MAX + 1);
    out->texts = array(r, (size_t)out->text_count, sizeof *out->texts);
    for (int i = 0; i < out->text_count; i++) {
        struct media_text *text = &out->texts[i];
        text->stream_index = random_i32(r);
        TEXT(r, text->codec);
        TEXT(r, text->language);
        TEXT(r, text->title);
        text->is_default = i % 2;
        text->forced = i % 3 == 0;
        text->impaired = i % 5 == 0;
    }
    out->chapters = random_chapters(r, &out->chapter_count);
    TEXT(r, out->container);
    out->size_bytes = random_i64(r);
    out->duration_ns = random_i64(r);
    out->video_stream_count = random_i32(r);
    out->audio_stream_count = random_i32(r);
    out->subtitle_stream_count = random_i32(r);
    out->has_video = true;
    out->stream_asked = random_i32(r);
    out->stream_count = (int32_t)random_below(r, MEDIA_STREAMS_MAX + 1);
    for (int i = 0; i < out->stream_count; i++) {
        struct media_stream *stream = &out->streams[i];
        stream->index = random_i32(r);
        stream->program = random_i32(r);
        TEXT(r, stream->codec);
        stream->width = random_i32(r);
        stream->height = random_i32(r);
        stream->is_default = true;
    }
    random_video(r, &out->video);
    out->audio_count = (int32_t)random_below(r, MEDIA_AUDIO_MAX + 1);
    for (int i = 0; i < out->audio_count; i++)
        random_audio(r, &out->audio[i]);
    TEXT(r, out->audio_note);
}

void random_index(struct random *r, size_t count, struct media_index *out)
{
    out->time_base = random_rational(r);
    out->end_pts = random_i64(r);
    out->count = count;
    out->pts = array(r, count, sizeof *out->pts);
    out->key = array(r, count, sizeof *out->key);
    out->byte_offset = array(r, count, sizeof *out->byte_offset);
    out->byte_length = array(r, count, sizeof *out->byte_length);
    int64_t pts = -5000;
    for (size_t i = 0; i < count; i++) {
        pts += (int64_t)(1 + random_below(r, 3000));
        out->pts[i] = pts;
        out->key[i] = random_below(r, 50) == 0;
        out->byte_offset[i] = random_below(r, 5) ? random_size(r) >> 10 : -1;
        out->byte_length[i] = (int32_t)random_below(r, INT32_MAX);
    }
}

static void random_rung(struct random *r, struct plan_rung *out)
{
    out->codec = (enum codec)random_below(r, CODEC_COUNT);
    TEXT(r, out->name);
    out->width = random_i32(r);
    out->height = random_i32(r);
    out->crf_tenths = random_i32(r);
    out->maxrate_kbps = random_i32(r);
    out->bufsize_kbit = random_i32(r);
    TEXT(r, out->encoder);
    TEXT(r, out->preset);
    TEXT(r, out->profile);
}

static void random_plan_audio(struct random *r, struct plan_audio *out)
{
    out->codec = (enum audio_codec)random_below(r, AUDIO_CODEC_COUNT);
    out->bitrate_kbps = random_i32(r);
    out->channels = random_i32(r);
    out->sample_rate_hz = random_i32(r);
    TEXT(r, out->name);
    TEXT(r, out->group);
    TEXT(r, out->label);
    out->loudness = (struct policy_loudness){true, random_i32(r), random_i32(r)};
}

static void random_plan_text(struct random *r, struct plan_text *out)
{
    TEXT(r, out->name);
    TEXT(r, out->language);
    TEXT(r, out->title);
    out->is_default = true;
    out->forced = random_below(r, 2);
    out->impaired = random_below(r, 2);
    out->stream_index = random_i32(r);
    TEXT(r, out->codec);
    out->sidecar_bytes = random_i64(r);
    memcpy(out->sidecar_sha256, random_bytes(r, SHA256_BYTES), SHA256_BYTES);
}

static void random_plan_images(struct random *r, struct plan_images *out)
{
    out->poster = random_below(r, 2);
    out->preview = true;
    out->interval_ns = random_i64(r);
    out->poster_width = random_i32(r);
    out->poster_height = random_i32(r);
    out->tile_width = random_i32(r);
    out->tile_height = random_i32(r);
    out->preview_width = random_i32(r);
    out->preview_height = random_i32(r);
    out->still_count = (int32_t)random_below(r, PLAN_STILLS_MAX + 1);
    out->stills = array(r, (size_t)out->still_count, sizeof *out->stills);
    for (int i = 0; i < out->still_count; i++)
        out->stills[i] = (int64_t)random_next(r);
}

void random_plan(struct random *r, struct plan *out)
{
    out->text_count = (int32_t)random_below(r, PLAN_TEXTS_MAX + 1);
    out->texts = array(r, (size_t)out->text_count, sizeof *out->texts);
    for (int i = 0; i < out->text_count; i++)
        random_plan_text(r, &out->texts[i]);
    random_plan_images(r, &out->images);
    out->chapters = random_chapters(r, &out->chapter_count);
    random_video(r, &out->video);
    TEXT(r, out->left_out);
    for (int i = 0; i < CODEC_COUNT; i++)
        random_picture(r, &out->pictures[i]);
    out->origin_pts = random_i64(r);
    out->end_pts = random_i64(r);
    out->timescale = random_i32(r);
    out->reorder_ticks = random_i64(r);
    out->gop_ns = random_i64(r);
    out->segment_duration_max_ns = random_i64(r);
    out->frame_rate = random_rational(r);
    out->codec_count = random_i32(r);
    out->rung_count = (int32_t)random_below(r, 12);
    out->source_count = (int32_t)(1 + random_below(r, MEDIA_AUDIO_MAX));
    out->audio_count = (int32_t)random_below(r, PLAN_AUDIO_MAX + 1);
    out->segment_count = (int32_t)(1 + random_below(r, 40));
    out->chunk_count = (int32_t)(1 + random_below(r, 20));
    out->rungs = array(r, (size_t)out->rung_count, sizeof *out->rungs);
    out->sources = array(r, (size_t)out->source_count, sizeof *out->sources);
    out->audio = array(r, (size_t)out->audio_count, sizeof *out->audio);
    for (int i = 0; i < out->source_count; i++)
        random_audio(r, &out->sources[i]);
    out->segments = array(r, (size_t)out->segment_count, sizeof *out->segments);
    out->chunks = array(r, (size_t)out->chunk_count, sizeof *out->chunks);
    for (int i = 0; i < out->rung_count; i++)
        random_rung(r, &out->rungs[i]);
    for (int i = 0; i < out->audio_count; i++) {
        random_plan_audio(r, &out->audio[i]);
        out->audio[i].track = (int32_t)random_below(r, (size_t)out->source_count);
    }
    for (int i = 0; i < out->segment_count; i++) {
        struct plan_segment *s = &out->segments[i];
        s->start_pts = random_i64(r);
        s->end_pts = random_i64(r);
        s->frame_count = random_i32(r);
        s->chunk = (int32_t)random_below(r, (size_t)out->chunk_count);
    }
    for (int i = 0; i < out->chunk_count; i++) {
        struct plan_chunk *c = &out->chunks[i];
        c->start_pts = random_i64(r);
        c->end_pts = random_i64(r);
        c->segment_first = (int32_t)random_below(r, (size_t)out->segment_count);
        c->segment_count = out->segment_count - c->segment_first;
        c->frame_count = random_i64(r);
        c->byte_first = random_i64(r);
        c->byte_end = random_i64(r);
        c->work_mpix = random_i64(r);
    }
}

static void random_transcode(struct random *r, struct job_transcode *out)
{
    random_video(r, &out->source);
    random_picture(r, &out->picture);
    out->start_pts = random_i64(r);
    out->end_pts = random_i64(r);
    out->origin_pts = random_i64(r);
    out->byte_first = random_i64(r);
    out->timescale = random_i32(r);
    out->reorder_ticks = random_i64(r);
    out->gop_ns = random_i64(r);
    out->frame_rate = random_rational(r);
    out->preroll = random_i32(r);
    out->last_chunk = out->write_init = true;
    out->check = (enum check_amount)random_below(r, CHECK_ALL + 1);
    out->segment_count = (int32_t)random_below(r, PLAN_CHUNK_SEGMENTS_MAX + 1);
    out->segments = array(r, (size_t)out->segment_count, sizeof *out->segments);
    for (int i = 0; i < out->segment_count; i++)
        out->segments[i] =
            (struct job_segment){random_i32(r), random_i64(r), random_i64(r), random_i32(r)};
    out->rung_count = (int32_t)random_below(r, POLICY_RUNGS_MAX + 1);
    out->rungs = array(r, (size_t)out->rung_count, sizeof *out->rungs);
    for (int i = 0; i < out->rung_count; i++)
        random_rung(r, &out->rungs[i]);
}

void random_job(struct random *r, enum step step, struct job *out)
{
    out->step = step;
    TEXT(r, out->video);
    out->task.v = random_i64(r);
    out->token.v = random_next(r);
    out->watchdog_ns = random_i64(r);
    TEXT(r, out->device_id);
    TEXT(r, out->feed_device_id);
    out->sessions = random_i32(r);
#define LIMIT_RANDOM(name, kind, least, most, otherwise)                                           \
    out->limits.name = (least) + (int64_t)random_below(r, (size_t)((most) - (least)) + 1);
    LIMIT_LIST(LIMIT_RANDOM)
#undef LIMIT_RANDOM
    if (step == STEP_TRANSCODE) {
        random_transcode(r, &out->transcode);
    } else if (step == STEP_AUDIO) {
        random_audio(r, &out->audio.source);
        random_plan_audio(r, &out->audio.out);
        out->audio.origin_pts = random_i64(r);
        out->audio.origin_time_base = random_rational(r);
        out->audio.timescale = random_i32(r);
        out->audio.boundary_count = (int32_t)random_below(r, 300);
        out->audio.boundary_ticks =
            array(r, (size_t)out->audio.boundary_count, sizeof *out->audio.boundary_ticks);
        for (int i = 0; i < out->audio.boundary_count; i++)
            out->audio.boundary_ticks[i] = (int64_t)random_next(r);
    } else if (step == STEP_PROBE) {
        out->probe.stream_asked = random_i32(r);
    } else if (step == STEP_SUBTITLES) {
        random_plan_text(r, &out->text.text);
        out->text.origin_pts = random_i64(r);
        out->text.origin_time_base = random_rational(r);
        out->text.timescale = random_i32(r);
        out->text.boundary_count = (int32_t)random_below(r, 300);
        out->text.boundary_ticks =
            array(r, (size_t)out->text.boundary_count, sizeof *out->text.boundary_ticks);
        for (int i = 0; i < out->text.boundary_count; i++)
            out->text.boundary_ticks[i] = (int64_t)random_next(r);
    } else if (step == STEP_IMAGES) {
        random_video(r, &out->images.source);
        random_picture(r, &out->images.picture);
        random_plan_images(r, &out->images.images);
        out->images.origin_pts = random_i64(r);
        out->images.end_pts = random_i64(r);
    } else if (step == STEP_PACKAGE) {
        TEXT(r, out->package.video);
    } else if (step == STEP_VERIFY) {
        out->verify.package_token.v = (uint64_t)random_i64(r);
        out->verify.sample_count = (int32_t)random_below(r, 40);
        out->verify.samples =
            array(r, (size_t)out->verify.sample_count, sizeof *out->verify.samples);
        for (int i = 0; i < out->verify.sample_count; i++)
            out->verify.samples[i] = (struct job_sample){
                (int32_t)random_below(r, 50), (int32_t)random_below(r, 200000),
                (int32_t)random_below(r, JOB_INPUTS_MAX), (int32_t)random_below(r, JOB_INPUTS_MAX)};
    }
}

static void random_rendition(struct random *r, int32_t output_count, struct report_rendition *out)
{
    TEXT(r, out->name);
    out->codec = (enum codec)random_below(r, CODEC_COUNT);
    TEXT(r, out->codecs);
    TEXT(r, out->encoder);
    out->width = random_i32(r);
    out->height = random_i32(r);
    out->timescale = random_i32(r);
    out->init_output = (int32_t)random_below(r, (size_t)output_count + 1) - 1;
    memcpy(out->init_sha256, random_bytes(r, SHA256_BYTES), SHA256_BYTES);
    out->segment_count = (int32_t)random_below(r, 30);
    out->segments = array(r, (size_t)out->segment_count, sizeof *out->segments);
    for (int i = 0; i < out->segment_count; i++) {
        struct report_segment *s = &out->segments[i];
        s->number = random_i32(r);
        s->frame_count = random_i32(r);
        s->start_ticks = random_i64(r);
        s->end_ticks = random_i64(r);
        s->last_ticks = random_i64(r);
        s->output = (int32_t)random_below(r, (size_t)output_count);
    }
}

static void random_outputs(struct random *r, struct report *out)
{
    out->output_count = (int32_t)(1 + random_below(r, 30));
    out->outputs = array(r, (size_t)out->output_count, sizeof *out->outputs);
    for (int i = 0; i < out->output_count; i++) {
        struct report_output *output = &out->outputs[i];
        switch (random_below(r, 3)) {
        case 0:
            TEXT(r, output->name);
            TEXT(r, output->key);
            break;
        case 1: /* no key yet */
            snprintf(output->name, sizeof output->name, "h264/720p/%06d.m4s", i);
            break;
        default:
            snprintf(output->name, sizeof output->name, "h264/720p/%06d.m4s", i);
            snprintf(output->key, sizeof output->key, "h264/720p/%06d.t%d.m4s", i, i * 31);
        }
        output->bytes = random_size(r);
        memcpy(output->sha256, random_bytes(r, SHA256_BYTES), SHA256_BYTES);
    }
}

void random_report(struct random *r, enum step step, struct report *out)
{
    out->step = step;
    TEXT(r, out->device_id);
    TEXT(r, out->feed_device_id);
    out->cpu_ns = random_i64(r);
    out->wall_ns = random_i64(r);
    out->first_work_ns = random_i64(r);
    out->memory_max_bytes = random_i64(r);
    random_outputs(r, out);
    out->rendition_count = (int32_t)random_below(r, POLICY_RUNGS_MAX + 1);
    out->renditions = array(r, (size_t)out->rendition_count, sizeof *out->renditions);
    for (int i = 0; i < out->rendition_count; i++)
        random_rendition(r, out->output_count, &out->renditions[i]);
    size_t outputs = (size_t)out->output_count;
    if (step == STEP_PROBE) {
        random_info(r, &out->probe.info);
        out->probe.index_output = (int32_t)random_below(r, outputs);
    } else if (step == STEP_TRANSCODE) {
        out->transcode = (struct report_transcode){random_next(r),
                                                   random_next(r),
                                                   random_i64(r),
                                                   random_i64(r),
                                                   random_i64(r),
                                                   random_i64(r),
                                                   (int32_t)random_below(r, 100)};
    } else if (step == STEP_PACKAGE) {
        out->package.master_output = (int32_t)random_below(r, outputs);
        out->package.mpd_output = (int32_t)random_below(r, outputs + 1) - 1;
        out->package.chapters_output = (int32_t)random_below(r, outputs + 1) - 1;
    } else if (step == STEP_IMAGES) {
        out->images.poster_output = (int32_t)random_below(r, outputs + 1) - 1;
        out->images.thumbnails_output = (int32_t)random_below(r, outputs + 1) - 1;
        out->images.preview_output = (int32_t)random_below(r, outputs + 1) - 1;
        out->images.sheet_first_output = (int32_t)random_below(r, outputs);
        out->images.sheet_count = out->output_count - out->images.sheet_first_output;
        if (out->images.sheet_count > PUBLISHED_SHEETS_MAX)
            out->images.sheet_count = PUBLISHED_SHEETS_MAX;
        out->images.tile_count = random_i32(r);
    } else if (step == STEP_VERIFY) {
        out->verify = (struct report_verify){random_i64(r), random_i64(r), random_i64(r)};
    }
}

static void random_segments(struct random *r, struct published_segment **out, int32_t *count)
{
    *count = (int32_t)random_below(r, 40);
    *out = array(r, (size_t)*count, sizeof **out);
    for (int k = 0; k < *count; k++) {
        struct published_segment *s = &(*out)[k];
        TEXT(r, s->key);
        s->bytes = random_i64(r);
        s->frame_count = random_i32(r);
        s->start_ticks = random_i64(r);
        s->end_ticks = random_i64(r);
        s->last_ticks = random_i64(r);
    }
}

static void random_image(struct random *r, struct published_image *out)
{
    TEXT(r, out->key);
    out->bytes = random_i64(r);
}

static void random_extras(struct random *r, struct published_set *out)
{
    out->text_count = (int32_t)random_below(r, PLAN_TEXTS_MAX + 1);
    out->texts = array(r, (size_t)out->text_count, sizeof *out->texts);
    for (int i = 0; i < out->text_count; i++) {
        struct published_text *text = &out->texts[i];
        TEXT(r, text->name);
        TEXT(r, text->language);
        TEXT(r, text->title);
        text->is_default = text->forced = true;
        text->impaired = i % 2;
        text->timescale = random_i32(r);
        text->cue_count = random_i64(r);
        TEXT(r, text->whole_key);
        text->whole_bytes = random_i64(r);
        TEXT(r, text->playlist_key);
        random_segments(r, &text->segments, &text->segment_count);
    }
    random_image(r, &out->images.poster);
    random_image(r, &out->images.thumbnails);
    random_image(r, &out->images.preview);
    out->images.sheet_count = (int32_t)random_below(r, PUBLISHED_SHEETS_MAX + 1);
    for (int i = 0; i < out->images.sheet_count; i++)
        random_image(r, &out->images.sheets[i]);
    out->chapters = random_chapters(r, &out->chapter_count);
}

void random_published(struct random *r, struct published_set *out)
{
    random_extras(r, out);
    TEXT(r, out->video);
    out->frame_rate = random_rational(r);
    out->duration_ticks = random_i64(r);
    out->timescale = random_i32(r);
    out->frame_count = random_i64(r);
    out->rendition_count = (int32_t)random_below(r, 10);
    out->renditions = array(r, (size_t)out->rendition_count, sizeof *out->renditions);
    for (int i = 0; i < out->rendition_count; i++) {
        struct published_rendition *p = &out->renditions[i];
        p->audio = true;
        p->codec = (enum codec)random_below(r, CODEC_COUNT);
        p->audio_codec = (enum audio_codec)random_below(r, AUDIO_CODEC_COUNT);
        TEXT(r, p->name);
        TEXT(r, p->codecs);
        TEXT(r, p->encoder);
        TEXT(r, p->language);
        TEXT(r, p->group);
        TEXT(r, p->label);
        p->track = random_i32(r);
        p->role = (enum audio_role)random_below(r, AUDIO_ROLE_COUNT);
        p->width = random_i32(r);
        p->height = random_i32(r);
        p->channels = random_i32(r);
        p->sample_rate_hz = random_i32(r);
        p->maxrate_kbps = random_i32(r);
        p->timescale = random_i32(r);
        TEXT(r, p->init_key);
        p->init_bytes = random_i64(r);
        TEXT(r, p->playlist_key);
        random_segments(r, &p->segments, &p->segment_count);
    }
}
