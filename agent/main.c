#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "agent/options.h"
#include "base/log.h"

struct signals {
    sigset_t set;
    struct agent *agent;
};

/* The first signal asks politely. */
static void *signals_wait(void *arg)
{
    struct signals *signals = arg;
    int number = 0;
    sigwait(&signals->set, &number);
    sl_info(NULL, "leaving: running leases go back to the daemon");
    agent_leave(signals->agent);
    sigwait(&signals->set, &number);
    _exit(128 + number); /* workers end with their sockets */
}

/* A worker that hangs at its start could hold up an orderly end. */
static void *end_in_time(void *arg)
{
    const int *exit_code = arg;
    struct timespec patience = {.tv_sec = 4};
    nanosleep(&patience, NULL);
    _exit(*exit_code);
}

/* Every lease and every cached object holds descriptors; the usual soft limit is meant for select(). */
static void descriptors_allow(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        sl_warn(NULL, "the limit of open files stays as it is: it cannot be raised");
}

static int agent_serve(const struct options *options)
{
    static struct signals signals;
    struct sl_failure why = {0};
    sigemptyset(&signals.set);
    sigaddset(&signals.set, SIGTERM);
    sigaddset(&signals.set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals.set, NULL); /* for every thread to come */
    signal(SIGPIPE, SIG_IGN);
    int code = agent_open(&options->agent, &signals.agent, &why);
    if (code) {
        fprintf(stderr, "sluice-agent: %s\n", why.message);
        return code == SL_EINVAL                       ? AGENT_EXIT_USAGE
               : code == SL_EBUSY || code == SL_EACCES ? AGENT_EXIT_REFUSED
                                                       : AGENT_EXIT_FAULT;
    }
    pthread_t waiter;
    if (pthread_create(&waiter, NULL, signals_wait, &signals) != 0)
        return AGENT_EXIT_FAULT;
    pthread_detach(waiter);
    static int exit_code;
    exit_code = agent_wait(signals.agent);
    if (pthread_create(&waiter, NULL, end_in_time, &exit_code) == 0)
        pthread_detach(waiter);
    agent_close(&signals.agent);
    return exit_code;
}

int main(int argc, char **argv)
{
    static struct options options;
    static char own_path[4096];
    ssize_t length = readlink("/proc/self/exe", own_path, sizeof own_path - 1);
    if (length < 0)
        snprintf(own_path, sizeof own_path, "%s", argv[0]);
    struct sl_failure why = {0};
    sl_log_open("sluice-agent");
    if (options_parse(argc, argv, own_path, &options, &why)) {
        fprintf(stderr, "sluice-agent: %s\n", why.message);
        if (why.code == SL_EINVAL)
            fprintf(stderr, "sluice-agent --help shows the options\n");
        return AGENT_EXIT_USAGE;
    }
    if (options.help || options.version) {
        printf("%s", options.help ? options_usage : "sluice-agent " SLUICE_VERSION "\n");
        return 0;
    }
    descriptors_allow();
    int exit_code = agent_serve(&options);
    fflush(NULL);
    /* Threads of libraries may still run; nothing of ours is left to do. */
    _exit(exit_code);
}
