/* encoders/encoders.h: every encoder back end of the tree, one const struct each.
 *
 * The list that a program uses is made in worker/backends.c. A back end whose library or driver is
 * absent reports no rows; nothing else changes.
 *
 * Packets and extradata are in the codec's MP4 form: H.264 and H.265 with four-byte lengths and avcC or
 * hvcC, parameter sets only there; AV1 as OBUs with sizes, without temporal delimiters, and av1C; VP9 one (super)frame
 * per shown picture, and the record of vpcC.
 */
#ifndef SL_ENCODERS_ENCODERS_H
#define SL_ENCODERS_ENCODERS_H

#include "hal/hal.h"

/* "x264": H.264 on the CPU by libx264 through libavcodec. */
extern const struct hal_encode_ops x264_encode_ops;
/* "x265": H.265 on the CPU by libx265 through libavcodec. */
extern const struct hal_encode_ops x265_encode_ops;
/* "svtav1": AV1 on the CPU by SVT-AV1 through libavcodec. */
extern const struct hal_encode_ops svtav1_encode_ops;
/* "vpx": VP9 on the CPU by libvpx through libavcodec. */
extern const struct hal_encode_ops vpx_encode_ops;

/* "nvenc": H.264, H.265 and AV1 on NVIDIA's encode engines, as far as GPU, driver and libavcodec have them. */
extern const struct hal_encode_ops nvenc_encode_ops;
/* "vaapi": H.264, H.265, AV1 and VP9 on VA-API devices, as far as their drivers and libavcodec have them. */
extern const struct hal_encode_ops vaapi_encode_ops;

#endif
