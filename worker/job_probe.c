#include "base/time.h"
#include "media/media_probe.h"
#include "wire/wire_codec.h"
#include "worker/jobs.h"

/* ITU-T H.273 transfer characteristics that a screen of ordinary brightness cannot show as they are. */
enum { H273_PQ = 16, H273_HLG = 18 };

static void note(void *arg, int64_t done, int64_t total)
{
    struct worker_run *run = arg;
    run_first_work(run);
    run_progress(run, done, total);
}

/* What the ladder would show wrongly is refused before any encode is spent. */
static int video_judge(const struct media_video *video, struct sl_failure *why)
{
    if (video->rotation_degrees != 0)
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the picture is to be turned by %d degrees: send it upright",
                       video->rotation_degrees);
    if (video->color_transfer == H273_PQ || video->color_transfer == H273_HLG)
        return sl_fail(why, SL_EUNSUPPORTED, "the picture is HDR (%s): send a version in SDR",
                       video->color_transfer == H273_PQ ? "PQ" : "HLG");
    if (video->interlaced)
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the video is interlaced: send a deinterlaced (progressive) version");
    return SL_OK;
}

int job_probe(struct worker_run *run, struct sl_failure *why)
{
    struct media_input input;
    int code = run_input(run, 0, &input, why);
    if (code != SL_OK)
        return code;
    struct media_progress progress = {note, run};
    struct media_index index;
    code = media_probe(&input, &run->arena, &progress, &run->report.probe.info, &index, why);
    if (code == SL_OK && run->report.probe.info.has_video)
        code = video_judge(&run->report.probe.info.video, why);
    if (code != SL_OK)
        return code;
    struct sl_buf bytes = {0};
    code = wire_index_encode(&index, &bytes);
    if (code != SL_OK || bytes.failed)
        code = sl_fail(why, code ? code : SL_ENOMEM, "the index of %zu frames cannot be written",
                       index.count);
    else
        code = run_output(run, "index.bin", bytes.data, bytes.length,
                          &run->report.probe.index_output, why);
    sl_buf_fini(&bytes);
    return code;
}
