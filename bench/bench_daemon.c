/* How much memory the daemon holds with many queued tasks.
 *
 *   bench_daemon SLUICED DATA TASKS
 *
 * Starts SLUICED on the folder DATA, registers videos, answers their probe leases as a node that says "eight hours,
 * a keyframe every six seconds" (5,000 chunks a video), and takes no transcode work. Prints one JSON line:
 * queued tasks and the daemon's resident bytes.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/time.h"
#include "objects/objects.h"
#include "wire/wire_codec.h"
#include "wire/wire_transport.h"

#define CHUNKS_PER_VIDEO 5000
#define CHUNK_SECONDS    6
#define FPS              1 /* one frame a second keeps the index small; the chunks are what counts */

static pid_t daemon_pid;

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "bench_daemon: %s: %s\n", what, detail);
    if (daemon_pid > 0)
        kill(daemon_pid, SIGKILL);
    exit(1);
}

static size_t body_append(char *bytes, size_t size, size_t count, void *arg)
{
    sl_buf_append(arg, bytes, size * count);
    return size * count;
}

static json_t *http_json(const char *url, const char *post)
{
    struct sl_buf body = {0};
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_append);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (post) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, post);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    }
    CURLcode code = curl_easy_perform(curl);
    json_t *json = code == CURLE_OK && body.data ? json_loads((char *)body.data, 0, NULL) : NULL;
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    sl_buf_fini(&body);
    return json;
}

/* The daemon's resident set from /proc/PID/status. */
static int64_t resident_bytes(pid_t pid)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    int64_t kib = -1;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %" SCNd64, &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib * 1024;
}

static void probe_answer(struct objects *objects, const struct sync_grant *grant,
                         const struct sl_buf *index, int64_t frames, struct sl_buf *report_bytes)
{
    struct sl_failure why;
    struct report_output output = {.name = "index.pb", .bytes = (int64_t)index->length};
    char key[OBJECT_KEY_BYTES];
    if (objects_token_key(grant->output_prefix, output.name, grant->token.v, key, sizeof key) != 0)
        die("index", "its key is too long");
    snprintf(output.key, sizeof output.key, "%s", key + strlen(grant->output_prefix));
    if (objects_put_bytes(objects, NULL, key, index->data, index->length, false, &why) != 0)
        die("index", why.message);
    struct report report = {.step = STEP_PROBE, .outputs = &output, .output_count = 1};
    struct media_info *info = &report.probe.info;
    snprintf(info->container, sizeof info->container, "matroska");
    info->duration_ns = SL_S_TO_NS(frames);
    info->has_video = true;
    info->video_stream_count = 1;
    info->size_bytes = 1000000;
    snprintf(info->video.codec, sizeof info->video.codec, "h264");
    snprintf(info->video.pix_fmt, sizeof info->video.pix_fmt, "yuv420p");
    info->video.width = 1280;
    info->video.height = 720;
    info->video.bit_depth = 8;
    info->video.sar = (struct rational){1, 1};
    info->video.time_base = (struct rational){1, 1000};
    info->video.frame_rate = (struct rational){FPS, 1};
    info->video.color_primaries = info->video.color_transfer = info->video.color_matrix = 2;
    info->video.seekable = true;
    info->video.end_pts = frames * 1000;
    info->video.frame_count = frames;
    info->video.bytes = 1000000;
    sl_buf_reset(report_bytes);
    if (wire_report_encode(&report, report_bytes) != 0)
        die("report", "it could not be encoded");
}

static void index_make(int64_t frames, struct sl_buf *out)
{
    struct media_index index = {
        .time_base = {1, 1000}, .end_pts = frames * 1000, .count = (size_t)frames};
    index.pts = calloc(index.count, sizeof *index.pts);
    index.key = calloc(index.count, sizeof *index.key);
    index.byte_offset = calloc(index.count, sizeof *index.byte_offset);
    index.byte_length = calloc(index.count, sizeof *index.byte_length);
    for (int64_t i = 0; i < frames; i++) {
        index.pts[i] = i * 1000;
        index.key[i] = i % (CHUNK_SECONDS * FPS) == 0;
        index.byte_offset[i] = i * 10;
        index.byte_length[i] = 10;
    }
    if (wire_index_encode(&index, out) != 0)
        die("index", "it could not be encoded");
    free(index.pts);
    free(index.key);
    free(index.byte_offset);
    free(index.byte_length);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        die("usage", "bench_daemon SLUICED DATA TASKS");
    const char *sluiced = argv[1], *data = argv[2];
    int64_t wanted = strtoll(argv[3], NULL, 10);
    int videos = (int)((wanted + CHUNKS_PER_VIDEO - 1) / CHUNKS_PER_VIDEO);
    int port = 20000 + (int)(getpid() % 20000);
    char http[64], wire[64], api[96], url[160];
    snprintf(http, sizeof http, "127.0.0.1:%d", port);
    snprintf(wire, sizeof wire, "tcp://127.0.0.1:%d", port + 1);
    snprintf(api, sizeof api, "http://%s", http);
    mkdir(data, 0755);
    curl_global_init(CURL_GLOBAL_DEFAULT);

    daemon_pid = fork();
    if (daemon_pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        execl(sluiced, sluiced, "--data", data, "--http", http, "--wire", wire, (char *)NULL);
        _exit(127);
    }
    snprintf(url, sizeof url, "%s/api/v1/status", api);
    json_t *status = NULL;
    for (int i = 0; i < 100 && !status; i++) {
        usleep(100000);
        status = http_json(url, NULL);
    }
    if (!status)
        die(sluiced, "does not answer");
    json_decref(status);

    char source[512], post[700];
    snprintf(source, sizeof source, "%s/source.bin", data);
    FILE *file = fopen(source, "w");
    if (!file || fputs("a source that only its probe report describes\n", file) < 0 ||
        fclose(file) != 0)
        die(source, strerror(errno));
    snprintf(url, sizeof url, "%s/api/v1/videos", api);
    snprintf(post, sizeof post, "{\"path\": \"%s\"}", source);
    for (int i = 0; i < videos; i++) {
        json_t *made = http_json(url, post);
        if (!made || !json_object_get(made, "video_id"))
            die("submit", "refused");
        json_decref(made);
    }

    struct sl_failure why;
    struct wire_client *client;
    const char *urls[] = {wire};
    if (wire_client_open(urls, 1, &(struct wire_secret){0}, &client, &why) != 0)
        die(wire, why.message);
    struct objects *objects;
    char store_id[NODE_UUID_BYTES];
    if (objects_open_local(data, false, &objects, store_id, &why) != 0)
        die(data, why.message);

    int64_t frames = (int64_t)CHUNKS_PER_VIDEO * CHUNK_SECONDS * FPS;
    struct sl_buf index = {0}, report = {0}, bytes = {0};
    index_make(frames, &index);
    struct sync_held held[SYNC_HELD_MAX];
    int held_count = 0;
    struct sl_buf reports[SYNC_HELD_MAX] = {0};
    struct sl_arena arena = {0};
    int64_t queued = 0, deadline_ns = sl_now_ns() + SL_S_TO_NS(300);
    for (uint64_t seq = 1; queued < wanted && sl_now_ns() < deadline_ns; seq++) {
        struct sync_request request = {.version = SYNC_VERSION,
                                       .session = 1,
                                       .seq = seq,
                                       .held = held,
                                       .held_count = held_count};
        snprintf(request.node_uuid, sizeof request.node_uuid,
                 "00000000-0000-4000-8000-000000000001");
        snprintf(request.node_name, sizeof request.node_name, "bench");
        /* Room for probes; no device that encodes, so that every chunk stays queued. */
        request.total = (struct demand){
            .cpu_millicores = 1000, .sessions = 64, .memory_bytes = INT64_C(4) << 30};
        sl_buf_reset(&bytes);
        wire_request_encode(&request, &bytes);
        void *answer_bytes;
        size_t answer_length;
        if (wire_client_ask(client, 0, bytes.data, bytes.length, SL_S_TO_NS(30), &answer_bytes,
                            &answer_length, &why) != 0)
            die("sync", why.message);
        sl_arena_reset(&arena);
        struct sync_answer answer;
        if (wire_answer_decode(answer_bytes, answer_length, &arena, &answer, &why) != 0)
            die("answer", why.message);
        if (answer.refused.code)
            die("refused", answer.refused.message);
        held_count = 0;
        for (int i = 0; i < answer.grant_count && held_count < SYNC_HELD_MAX; i++) {
            const struct sync_grant *grant = &answer.grants[i];
            if (grant->step != STEP_PROBE)
                continue;
            probe_answer(objects, grant, &index, frames, &report);
            struct sl_buf *kept = &reports[held_count];
            sl_buf_reset(kept);
            sl_buf_append(kept, report.data, report.length);
            held[held_count++] = (struct sync_held){.token = grant->token,
                                                    .task = grant->task,
                                                    .video = grant->video,
                                                    .state = HELD_FINISHED,
                                                    .report = kept->data,
                                                    .report_bytes = kept->length};
        }
        free(answer_bytes);
        if (held_count == 0)
            usleep(50000);
        snprintf(url, sizeof url, "%s/api/v1/status", api);
        status = http_json(url, NULL);
        queued = status ? json_integer_value(json_object_get(status, "queued")) : 0;
        json_decref(status);
    }
    printf("{\"queued\": %" PRId64 ", \"rss_bytes\": %" PRId64 "}\n", queued,
           resident_bytes(daemon_pid));
    kill(daemon_pid, SIGTERM);
    waitpid(daemon_pid, NULL, 0);
    wire_client_close(&client);
    objects_close(&objects);
    sl_arena_fini(&arena);
    sl_buf_fini(&index);
    sl_buf_fini(&report);
    sl_buf_fini(&bytes);
    for (int i = 0; i < SYNC_HELD_MAX; i++)
        sl_buf_fini(&reports[i]);
    return queued >= wanted ? 0 : 1;
}
