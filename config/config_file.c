#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"

#define READ_STEP_BYTES 16384

static int fd_read(int fd, const char *path, struct sl_buf *out, struct sl_failure *why)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return sl_fail(why, sl_error_from_errno(errno), "%.128s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return sl_fail(why, SL_EINVAL, "%.128s is no regular file; name a YAML file", path);
    size_t total = 0;
    for (;;) {
        unsigned char *room = sl_buf_reserve(out, READ_STEP_BYTES);
        if (!room)
            return sl_fail(why, SL_ENOMEM, "%.128s: not enough memory to read it", path);
        ssize_t got = read(fd, room, READ_STEP_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return sl_fail(why, sl_error_from_errno(errno), "%.128s: %s", path, strerror(errno));
        if (got == 0)
            return SL_OK;
        out->length += (size_t)got;
        out->data[out->length] = '\0';
        total += (size_t)got;
        if (total > CONFIG_BYTES_MAX)
            return sl_fail(why, SL_ETOOBIG,
                           "%.128s has more than %d bytes; no settings file needs them", path,
                           CONFIG_BYTES_MAX);
    }
}

int config_file_read(const char *path, struct sl_buf *out, struct sl_failure *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return sl_fail(why, sl_error_from_errno(errno), "%.128s: %s", path, strerror(errno));
    int rc = fd_read(fd, path, out, why);
    close(fd);
    return rc;
}

void config_mistakes_print(const char *name, const struct config_mistakes *mistakes,
                           struct sl_buf *out)
{
    for (int32_t i = 0; i < mistakes->count; i++) {
        const struct config_mistake *mistake = &mistakes->items[i];
        if (mistake->line)
            sl_buf_printf(out, "%s:%d:%d: %s\n", name, (int)mistake->line, (int)mistake->column,
                          mistake->message);
        else
            sl_buf_printf(out, "%s: %s\n", name, mistake->message);
    }
}
