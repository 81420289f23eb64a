#include "base/time.h"
#include "media/media_probe.h"
#include "wire/wire_codec.h"
#include "worker/jobs.h"

static void note(void *arg, int64_t done, int64_t total)
{
    struct worker_run *run = arg;
    run_first_work(run);
    run_progress(run, done, total);
}

int job_probe(struct worker_run *run, struct sl_failure *why)
{
    struct media_input input;
    int code = run_input(run, 0, &input, why);
    if (code != SL_OK)
        return code;
    struct media_progress progress = {note, run};
    struct media_index index;
    code = media_probe(&input, run->job.probe.stream_asked, &run->arena, &progress,
                       &run->report.probe.info, &index, why);
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
