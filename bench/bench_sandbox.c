/* What a worker's sandbox costs: the time to enter it, and what each system call pays for the filter afterwards.
 * Prints one line of JSON. A worker enters before it says READY, so a lease pays for it only where none waits. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/time.h"
#include "worker/sandbox.h"

#define RUNS  40
#define CALLS 200000

struct figures {
    int64_t enter_ns, call_before_ns, call_after_ns;
};

static int64_t call_ns(void)
{
    static char byte;
    int64_t start_ns = sl_now_ns();
    for (int i = 0; i < CALLS; i++)
        if (syscall(SYS_pread64, 0, &byte, 0, 0) < -1)
            abort();
    return (sl_now_ns() - start_ns) * 1000 / CALLS; /* thousandths */
}

static void child(int out)
{
    struct figures f;
    struct sandbox sandbox;
    struct sl_failure why = {0};
    f.call_before_ns = call_ns();
    int64_t start_ns = sl_now_ns();
    sandbox_isolate(&sandbox);
    if (sandbox_enter(&sandbox, NULL, &why) != SL_OK) {
        fprintf(stderr, "%s\n", why.message);
        _exit(1);
    }
    f.enter_ns = sl_now_ns() - start_ns;
    f.call_after_ns = call_ns();
    _exit(write(out, &f, sizeof f) == sizeof f ? 0 : 1);
}

static int compare(const void *a, const void *b)
{
    int64_t left = ((const struct figures *)a)->enter_ns;
    int64_t right = ((const struct figures *)b)->enter_ns;
    return (left > right) - (left < right);
}

int main(void)
{
    struct figures runs[RUNS];
    int64_t call_before = 0, call_after = 0;
    for (int i = 0; i < RUNS; i++) {
        int pipes[2];
        if (pipe(pipes) < 0)
            return 1;
        pid_t pid = fork();
        if (pid == 0)
            child(pipes[1]);
        close(pipes[1]);
        int status = 0;
        if (read(pipes[0], &runs[i], sizeof runs[i]) != sizeof runs[i] ||
            waitpid(pid, &status, 0) != pid || status != 0)
            return 1;
        close(pipes[0]);
        call_before += runs[i].call_before_ns;
        call_after += runs[i].call_after_ns;
    }
    qsort(runs, RUNS, sizeof runs[0], compare);
    printf("{\"enter_ms\": %.3f, \"enter_most_ms\": %.3f, \"call_ns\": %.1f, \"call_filtered_ns\": "
           "%.1f}\n",
           (double)runs[RUNS / 2].enter_ns / 1e6, (double)runs[RUNS - 1].enter_ns / 1e6,
           (double)call_before / RUNS / 1e3, (double)call_after / RUNS / 1e3);
    return 0;
}
