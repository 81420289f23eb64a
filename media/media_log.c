#include "media/media_log.h"

#include <libavutil/log.h>
#include <string.h>

#include "base/log.h"

static void line(void *context, int level, const char *fmt, va_list args)
{
    if (level > AV_LOG_ERROR)
        return;
    char text[512];
    int prefix = 1;
    av_log_format_line(context, level, fmt, args, text, sizeof text, &prefix);
    text[strcspn(text, "\r\n")] = '\0';
    sl_debug(NULL, "libav: %s", text);
}

void media_log_start(void)
{
    av_log_set_callback(line);
}
