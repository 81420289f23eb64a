#include "worker/sandbox_driver.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/landlock.h"

#define FOLDERS_MAX 48

/* Libraries, what they are found by, what drivers ask of the system, and the devices. */
static const struct landlock_path always[] = {
    {"/usr", false},
    {"/lib", false},
    {"/lib64", false},
    {"/opt", false},
    {"/etc/ld.so.cache", false},
    {"/etc/ld.so.preload", false},
    {"/etc/localtime", false},
    {"/etc/drirc", false},
    {"/etc/nvidia", false},
    {"/proc", false},
    {"/sys", false},
    {"/run/nvidia", false},
    {"/dev", true},
};
#define ALWAYS_COUNT (sizeof always / sizeof always[0])

/* Folders that our environment names for libraries and drivers, and what stand-ins share. */
static const struct {
    const char *variable;
    bool write;
} named[] = {
    {"LD_LIBRARY_PATH", false}, {"LIBVA_DRIVERS_PATH", false}, {"SLUICE_STANDIN_STATE", true}};

int sandbox_driver_landlock(void)
{
    struct landlock_path paths[FOLDERS_MAX];
    char *texts[sizeof named / sizeof named[0]] = {NULL};
    int count = ALWAYS_COUNT;
    memcpy(paths, always, sizeof always);
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        const char *value = getenv(named[i].variable);
        char *rest = texts[i] = value ? strdup(value) : NULL;
        for (char *one; rest && (one = strsep(&rest, ":")) && count < FOLDERS_MAX;)
            if (one[0])
                paths[count++] = (struct landlock_path){one, named[i].write};
    }
    int error = landlock_enter(paths, count);
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        free(texts[i]);
    return error;
}

static bool is_driver_file(const char *path)
{
    struct stat st;
    return (strncmp(path, "/dev/nvidia", 11) == 0 || strncmp(path, "/dev/dri/", 9) == 0) &&
           stat(path, &st) == 0 && S_ISCHR(st.st_mode);
}

static void file_add(struct sandbox_driver *driver, const char *path)
{
    for (int i = 0; i < driver->count; i++)
        if (strcmp(driver->paths[i], path) == 0)
            return;
    if (driver->count < SANDBOX_DRIVER_FILES_MAX)
        snprintf(driver->paths[driver->count++], SANDBOX_DRIVER_PATH, "%s", path);
}

void sandbox_driver_find(enum device_kind kind, struct sandbox_driver *out)
{
    *out = (struct sandbox_driver){.kind = kind};
    DIR *files = opendir("/proc/self/fd");
    for (struct dirent *entry; files && (entry = readdir(files));) {
        char path[SANDBOX_DRIVER_PATH];
        ssize_t length = readlinkat(dirfd(files), entry->d_name, path, sizeof path - 1);
        if (length <= 0)
            continue;
        path[length] = '\0';
        if (is_driver_file(path))
            file_add(out, path);
    }
    if (files)
        closedir(files);
}
