/* gpu/gpu_abi.h: what kernels are given; read by device code, by their C twins and by the host.
 *
 * Each kernel takes one of these structs by value. Pointers in them are device memory: 64-bit numbers here, so that host
 * and device agree on the layout whatever compiles them.
 *
 * Units: strides of sources in bytes, steps of targets in samples; rows and columns in samples of their plane.
 */
#ifndef SL_GPU_GPU_ABI_H
#define SL_GPU_GPU_ABI_H

typedef unsigned char gpu_u8;
typedef unsigned short gpu_u16;
typedef unsigned int gpu_u32;
typedef unsigned long long gpu_u64;
typedef int gpu_i32;

#define GPU_RUNGS_MAX   8
#define GPU_BATCH_MAX   8
#define GPU_LANES       32
#define GPU_WARPS_MAX   12
/* Groups of four source samples that a pair of output columns may reach over: ratios up to 15. */
#define GPU_WORDS_MAX   20
#define GPU_WORDS_SMALL 9
/* 2^23 + 2^22: a float near it has the integer beside it in its lowest bits. */
#define GPU_MAGIC       12582912.0f
#define GPU_MAGIC_BITS  0x4B400000

/* ---- the ladder ---- */

/* How a target's samples lie. */
enum gpu_store { GPU_STORE_PLAIN, GPU_STORE_PAIR, GPU_STORE_QUAD };

/* One rung in one kind of plane. */
struct kernel_rung {
    gpu_u64
        starts; /* gpu_i32[pairs]: first source sample of a pair of columns, a multiple of 4; the two lowest bits s say
                        what its weights add up to: 64 << s; with two planes 4096 always */
    gpu_u64
        weights; /* gpu_u32[planes][words][2][pairs]: four signed bytes each; of two planes the first counts 64-fold */
    gpu_u64 rows; /* float[source rows][4]: what a row adds to the four open output rows */
    gpu_u64 ends; /* gpu_i32[height + 1]: last source row of an output row; -1 behind the last */
    gpu_u64
        segments; /* gpu_i32[segment_count][4]: first source row, output row open there, first and end of the
                         output rows that the segment owns */
    gpu_i32 pairs, width, height;
    gpu_i32 words, planes;
    gpu_i32 step_x, step_y; /* of the target in samples; negative where it is mirrored */
    gpu_i32 store;          /* enum gpu_store */
    gpu_i32 depth, shift;   /* bits of a sample, and how far it is shifted up in its word */
    gpu_i32 dither;
    gpu_i32 jobs; /* warps of each strip that work for it */
    float offset; /* added to every sample: full range made limited */
    gpu_i32 reserved;
};

/* A kind of plane (luma, or both chroma planes) of all rungs. */
struct kernel_plane {
    struct kernel_rung rungs[GPU_RUNGS_MAX];
    gpu_u64 strips;   /* gpu_i32[strip_count]: first source sample of its tile, a multiple of 16 */
    gpu_u64 segments; /* gpu_i32[segment_count][2]: first and end of its source rows */
    gpu_i32 rung_count;
    gpu_i32 strip_count, segment_count;
    gpu_i32 width, height; /* of the source's plane in samples */
    gpu_i32 tile;          /* samples that a tile is wide, a multiple of 16 */
    gpu_i32 chunk;         /* rows that are fetched at once: a multiple of fetch_rows */
    gpu_i32 fetch_rows;  /* rows that the block's threads fetch with one vector of 16 bytes each */
    gpu_i32 interleaved; /* chroma lies U, V, U, V */
};

struct kernel_ladder {
    struct kernel_plane planes[2];
    gpu_i32 shift; /* how far the source's samples are shifted up in their words */
    gpu_i32 reserved;
};

struct kernel_source {
    gpu_u64
        planes[3]; /* of interleaved chroma the second; 16-byte aligned, and so are the strides */
    gpu_i32 strides[3];
    gpu_i32 reserved;
};

struct kernel_ladder_args {
    gpu_u64 ladder; /* struct kernel_ladder in device memory */
    struct kernel_source sources[GPU_BATCH_MAX];
    gpu_u64 targets[GPU_BATCH_MAX][GPU_RUNGS_MAX][3]; /* sample (0, 0) before mirror and turn */
};

/* ---- tones ---- */

/* Chroma samples of a block, one for each thread. */
#define GPU_TONE_WIDE    16
#define GPU_TONE_HIGH    8
#define GPU_TONE_THREADS (GPU_TONE_WIDE * GPU_TONE_HIGH)
/* Corners of the table along each axis, and levels of 10 bits from one to the next. */
#define GPU_TONE_SIDE    65
#define GPU_TONE_STEP    16

/* A picture in 4:2:0, each of its colours replaced by what a table says of it: HDR made SDR, or colours of one standard those of
 * another. Between the table's corners it interpolates along the three axes, in integers. */
struct kernel_tone_args {
    gpu_u64
        lumas; /* gpu_u32[Cr][Cb][Y]: 16 bits of new luma there, and those of the next Y above them */
    gpu_u64 chromas; /* gpu_u32[Cr][Cb][Y]: 16 bits of new Cb, and of new Cr above them */
    struct kernel_source source;
    gpu_u64 targets[2]; /* P010 */
    gpu_i32 target_strides[2];
    gpu_i32 width, height;            /* of luma */
    gpu_i32 wide, interleaved, shift; /* of the source; of 8 bits each level is four of 10 bits */
    gpu_i32 chroma_left, chroma_top;  /* where chroma sits: gpu/gpu_scale.h */
    gpu_i32 reserved;
};

/* ---- fields ---- */

#define GPU_FIELDS_THREADS 128 /* of a block: samples of two rows */

/* Whole: the picture as it is. Alone: the rows of the field that goes from the other one's around them. Between: and from those
 * of the same field a little earlier and later. */
enum gpu_fields { GPU_FIELDS_WHOLE, GPU_FIELDS_ALONE, GPU_FIELDS_BETWEEN };

/* Weights in 1/8192 of rows at distances of 1 and 3 (where rows around are all there is), of 0, 2 and 4 earlier and later (in
 * quarters) with 1 and 3 of the picture itself. Those of BBC R&D's W3FDIF filters. */
#define GPU_FIELDS_ONE      13 /* bits */
#define GPU_FIELDS_NEAR_1   5077
#define GPU_FIELDS_NEAR_3   981
#define GPU_FIELDS_FINE_0   5570
#define GPU_FIELDS_FINE_2   3801
#define GPU_FIELDS_FINE_4   1016
#define GPU_FIELDS_COARSE_1 4309
#define GPU_FIELDS_COARSE_3 213

/* Pictures of two fields made progressive: the field shown first stays, the rows of the other are made anew. */
struct kernel_deinterlace_args {
    struct kernel_source before, here, after; /* of one layout; the one between is made */
    gpu_u64 targets[2];                       /* NV12, or P010 where sources are wide */
    gpu_i32 target_strides[2];
    gpu_i32 width, height;            /* of luma */
    gpu_i32 wide, interleaved, shift; /* of the sources */
    gpu_i32 fields;                   /* enum gpu_fields */
    gpu_i32 made;                     /* rows that go: 0 the even ones, 1 the odd ones */
    gpu_i32 edges; /* alone, but the three rows at each edge, which are made between */
};

/* ---- measures ---- */

#define GPU_MEASURE_THREADS 256
#define GPU_SSE_ROWS        8 /* of a block */
/* Windows of a block of the SSIM kernel: 8x8 samples each, one every four samples. */
#define GPU_SSIM_WIDE       32
#define GPU_SSIM_HIGH       8
#define GPU_SSIM_UNIT       1073741824.0f

/* One plane of each picture of a batch, all of one shape; what a kernel finds is added to sums, which start at 0. */
struct kernel_measure_args {
    gpu_u64 a[GPU_BATCH_MAX], b[GPU_BATCH_MAX];
    gpu_u64
        sums; /* gpu_u64[GPU_BATCH_MAX]: squared errors; or SSIM in units of 1/GPU_SSIM_UNIT, signed */
    gpu_u64 c1, c2; /* of SSIM, for windows of 64 samples */
    gpu_i32 stride_a, stride_b;
    gpu_i32 width, height; /* in samples */
    gpu_i32 step;          /* from sample to sample: 2 for one channel of interleaved chroma */
    gpu_i32 wide, shift;   /* samples are 16 bits, shifted up so far */
    gpu_i32 fast;          /* 8 bits, step 1, addresses and strides are multiples of 16 */
};

#endif
