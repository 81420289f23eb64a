/* gpu/gpu_agree.h: the GPU's own measure of a golden picture, held against the CPU's.
 *
 * The pictures of a golden chunk are there anyway, and what they come to is known; so a proof also tells whether the card runs
 * kernels right that nobody would see go wrong (gpu/kernels).
 *
 * Owns:    two surfaces in the GPU's memory.
 * Errors:  SL_EMISMATCH where the two disagree; gpu/gpu_error.h. A device, driver or program without kernels is no failure.
 * Threads: one.
 */
#ifndef SL_GPU_GPU_AGREE_H
#define SL_GPU_GPU_AGREE_H

#include "hal/hal.h"

struct gpu_agree;

/* *out stays NULL where no kernels run. */
int gpu_agree_open(const struct hal_device *device, int32_t width, int32_t height,
                   struct gpu_agree **out, struct sl_failure *why);

/* psnr: of luma, of these two pictures (HAL_I420), as hal_golden_psnr has it. measure may be NULL. */
int gpu_agree_on(struct gpu_agree *measure, const struct hal_frame *want,
                 const struct hal_frame *got, double psnr, struct sl_failure *why);

void gpu_agree_close(struct gpu_agree **measure);

#endif
