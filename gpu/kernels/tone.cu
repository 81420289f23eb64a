/* gpu/kernels/tone.cu: HDR to SDR, or any colours to others, by a table over all colours that the host made.
 *
 * Each pixel is mapped in full colour, then chroma is brought down again, as the CPU's filters do it.
 *
 * Bound by: the table's corners, twelve loads for a pixel; the table is 2 MiB and stays in the GPU's second cache.
 */
#include "gpu/kernels/shim.cuh"

/* Of 16 bits, f in 1/256. */
GPU_INLINE gpu_u32 tone_between(gpu_u32 a, gpu_u32 b, gpu_u32 f)
{
    return (a * (256 - f) + b * f + 128) >> 8;
}

/* A colour in 1/16 levels of 10 bits: the corner below it, and how far it is from there in 1/256 of a cell. */
struct tone_place {
    gpu_u64 corner; /* bytes from the table's start */
    gpu_u32 y, cb, cr;

    GPU_METHOD void init(int luma, int u, int v)
    {
        corner = (gpu_u64)(((v >> 8) * GPU_TONE_SIDE + (u >> 8)) * GPU_TONE_SIDE + (luma >> 8)) * 4;
        y = (gpu_u32)luma & 255;
        cb = (gpu_u32)u & 255;
        cr = (gpu_u32)v & 255;
    }

    GPU_METHOD gpu_u32 load(gpu_u64 table, int more_y, int more_cb, int more_cr)
    {
        int words = (more_cr * GPU_TONE_SIDE + more_cb) * GPU_TONE_SIDE + more_y;
        return (gpu_u32)k_load_int(table + corner + (gpu_u64)words * 4);
    }

    GPU_METHOD gpu_u32 luma_along_y(gpu_u64 table, int more_cb, int more_cr)
    {
        gpu_u32 pair = load(table, 0, more_cb, more_cr);
        return tone_between(pair & 0xffff, pair >> 16, y);
    }

    GPU_METHOD gpu_u32 luma(gpu_u64 table)
    {
        gpu_u32 low = tone_between(luma_along_y(table, 0, 0), luma_along_y(table, 1, 0), cb);
        gpu_u32 high = tone_between(luma_along_y(table, 0, 1), luma_along_y(table, 1, 1), cb);
        return tone_between(low, high, cr);
    }

    GPU_METHOD void chroma(gpu_u64 table, gpu_u32 out[2])
    {
        gpu_u32 word[8];
        GPU_UNROLL
        for (int i = 0; i < 8; i++)
            word[i] = load(table, i & 1, i >> 1 & 1, i >> 2);
        GPU_UNROLL
        for (int c = 0; c < 2; c++) {
            gpu_u32 along[4];
            GPU_UNROLL
            for (int i = 0; i < 4; i++)
                along[i] = tone_between(word[2 * i] >> 16 * c & 0xffff,
                                        word[2 * i + 1] >> 16 * c & 0xffff, y);
            out[c] = tone_between(tone_between(along[0], along[1], cb),
                                  tone_between(along[2], along[3], cb), cr);
        }
    }
};

/* 16 bits to 10 in the upper bits of a word. */
GPU_INLINE gpu_u32 tone_word(gpu_u32 value)
{
    return (gpu_u32)k_min((int)(value + 32) & ~63, 1023 << 6);
}

GPU_INLINE int tone_sample(const kernel_tone_args *args, int plane, int column, int y)
{
    int wide = args->wide;
    int value = k_load_sample(args->source.planes[plane] + (long long)y * args->source.strides[plane] +
                                  (column << wide),
                              wide);
    return wide ? value >> args->shift & 1023 : value << 2;
}

/* The chroma beside a sample of luma, in 1/16 levels. */
GPU_INLINE void tone_chroma_at(const kernel_tone_args *args, int x, int y, int out[2])
{
    int wide = (args->width + 1) / 2, high = (args->height + 1) / 2;
    int odd_x = x & 1, odd_y = y & 1;
    int columns[2] = {x / 2, k_min(k_max(x / 2 + 2 * odd_x - 1, 0), wide - 1)};
    int rows[2] = {y / 2, k_min(k_max(y / 2 + 2 * odd_y - 1, 0), high - 1)};
    int far_x = args->chroma_left ? 2 * odd_x : 1, far_y = args->chroma_top ? 2 * odd_y : 1;
    GPU_UNROLL
    for (int c = 0; c < 2; c++) {
        int sums[2];
        GPU_UNROLL
        for (int j = 0; j < 2; j++) {
            int near = args->interleaved ? 2 * columns[0] + c : columns[0];
            int far = args->interleaved ? 2 * columns[1] + c : columns[1];
            int plane = args->interleaved ? 1 : 1 + c;
            sums[j] = tone_sample(args, plane, near, rows[j]) * (4 - far_x) +
                      tone_sample(args, plane, far, rows[j]) * far_x;
        }
        out[c] = sums[0] * (4 - far_y) + sums[1] * far_y;
    }
}

/* What new chroma of luma sample `number` (-1 … 2 from the pair's first) weighs, in eighths. */
GPU_INLINE gpu_u32 tone_weight(int beside, int number)
{
    if (beside)
        return number == 0 ? 4 : number == 2 ? 0 : 2;
    return number == 0 || number == 1 ? 3 : 1;
}

/* A block maps a tile of pixels and those around it, whose chroma it then brings together. */
GPU_KERNEL(GPU_TONE_THREADS, 4) tone(const kernel_tone_args args)
{
    const int pitch = 2 * GPU_TONE_WIDE + 2;
    GPU_SHARED_ARRAY(gpu_u32, chroma, (2 * GPU_TONE_WIDE + 2) * (2 * GPU_TONE_HIGH + 2));
    int left = 2 * GPU_TONE_WIDE * k_block_x(), top = 2 * GPU_TONE_HIGH * k_block_y();
    for (int i = k_thread(); i < pitch * (2 * GPU_TONE_HIGH + 2); i += GPU_TONE_THREADS) {
        int tile_x = i % pitch - 1, tile_y = i / pitch - 1, at[2];
        int x = k_min(k_max(left + tile_x, 0), args.width - 1);
        int y = k_min(k_max(top + tile_y, 0), args.height - 1);
        tone_place place;
        tone_chroma_at(&args, x, y, at);
        place.init(tone_sample(&args, 0, x, y) * 16, at[0], at[1]);
        gpu_u32 made[2];
        place.chroma(args.chromas, made);
        chroma[i] = made[0] | made[1] << 16;
        if (tile_x >= 0 && tile_x < 2 * GPU_TONE_WIDE && tile_y >= 0 && tile_y < 2 * GPU_TONE_HIGH &&
            left + tile_x == x && top + tile_y == y)
            k_store16(args.targets[0] + (long long)y * args.target_strides[0] + x * 2,
                      tone_word(place.luma(args.lumas)));
    }
    k_sync();
    int tile_x = k_thread() % GPU_TONE_WIDE, tile_y = k_thread() / GPU_TONE_WIDE;
    int cx = k_block_x() * GPU_TONE_WIDE + tile_x, cy = k_block_y() * GPU_TONE_HIGH + tile_y;
    if (cx >= (args.width + 1) / 2 || cy >= (args.height + 1) / 2)
        return;
    gpu_u32 sums[2] = {32, 32};
    for (int j = -1; j < 3; j++)
        for (int i = -1; i < 3; i++) {
            gpu_u32 word = chroma[(2 * tile_y + j + 1) * pitch + 2 * tile_x + i + 1];
            gpu_u32 weight = tone_weight(args.chroma_left, i) * tone_weight(args.chroma_top, j);
            sums[0] += (word & 0xffff) * weight;
            sums[1] += (word >> 16) * weight;
        }
    k_store32(args.targets[1] + (long long)cy * args.target_strides[1] + cx * 4,
              tone_word(sums[0] >> 6) | tone_word(sums[1] >> 6) << 16);
}
