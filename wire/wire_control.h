/* wire/wire_control.h: the talk between an agent and its worker over an inherited socket pair.
 *
 * Frames on a stream socket: u32 length and u32 kind (little endian), then the body. Descriptors travel
 * with the first byte of their frame (SCM_RIGHTS). At most CONTROL_BYTES_MAX a frame, CONTROL_FDS_MAX
 * descriptors.
 *
 *   agent -> worker   JOB      body: encoded struct job; fds: one per input that is a file, and last, when any
 *                              input is not, the range socket. See struct control_job.
 *                     OUTPUT   body: u32 number of the output; fd: an empty file, opened read-write
 *   worker -> agent   READY    it may be given a job
 *                     OPEN     body: name of an output it wants to write; answered by OUTPUT, in order
 *                     CLOSED   body: u32 output number, u64 bytes, sha256: written and closed. The agent stores it
 *                     PROGRESS body: i64 done, i64 total
 *                     REPORT   body: encoded struct report; the worker's last word
 *                     FAILED   body: i32 code, then the sentence; the worker's last word
 *                     DEVICES  body: u32 count, then device rows as protobuf (answer to --probe-devices; with
 *                              --watch-devices also the agent's word of which to watch)
 *
 * Range socket (inputs that are not local files): the worker sends struct control_range_request and reads
 * struct control_range_reply and then `length` bytes. One request at a time.
 *
 * Errors:  SL_EUNREACH when the peer is gone, SL_EPROTO for a frame over its limits.
 * Blocking: all calls block; receive honours the timeout given.
 */
#ifndef SL_WIRE_WIRE_CONTROL_H
#define SL_WIRE_WIRE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "model/device_types.h"
#include "model/job_types.h"
#include "model/report_types.h"

#define CONTROL_BYTES_MAX (4 * 1024 * 1024)
#define CONTROL_FDS_MAX   64
#define CONTROL_FD        3 /* where a worker finds its end */
#define CONTROL_RANGE_MAX (1024 * 1024)

enum control_kind {
    CONTROL_JOB = 1,
    CONTROL_OUTPUT,
    CONTROL_READY,
    CONTROL_OPEN,
    CONTROL_CLOSED,
    CONTROL_PROGRESS,
    CONTROL_REPORT,
    CONTROL_FAILED,
    CONTROL_DEVICES
};

/* One input of a job as the worker sees it. */
struct control_input {
    int64_t bytes;
    int32_t fd; /* -1: ask the range socket for it */
};

struct control_job {
    struct control_input inputs[JOB_INPUTS_MAX];
    int32_t input_count;
    int range_fd;       /* -1: all inputs are files */
    const uint8_t *job; /* encoded */
    size_t job_bytes;
};

struct control_frame {
    enum control_kind kind;
    struct sl_buf body; /* reused from call to call; free with control_frame_fini */
    int fds[CONTROL_FDS_MAX];
    int fd_count; /* received descriptors are the caller's to close */
};

int control_send(int socket, enum control_kind kind, const void *body, size_t length,
                 const int *fds, int fd_count);
/* timeout_ns < 0 waits for ever; SL_ETIMEDOUT. It runs until a frame begins; one that then stalls for 10 s is
 * SL_EPROTO. After anything but success and SL_ETIMEDOUT the stream is of no more use. */
int control_receive(int socket, struct control_frame *frame, int64_t timeout_ns);
void control_frame_fini(struct control_frame *frame); /* closes nothing */

int control_job_send(int socket, const struct control_job *job);
int control_job_parse(const struct control_frame *frame, struct control_job *out);
int control_closed_send(int socket, uint32_t output, int64_t bytes,
                        const uint8_t sha256[SHA256_BYTES]);
int control_closed_parse(const struct control_frame *frame, uint32_t *output, int64_t *bytes,
                         uint8_t sha256[SHA256_BYTES]);
int control_progress_send(int socket, int64_t done, int64_t total);
int control_progress_parse(const struct control_frame *frame, int64_t *done, int64_t *total);
int control_failed_send(int socket, const struct sl_failure *failure);
int control_failed_parse(const struct control_frame *frame, struct sl_failure *out);
int control_devices_send(int socket, const struct device_row *rows, int32_t count);
int control_devices_parse(const struct control_frame *frame, struct device_row *rows, int32_t max,
                          int32_t *count);

struct control_range_request {
    uint32_t input;
    uint32_t length; /* at most CONTROL_RANGE_MAX */
    uint64_t offset;
};

struct control_range_reply {
    int32_t code;    /* 0 or SL_E* */
    uint32_t length; /* shorter than asked only at the end */
};

/* The worker's side: fills into; *out_read 0 at the end. */
int control_range_read(int range_fd, uint32_t input, uint64_t offset, void *into, uint32_t length,
                       uint32_t *out_read);
/* The agent's side: waits for one request; SL_EUNREACH when the worker closed. */
int control_range_receive(int range_fd, struct control_range_request *out);
int control_range_reply(int range_fd, int32_t code, const void *bytes, uint32_t length);

#endif
