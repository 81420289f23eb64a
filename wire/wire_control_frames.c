/* The bodies of control frames. Numbers are little endian. */
#include "wire/wire_control.h"

#include <endian.h>
#include <string.h>

#include "wire/wire_fields.h"

static void u32_append(struct sl_buf *body, uint32_t value)
{
    value = htole32(value);
    sl_buf_append(body, &value, sizeof value);
}

static void i64_append(struct sl_buf *body, int64_t value)
{
    uint64_t bits = htole64((uint64_t)value);
    sl_buf_append(body, &bits, sizeof bits);
}

/* What is left to read of a body. */
struct cursor {
    const unsigned char *at;
    size_t left;
    bool failed;
};

static struct cursor cursor_over(const struct control_frame *frame)
{
    return (struct cursor){.at = frame->body.data, .left = frame->body.length};
}

static const void *bytes_next(struct cursor *c, size_t length)
{
    if (c->failed || c->left < length) {
        c->failed = true;
        return NULL;
    }
    const void *at = c->at;
    c->at += length;
    c->left -= length;
    return at;
}

static uint32_t u32_next(struct cursor *c)
{
    uint32_t value = 0;
    const void *at = bytes_next(c, sizeof value);
    if (at)
        memcpy(&value, at, sizeof value);
    return le32toh(value);
}

static int64_t i64_next(struct cursor *c)
{
    uint64_t bits = 0;
    const void *at = bytes_next(c, sizeof bits);
    if (at)
        memcpy(&bits, at, sizeof bits);
    return (int64_t)le64toh(bits);
}

static bool all_read(const struct cursor *c)
{
    return !c->failed && c->left == 0;
}

static int body_send(int socket, enum control_kind kind, struct sl_buf *body, const int *fds,
                     int fd_count)
{
    int code = body->failed ? SL_ENOMEM
                            : control_send(socket, kind, body->data, body->length, fds, fd_count);
    sl_buf_fini(body);
    return code;
}

/* ---- JOB: u32 inputs, u32 has a range socket, per input i64 bytes and u32 is a file, the job ---- */

int control_job_send(int socket, const struct control_job *job)
{
    if (job->input_count < 0 || job->input_count > JOB_INPUTS_MAX)
        return SL_ELIMIT;
    struct sl_buf body = {0};
    int fds[CONTROL_FDS_MAX];
    int fd_count = 0;
    u32_append(&body, (uint32_t)job->input_count);
    u32_append(&body, job->range_fd >= 0);
    for (int32_t i = 0; i < job->input_count; i++) {
        const struct control_input *input = &job->inputs[i];
        i64_append(&body, input->bytes);
        u32_append(&body, input->fd >= 0);
        if (input->fd < 0)
            continue;
        if (fd_count == CONTROL_FDS_MAX - 1) {
            sl_buf_fini(&body);
            return SL_ELIMIT;
        }
        fds[fd_count++] = input->fd;
    }
    if (job->range_fd >= 0)
        fds[fd_count++] = job->range_fd;
    sl_buf_append(&body, job->job, job->job_bytes);
    return body_send(socket, CONTROL_JOB, &body, fds, fd_count);
}

int control_job_parse(const struct control_frame *frame, struct control_job *out)
{
    struct cursor c = cursor_over(frame);
    struct control_job job = {.range_fd = -1};
    uint32_t count = u32_next(&c), has_range = u32_next(&c);
    if (frame->kind != CONTROL_JOB || count > JOB_INPUTS_MAX || has_range > 1)
        return SL_EPROTO;
    int fd_used = 0;
    bool needs_range = false;
    job.input_count = (int32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        job.inputs[i].bytes = i64_next(&c);
        uint32_t is_file = u32_next(&c);
        if (is_file > 1 || job.inputs[i].bytes < 0 || (is_file && fd_used >= frame->fd_count))
            return SL_EPROTO;
        job.inputs[i].fd = is_file ? frame->fds[fd_used++] : -1;
        needs_range |= !is_file;
    }
    if (has_range) {
        if (fd_used >= frame->fd_count)
            return SL_EPROTO;
        job.range_fd = frame->fds[fd_used++];
    }
    if (c.failed || fd_used != frame->fd_count || (needs_range && !has_range))
        return SL_EPROTO;
    job.job = c.at;
    job.job_bytes = c.left;
    *out = job;
    return SL_OK;
}

/* ---- CLOSED, PROGRESS, FAILED ---- */

int control_closed_send(int socket, uint32_t output, int64_t bytes,
                        const uint8_t sha256[SHA256_BYTES])
{
    struct sl_buf body = {0};
    u32_append(&body, output);
    i64_append(&body, bytes);
    sl_buf_append(&body, sha256, SHA256_BYTES);
    return body_send(socket, CONTROL_CLOSED, &body, NULL, 0);
}

int control_closed_parse(const struct control_frame *frame, uint32_t *output, int64_t *bytes,
                         uint8_t sha256[SHA256_BYTES])
{
    struct cursor c = cursor_over(frame);
    uint32_t number = u32_next(&c);
    int64_t length = i64_next(&c);
    const void *hash = bytes_next(&c, SHA256_BYTES);
    if (frame->kind != CONTROL_CLOSED || !all_read(&c) || length < 0)
        return SL_EPROTO;
    *output = number;
    *bytes = length;
    memcpy(sha256, hash, SHA256_BYTES);
    return SL_OK;
}

int control_progress_send(int socket, int64_t done, int64_t total)
{
    struct sl_buf body = {0};
    i64_append(&body, done);
    i64_append(&body, total);
    return body_send(socket, CONTROL_PROGRESS, &body, NULL, 0);
}

int control_progress_parse(const struct control_frame *frame, int64_t *done, int64_t *total)
{
    struct cursor c = cursor_over(frame);
    int64_t first = i64_next(&c), second = i64_next(&c);
    if (frame->kind != CONTROL_PROGRESS || !all_read(&c))
        return SL_EPROTO;
    *done = first;
    *total = second;
    return SL_OK;
}

int control_failed_send(int socket, const struct sl_failure *failure)
{
    struct sl_buf body = {0};
    u32_append(&body, (uint32_t)failure->code);
    sl_buf_append(&body, failure->message, strlen(failure->message));
    return body_send(socket, CONTROL_FAILED, &body, NULL, 0);
}

int control_failed_parse(const struct control_frame *frame, struct sl_failure *out)
{
    struct cursor c = cursor_over(frame);
    int32_t code = (int32_t)u32_next(&c);
    if (frame->kind != CONTROL_FAILED || c.failed || code >= 0 || c.left >= sizeof out->message ||
        memchr(c.at, '\0', c.left))
        return SL_EPROTO;
    out->code = code;
    memcpy(out->message, c.at, c.left);
    out->message[c.left] = '\0';
    return SL_OK;
}

/* ---- DEVICES: u32 count, then a DeviceRows message ---- */

int control_devices_send(int socket, const struct device_row *rows, int32_t count)
{
    if (count < 0 || count > NODE_DEVICES_MAX)
        return SL_ELIMIT;
    Sluice__V1__DeviceRow messages[NODE_DEVICES_MAX];
    Sluice__V1__DeviceRow *pointers[NODE_DEVICES_MAX];
    Sluice__V1__DeviceRows all = SLUICE__V1__DEVICE_ROWS__INIT;
    for (int32_t i = 0; i < count; i++) {
        wire_device_put(&rows[i], &messages[i]);
        pointers[i] = &messages[i];
    }
    all.n_rows = (size_t)count;
    all.rows = pointers;
    struct sl_buf body = {0};
    u32_append(&body, (uint32_t)count);
    int code = wire_pack(&all.base, CONTROL_BYTES_MAX - sizeof(uint32_t), &body);
    if (code) {
        sl_buf_fini(&body);
        return code;
    }
    return body_send(socket, CONTROL_DEVICES, &body, NULL, 0);
}

int control_devices_parse(const struct control_frame *frame, struct device_row *rows, int32_t max,
                          int32_t *count)
{
    struct cursor c = cursor_over(frame);
    uint32_t stated = u32_next(&c);
    if (frame->kind != CONTROL_DEVICES || c.failed || stated > (uint32_t)max)
        return SL_EPROTO;
    struct wire_decoder d = {0};
    const Sluice__V1__DeviceRows *in =
        wire_unpack(&d, &sluice__v1__device_rows__descriptor, "device list", c.at, c.left);
    if (in && in->n_rows != stated)
        d.code = SL_EPROTO;
    for (size_t i = 0; in && !d.code && i < in->n_rows; i++) {
        rows[i] = (struct device_row){0};
        wire_device_get(&d, in->rows[i], &rows[i]);
    }
    if (!d.code)
        *count = (int32_t)stated;
    wire_decoder_fini(&d);
    return d.code;
}
