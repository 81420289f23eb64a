#include "tests/daemon/farm_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"

#define WAIT_NS SL_S_TO_NS(20)

static void nap_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* ---- the daemon ---- */

void farm_open(struct farm *farm)
{
    memset(farm, 0, sizeof *farm);
    strcpy(farm->folder, "/tmp/sluice-test-XXXXXX");
    assert_non_null(mkdtemp(farm->folder));
    snprintf(farm->data, sizeof farm->data, "%s/data", farm->folder);
    snprintf(farm->source, sizeof farm->source, "%s/source.mp4", farm->folder);
    FILE *file = fopen(farm->source, "w");
    assert_non_null(file);
    for (int i = 0; i < 5000; i++)
        fprintf(file, "%d no media, and nobody looks\n", i);
    fclose(file);
    farm->options.data = farm->data;
    config_default(&farm->options.config);
    struct config_daemon *config = &farm->options.config.daemon;
    strcpy(config->http_host, "127.0.0.1");
    config->http_port = 0;
    strcpy(config->wire_url, "tcp://127.0.0.1:0");
    config->lease_timeout_ns = SL_MS_TO_NS(1500);
    config->renew_interval_ns = SL_MS_TO_NS(300);
    config->retry_base_ns = SL_MS_TO_NS(100);
    config->retry_max_ns = SL_MS_TO_NS(100);
    sl_log_open("test");
}

static void farm_objects_open(struct farm *farm)
{
    char id[NODE_UUID_BYTES];
    if (!farm->objects)
        assert_int_equal(objects_open_local(farm->data, false, &farm->objects, id, NULL), SL_OK);
}

void farm_start(struct farm *farm)
{
    struct sl_failure why = {0};
    int code = daemon_open(&farm->options, &farm->daemon, &why);
    if (code != SL_OK)
        fail_msg("the daemon does not start: %s", why.message);
    farm->http_port = daemon_http_port(farm->daemon);
    farm->wire_port = daemon_wire_port(farm->daemon);
    /* The same ports again after a restart. */
    farm->options.config.daemon.http_port = farm->http_port;
    snprintf(farm->options.config.daemon.wire_url, sizeof farm->options.config.daemon.wire_url,
             "tcp://127.0.0.1:%d", farm->wire_port);
    farm_objects_open(farm);
}

void farm_stop(struct farm *farm)
{
    daemon_close(&farm->daemon);
}

static void program_path(char *path, size_t bytes)
{
    const char *build = getenv("SLUICE_BUILD");
    snprintf(path, bytes, "%s/sluiced", build ? build : "build");
}

static pid_t program_start(const char *const *args, const char *errors)
{
    char path[256];
    program_path(path, sizeof path);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = open(errors, O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(fd, STDERR_FILENO);
    execv(path, (char *const *)args);
    _exit(127);
}

static int port_free(void)
{
    struct sl_failure why;
    struct wire_server *server = NULL;
    struct wire_secret none = {.length = 0};
    assert_int_equal(wire_server_open("tcp://127.0.0.1:0", &none, NULL, NULL, &server, &why),
                     SL_OK);
    int port = wire_server_port(server);
    wire_server_close(&server);
    return port;
}

void farm_spawn(struct farm *farm)
{
    char http[32], wire[48], config[96], log[96], program[256];
    if (farm->http_port == 0) {
        farm->http_port = port_free();
        farm->wire_port = port_free();
    }
    snprintf(http, sizeof http, "127.0.0.1:%d", farm->http_port);
    snprintf(wire, sizeof wire, "tcp://127.0.0.1:%d", farm->wire_port);
    snprintf(config, sizeof config, "%s/config.yaml", farm->folder);
    snprintf(log, sizeof log, "%s/daemon.log", farm->folder);
    FILE *file = fopen(config, "w");
    assert_non_null(file);
    fputs("daemon:\n  lease: {timeout: 5s, renew: 300ms}\n  retry: {base: 100ms, max: 100ms}\n",
          file);
    fclose(file);
    program_path(program, sizeof program);
    const char *args[] = {program,  "--data", farm->data, "--config", config,
                          "--http", http,     "--wire",   wire,       NULL};
    farm->pid = program_start(args, log);
    int64_t until_ns = sl_now_ns() + WAIT_NS;
    for (;;) {
        struct reply reply = {0};
        farm_http(farm, "GET", "/healthz", NULL, NULL, 0, &reply);
        bool up = reply.status == 200;
        reply_free(&reply);
        if (up)
            break;
        if (sl_now_ns() > until_ns || waitpid(farm->pid, NULL, WNOHANG) != 0)
            fail_msg("%s does not start; see %s", program, log);
        nap_ms(10);
    }
    farm_objects_open(farm);
}

void farm_kill(struct farm *farm)
{
    kill(farm->pid, SIGKILL);
    waitpid(farm->pid, NULL, 0);
    farm->pid = 0;
}

int farm_run(const char *const *args, char *errors, size_t bytes)
{
    char log[] = "/tmp/sluice-errors-XXXXXX", program[256];
    const char *argv[16];
    int status, count = 1;
    int fd = mkstemp(log);
    assert_true(fd >= 0);
    program_path(program, sizeof program);
    argv[0] = program;
    while (args[count - 1] && count < 15) {
        argv[count] = args[count - 1];
        count++;
    }
    argv[count] = NULL;
    pid_t pid = program_start(argv, log);
    waitpid(pid, &status, 0);
    ssize_t got = read(fd, errors, bytes - 1);
    errors[got > 0 ? got : 0] = '\0';
    close(fd);
    unlink(log);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int path_remove(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void farm_close(struct farm *farm)
{
    if (farm->daemon)
        farm_stop(farm);
    if (farm->pid > 0)
        farm_kill(farm);
    objects_close(&farm->objects);
    nftw(farm->folder, path_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- HTTP ---- */

static size_t bytes_take(char *bytes, size_t size, size_t count, void *arg)
{
    sl_buf_append(arg, bytes, size * count);
    return size * count;
}

void farm_http(const struct farm *farm, const char *method, const char *path,
               const char *const *headers, const void *body, size_t length, struct reply *out)
{
    char url[1024];
    struct curl_slist *list = NULL;
    memset(out, 0, sizeof *out);
    CURL *curl = curl_easy_init();
    assert_non_null(curl);
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", farm->http_port, path);
    for (; headers && *headers; headers++)
        list = curl_slist_append(list, *headers);
    list = curl_slist_append(list, "Expect:");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, bytes_take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &out->body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, bytes_take);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &out->headers);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 70L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    if (strcmp(method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)length);
    }
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out->status);
    curl_slist_free_all(list);
    curl_easy_cleanup(curl);
}

void reply_free(struct reply *reply)
{
    sl_buf_fini(&reply->body);
    sl_buf_fini(&reply->headers);
}

bool reply_has_header(const struct reply *reply, const char *line)
{
    return reply->headers.data && strcasestr((const char *)reply->headers.data, line);
}

json_t *farm_json(const struct farm *farm, const char *method, const char *path, const char *body,
                  long status)
{
    struct reply reply;
    farm_http(farm, method, path, NULL, body, body ? strlen(body) : 0, &reply);
    if (reply.status != status)
        fail_msg("%s %s: %ld, not %ld: %s", method, path, reply.status, status,
                 reply.body.data ? (char *)reply.body.data : "");
    json_t *value = json_loadb((const char *)reply.body.data, reply.body.length, 0, NULL);
    assert_non_null(value);
    reply_free(&reply);
    return value;
}

void farm_error(const struct farm *farm, const char *method, const char *path, const char *body,
                long status, const char *code, const char *part_of_message)
{
    json_t *value = farm_json(farm, method, path, body, status);
    const json_t *error = json_object_get(value, "error");
    assert_non_null(error);
    assert_string_equal(json_string_value(json_object_get(error, "code")), code);
    assert_non_null(json_object_get(error, "details"));
    const char *message = json_string_value(json_object_get(error, "message"));
    if (!strstr(message, part_of_message))
        fail_msg("%s %s: \"%s\" does not say \"%s\"", method, path, message, part_of_message);
    json_decref(value);
}

void farm_submit(const struct farm *farm, char video[VIDEO_ID_TEXT_BYTES])
{
    farm_submit_policy(farm, NULL, video);
}

void farm_submit_policy(const struct farm *farm, const char *policy_text,
                        char video[VIDEO_ID_TEXT_BYTES])
{
    json_t *send = json_pack("{s:s}", "path", farm->source);
    if (policy_text)
        json_object_set_new(send, "policy_text", json_string(policy_text));
    char *body = json_dumps(send, 0);
    json_t *value = farm_json(farm, "POST", "/api/v1/videos", body, 201);
    free(body);
    json_decref(send);
    snprintf(video, VIDEO_ID_TEXT_BYTES, "%s",
             json_string_value(json_object_get(value, "video_id")));
    json_decref(value);
}

json_t *farm_status(const struct farm *farm, const char *video)
{
    char path[64];
    snprintf(path, sizeof path, "/api/v1/videos/%s/status", video);
    return farm_json(farm, "GET", path, NULL, 200);
}

bool farm_status_is(const struct farm *farm, const char *video, const char *status)
{
    json_t *value = farm_status(farm, video);
    bool is = strcmp(json_string_value(json_object_get(value, "status")), status) == 0;
    json_decref(value);
    return is;
}

void farm_status_wait(const struct farm *farm, const char *video, const char *status)
{
    for (int64_t until_ns = sl_now_ns() + WAIT_NS; !farm_status_is(farm, video, status);) {
        if (sl_now_ns() > until_ns) {
            char *text = json_dumps(farm_status(farm, video), JSON_INDENT(1));
            fail_msg("%s does not become %s: %s", video, status, text);
        }
        nap_ms(10);
    }
}

/* ---- the agent ---- */

void agent_open(struct agent *agent, struct farm *farm, int number)
{
    memset(agent, 0, sizeof *agent);
    agent->farm = farm;
    agent->forget = true;
    agent->seconds = FARM_SECONDS;
    agent->fps = FARM_FPS;
    agent->patience_ns = SL_S_TO_NS(10);
    agent->session = (uint64_t)sl_now_ns();
    agent->total = (struct demand){
        .cpu_millicores = 4000, .sessions = 1024, .memory_bytes = INT64_C(64) << 30};
    snprintf(agent->uuid, sizeof agent->uuid, "00000000-0000-4000-8000-%012d", number);
    snprintf(agent->name, sizeof agent->name, "node-%d", number);
    char url[64];
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", farm->wire_port);
    const char *urls[] = {url};
    struct wire_secret none = {.length = 0};
    assert_int_equal(wire_client_open(urls, 1, &none, &agent->client, NULL), SL_OK);
}

static void held_drop(struct agent *agent, int32_t i)
{
    sl_buf_fini(&agent->held[i].report);
    sl_buf_fini(&agent->held[i].job);
    agent->held_count--;
    memmove(&agent->held[i], &agent->held[i + 1],
            (size_t)(agent->held_count - i) * sizeof agent->held[0]);
}

void agent_close(struct agent *agent)
{
    while (agent->held_count > 0)
        held_drop(agent, 0);
    wire_client_close(&agent->client);
    sl_arena_fini(&agent->arena);
}

static void request_fill(struct agent *agent, bool park, struct sync_held *held,
                         struct sync_request *request)
{
    *request = (struct sync_request){
        .version = SYNC_VERSION,
        .session = agent->session,
        .seq = ++agent->seq,
        .park = park,
        .total = agent->total,
        .device_count = 1,
        .held = held,
        .held_count = agent->held_count,
    };
    memcpy(request->node_uuid, agent->uuid, sizeof request->node_uuid);
    snprintf(request->node_name, sizeof request->node_name, "%s", agent->name);
    request->devices[0] = (struct device_row){.kind = DEVICE_CPU,
                                              .encodes = 1 << CODEC_H264 | 1 << CODEC_H265,
                                              .decodes = 1 << CODEC_H264,
                                              .cpus = 4,
                                              .memory_bytes = INT64_C(64) << 30,
                                              .telemetry = device_telemetry_unknown};
    strcpy(request->devices[0].device_id, "cpu");
    strcpy(request->devices[0].name, "a CPU of the test");
    for (int32_t i = 0; i < agent->device_count; i++)
        request->devices[request->device_count++] = agent->devices[i];
    for (int32_t i = 0; i < agent->held_count; i++) {
        const struct agent_held *from = &agent->held[i];
        held[i] = (struct sync_held){
            .token = from->token,
            .task = from->task,
            .video = from->video,
            .state = from->state,
            .failure = from->failure,
            .report = from->report.data,
            .report_bytes = from->report.length,
        };
        strcpy(held[i].device_id, "cpu");
    }
}

static void grant_take(struct agent *agent, const struct sync_grant *grant)
{
    for (int32_t i = 0; i < agent->held_count; i++)
        if (agent->held[i].token.v == grant->token.v)
            return;
    assert_true(agent->held_count < AGENT_HELD_MAX);
    struct agent_held *held = &agent->held[agent->held_count++];
    memset(held, 0, sizeof *held);
    held->token = grant->token;
    held->task = grant->task;
    held->video = grant->video;
    held->step = grant->step;
    held->input_count = grant->input_count;
    memcpy(held->inputs, grant->inputs, (size_t)grant->input_count * sizeof *grant->inputs);
    memcpy(held->output_prefix, grant->output_prefix, sizeof held->output_prefix);
    memcpy(held->ticket, grant->ticket, sizeof held->ticket);
    sl_buf_append(&held->job, grant->job, grant->job_bytes);
    struct job job;
    struct sl_arena arena = {0};
    assert_int_equal(wire_job_decode(grant->job, grant->job_bytes, &arena, &job, NULL), SL_OK);
    assert_int_equal(job.step, grant->step);
    assert_true(job.token.v == grant->token.v && job.task.v == grant->task.v);
    if (job.step == STEP_TRANSCODE) {
        held->piece_start = job.transcode.segments[0].number;
        held->preroll = job.transcode.preroll;
    }
    sl_arena_fini(&arena);
}

int agent_sync(struct agent *agent, bool park)
{
    struct sync_request request;
    struct sync_held held[AGENT_HELD_MAX];
    struct sl_buf bytes = {0};
    void *got = NULL;
    size_t got_length = 0;
    request_fill(agent, park, held, &request);
    assert_int_equal(wire_request_encode(&request, &bytes), SL_OK);
    int code = wire_client_ask(agent->client, 0, bytes.data, bytes.length, agent->patience_ns, &got,
                               &got_length, NULL);
    sl_buf_fini(&bytes);
    if (code != SL_OK)
        return code;
    sl_arena_reset(&agent->arena);
    struct sl_failure why = {0};
    if (wire_answer_decode(got, got_length, &agent->arena, &agent->last, &why) != SL_OK)
        fail_msg("the answer cannot be read: %s", why.message);
    free(got);
    if (agent->last.refused.code != SL_OK)
        return agent->last.refused.code;
    assert_true(agent->last.seq == request.seq);
    for (int32_t v = 0; v < agent->last.verdict_count; v++)
        for (int32_t i = 0; i < agent->held_count; i++)
            if (agent->held[i].token.v == agent->last.verdicts[v].token.v) {
                bool stale = agent->last.verdicts[v].kind == VERDICT_STALE;
                agent->stale += stale;
                agent->transcodes += !stale && agent->held[i].step == STEP_TRANSCODE &&
                                     agent->held[i].state == HELD_FINISHED;
                if (agent->forget)
                    held_drop(agent, i);
                break;
            }
    for (int32_t i = 0; i < agent->last.grant_count; i++)
        grant_take(agent, &agent->last.grants[i]);
    return SL_OK;
}

/* ---- what a worker would make ---- */

static int32_t output_put(struct agent *agent, struct agent_held *held, struct report *report,
                          const char *name, const void *bytes, size_t length)
{
    char key[OBJECT_KEY_BYTES];
    struct report_output *output = &report->outputs[report->output_count];
    assert_int_equal(objects_token_key(held->output_prefix, name, held->token.v, key, sizeof key),
                     SL_OK);
    assert_int_equal(objects_put_bytes(agent->farm->objects, NULL, key, bytes, length, true, NULL),
                     SL_OK);
    snprintf(output->name, sizeof output->name, "%s", name);
    snprintf(output->key, sizeof output->key, "%s", key + strlen(held->output_prefix));
    output->bytes = (int64_t)length;
    memset(output->sha256, 7, sizeof output->sha256);
    return report->output_count++;
}

static int32_t text_put(struct agent *agent, struct agent_held *held, struct report *report,
                        const char *name)
{
    char text[200];
    snprintf(text, sizeof text, "%s under token %llu", name, (unsigned long long)held->token.v);
    return output_put(agent, held, report, name, text, strlen(text));
}

static void probe_make(struct agent *agent, struct agent_held *held, struct report *report)
{
    size_t frames = (size_t)agent->seconds * (size_t)agent->fps;
    int64_t step = 12800 / agent->fps;
    struct sl_arena arena = {0};
    struct media_index index = {
        .time_base = {1, 12800},
        .end_pts = (int64_t)frames * step,
        .count = frames,
        .pts = sl_arena_array(&arena, frames, 8),
        .key = sl_arena_array(&arena, frames, 1),
        .byte_offset = sl_arena_array(&arena, frames, 8),
        .byte_length = sl_arena_array(&arena, frames, 4),
    };
    for (size_t i = 0; i < frames; i++) {
        index.pts[i] = (int64_t)i * step;
        index.key[i] = i % (size_t)(agent->fps * 6) == 0;
        index.byte_offset[i] = 48 + (int64_t)i * 10;
        index.byte_length[i] = 10;
    }
    struct sl_buf bytes = {0};
    assert_int_equal(wire_index_encode(&index, &bytes), SL_OK);
    report->probe.index_output = output_put(agent, held, report, "index", bytes.data, bytes.length);
    sl_buf_fini(&bytes);
    sl_arena_fini(&arena);
    report->probe.info = (struct media_info){
        .container = "mov",
        .size_bytes = 1000,
        .duration_ns = SL_S_TO_NS(agent->seconds),
        .video_stream_count = 1,
        .audio_stream_count = 1,
        .has_video = true,
        .video = {.codec = "h264",
                  .pix_fmt = "yuv420p",
                  .width = 640,
                  .height = 360,
                  .bit_depth = 8,
                  .sar = {1, 1},
                  .time_base = {1, 12800},
                  .frame_rate = {agent->fps, 1},
                  .seekable = true,
                  .end_pts = (int64_t)frames * step,
                  .frame_count = (int64_t)frames,
                  .bytes = (int64_t)frames * 10},
        .audio_count = 1,
        .audio = {{.stream_index = 1,
                   .codec = "aac",
                   .channels = 2,
                   .sample_rate_hz = 48000,
                   .time_base = {1, 48000},
                   .end_pts = (int64_t)agent->seconds * 48000,
                   .language = "eng"}},
    };
}

static int64_t ticks(const struct job_transcode *job, int64_t pts)
{
    return sl_muldiv_i64(pts - job->origin_pts, (int64_t)job->source.time_base.num * job->timescale,
                         job->source.time_base.den);
}

static void transcode_make(struct agent *agent, struct agent_held *held, struct report *report,
                           const struct job *job_all, struct sl_arena *arena)
{
    const struct job_transcode *job = &job_all->transcode;
    report->renditions = sl_arena_array(arena, (size_t)job->rung_count, sizeof *report->renditions);
    report->rendition_count = job->rung_count;
    /* The frame at a seam is told by its time. */
    report->transcode.seam_first = 1000 + (uint64_t)job->start_pts;
    report->transcode.seam_next = job->last_chunk ? 0 : 1000 + (uint64_t)job->end_pts;
    if (job->start_pts > 0 && job->preroll < agent->seam_cure)
        report->transcode.seam_first += agent->seam_lie;
    for (int32_t r = 0; r < job->rung_count; r++) {
        const struct plan_rung *rung = &job->rungs[r];
        struct report_rendition *rendition = &report->renditions[r];
        char name[JOB_NAME_BYTES];
        memcpy(rendition->name, rung->name, sizeof rung->name);
        snprintf(rendition->encoder, sizeof rendition->encoder, "%s",
                 agent->encoder_lie ? agent->encoder_lie : rung->encoder);
        strcpy(rendition->codecs, rung->codec == CODEC_H264 ? "avc1.64001F" : "hvc1.1.6.L93.90");
        rendition->codec = rung->codec;
        rendition->width = rung->width;
        rendition->height = rung->height;
        rendition->timescale = job->timescale;
        rendition->init_output = -1;
        memset(rendition->init_sha256, 7, sizeof rendition->init_sha256);
        if (job->write_init) {
            snprintf(name, sizeof name, "%s/%.20s/init.mp4", codec_word(rung->codec), rung->name);
            rendition->init_output = text_put(agent, held, report, name);
        }
        rendition->segment_count = job->segment_count;
        rendition->segments =
            sl_arena_array(arena, (size_t)job->segment_count, sizeof *rendition->segments);
        for (int32_t i = 0; i < job->segment_count; i++) {
            struct report_segment *segment = &rendition->segments[i];
            segment->number = job->segments[i].number;
            segment->frame_count = job->segments[i].frame_count;
            segment->start_ticks = ticks(job, job->segments[i].start_pts);
            segment->end_ticks = ticks(job, job->segments[i].end_pts);
            segment->last_ticks = segment->end_ticks - 1;
            snprintf(name, sizeof name, "%s/%.20s/%06d.m4s", codec_word(rung->codec), rung->name,
                     (int)segment->number);
            segment->output = text_put(agent, held, report, name);
            if (r == 0)
                report->transcode.frame_count += segment->frame_count;
        }
    }
}

static void audio_make(struct agent *agent, struct agent_held *held, struct report *report,
                       const struct job *job_all, struct sl_arena *arena)
{
    const struct job_audio *job = &job_all->audio;
    struct report_rendition *rendition = sl_arena_alloc(arena, sizeof *rendition);
    char name[JOB_NAME_BYTES];
    report->renditions = rendition;
    report->rendition_count = 1;
    memcpy(rendition->name, job->out.name, sizeof rendition->name);
    strcpy(rendition->encoder, "aac");
    strcpy(rendition->codecs, "mp4a.40.2");
    rendition->timescale = job->out.sample_rate_hz;
    memset(rendition->init_sha256, 7, sizeof rendition->init_sha256);
    snprintf(name, sizeof name, "audio/%.20s/init.mp4", job->out.name);
    rendition->init_output = text_put(agent, held, report, name);
    rendition->segment_count = job->boundary_count - 1;
    rendition->segments =
        sl_arena_array(arena, (size_t)rendition->segment_count, sizeof *rendition->segments);
    int64_t at = 0;
    for (int32_t i = 0; i < rendition->segment_count; i++) {
        struct report_segment *segment = &rendition->segments[i];
        int64_t end =
            sl_muldiv_i64(job->boundary_ticks[i + 1], rendition->timescale, job->timescale);
        segment->number = i;
        segment->frame_count = (int32_t)((end - at + 512) / 1024);
        segment->start_ticks = at;
        at += (int64_t)segment->frame_count * 1024;
        segment->end_ticks = at;
        segment->last_ticks = at - 1024;
        snprintf(name, sizeof name, "audio/%.20s/%06d.m4s", job->out.name, (int)i);
        segment->output = text_put(agent, held, report, name);
    }
}

/* A track of one cue, which starts in the first segment. */
static void texts_make(struct agent *agent, struct agent_held *held, struct report *report,
                       const struct job *job_all, struct sl_arena *arena)
{
    const struct job_text *job = &job_all->text;
    struct report_rendition *track = sl_arena_alloc(arena, sizeof *track);
    char name[JOB_NAME_BYTES];
    assert_int_equal(held->inputs[0].bytes,
                     job->text.stream_index < 0 ? job->text.sidecar_bytes : held->inputs[0].bytes);
    report->renditions = track;
    report->rendition_count = 1;
    memcpy(track->name, job->text.name, sizeof track->name);
    strcpy(track->encoder, "webvtt");
    strcpy(track->codecs, "wvtt");
    track->timescale = job->timescale;
    snprintf(name, sizeof name, "subtitles/%.20s/subtitles.vtt", job->text.name);
    track->init_output = text_put(agent, held, report, name);
    track->segment_count = job->boundary_count - 1;
    track->segments = sl_arena_array(arena, (size_t)track->segment_count, sizeof *track->segments);
    for (int32_t i = 0; i < track->segment_count; i++) {
        struct report_segment *segment = &track->segments[i];
        snprintf(name, sizeof name, "subtitles/%.20s/%06d.vtt", job->text.name, (int)i);
        *segment = (struct report_segment){.number = i,
                                           .frame_count = i == 0,
                                           .start_ticks = job->boundary_ticks[i],
                                           .end_ticks = job->boundary_ticks[i + 1],
                                           .last_ticks = job->boundary_ticks[i + 1] - 1,
                                           .output = text_put(agent, held, report, name)};
    }
}

static void images_make(struct agent *agent, struct agent_held *held, struct report *report,
                        const struct job *job)
{
    assert_true(job->images.images.still_count > 0);
    report->images = (struct report_images){
        .sheet_first_output = text_put(agent, held, report, "images/sheet-000.jpg"),
        .sheet_count = 1,
        .poster_output = text_put(agent, held, report, "poster.jpg"),
        .thumbnails_output = text_put(agent, held, report, "thumbnails.vtt"),
        .preview_output = text_put(agent, held, report, "preview.webp"),
    };
}

/* The published set, as package and verify get it. */
static void set_read(struct agent *agent, const char *key, struct sl_arena *arena,
                     struct published_set *set)
{
    int64_t bytes = 0;
    size_t got = 0;
    assert_int_equal(objects_size(agent->farm->objects, NULL, key, &bytes, NULL), SL_OK);
    void *data = sl_arena_alloc(arena, (size_t)bytes);
    assert_int_equal(
        objects_get_range(agent->farm->objects, NULL, key, 0, data, (size_t)bytes, &got, NULL),
        SL_OK);
    assert_int_equal(wire_published_decode(data, got, arena, set, NULL), SL_OK);
}

static void package_make(struct agent *agent, struct agent_held *held, struct report *report,
                         struct sl_arena *arena)
{
    struct published_set set;
    set_read(agent, held->inputs[0].key, arena, &set);
    assert_int_equal(set.frame_count, agent->seconds * agent->fps);
    for (int32_t r = 0; r < set.rendition_count; r++) {
        char name[JOB_NAME_BYTES + 16];
        snprintf(name, sizeof name, "%s", set.renditions[r].init_key);
        strcpy(strrchr(name, '/') + 1, "playlist.m3u8");
        text_put(agent, held, report, name);
    }
    report->package.master_output = text_put(agent, held, report, "master.m3u8");
    for (int32_t t = 0; t < set.text_count; t++) {
        char name[JOB_NAME_BYTES + 16];
        snprintf(name, sizeof name, "subtitles/%.20s/playlist.m3u8", set.texts[t].name);
        text_put(agent, held, report, name);
    }
    report->package.mpd_output = text_put(agent, held, report, "manifest.mpd");
    report->package.chapters_output =
        set.chapter_count > 0 ? text_put(agent, held, report, "chapters.vtt") : -1;
}

/* Every input of verify is there, and the samples' inputs are theirs. */
static void verify_make(struct agent *agent, struct agent_held *held, struct report *report,
                        const struct job *job, struct sl_arena *arena)
{
    struct published_set set;
    set_read(agent, held->inputs[0].key, arena, &set);
    for (int32_t i = 0; i < held->input_count; i++) {
        int64_t bytes = 0;
        assert_int_equal(
            objects_size(agent->farm->objects, NULL, held->inputs[i].key, &bytes, NULL), SL_OK);
        assert_true(bytes == held->inputs[i].bytes);
    }
    assert_non_null(strstr(held->inputs[1].key, "/master.t"));
    assert_non_null(strstr(held->inputs[2].key, "/manifest.t"));
    for (int32_t r = 0; r < set.rendition_count; r++)
        assert_non_null(strstr(held->inputs[3 + r].key, set.renditions[r].name));
    assert_true(job->verify.sample_count > 0);
    for (int32_t i = 0; i < job->verify.sample_count; i++) {
        const struct job_sample *sample = &job->verify.samples[i];
        const struct published_rendition *rendition = &set.renditions[sample->rendition];
        assert_non_null(strstr(held->inputs[sample->init_input].key, rendition->init_key));
        assert_non_null(strstr(held->inputs[sample->segment_input].key,
                               rendition->segments[sample->segment].key));
    }
    report->verify.duration_ns = SL_S_TO_NS(agent->seconds);
    report->verify.frames_decoded = 100;
}

void agent_work(struct agent *agent, struct agent_held *held)
{
    struct sl_arena arena = {0};
    struct job job;
    struct report report = {.step = held->step, .device_id = "cpu", .wall_ns = 1000};
    assert_int_equal(wire_job_decode(held->job.data, held->job.length, &arena, &job, NULL), SL_OK);
    if (held->step == STEP_TRANSCODE) {
        const struct encoder_name *name = encoder_find(job.transcode.rungs[0].encoder);
        assert_non_null(name);
        if (name->kind != DEVICE_CPU)
            snprintf(report.device_id, sizeof report.device_id, "%s0", name->name);
    }
    report.outputs = sl_arena_array(&arena, 256, sizeof *report.outputs);
    switch (held->step) {
    case STEP_PROBE:
        probe_make(agent, held, &report);
        break;
    case STEP_TRANSCODE:
        transcode_make(agent, held, &report, &job, &arena);
        break;
    case STEP_AUDIO:
        audio_make(agent, held, &report, &job, &arena);
        break;
    case STEP_SUBTITLES:
        texts_make(agent, held, &report, &job, &arena);
        break;
    case STEP_IMAGES:
        images_make(agent, held, &report, &job);
        break;
    case STEP_PACKAGE:
        package_make(agent, held, &report, &arena);
        break;
    case STEP_VERIFY:
        verify_make(agent, held, &report, &job, &arena);
        break;
    default:
        fail_msg("a lease of %s", step_word(held->step));
    }
    sl_buf_reset(&held->report);
    assert_int_equal(wire_report_encode(&report, &held->report), SL_OK);
    held->state = HELD_FINISHED;
    sl_arena_fini(&arena);
}

void agent_run(struct agent *agent, const char *video, const char *until_status)
{
    for (int64_t until_ns = sl_now_ns() + WAIT_NS;
         !farm_status_is(agent->farm, video, until_status);) {
        if (sl_now_ns() > until_ns) {
            char *text = json_dumps(farm_status(agent->farm, video), JSON_INDENT(1));
            fail_msg("%s does not become %s: %s", video, until_status, text);
        }
        assert_int_equal(agent_sync(agent, agent->held_count == 0), SL_OK);
        for (int32_t i = 0; i < agent->held_count; i++)
            if (agent->held[i].state == HELD_RUNNING)
                agent_work(agent, &agent->held[i]);
    }
    /* The last reports' verdicts. */
    assert_int_equal(agent_sync(agent, false), SL_OK);
}

struct agent_held *agent_holds(struct agent *agent, enum step step)
{
    for (int32_t i = 0; i < agent->held_count; i++)
        if (agent->held[i].step == step)
            return &agent->held[i];
    return NULL;
}

struct agent_held *agent_wait(struct agent *agent, enum step step)
{
    struct agent_held *held;
    for (int64_t until_ns = sl_now_ns() + WAIT_NS; !(held = agent_holds(agent, step));) {
        if (sl_now_ns() > until_ns)
            fail_msg("no lease of %s comes", step_word(step));
        assert_int_equal(agent_sync(agent, true), SL_OK);
        for (int32_t i = 0; i < agent->held_count; i++)
            if (agent->held[i].step != step && agent->held[i].state == HELD_RUNNING)
                agent_work(agent, &agent->held[i]);
    }
    return held;
}

/* nng 1.5.2 keeps a message that it had in hand when a peer was killed (its issue 1713); tests/wire counts
 * what is ours without this. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libnng.so";
}
