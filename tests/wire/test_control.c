#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "tests/wire/wire_random.h"
#include "wire/wire_control.h"

struct pair {
    int agent, worker;
};

static struct pair pair_open(void)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    return (struct pair){fds[0], fds[1]};
}

static void pair_close(struct pair *p)
{
    if (p->agent >= 0)
        close(p->agent);
    if (p->worker >= 0)
        close(p->worker);
}

static int file_with(const char *text)
{
    int fd = memfd_create("input", MFD_CLOEXEC);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

static void test_a_job_brings_its_inputs_as_descriptors(void **state)
{
    (void)state;
    struct pair p = pair_open();
    struct control_job job = {.range_fd = -1, .job = (const uint8_t *)"job bytes", .job_bytes = 9};
    struct pair range = pair_open();
    job.input_count = 3;
    job.inputs[0] = (struct control_input){100, file_with("zero")};
    job.inputs[1] = (struct control_input){200, -1};
    job.inputs[2] = (struct control_input){300, file_with("two")};
    job.range_fd = range.worker;
    assert_int_equal(control_job_send(p.agent, &job), SL_OK);

    struct control_frame frame = {0};
    struct control_job back;
    assert_int_equal(control_receive(p.worker, &frame, SL_S_TO_NS(1)), SL_OK);
    assert_int_equal(frame.kind, CONTROL_JOB);
    assert_int_equal(frame.fd_count, 3);
    assert_int_equal(control_job_parse(&frame, &back), SL_OK);
    assert_int_equal(back.input_count, 3);
    assert_int_equal(back.inputs[1].fd, -1);
    assert_int_equal(back.inputs[1].bytes, 200);
    assert_int_equal(back.job_bytes, 9);
    assert_memory_equal(back.job, "job bytes", 9);
    char text[8] = {0};
    assert_int_equal(pread(back.inputs[0].fd, text, sizeof text, 0), 4);
    assert_string_equal(text, "zero");
    memset(text, 0, sizeof text);
    assert_int_equal(pread(back.inputs[2].fd, text, sizeof text, 0), 3);
    assert_string_equal(text, "two");
    for (int i = 0; i < frame.fd_count; i++) {
        assert_int_equal(fcntl(frame.fds[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        close(frame.fds[i]);
    }
    close(job.inputs[0].fd);
    close(job.inputs[2].fd);
    control_frame_fini(&frame);
    pair_close(&range);
    pair_close(&p);
}

static void test_a_job_that_lacks_a_descriptor_is_refused(void **state)
{
    (void)state;
    struct pair p = pair_open();
    struct control_job job = {.range_fd = -1, .input_count = 1}, back;
    job.inputs[0] = (struct control_input){100, -1}; /* neither file nor range socket */
    assert_int_equal(control_job_send(p.agent, &job), SL_OK);
    struct control_frame frame = {0};
    assert_int_equal(control_receive(p.worker, &frame, SL_S_TO_NS(1)), SL_OK);
    assert_int_equal(control_job_parse(&frame, &back), SL_EPROTO);

    uint32_t lying[5] = {htole32(1), 0, 0, 0, htole32(1)}; /* one file, no descriptor */
    assert_int_equal(control_send(p.agent, CONTROL_JOB, lying, sizeof lying, NULL, 0), SL_OK);
    assert_int_equal(control_receive(p.worker, &frame, SL_S_TO_NS(1)), SL_OK);
    assert_int_equal(control_job_parse(&frame, &back), SL_EPROTO);

    uint32_t few[2] = {0, 0}; /* one descriptor that nothing speaks of */
    int extra = STDIN_FILENO;
    assert_int_equal(control_send(p.agent, CONTROL_JOB, few, sizeof few, &extra, 1), SL_OK);
    assert_int_equal(control_receive(p.worker, &frame, SL_S_TO_NS(1)), SL_OK);
    assert_int_equal(frame.fd_count, 1);
    assert_int_equal(control_job_parse(&frame, &back), SL_EPROTO);
    close(frame.fds[0]);
    control_frame_fini(&frame);
    pair_close(&p);
}

static void test_small_frames_come_back_as_sent(void **state)
{
    (void)state;
    struct random r = random_start();
    struct pair p = pair_open();
    struct control_frame frame = {0};
    uint8_t sha[SHA256_BYTES], sha_back[SHA256_BYTES];
    memcpy(sha, random_bytes(&r, sizeof sha), sizeof sha);
    uint32_t output;
    int64_t a, b;
    assert_int_equal(control_closed_send(p.worker, 17, INT64_C(1) << 40, sha), SL_OK);
    assert_int_equal(control_progress_send(p.worker, 123, -1), SL_OK);
    struct sl_failure failure = {SL_EDECODE, "no frames at 12.5 s"}, failure_back;
    assert_int_equal(control_failed_send(p.worker, &failure), SL_OK);
    assert_int_equal(control_receive(p.agent, &frame, 0), SL_OK);
    assert_int_equal(control_closed_parse(&frame, &output, &a, sha_back), SL_OK);
    assert_int_equal(output, 17);
    assert_int_equal(a, INT64_C(1) << 40);
    assert_memory_equal(sha, sha_back, sizeof sha);
    assert_int_equal(control_failed_parse(&frame, &failure_back), SL_EPROTO);
    assert_int_equal(control_receive(p.agent, &frame, 0), SL_OK);
    assert_int_equal(control_progress_parse(&frame, &a, &b), SL_OK);
    assert_int_equal(a, 123);
    assert_int_equal(b, -1);
    assert_int_equal(control_receive(p.agent, &frame, 0), SL_OK);
    assert_int_equal(control_failed_parse(&frame, &failure_back), SL_OK);
    assert_int_equal(failure_back.code, SL_EDECODE);
    assert_string_equal(failure_back.message, failure.message);

    struct device_row rows[3], rows_back[NODE_DEVICES_MAX];
    memset(rows, 0, sizeof rows);
    memset(rows_back, 0, sizeof rows_back);
    for (int i = 0; i < 3; i++)
        random_device(&r, &rows[i]);
    int32_t count;
    assert_int_equal(control_devices_send(p.worker, rows, 3), SL_OK);
    assert_int_equal(control_receive(p.agent, &frame, 0), SL_OK);
    assert_int_equal(control_devices_parse(&frame, rows_back, 2, &count), SL_EPROTO);
    assert_int_equal(control_devices_parse(&frame, rows_back, NODE_DEVICES_MAX, &count), SL_OK);
    assert_int_equal(count, 3);
    assert_memory_equal(rows, rows_back, sizeof rows);
    control_frame_fini(&frame);
    pair_close(&p);
    sl_arena_fini(&r.arena);
}

static void test_silence_times_out_and_a_gone_peer_is_unreachable(void **state)
{
    (void)state;
    struct pair p = pair_open();
    struct control_frame frame = {0};
    int64_t start_ns = sl_now_ns();
    assert_int_equal(control_receive(p.agent, &frame, SL_MS_TO_NS(50)), SL_ETIMEDOUT);
    assert_true(sl_now_ns() - start_ns >= SL_MS_TO_NS(49));
    close(p.worker);
    p.worker = -1;
    assert_int_equal(control_receive(p.agent, &frame, -1), SL_EUNREACH);
    assert_int_equal(control_send(p.agent, CONTROL_READY, NULL, 0, NULL, 0), SL_EUNREACH);
    control_frame_fini(&frame);
    pair_close(&p);
}

/* Sends a frame in pieces of random size, with pauses. */
struct drip {
    int socket;
    const unsigned char *bytes;
    size_t length;
    uint64_t seed;
};

static void *drip_run(void *arg)
{
    struct drip *d = arg;
    struct random r = {.state = d->seed};
    for (size_t at = 0; at < d->length;) {
        size_t step = 1 + random_below(&r, 400000);
        if (at < 12)
            step = 1;
        if (step > d->length - at)
            step = d->length - at;
        assert_true(write(d->socket, d->bytes + at, step) > 0);
        at += step;
        usleep(300);
    }
    return NULL;
}

static void test_frames_in_pieces_are_put_together(void **state)
{
    (void)state;
    struct random r = random_start();
    struct pair p = pair_open();
    size_t length = CONTROL_BYTES_MAX;
    unsigned char *bytes = calloc(1, length + 8);
    bytes[3] = 0;
    uint32_t head[2] = {htole32((uint32_t)length), htole32(CONTROL_REPORT)};
    memcpy(bytes, head, sizeof head);
    for (size_t i = 8; i < length + 8; i++)
        bytes[i] = (unsigned char)(i * 31 >> 3);
    struct drip d = {p.worker, bytes, length + 8, random_next(&r)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, drip_run, &d), 0);
    struct control_frame frame = {0};
    assert_int_equal(control_receive(p.agent, &frame, SL_S_TO_NS(5)), SL_OK);
    pthread_join(thread, NULL);
    assert_int_equal(frame.body.length, length);
    assert_memory_equal(frame.body.data, bytes + 8, length);
    free(bytes);
    control_frame_fini(&frame);
    pair_close(&p);
}

static int fds_open(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

static void test_frames_over_their_limits_are_refused_and_leak_nothing(void **state)
{
    (void)state;
    struct control_frame frame = {0};
    const struct {
        uint32_t length, kind;
    } bad[] = {{CONTROL_BYTES_MAX + 1, CONTROL_REPORT},
               {UINT32_MAX, CONTROL_REPORT},
               {0, 0},
               {0, CONTROL_DEVICES + 1}};
    int before = fds_open();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct pair p = pair_open();
        uint32_t head[2] = {htole32(bad[i].length), htole32(bad[i].kind)};
        assert_int_equal(write(p.worker, head, sizeof head), sizeof head);
        assert_int_equal(control_receive(p.agent, &frame, SL_S_TO_NS(1)), SL_EPROTO);
        pair_close(&p);
    }
    int many[CONTROL_FDS_MAX + 1];
    for (int i = 0; i <= CONTROL_FDS_MAX; i++)
        many[i] = STDIN_FILENO;
    struct pair p = pair_open();
    assert_int_equal(control_send(p.worker, CONTROL_READY, NULL, 0, many, CONTROL_FDS_MAX + 1),
                     SL_ELIMIT);
    /* More than is taken, by a worker that does not keep to it. */
    union {
        char bytes[CMSG_SPACE(sizeof many)];
        struct cmsghdr align;
    } ancillary = {0};
    uint32_t head[2] = {0, htole32(CONTROL_READY)};
    struct iovec iov = {head, sizeof head};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = ancillary.bytes,
                             .msg_controllen = sizeof ancillary.bytes};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof many);
    memcpy(CMSG_DATA(c), many, sizeof many);
    assert_int_equal(sendmsg(p.worker, &message, 0), sizeof head);
    assert_int_equal(control_receive(p.agent, &frame, SL_S_TO_NS(1)), SL_EPROTO);
    pair_close(&p);
    assert_int_equal(fds_open(), before);
    control_frame_fini(&frame);
}

static void test_random_bodies_are_harmless(void **state)
{
    (void)state;
    struct random r = random_start();
    struct pair p = pair_open();
    struct control_frame frame = {0};
    for (int i = 0; i < 3000; i++) {
        size_t length = random_below(&r, 200);
        enum control_kind kind = (enum control_kind)(1 + random_below(&r, CONTROL_DEVICES));
        assert_int_equal(control_send(p.worker, kind, random_bytes(&r, length), length, NULL, 0),
                         SL_OK);
        assert_int_equal(control_receive(p.agent, &frame, SL_S_TO_NS(1)), SL_OK);
        struct control_job job;
        uint32_t output;
        int64_t a, b;
        uint8_t sha[SHA256_BYTES];
        struct sl_failure failure;
        struct device_row rows[NODE_DEVICES_MAX];
        int32_t count;
        control_job_parse(&frame, &job);
        control_closed_parse(&frame, &output, &a, sha);
        control_progress_parse(&frame, &a, &b);
        control_failed_parse(&frame, &failure);
        control_devices_parse(&frame, rows, NODE_DEVICES_MAX, &count);
        sl_arena_reset(&r.arena);
    }
    control_frame_fini(&frame);
    pair_close(&p);
    sl_arena_fini(&r.arena);
}

static void *range_serve(void *arg)
{
    int fd = *(int *)arg;
    struct control_range_request request;
    static char data[CONTROL_RANGE_MAX];
    memset(data, 'x', sizeof data);
    while (control_range_receive(fd, &request) == SL_OK) {
        if (request.offset >= 5000000) {
            control_range_reply(fd, 0, data, 0);
        } else if (request.offset == 4000000) {
            control_range_reply(fd, SL_EIO, NULL, 0);
        } else {
            memcpy(data, &request.offset, sizeof request.offset);
            control_range_reply(fd, 0, data, request.length);
        }
    }
    return NULL;
}

static void test_ranges_are_answered_up_to_the_end(void **state)
{
    (void)state;
    struct pair p = pair_open();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, range_serve, &p.agent), 0);
    static char into[CONTROL_RANGE_MAX];
    uint32_t n = 0;
    for (uint64_t offset = 0; offset < 10; offset++) {
        assert_int_equal(control_range_read(p.worker, 0, offset, into, sizeof into, &n), SL_OK);
        assert_int_equal(n, sizeof into);
        assert_memory_equal(into, &offset, sizeof offset);
    }
    assert_int_equal(control_range_read(p.worker, 0, 4000000, into, 100, &n), SL_EIO);
    assert_int_equal(control_range_read(p.worker, 0, 5000000, into, 100, &n), SL_OK);
    assert_int_equal(n, 0);
    assert_int_equal(control_range_read(p.worker, 0, 0, into, CONTROL_RANGE_MAX + 1, &n),
                     SL_EINVAL);
    close(p.worker);
    p.worker = -1;
    pthread_join(thread, NULL);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_job_brings_its_inputs_as_descriptors),
        cmocka_unit_test(test_a_job_that_lacks_a_descriptor_is_refused),
        cmocka_unit_test(test_small_frames_come_back_as_sent),
        cmocka_unit_test(test_silence_times_out_and_a_gone_peer_is_unreachable),
        cmocka_unit_test(test_frames_in_pieces_are_put_together),
        cmocka_unit_test(test_frames_over_their_limits_are_refused_and_leak_nothing),
        cmocka_unit_test(test_random_bodies_are_harmless),
        cmocka_unit_test(test_ranges_are_answered_up_to_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
