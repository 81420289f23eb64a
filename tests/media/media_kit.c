#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/media/media_kit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "media/media_frame.h"
#include "media/media_probe.h"
#include "media/media_range.h"

static bool opened(struct kit_clip *clip, int fd)
{
    struct stat status;
    if (fd < 0)
        return false;
    assert_int_equal(fstat(fd, &status), 0);
    clip->fd = fd;
    clip->input = (struct media_input){.fd = fd, .bytes = status.st_size};
    return true;
}

bool kit_clip_open(struct kit_clip *clip, const char *name)
{
    const char *folder = getenv("SLUICE_MEDIA");
    char path[512];
    snprintf(path, sizeof path, "%s/clips/%s", folder ? folder : "../shared/media", name);
    return opened(clip, open(path, O_RDONLY | O_CLOEXEC));
}

bool kit_made_open(struct kit_clip *clip)
{
    char path[] = "/tmp/sluice-test-XXXXXX.mp4";
    int fd = mkstemps(path, 4);
    assert_true(fd >= 0);
    char command[1024];
    snprintf(command, sizeof command,
             "ffmpeg -nostdin -loglevel error -y -f lavfi -i testsrc2=size=320x180:rate=25 "
             "-f lavfi -i sine=frequency=440:sample_rate=44100 -t 3 -pix_fmt yuv420p -c:v libx264 "
             "-preset veryfast -g 25 -bf 2 -c:a aac -ac 1 %s",
             path);
    bool made = system(command) == 0;
    close(fd);
    fd = made ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    unlink(path);
    return opened(clip, fd);
}

bool kit_trait_open(struct kit_clip *clip, const char *kind, const char *input, const char *args)
{
    char path[64], command[1024];
    int suffix = snprintf(path, sizeof path, "/tmp/sluice-test-XXXXXX.%s", kind);
    int fd = mkstemps(path, suffix - (int)strlen("/tmp/sluice-test-XXXXXX"));
    assert_true(fd >= 0);
    close(fd);
    snprintf(command, sizeof command,
             "ffmpeg -nostdin -loglevel error -y -f lavfi -i '%s' -pix_fmt yuv420p %s %s", input,
             args, path);
    fd = system(command) == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    unlink(path);
    return opened(clip, fd);
}

void kit_bytes_open(struct kit_clip *clip, const void *bytes, size_t length)
{
    int fd = memfd_create("clip", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, length), (ssize_t)length);
    assert_true(opened(clip, fd));
}

void kit_clip_close(struct kit_clip *clip)
{
    close(clip->fd);
    clip->fd = -1;
}

void kit_probe(const struct kit_clip *clip, struct sl_arena *arena, struct media_info *info,
               struct media_index *index)
{
    struct sl_failure why = {0};
    int code = media_probe(&clip->input, -1, arena, NULL, info, index, &why);
    if (code != SL_OK)
        fail_msg("probe: %s", why.message);
}

struct kit_frame *kit_range(const struct media_input *input, const struct media_video *video,
                            int64_t start_pts, int64_t end_pts, int32_t preroll, size_t *out_count,
                            uint64_t *out_seam_first, uint64_t *out_seam_next, bool *out_linear)
{
    struct sl_failure why = {0};
    struct media_range *range = NULL;
    struct media_range_params params = {
        .video = video, .start_pts = start_pts, .end_pts = end_pts, .preroll = preroll};
    int got = media_range_open(input, &params, &range, &why);
    if (got != SL_OK)
        fail_msg("range from %lld: %s", (long long)start_pts, why.message);
    size_t count = 0, room = 256;
    struct kit_frame *frames = malloc(room * sizeof *frames);
    AVFrame *frame;
    while ((got = media_range_next(range, &frame, &why)) > 0) {
        if (count == room)
            frames = realloc(frames, (room *= 2) * sizeof *frames);
        frames[count++] = (struct kit_frame){frame->pts, media_frame_hash(frame)};
    }
    if (got < 0)
        fail_msg("range from %lld: %s", (long long)start_pts, why.message);
    const struct media_range_stats *stats = media_range_stats(range);
    assert_int_equal(stats->frames, (int64_t)count);
    if (out_seam_first)
        *out_seam_first = stats->seam_first;
    if (out_seam_next)
        *out_seam_next = stats->seam_next;
    if (out_linear)
        *out_linear = stats->linear;
    media_range_close(&range);
    *out_count = count;
    return frames;
}
