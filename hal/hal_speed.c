#include "hal/hal_speed.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define CELLS      11
#define CELLS_FEED 12

static const char *const feed_words[HAL_SPEED_FEED_COUNT] = {"", "alone", "fed"};

/* ---- lines ---- */

int hal_speed_print(const struct hal_speed *s, char *out, size_t out_bytes)
{
    int n = snprintf(out, out_bytes, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%.2f\t%.2f%s%s", s->encoder,
                     codec_word(s->codec), s->preset, s->class, s->depth, s->sessions, s->threads,
                     s->mpix_per_s, s->total_mpix_per_s, s->feed ? "\t" : "", feed_words[s->feed]);
    return n < 0 || (size_t)n >= out_bytes ? SL_ELIMIT : n;
}

static bool cell_text(const char *cell, char *out, size_t out_bytes)
{
    int n = snprintf(out, out_bytes, "%s", cell);
    return n > 0 && (size_t)n < out_bytes;
}

static bool cell_count(const char *cell, int32_t *out)
{
    char *end;
    long value = strtol(cell, &end, 10);
    *out = (int32_t)value;
    return end != cell && !*end && value > 0 && value <= 4096;
}

static bool cell_rate(const char *cell, double *out)
{
    char *end;
    *out = strtod(cell, &end);
    return end != cell && !*end && isfinite(*out) && *out > 0 && *out < 1e9;
}

static bool cell_feed(const char *cell, enum hal_speed_feed *out)
{
    for (int feed = HAL_SPEED_ALONE; feed < HAL_SPEED_FEED_COUNT; feed++)
        if (strcmp(cell, feed_words[feed]) == 0) {
            *out = (enum hal_speed_feed)feed;
            return true;
        }
    return false;
}

/* The line is cut up. */
static bool line_read(char *line, struct hal_speed *out)
{
    char *cells[CELLS_FEED];
    int count = 0;
    line[strcspn(line, "\n")] = '\0';
    for (char *at = line; at && count < CELLS_FEED; count++) {
        cells[count] = at;
        at = strchr(at, '\t');
        if (at)
            *at++ = '\0';
    }
    if (count != CELLS && (count != CELLS_FEED || !cell_feed(cells[CELLS], &out->feed)))
        return false;
    return cell_text(cells[0], out->device_id, sizeof out->device_id) &&
           cell_text(cells[1], out->driver, sizeof out->driver) &&
           cell_text(cells[2], out->encoder, sizeof out->encoder) &&
           codec_from_word(cells[3], &out->codec) == SL_OK &&
           cell_text(cells[4], out->preset, sizeof out->preset) &&
           cell_text(cells[5], out->class, sizeof out->class) &&
           cell_count(cells[6], &out->depth) && cell_count(cells[7], &out->sessions) &&
           cell_count(cells[8], &out->threads) && cell_rate(cells[9], &out->mpix_per_s) &&
           cell_rate(cells[10], &out->total_mpix_per_s);
}

/* ---- files ---- */

int hal_speeds_load(const char *path, struct hal_speeds *out, struct sl_failure *why)
{
    *out = (struct hal_speeds){0};
    FILE *file = fopen(path, "re");
    if (!file && errno == ENOENT)
        return SL_OK;
    if (!file)
        return sl_fail(why, SL_EIO, "the measured speeds in %s cannot be read: %s", path,
                       strerror(errno));
    out->items = calloc(HAL_SPEED_LINES_MAX, sizeof *out->items);
    char line[1024];
    while (out->items && out->count < HAL_SPEED_LINES_MAX && fgets(line, sizeof line, file)) {
        struct hal_speed *speed = &out->items[out->count];
        *speed = (struct hal_speed){0};
        out->count += line_read(line, speed);
    }
    fclose(file);
    return out->items ? SL_OK : sl_fail(why, SL_ENOMEM, "no memory for the speeds in %s", path);
}

void hal_speeds_fini(struct hal_speeds *speeds)
{
    free(speeds->items);
    *speeds = (struct hal_speeds){0};
}

static bool is_replaced(const struct hal_speed *old, const struct hal_speed *by)
{
    if (strcmp(old->device_id, by->device_id) != 0)
        return false;
    return strcmp(old->driver, by->driver) != 0 ||
           (strcmp(old->encoder, by->encoder) == 0 && old->codec == by->codec &&
            strcmp(old->preset, by->preset) == 0 && strcmp(old->class, by->class) == 0 &&
            old->depth == by->depth && old->sessions == by->sessions &&
            old->threads == by->threads && old->feed == by->feed);
}

static bool line_write(FILE *file, const struct hal_speed *speed)
{
    char text[512];
    return hal_speed_print(speed, text, sizeof text) > 0 &&
           fprintf(file, "%s\t%s\t%s\n", speed->device_id, speed->driver, text) > 0;
}

static int table_write(const char *path, const struct hal_speeds *old,
                       const struct hal_speed *speed, struct sl_failure *why)
{
    char fresh[PATH_MAX];
    if (snprintf(fresh, sizeof fresh, "%s.new", path) >= (int)sizeof fresh)
        return sl_fail(why, SL_ELIMIT, "the path %.100s… is too long", path);
    FILE *file = fopen(fresh, "we");
    bool good = file != NULL;
    for (int32_t i = 0; i < old->count && good; i++)
        good = is_replaced(&old->items[i], speed) || line_write(file, &old->items[i]);
    good = good && line_write(file, speed) && fflush(file) == 0 && fsync(fileno(file)) == 0;
    if (file && fclose(file) != 0)
        good = false;
    if (good && rename(fresh, path) == 0)
        return SL_OK;
    int error = errno;
    unlink(fresh);
    return sl_fail(why, SL_EIO, "the measured speeds cannot be kept in %s: %s", path,
                   strerror(error));
}

int hal_speeds_put(const char *path, const struct hal_speed *speed, struct sl_failure *why)
{
    char lock[PATH_MAX];
    if (snprintf(lock, sizeof lock, "%s.lock", path) >= (int)sizeof lock)
        return sl_fail(why, SL_ELIMIT, "the path %.100s… is too long", path);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || flock(fd, LOCK_EX) < 0) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return sl_fail(why, SL_EIO, "the measured speeds cannot be kept in %s: %s", path,
                       strerror(error));
    }
    struct hal_speeds old;
    int code = hal_speeds_load(path, &old, why);
    if (code == SL_OK)
        code = table_write(path, &old, speed, why);
    hal_speeds_fini(&old);
    close(fd);
    return code;
}

/* ---- use ---- */

bool hal_speeds_know(const struct hal_speeds *speeds, const struct device_row *row)
{
    for (int32_t i = 0; i < speeds->count; i++)
        if (strcmp(speeds->items[i].device_id, row->device_id) == 0 &&
            strcmp(speeds->items[i].driver, row->driver) == 0)
            return true;
    return false;
}

static int class_distance(const char *class)
{
    int height = atoi(class);
    return height > 720 ? height - 720 : 720 - height;
}

/* Nearer to 720p is better, then more sessions at once. */
static bool is_nearer(const struct hal_speed *a, const struct hal_speed *b)
{
    int to_a = class_distance(a->class), to_b = class_distance(b->class);
    return to_a != to_b ? to_a < to_b : a->sessions > b->sessions;
}

static bool is_of(const struct hal_speed *speed, const struct device_row *row,
                  enum hal_speed_feed feed)
{
    return speed->feed == feed && strcmp(speed->device_id, row->device_id) == 0 &&
           strcmp(speed->driver, row->driver) == 0;
}

/* A figure that was put in later stands behind. */
static int32_t feed_permille(const struct hal_speeds *speeds, const struct device_row *row)
{
    for (int32_t i = speeds->count - 1; i >= 0; i--) {
        const struct hal_speed *fed = &speeds->items[i];
        for (int32_t j = speeds->count - 1; j >= 0 && is_of(fed, row, HAL_SPEED_FED); j--) {
            const struct hal_speed *alone = &speeds->items[j];
            if (is_of(alone, row, HAL_SPEED_ALONE) && alone->codec == fed->codec &&
                alone->sessions == fed->sessions && alone->depth == fed->depth &&
                strcmp(alone->encoder, fed->encoder) == 0 &&
                strcmp(alone->preset, fed->preset) == 0 && strcmp(alone->class, fed->class) == 0)
                return (int32_t)(1000 * fed->total_mpix_per_s / alone->total_mpix_per_s + 0.5);
        }
    }
    return 0;
}

void hal_speeds_fill(const struct hal_speeds *speeds, struct device_row *row)
{
    const struct hal_speed *best[CODEC_COUNT] = {0};
    for (int32_t i = 0; i < speeds->count; i++) {
        const struct hal_speed *s = &speeds->items[i];
        if (strcmp(s->device_id, row->device_id) == 0 && strcmp(s->driver, row->driver) == 0 &&
            s->feed == HAL_SPEED_PLAIN && strcmp(s->preset, "medium") == 0 && s->depth == 8 &&
            s->threads == 1 && (!best[s->codec] || is_nearer(s, best[s->codec])))
            best[s->codec] = s;
    }
    row->feed_permille = feed_permille(speeds, row);
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        if (!best[codec])
            continue;
        double rate =
            row->kind == DEVICE_CPU ? best[codec]->mpix_per_s : best[codec]->total_mpix_per_s;
        row->mpix_per_s[codec] = rate < 1 ? 1 : (int64_t)(rate + 0.5);
    }
}
