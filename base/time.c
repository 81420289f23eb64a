#include "base/time.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"

static int64_t clock_read(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * SL_NS_PER_S + ts.tv_nsec;
}

int64_t sl_now_ns(void)
{
    return clock_read(CLOCK_BOOTTIME);
}

int64_t sl_now_unix_ns(void)
{
    return clock_read(CLOCK_REALTIME);
}

char *sl_time_format(int64_t unix_ns, char text[SL_TIME_TEXT_BYTES])
{
    int64_t ms = unix_ns / SL_NS_PER_MS;
    time_t seconds = (time_t)(ms / 1000);
    int fraction = (int)(ms % 1000);
    if (fraction < 0) {
        fraction += 1000;
        seconds--;
    }
    struct tm tm;
    size_t used = 0;
    if (gmtime_r(&seconds, &tm))
        used = strftime(text, SL_TIME_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + used, SL_TIME_TEXT_BYTES - used, ".%03dZ", fraction);
    return text;
}

int64_t sl_muldiv_i64(int64_t a, int64_t b, int64_t c)
{
    __int128 product = (__int128)a * b;
    __int128 quotient = product / c;
    if (product % c != 0 && product < 0)
        quotient--;
    if (quotient > INT64_MAX)
        return INT64_MAX;
    if (quotient < INT64_MIN)
        return INT64_MIN;
    return (int64_t)quotient;
}

int sl_duration_parse(const char *text, int64_t *out_ns)
{
    char *end = NULL;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || errno != 0 || !isfinite(value) || value < 0)
        return SL_EINVAL;
    double unit_s;
    if (*end == '\0' || strcmp(end, "s") == 0)
        unit_s = 1;
    else if (strcmp(end, "ms") == 0)
        unit_s = 0.001;
    else if (strcmp(end, "m") == 0 || strcmp(end, "min") == 0)
        unit_s = 60;
    else if (strcmp(end, "h") == 0)
        unit_s = 3600;
    else if (strcmp(end, "d") == 0)
        unit_s = 86400;
    else
        return SL_EINVAL;
    double ns = value * unit_s * 1e9;
    if (ns > 9.2e18)
        return SL_EINVAL;
    *out_ns = (int64_t)(ns + 0.5);
    return SL_OK;
}
