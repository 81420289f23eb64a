/* hal/hal_golden.h: moving pictures that are the same wherever they are painted.
 *
 * What a device makes of them tells its health (golden chunk) and its speed (calibration), and they warm encoders up.
 * Nothing is shipped as a file: the pictures are arithmetic in integers. A textured ground pans, four patches move across
 * it, and light grain changes from frame to frame, so that they cost an encoder about what a camera's pictures do.
 *
 * Owns:    a golden holds its texture and one picture; a frame is its until the next is asked for.
 * Shapes:  any layout of hal.h; even sizes of 16 to 8192.
 * Threads: one per golden.
 */
#ifndef SL_HAL_HAL_GOLDEN_H
#define SL_HAL_HAL_GOLDEN_H

#include "hal/hal.h"

struct hal_golden;

int hal_golden_open(enum hal_layout layout, int32_t width, int32_t height, struct hal_golden **out);
void hal_golden_close(struct hal_golden **golden);

/* Picture number n (from 0), with pts n and an IDR forced at 0. */
const struct hal_frame *hal_golden_frame(struct hal_golden *golden, int32_t number);

/* PSNR in decibels, of luma, of what came back for picture n; 100 when it is equal. got: 8 or 10 bit as the golden's own
 * layout is, planes[0] alone is read. */
double hal_golden_psnr(struct hal_golden *golden, int32_t number, const struct hal_frame *got);

#endif
