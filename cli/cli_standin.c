/* cli/cli_standin.c: stand-in devices for `sluice up`: the environment by which its children find them. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

#define DEVICES_MAX 8 /* as the drivers have */

struct kind {
    const char *name, *variable;
    const char *files[2];
    int count; /* -1: not asked for */
};

static int wanted_read(struct cli *cli, const char *text, struct kind *kinds, size_t kind_count)
{
    int sum = 0;
    for (const char *at = text; *at;) {
        size_t length = strcspn(at, "=,");
        struct kind *kind = NULL;
        for (size_t i = 0; i < kind_count; i++)
            if (strlen(kinds[i].name) == length && strncmp(at, kinds[i].name, length) == 0)
                kind = &kinds[i];
        char *end = NULL;
        long count = kind && at[length] == '=' ? strtol(at + length + 1, &end, 10) : -1;
        if (!kind || kind->count >= 0 || end == at + length + 1 || count < 0 ||
            count > DEVICES_MAX || (*end && (*end != ',' || !end[1])))
            return cli_fail(cli, CLI_USAGE, "invalid",
                            "--standin: \"%s\" is not understood at \"%s\": write it like "
                            "nvenc=2,vaapi=1, each kind once and at most %d of it",
                            text, at, DEVICES_MAX);
        kind->count = (int)count;
        sum += kind->count;
        at = *end ? end + 1 : end;
    }
    return sum ? CLI_OK
               : cli_fail(cli, CLI_USAGE, "invalid",
                          "--standin: \"%s\" asks for no device: write it like nvenc=2,vaapi=1",
                          text);
}

static bool folder_has(const char *folder, const struct kind *kind)
{
    for (size_t i = 0; i < sizeof kind->files / sizeof kind->files[0] && kind->files[i]; i++) {
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/%s", folder, kind->files[i]) >= (int)sizeof path ||
            access(path, R_OK) != 0)
            return false;
    }
    return true;
}

/* Where `make standin` leaves the drivers, and where `make install` does. */
static int folder_find(struct cli *cli, const struct kind *kinds, size_t kind_count, char *folder,
                       size_t folder_bytes)
{
    static const char *const places[] = {"standin", "../lib/sluice/standin"};
    char tried[2][PATH_MAX] = {"", ""}, self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    for (size_t place = 0; place < 2; place++) {
        snprintf(tried[place], sizeof tried[place], "%.*s/%s", PATH_MAX - 32, self, places[place]);
        bool whole = realpath(tried[place], folder) != NULL;
        for (size_t i = 0; i < kind_count; i++)
            whole = whole && (kinds[i].count <= 0 || folder_has(folder, &kinds[i]));
        if (whole && strlen(folder) < folder_bytes)
            return CLI_OK;
    }
    return cli_fail(cli, CLI_NOT_FOUND, "not_found",
                    "--standin: the stand-in drivers are neither in %s nor in %s: build them with "
                    "`make standin` in sluice's source tree (`make install` then takes them along)",
                    tried[0], tried[1]);
}

/* What the devices share while they run: sessions, pictures. It begins anew with each farm. */
static int state_prepare(struct cli *cli, const char *data, char *state, size_t state_bytes)
{
    static const char *const files[] = {"nvenc.state", "vaapi.state"};
    snprintf(state, state_bytes, "%s/standin", data);
    if (mkdir(state, 0750) != 0 && errno != EEXIST)
        return cli_fail(cli, CLI_REFUSED, sl_error_word(sl_error_from_errno(errno)),
                        "cannot make the folder %s: %s", state, strerror(errno));
    for (size_t i = 0; i < 2; i++) {
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/%s", state, files[i]) < (int)sizeof path)
            unlink(path);
    }
    return CLI_OK;
}

int cli_standin_prepare(struct cli *cli, const char *text, const char *data)
{
    struct kind kinds[] = {
        {"nvenc", "SLUICE_STANDIN_NVENC", {"libcuda.so.1", "libnvidia-encode.so.1"}, -1},
        {"vaapi", "SLUICE_STANDIN_VAAPI", {"sluice_drv_video.so"}, -1},
    };
    const size_t kind_count = sizeof kinds / sizeof kinds[0];
    char folder[PATH_MAX], state[PATH_MAX], path[2 * PATH_MAX];
    int code = wanted_read(cli, text, kinds, kind_count);
    if (code == CLI_OK)
        code = folder_find(cli, kinds, kind_count, folder, sizeof folder);
    if (code == CLI_OK)
        code = state_prepare(cli, data, state, sizeof state);
    if (code != CLI_OK)
        return code;
    const char *before = getenv("LD_LIBRARY_PATH");
    snprintf(path, sizeof path, "%s%s%s", folder, before && *before ? ":" : "",
             before ? before : "");
    setenv("LD_LIBRARY_PATH", path, 1);
    setenv("SLUICE_STANDIN_STATE", state, 1);
    for (size_t i = 0; i < kind_count; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", kinds[i].count > 0 ? kinds[i].count : 0);
        setenv(kinds[i].variable, number, 1);
    }
    cli_note(cli,
             "stand-in devices (%s) from %s: they encode in software behind the vendors' "
             "interfaces, hide this machine's NVIDIA GPUs, and are labelled \"stand-in\" wherever "
             "they are named; nothing they make tells of a GPU's speed or quality",
             text, folder);
    return CLI_OK;
}
