/* gpu/kernels/deinterlace.cu: pictures of two fields made progressive, one out for each in.
 *
 * A thread has one sample of two rows: the one of the field that stays is copied, the other is made from up to eighteen
 * around it in space and time, which its neighbours read as well and the first cache has.
 *
 * Bound by: loads from that cache, then by memory: three pictures in, one out.
 */
#include "gpu/kernels/shim.cuh"

GPU_INLINE int field_distance(int a, int b)
{
    return k_max(a - b, b - a);
}

/* A column of one channel of the three pictures. */
struct field_column {
    gpu_u64 before, here, after; /* its samples in the first rows */
    long long stride_before, stride_here, stride_after;
    int wide, shift;

    GPU_METHOD void init(const kernel_deinterlace_args *args, int x, int is_chroma)
    {
        int channel = is_chroma ? 1 + (x & 1) : 0;
        int plane = is_chroma && args->interleaved ? 1 : channel;
        int column = is_chroma && !args->interleaved ? x >> 1 : x;
        gpu_u64 at = (gpu_u64)column << args->wide;
        before = args->before.planes[plane] + at;
        here = args->here.planes[plane] + at;
        after = args->after.planes[plane] + at;
        stride_before = args->before.strides[plane];
        stride_here = args->here.strides[plane];
        stride_after = args->after.strides[plane];
        wide = args->wide;
        shift = args->shift;
    }

    GPU_METHOD int at_before(int y)
    {
        return k_load_sample(before + (gpu_u64)(y * stride_before), wide) >> shift;
    }

    GPU_METHOD int at_here(int y)
    {
        return k_load_sample(here + (gpu_u64)(y * stride_here), wide) >> shift;
    }

    GPU_METHOD int at_after(int y)
    {
        return k_load_sample(after + (gpu_u64)(y * stride_after), wide) >> shift;
    }

    GPU_METHOD int limited(int value)
    {
        return k_min(k_max(value, 0), wide ? 1023 : 255);
    }

    GPU_METHOD int alone(int y, int height)
    {
        int by = wide ? 2 : 1; /* as the twin tells */
        int one = at_here(y >= by ? y - 1 : y + 1) + at_here(y + by < height ? y + 1 : y - 1);
        int three = at_here(y >= 3 * by ? y - 3 : y + 1) +
                    at_here(y + 3 * by < height ? y + 3 : y - 1);
        return limited((GPU_FIELDS_NEAR_1 * one - GPU_FIELDS_NEAR_3 * three) >> GPU_FIELDS_ONE);
    }

    GPU_METHOD int between(int y, int height)
    {
        int by = wide ? 2 : 1;
        int up = y >= by ? y - 1 : y + 1, down = y + by < height ? y + 1 : y - 1;
        int above = at_here(up), below = at_here(down);
        int early = at_before(y), late = at_here(y);
        int middle = (early + late) >> 1, moved = field_distance(early, late);
        int was = (field_distance(at_before(up), above) + field_distance(at_before(down), below)) >> 1;
        int will = (field_distance(at_after(up), above) + field_distance(at_after(down), below)) >> 1;
        int room = k_max(moved >> 1, k_max(was, will));
        if (room == 0)
            return middle;
        int two_up = 0, two_down = 0;
        if (y >= 2 && y + 3 <= height) {
            two_up = at_before(y - 2) + at_here(y - 2);
            two_down = at_before(y + 2) + at_here(y + 2);
            int over = (two_up >> 1) - above, under = (two_down >> 1) - below;
            int most = k_max(middle - k_min(above, below), k_min(over, under));
            int least = k_min(middle - k_max(above, below), k_max(over, under));
            room = k_max(room, k_max(least, -most));
        }
        int one = above + below, guess = one >> 1;
        if (y >= 4 && y + 5 <= height) {
            int three = at_here(y - 3) + at_here(y + 3);
            if (field_distance(above, below) > moved) {
                int four = at_before(y - 4) + at_here(y - 4) + at_before(y + 4) + at_here(y + 4);
                int fine = GPU_FIELDS_FINE_0 * (early + late) -
                           GPU_FIELDS_FINE_2 * (two_up + two_down) + GPU_FIELDS_FINE_4 * four;
                guess = (fine >> 2) + GPU_FIELDS_COARSE_1 * one - GPU_FIELDS_COARSE_3 * three;
            } else {
                guess = GPU_FIELDS_NEAR_1 * one - GPU_FIELDS_NEAR_3 * three;
            }
            guess >>= GPU_FIELDS_ONE;
        }
        return limited(k_max(k_min(guess, middle + room), middle - room));
    }
};

/* Pairs of luma's rows, and behind them those of chroma, whose two channels lie side by side in the target. */
GPU_KERNEL(GPU_FIELDS_THREADS, 4) deinterlace(const kernel_deinterlace_args args)
{
    int lumas = (args.height + 1) / 2, is_chroma = k_block_y() >= lumas;
    int height = is_chroma ? lumas : args.height;
    int width = is_chroma ? (args.width + 1) / 2 * 2 : args.width;
    int x = k_block_x() * GPU_FIELDS_THREADS + k_thread();
    int first = 2 * (is_chroma ? k_block_y() - lumas : k_block_y());
    if (x >= width)
        return;
    field_column column;
    column.init(&args, x, is_chroma);
    for (int y = first; y < k_min(first + 2, height); y++) {
        int at_edge = args.edges && (y < 3 || y + 3 >= height);
        int value;
        if (args.fields == GPU_FIELDS_WHOLE || (y & 1) != args.made)
            value = column.at_here(y);
        else if (args.fields == GPU_FIELDS_ALONE && !at_edge)
            value = column.alone(y, height);
        else
            value = column.between(y, height);
        gpu_u64 to = args.targets[is_chroma] + (gpu_u64)((long long)y * args.target_strides[is_chroma]) +
                     ((gpu_u64)x << args.wide);
        if (args.wide)
            k_store16(to, (gpu_u32)value << 6);
        else
            k_store8(to, (gpu_u32)value);
    }
}
