/* gpu/gpu_deinterlace.h: pictures of two fields made progressive in the GPU's memory, one out for each in.
 *
 * What comes out has the very samples of libavfilter's bwdif=mode=send_frame:parity=auto:deint=interlaced, so that chunks made
 * here and on a CPU meet: pictures that say they are progressive pass; the first one to be made has no picture before it that
 * counts, and the last one is its own successor.
 *
 * Owns:    copies of the three pictures that it looks at, so that a decoder has its surfaces back when run returns, and a pool of
 *          surfaces for what comes out, NV12 or P010; each stays the caller's until it is unreferenced.
 * Errors:  SL_EUNSUPPORTED: pictures that the kernel cannot make (the sentence names them), also when the source changes
 *          in mid-stream: the CPU's filters begin anew there. gpu/gpu_error.h.
 * Threads: one thread; surfaces may be unreferenced on any.
 */
#ifndef SL_GPU_GPU_DEINTERLACE_H
#define SL_GPU_GPU_DEINTERLACE_H

#include <libavutil/frame.h>
#include <stdbool.h>

#include "base/error.h"

struct gpu_deinterlace;

/* context: gpu_context's. like: a picture as they will come, in host memory or on the GPU. edges: media_filter_first_edges, of the
 * libavfilter that is to be like. */
int gpu_deinterlace_open(AVBufferRef *context, const AVFrame *like, bool edges,
                         struct gpu_deinterlace **out, struct sl_failure *why);

/* The next picture, or NULL at the end, and what its decoder says of its fields. 1: out, an empty AVFrame, is the picture before
 * this one, with its times and colours; 0: there is none yet, or was none at all. */
int gpu_deinterlace_run(struct gpu_deinterlace *d, const AVFrame *frame, bool interlaced,
                        bool top_first, AVFrame *out, struct sl_failure *why);

void gpu_deinterlace_close(struct gpu_deinterlace **d);

#endif
