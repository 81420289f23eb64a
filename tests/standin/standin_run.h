/* tests/standin/standin_run.h: a test program that runs itself on the stand-in driver.
 *
 * What a driver does is decided when it is loaded, so each way of behaving is a process of its own: the program starts itself
 * once for each run, with the stand-in's libraries first in the search path and the run's name as its argument.
 */
#ifndef SL_TESTS_STANDIN_STANDIN_RUN_H
#define SL_TESTS_STANDIN_STANDIN_RUN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define STANDIN_RUN_SKIP 77

struct standin_run {
    const char *name;    /* the program's argument */
    const char *gpus;    /* SLUICE_STANDIN_NVENC */
    const char *faults;  /* SLUICE_STANDIN_FAULTS; NULL: none */
    const char *visible; /* CUDA_VISIBLE_DEVICES; NULL: all */
    const char *folder; /* of the libraries, below build/standin; NULL: itself; "none": no driver */
};

/* The tree's build/standin, beside whichever build this program is of. */
static inline int standin_run_folder(char *out, size_t room)
{
    char self[3000];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        return -1;
    self[length] = '\0';
    char *build = strstr(self, "/build/");
    if (!build)
        return -1;
    snprintf(out, room, "%.*s/build/standin", (int)(build - self), self);
    char library[4096];
    snprintf(library, sizeof library, "%s/libnvidia-encode.so.1", out);
    return access(library, R_OK);
}

static inline int standin_run_one(const char *program, const struct standin_run *run,
                                  const char *folder)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        char path[4096];
        snprintf(path, sizeof path, "%s%s%s", folder, run->folder ? "/" : "",
                 run->folder ? run->folder : "");
        setenv("LD_LIBRARY_PATH", path, 1);
        setenv("SLUICE_STANDIN_NVENC", run->gpus ? run->gpus : "1", 1);
        unsetenv("SLUICE_STANDIN_STATE");
        unsetenv("CUDA_VISIBLE_DEVICES");
        unsetenv("SLUICE_STANDIN_FAULTS");
        if (run->faults)
            setenv("SLUICE_STANDIN_FAULTS", run->faults, 1);
        if (run->visible)
            setenv("CUDA_VISIBLE_DEVICES", run->visible, 1);
        execl("/proc/self/exe", program, run->name, (char *)NULL);
        _exit(126);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    printf("[  FAILED  ] run \"%s\" with \"%s\": status %d\n", run->name,
           run->faults ? run->faults : "", status);
    return 1;
}

/* Exit status for main: 77, with the reason, where the stand-in is not built. */
static inline int standin_run_all(const char *program, const struct standin_run *runs, size_t count)
{
    char folder[3072];
    int failed = 0;
    if (standin_run_folder(folder, sizeof folder) != 0) {
        printf("SKIP: the stand-in driver is not built (make standin)\n");
        return STANDIN_RUN_SKIP;
    }
    for (size_t i = 0; i < count; i++)
        failed += standin_run_one(program, &runs[i], folder);
    return failed ? 1 : 0;
}

#endif
