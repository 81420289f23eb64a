/* gpu/kernels/measure.cu: how far two pictures are apart: squared errors and SSIM of a plane.
 *
 * SSIM is libavfilter's: windows of 8x8 samples, one every four, from sums over blocks of 4x4.
 */
#include "gpu/kernels/shim.cuh"

/* Adds up one value of each thread; thread 0 has the sum. */
GPU_INLINE gpu_u64 block_sum(gpu_u64 value)
{
    GPU_SHARED_ARRAY(gpu_u64, parts, GPU_MEASURE_THREADS);
    int t = k_thread();
    parts[t] = value;
    k_sync();
    for (int half = GPU_MEASURE_THREADS / 2; half > 0; half /= 2) {
        if (t < half)
            parts[t] += parts[t + half];
        k_sync();
    }
    return parts[0];
}

GPU_INLINE gpu_u32 word_sse(gpu_u32 a, gpu_u32 b, gpu_u32 sum)
{
    return k_dp4a_unsigned(a, a, k_dp4a_unsigned(b, b, sum)) - 2 * k_dp4a_unsigned(a, b, 0);
}

GPU_KERNEL(GPU_MEASURE_THREADS, 1) sse(const kernel_measure_args args)
{
    gpu_u64 a = args.a[k_block_z()], b = args.b[k_block_z()];
    int first = k_block_x() * GPU_SSE_ROWS;
    int end = k_min(first + GPU_SSE_ROWS, args.height);
    int vectors = args.fast ? args.width / 16 : 0;
    int bytes = args.wide ? 2 : 1;
    gpu_u64 sum = 0;
    for (int y = first; y < end; y++) {
        gpu_u64 row_a = a + (long long)y * args.stride_a, row_b = b + (long long)y * args.stride_b;
        gpu_u32 part = 0;
        for (int v = k_thread(); v < vectors; v += k_threads()) {
            vec4 p = k_load(row_a + (gpu_u64)v * 16), q = k_load(row_b + (gpu_u64)v * 16);
            part = word_sse(p.x, q.x, word_sse(p.y, q.y, word_sse(p.z, q.z, word_sse(p.w, q.w, part))));
        }
        for (int x = vectors * 16 + k_thread(); x < args.width; x += k_threads()) {
            gpu_u64 at = (gpu_u64)x * args.step * bytes;
            int d = (k_load_sample(row_a + at, args.wide) >> args.shift) -
                    (k_load_sample(row_b + at, args.wide) >> args.shift);
            part += (gpu_u32)(d * d);
        }
        sum += part;
    }
    sum = block_sum(sum);
    if (k_thread() == 0)
        k_sum(args.sums + (gpu_u64)k_block_z() * 8, sum);
}

struct square {
    gpu_i32 a, b, aa_bb, ab;
};

GPU_INLINE square square_sum(const kernel_measure_args *args, int bx, int by)
{
    square s = {0, 0, 0, 0};
    int bytes = args->wide ? 2 : 1;
    for (int y = 0; y < 4; y++) {
        gpu_u64 row_a = args->a[k_block_z()] + (long long)(by * 4 + y) * args->stride_a;
        gpu_u64 row_b = args->b[k_block_z()] + (long long)(by * 4 + y) * args->stride_b;
        if (args->fast) {
            gpu_u32 p = (gpu_u32)k_load_int(row_a + (gpu_u64)bx * 4);
            gpu_u32 q = (gpu_u32)k_load_int(row_b + (gpu_u64)bx * 4);
            s.a = (int)k_dp4a_unsigned(p, 0x01010101u, (gpu_u32)s.a);
            s.b = (int)k_dp4a_unsigned(q, 0x01010101u, (gpu_u32)s.b);
            s.aa_bb = (int)k_dp4a_unsigned(p, p, k_dp4a_unsigned(q, q, (gpu_u32)s.aa_bb));
            s.ab = (int)k_dp4a_unsigned(p, q, (gpu_u32)s.ab);
            continue;
        }
        for (int x = 0; x < 4; x++) {
            gpu_u64 at = (gpu_u64)(bx * 4 + x) * args->step * bytes;
            int p = k_load_sample(row_a + at, args->wide) >> args->shift;
            int q = k_load_sample(row_b + at, args->wide) >> args->shift;
            s.a += p;
            s.b += q;
            s.aa_bb += p * p + q * q;
            s.ab += p * q;
        }
    }
    return s;
}

GPU_INLINE float window_ssim(const square *s, int pitch, long long c1, long long c2)
{
    long long a = 0, b = 0, aa_bb = 0, ab = 0;
    for (int i = 0; i < 4; i++) {
        const square *q = &s[(i / 2) * pitch + i % 2];
        a += q->a;
        b += q->b;
        aa_bb += q->aa_bb;
        ab += q->ab;
    }
    long long variances = aa_bb * 64 - a * a - b * b;
    long long covariance = ab * 64 - a * b;
    float over = k_mul((float)(2 * a * b + c1), (float)(2 * covariance + c2));
    float under = k_mul((float)(a * a + b * b + c1), (float)(variances + c2));
    return k_div(over, under);
}

GPU_KERNEL(GPU_MEASURE_THREADS, 1) ssim(const kernel_measure_args args)
{
    const int pitch = GPU_SSIM_WIDE + 1;
    GPU_SHARED_ARRAY(square, squares, (GPU_SSIM_WIDE + 1) * (GPU_SSIM_HIGH + 1));
    int wide = args.width / 4, high = args.height / 4; /* squares */
    int left = k_block_x() * GPU_SSIM_WIDE, top = k_block_y() * GPU_SSIM_HIGH;
    for (int i = k_thread(); i < pitch * (GPU_SSIM_HIGH + 1); i += k_threads()) {
        int x = left + i % pitch, y = top + i / pitch;
        if (x < wide && y < high)
            squares[i] = square_sum(&args, x, y);
    }
    k_sync();
    int x = k_thread() % GPU_SSIM_WIDE, y = k_thread() / GPU_SSIM_WIDE;
    gpu_u64 sum = 0;
    if (left + x < wide - 1 && top + y < high - 1) {
        float value = window_ssim(squares + y * pitch + x, pitch, (long long)args.c1, (long long)args.c2);
        sum = (gpu_u64)(long long)k_mul(value, GPU_SSIM_UNIT);
    }
    sum = block_sum(sum);
    if (k_thread() == 0)
        k_sum(args.sums + (gpu_u64)k_block_z() * 8, sum);
}
