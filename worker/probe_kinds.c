#include "worker/probe_kinds.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/time.h"

/* For a killed process to be gone. */
#define GONE_NS SL_S_TO_NS(1)

/* What the asking process says at its end. Both are one program, so that memory is its form. */
struct answer {
    struct sl_failure why;
    int32_t count;
    struct hal_device devices[NODE_DEVICES_MAX];
};

struct question {
    enum device_kind kind;
    pid_t pid; /* 0: not asked */
    int fd;    /* -1: nothing more comes */
    size_t got;
    int error; /* errno of a process that could not be made */
    bool late;
    int status;
    struct answer answer;
};

static _Noreturn void ask(const struct hal_backends *backends, enum device_kind kind, int fd)
{
    static struct answer answer;
    struct rlimit none = {0, 0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_CORE, &none);
    /* What drivers print is no part of a document on standard output. */
    dup2(STDERR_FILENO, STDOUT_FILENO);
    hal_probe_kind(backends, kind, answer.devices, NODE_DEVICES_MAX, &answer.count, &answer.why);
    const char *bytes = (const char *)&answer;
    for (size_t done = 0; done < sizeof answer;) {
        ssize_t n = write(fd, bytes + done, sizeof answer - done);
        if (n < 0 && errno != EINTR)
            _exit(1);
        done += n > 0 ? (size_t)n : 0;
    }
    _exit(0);
}

static void question_start(const struct hal_backends *backends, enum device_kind kind,
                           struct question *q)
{
    int ends[2];
    q->kind = kind;
    q->fd = -1;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        q->error = errno;
        return;
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        ask(backends, kind, ends[1]);
    }
    close(ends[1]);
    if (pid < 0) {
        q->error = errno;
        close(ends[0]);
        return;
    }
    q->pid = pid;
    q->fd = ends[0];
}

static void answer_read(struct question *q)
{
    size_t left = sizeof q->answer - q->got;
    ssize_t n = read(q->fd, (char *)&q->answer + q->got, left);
    if (n < 0 && errno == EINTR)
        return;
    q->got += n > 0 ? (size_t)n : 0;
    if (n <= 0 || q->got == sizeof q->answer) {
        close(q->fd);
        q->fd = -1;
    }
}

static void answers_wait(struct question *questions, int count, int64_t until_ns)
{
    for (;;) {
        struct pollfd waiting[DEVICE_KIND_COUNT];
        struct question *of[DEVICE_KIND_COUNT];
        nfds_t open = 0;
        for (int i = 0; i < count; i++)
            if (questions[i].fd >= 0) {
                of[open] = &questions[i];
                waiting[open++] = (struct pollfd){.fd = questions[i].fd, .events = POLLIN};
            }
        int64_t left_ns = until_ns - sl_now_ns();
        if (open == 0 || left_ns <= 0)
            return;
        if (poll(waiting, open, (int)SL_NS_TO_MS(left_ns) + 1) <= 0)
            continue;
        for (nfds_t i = 0; i < open; i++)
            if (waiting[i].revents)
                answer_read(of[i]);
    }
}

/* One that does not go even when killed sits in its driver's kernel part; it is left to itself. */
static void question_end(struct question *q)
{
    if (q->fd >= 0) {
        q->late = true;
        close(q->fd);
        q->fd = -1;
    }
    if (q->pid == 0)
        return;
    bool whole = q->got == sizeof q->answer;
    if (q->late || whole)
        kill(q->pid, SIGKILL);
    int64_t until_ns = sl_now_ns() + GONE_NS;
    while (waitpid(q->pid, &q->status, WNOHANG) == 0 && sl_now_ns() < until_ns)
        usleep(1000);
}

static const char *remedy(enum device_kind kind)
{
    static const char *const remedies[DEVICE_KIND_COUNT] = {
        [DEVICE_CPU] = "this is a fault of sluice",
        [DEVICE_NVENC] = "look into dmesg for Xid lines, update or reinstall the NVIDIA driver, "
                         "then restart the agent",
        [DEVICE_VAAPI] = "try vainfo, update or reinstall the VA driver, then restart the agent",
    };
    return remedies[kind];
}

static void note(struct probe_result *out, enum device_kind kind, bool fault, const char *text)
{
    struct probe_note *to = &out->notes[out->note_count++];
    const char *word = device_kind_word(kind);
    size_t length = strlen(word);
    /* A back end may have said its kind itself. */
    if (strncmp(text, word, length) == 0 && text[length] == ':')
        text += length + 1 + strspn(text + length + 1, " ");
    to->kind = kind;
    to->fault = fault;
    snprintf(to->text, sizeof to->text, "%s: %s", word, text);
}

static void device_note(struct probe_result *out, const struct hal_device *device)
{
    char text[SL_MESSAGE_BYTES + DEVICE_ID_BYTES];
    snprintf(text, sizeof text, "%s: %s", device->device_id, device->note);
    if (device->note[0])
        note(out, device->kind, false, text);
}

static void result_take(const struct question *q, int64_t deadline_ns, struct probe_result *out)
{
    char text[SL_MESSAGE_BYTES];
    if (q->error) {
        snprintf(text, sizeof text, "not asked: no process can be started: %s", strerror(q->error));
        note(out, q->kind, true, text);
    } else if (q->late) {
        snprintf(text, sizeof text,
                 "the driver did not answer within %g s; its devices are left out: %s",
                 (double)deadline_ns / 1e9, remedy(q->kind));
        note(out, q->kind, true, text);
    } else if (q->got == sizeof q->answer) {
        int32_t room = NODE_DEVICES_MAX - out->device_count;
        int32_t more = q->answer.count < room ? q->answer.count : room;
        memcpy(out->devices + out->device_count, q->answer.devices,
               (size_t)more * sizeof out->devices[0]);
        for (int32_t i = 0; i < more; i++)
            device_note(out, &out->devices[out->device_count + i]);
        out->device_count += more;
        if (q->answer.why.code)
            note(out, q->kind, more > 0, q->answer.why.message);
        else if (q->answer.count == 0)
            note(out, q->kind, false, "no device");
    } else if (WIFSIGNALED(q->status)) {
        const char *name = sigabbrev_np(WTERMSIG(q->status));
        snprintf(text, sizeof text,
                 "the driver crashed at probe (signal %d, SIG%s); its devices are left out: %s",
                 WTERMSIG(q->status), name ? name : "?", remedy(q->kind));
        note(out, q->kind, true, text);
    } else {
        snprintf(
            text, sizeof text,
            "the driver ended its process at probe (exit status %d); its devices are left out: %s",
            WEXITSTATUS(q->status), remedy(q->kind));
        note(out, q->kind, true, text);
    }
}

void probe_kinds(const struct hal_backends *backends, int64_t deadline_ns, struct probe_result *out)
{
    static struct question questions[DEVICE_KIND_COUNT];
    int count = 0;
    memset(questions, 0, sizeof questions);
    memset(out, 0, sizeof *out);
    int64_t until_ns = sl_now_ns() + deadline_ns;
    for (int kind = 0; kind < DEVICE_KIND_COUNT; kind++)
        for (int32_t i = 0; i < backends->device_count; i++)
            if ((int)backends->devices[i]->kind == kind) {
                question_start(backends, (enum device_kind)kind, &questions[count++]);
                break;
            }
    answers_wait(questions, count, until_ns);
    for (int i = 0; i < count; i++) {
        question_end(&questions[i]);
        result_take(&questions[i], deadline_ns, out);
    }
}
