#include "wire/wire_control.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/time.h"

#define HEAD_BYTES 8
/* Once a frame has begun its sender is in the middle of one write; a longer pause is a fault of the sender. */
#define STALL_NS   (10 * SL_NS_PER_S)

static int peer_error(int errno_value)
{
    if (errno_value == EAGAIN || errno_value == EWOULDBLOCK)
        return SL_ETIMEDOUT; /* SO_SNDTIMEO of the socket */
    if (errno_value == EPIPE || errno_value == ECONNRESET || errno_value == EBADF ||
        errno_value == ENOTCONN)
        return SL_EUNREACH;
    return sl_error_from_errno(errno_value);
}

/* Writes all of iov, descriptors with the first byte. */
static int iov_send(int socket, struct iovec *iov, size_t iov_count, const int *fds, int fd_count)
{
    union {
        char bytes[CMSG_SPACE(CONTROL_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } ancillary;
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = iov_count};
    if (fd_count > 0) {
        memset(&ancillary, 0, sizeof ancillary);
        message.msg_control = ancillary.bytes;
        message.msg_controllen = CMSG_SPACE((size_t)fd_count * sizeof(int));
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN((size_t)fd_count * sizeof(int));
        memcpy(CMSG_DATA(head), fds, (size_t)fd_count * sizeof(int));
    }
    for (;;) {
        while (message.msg_iovlen && message.msg_iov->iov_len == 0) {
            message.msg_iov++;
            message.msg_iovlen--;
        }
        if (message.msg_iovlen == 0)
            return SL_OK;
        ssize_t n = sendmsg(socket, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return peer_error(errno);
        message.msg_control = NULL;
        message.msg_controllen = 0;
        for (size_t left = (size_t)n; left;) {
            size_t step = left < message.msg_iov->iov_len ? left : message.msg_iov->iov_len;
            message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + step;
            message.msg_iov->iov_len -= step;
            left -= step;
            if (message.msg_iov->iov_len == 0) {
                message.msg_iov++;
                message.msg_iovlen--;
            }
        }
    }
}

int control_send(int socket, enum control_kind kind, const void *body, size_t length,
                 const int *fds, int fd_count)
{
    if (length > CONTROL_BYTES_MAX || fd_count < 0 || fd_count > CONTROL_FDS_MAX)
        return SL_ELIMIT;
    uint32_t head[2] = {htole32((uint32_t)length), htole32((uint32_t)kind)};
    struct iovec iov[2] = {{head, sizeof head}, {(void *)body, length}};
    return iov_send(socket, iov, 2, fds, fd_count);
}

/* Waits until there is something to read or deadline_ns; < 0 is for ever. */
static int readable_wait(int socket, int64_t deadline_ns)
{
    for (;;) {
        int timeout_ms = -1;
        if (deadline_ns >= 0) {
            int64_t left_ns = deadline_ns - sl_now_ns();
            if (left_ns < 0)
                left_ns = 0;
            int64_t left_ms = (left_ns + SL_NS_PER_MS - 1) / SL_NS_PER_MS;
            timeout_ms = left_ms > 60000 ? 60000 : (int)left_ms;
        }
        struct pollfd waiting = {.fd = socket, .events = POLLIN};
        int n = poll(&waiting, 1, timeout_ms);
        if (n > 0)
            return SL_OK;
        if (n < 0 && errno != EINTR)
            return sl_error_from_errno(errno);
        if (deadline_ns >= 0 && sl_now_ns() >= deadline_ns)
            return SL_ETIMEDOUT;
    }
}

static void fds_take(struct msghdr *message, struct control_frame *frame, bool *too_many)
{
    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
            if (frame->fd_count < CONTROL_FDS_MAX) {
                frame->fds[frame->fd_count++] = fd;
            } else {
                close(fd);
                *too_many = true;
            }
        }
    }
}

/* Reads exactly length bytes. Descriptors are taken only where frame is given; elsewhere the kernel
 * closes what a peer attaches. */
static int bytes_receive(int socket, void *into, size_t length, struct control_frame *frame,
                         int64_t deadline_ns)
{
    union {
        char bytes[CMSG_SPACE(CONTROL_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } ancillary;
    bool too_many = false;
    for (size_t done = 0; done < length;) {
        int code = readable_wait(socket, deadline_ns);
        if (code)
            return code;
        struct iovec iov = {(char *)into + done, length - done};
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
        if (frame) {
            message.msg_control = ancillary.bytes;
            message.msg_controllen = sizeof ancillary.bytes;
        }
        ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return peer_error(errno);
        if (frame) {
            fds_take(&message, frame, &too_many);
            if (message.msg_flags & MSG_CTRUNC)
                too_many = true;
        }
        if (n == 0)
            return SL_EUNREACH;
        done += (size_t)n;
    }
    return too_many ? SL_EPROTO : SL_OK;
}

static void fds_close(struct control_frame *frame)
{
    for (int i = 0; i < frame->fd_count; i++)
        close(frame->fds[i]);
    frame->fd_count = 0;
}

int control_receive(int socket, struct control_frame *frame, int64_t timeout_ns)
{
    frame->fd_count = 0;
    sl_buf_reset(&frame->body);
    int code = readable_wait(socket, timeout_ns < 0 ? -1 : sl_now_ns() + timeout_ns);
    if (code)
        return code;
    int64_t deadline_ns = sl_now_ns() + STALL_NS;
    uint32_t head[2];
    _Static_assert(sizeof head == HEAD_BYTES, "a frame's head is two words");
    code = bytes_receive(socket, head, sizeof head, frame, deadline_ns);
    uint32_t length = le32toh(head[0]), kind = le32toh(head[1]);
    if (!code && (length > CONTROL_BYTES_MAX || kind < CONTROL_JOB || kind > CONTROL_DEVICES))
        code = SL_EPROTO;
    if (!code && !sl_buf_reserve(&frame->body, length))
        code = SL_ENOMEM;
    if (!code && length)
        code = bytes_receive(socket, frame->body.data, length, NULL, deadline_ns);
    if (code) {
        fds_close(frame);
        return code == SL_ETIMEDOUT ? SL_EPROTO : code;
    }
    frame->body.length = length;
    frame->body.data[length] = '\0';
    frame->kind = (enum control_kind)kind;
    return SL_OK;
}

void control_frame_fini(struct control_frame *frame)
{
    sl_buf_fini(&frame->body);
    frame->fd_count = 0;
}

/* ---- ranges ---- */

int control_range_read(int range_fd, uint32_t input, uint64_t offset, void *into, uint32_t length,
                       uint32_t *out_read)
{
    if (length > CONTROL_RANGE_MAX)
        return SL_EINVAL;
    struct control_range_request request = {input, length, offset};
    struct iovec iov = {&request, sizeof request};
    int code = iov_send(range_fd, &iov, 1, NULL, 0);
    struct control_range_reply reply;
    if (!code)
        code = bytes_receive(range_fd, &reply, sizeof reply, NULL, -1);
    if (code)
        return code;
    if (reply.code)
        return reply.code < 0 ? reply.code : SL_EPROTO;
    if (reply.length > length)
        return SL_EPROTO;
    code = bytes_receive(range_fd, into, reply.length, NULL, -1);
    if (!code)
        *out_read = reply.length;
    return code;
}

int control_range_receive(int range_fd, struct control_range_request *out)
{
    struct control_range_request request;
    int code = bytes_receive(range_fd, &request, sizeof request, NULL, -1);
    if (code)
        return code;
    if (request.length > CONTROL_RANGE_MAX)
        return SL_EPROTO;
    *out = request;
    return SL_OK;
}

int control_range_reply(int range_fd, int32_t code, const void *bytes, uint32_t length)
{
    struct control_range_reply reply = {code, code ? 0 : length};
    struct iovec iov[2] = {{&reply, sizeof reply}, {(void *)bytes, reply.length}};
    return iov_send(range_fd, iov, 2, NULL, 0);
}
