/* worker/surfaces.h: a ladder's pictures made in a device's memory: the one's that encodes them, or one's that feeds CPUs.
 *
 * A decoded picture goes up once (or is there already), one kernel makes all rungs' pictures of it, and they never come
 * back; but to encoders on CPUs, for which they are fetched as those read them. Devices, sources and builds that this cannot be done for have their rungs scaled on the CPU instead
 * (worker/rung.c), and their encoders take the pictures up one by one.
 *
 * Owns:    the scaler and its pools; pictures are lent until the next run.
 * Errors:  as gpu/gpu_ladder.h. Where it feeds CPUs, what is wrong with the device is SL_EDEVICELOST, so that it is told from
 *          what encoders say, and any lack of it leaves the CPU to scale: SL_EUNSUPPORTED.
 * Threads: the decoder's; references to pictures may be held and dropped on any.
 */
#ifndef SL_WORKER_SURFACES_H
#define SL_WORKER_SURFACES_H

#include "media/media_frame.h"

#include "hal/hal.h"
#include "worker/rung.h"

struct surfaces;

/* For count rungs from ladder->rung_first on, by ladder->maker. device: encodes. like: the first picture of the source. *out stays NULL where the CPU is to
 * scale. */
int surfaces_open(const struct ladder *ladder, const struct hal_device *device, int32_t count,
                  const AVFrame *like, struct surfaces **out, struct sl_failure *why);

/* For struct hal_encode_params, of the rung that is number i of this pass. */
void *surfaces_pool(const struct surfaces *surfaces, int32_t i);

/* Where ladder->fields_later: the picture before this frame made progressive, NULL behind the last frame: 1 and *out, lent until the
 * next call; 0: there is none yet, or none at all. */
int surfaces_deinterlace(struct surfaces *surfaces, const AVFrame *frame, AVFrame **out,
                         struct sl_failure *why);

/* Makes the first count rungs' pictures. */
int surfaces_run(struct surfaces *surfaces, const AVFrame *from, int32_t count,
                 AVFrame *const **pictures, struct sl_failure *why);

void surfaces_close(struct surfaces **surfaces);

#endif
