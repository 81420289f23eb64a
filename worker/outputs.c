/* Outputs: a name is sent, an empty file comes back, and what was written into it is told with its hash. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "media/media_digest.h"
#include "worker/run.h"

_Static_assert(MEDIA_DIGEST_BYTES == SHA256_BYTES, "one kind of hash");

int run_output_key(const char *name, struct lease_token token, char out[JOB_NAME_BYTES])
{
    const char *slash = strrchr(name, '/');
    const char *dot = strrchr(slash ? slash : name, '.');
    size_t stem = dot ? (size_t)(dot - name) : strlen(name);
    int n = snprintf(out, JOB_NAME_BYTES, "%.*s.t%llu%s", (int)stem, name,
                     (unsigned long long)token.v, dot ? dot : "");
    return n > 0 && n < JOB_NAME_BYTES ? SL_OK : SL_ELIMIT;
}

static int file_write(int fd, const unsigned char *bytes, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t n = pwrite(fd, bytes + done, length - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sl_error_from_errno(errno);
        done += (size_t)n;
    }
    return SL_OK;
}

/* Asks for a file; the answers come in the order of the questions, of which there is one at a time. */
static int file_ask(struct worker_run *run, const char *name, uint32_t *out_number, int *out_fd,
                    struct sl_failure *why)
{
    int code = worker_link_send(run->link, CONTROL_OPEN, name, strlen(name));
    if (code != SL_OK)
        return sl_fail(why, code, "output %s cannot be asked for: %s", name, sl_error_text(code));
    struct control_frame frame = {0};
    code = worker_link_take(run->link, &frame);
    if (code == SL_OK && (frame.kind != CONTROL_OUTPUT || frame.fd_count != 1 ||
                          frame.body.length != sizeof(uint32_t))) {
        for (int i = 0; i < frame.fd_count; i++)
            close(frame.fds[i]);
        code = sl_fail(why, SL_EPROTO, "the agent answered output %s with frame %d", name,
                       (int)frame.kind);
    }
    if (code == SL_OK) {
        const unsigned char *b = frame.body.data;
        *out_number =
            (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
        *out_fd = frame.fds[0];
    }
    control_frame_fini(&frame);
    return code;
}

static int list_grow(struct worker_run *run, struct sl_failure *why)
{
    struct report *report = &run->report;
    if (report->output_count < run->output_room)
        return SL_OK;
    if (report->output_count == RUN_OUTPUTS_MAX)
        return sl_fail(why, SL_ETOOBIG, "the lease would write more than %d objects",
                       RUN_OUTPUTS_MAX);
    int32_t room = run->output_room ? run->output_room * 2 : 64;
    struct report_output *grown = sl_arena_array(&run->arena, (size_t)room, sizeof *grown);
    if (!grown)
        return sl_fail(why, SL_ENOMEM, "no memory for %d outputs", room);
    if (report->output_count)
        memcpy(grown, report->outputs, (size_t)report->output_count * sizeof *grown);
    report->outputs = grown;
    run->output_room = room;
    return SL_OK;
}

static int output_write(struct worker_run *run, const char *name, const void *bytes, size_t length,
                        const uint8_t sha256[SHA256_BYTES], int32_t *out_index,
                        struct sl_failure *why)
{
    struct report_output row = {.bytes = (int64_t)length};
    memcpy(row.sha256, sha256, SHA256_BYTES);
    int n = snprintf(row.name, sizeof row.name, "%s", name);
    if (n < 0 || (size_t)n >= sizeof row.name || run_output_key(name, run->job.token, row.key) < 0)
        return sl_fail(why, SL_ELIMIT, "output name %.40s… is too long", name);
    int code = list_grow(run, why);
    if (code != SL_OK)
        return code;
    uint32_t number = 0;
    int fd = -1;
    code = file_ask(run, name, &number, &fd, why);
    if (code != SL_OK)
        return code;
    code = file_write(fd, bytes, length);
    if (close(fd) < 0 && code == SL_OK && errno != EINTR)
        code = sl_error_from_errno(errno);
    if (code != SL_OK)
        return sl_fail(why, code,
                       "output %s of %zu bytes cannot be written to the node's scratch: %s", name,
                       length, sl_error_text(code));
    code = worker_link_closed(run->link, number, row.bytes, sha256);
    if (code != SL_OK)
        return sl_fail(why, code, "output %s cannot be handed over: %s", name, sl_error_text(code));
    *out_index = run->report.output_count;
    run->report.outputs[run->report.output_count++] = row;
    return SL_OK;
}

int run_output(struct worker_run *run, const char *name, const void *bytes, size_t length,
               int32_t *out_index, struct sl_failure *why)
{
    uint8_t sha256[SHA256_BYTES];
    int code = media_digest(bytes, length, sha256);
    if (code != SL_OK)
        return sl_fail(why, code, "no memory to hash output %s", name);
    pthread_mutex_lock(&run->output_lock);
    code = output_write(run, name, bytes, length, sha256, out_index, why);
    pthread_mutex_unlock(&run->output_lock);
    return code;
}
