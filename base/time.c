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

/* "+01:30" or "Z" to seconds; nothing may follow. */
static int offset_parse(const char *text, int64_t *out_s)
{
    int hours = 0, minutes = 0, used = 0;
    *out_s = 0;
    if ((text[0] == 'Z' || text[0] == 'z') && text[1] == '\0')
        return SL_OK;
    if (text[0] == '\0' || !strchr("+-", text[0]) ||
        sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 || used != 5 ||
        text[6] != '\0' || hours > 23 || minutes > 59)
        return SL_EINVAL;
    *out_s = (hours * 60 + minutes) * (text[0] == '-' ? -60 : 60);
    return SL_OK;
}

int sl_time_parse(const char *text, int64_t *out_unix_ns)
{
    struct tm tm = {0};
    int used = 0;
    int64_t fraction_ns = 0, offset_s = 0;
    if (strspn(text, "0123456789-") < 10 ||
        sscanf(text, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &used) != 3 ||
        used != 10)
        return SL_EINVAL;
    text += used;
    if (*text) {
        if (!strchr("Tt ", *text) ||
            sscanf(text + 1, "%2d:%2d:%2d%n", &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &used) != 3 ||
            used != 8)
            return SL_EINVAL;
        text += 9;
        if (*text == '.') {
            int64_t unit_ns = SL_NS_PER_S;
            for (text++; *text >= '0' && *text <= '9'; text++)
                fraction_ns += (*text - '0') * (unit_ns /= 10);
            if (unit_ns == SL_NS_PER_S)
                return SL_EINVAL;
        }
        if (offset_parse(text, &offset_s) != SL_OK)
            return SL_EINVAL;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    struct tm asked = tm;
    int64_t unix_s = (int64_t)timegm(&tm);
    /* timegm makes the 31st of February a day in March, and knows no leap seconds. */
    if (tm.tm_mday != asked.tm_mday || tm.tm_mon != asked.tm_mon || tm.tm_hour != asked.tm_hour ||
        tm.tm_min != asked.tm_min || tm.tm_sec != asked.tm_sec || asked.tm_year < 70 ||
        asked.tm_year > 300)
        return SL_EINVAL;
    *out_unix_ns = SL_S_TO_NS(unix_s - offset_s) + fraction_ns;
    return SL_OK;
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
