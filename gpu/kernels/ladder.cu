/* gpu/kernels/ladder.cu: one decoded picture, read once, becomes all rungs.
 *
 * A block owns a strip of columns and a stretch of rows of one kind of plane. Its threads fetch chunks of rows of that tile
 * into shared memory, each sample once (but for the few that neighbours share), and every warp makes columns of one
 * rung from them: a thread has two neighbouring output columns, whose weights stay in its registers, and marches down the rows.
 * A row gives one sum for each column (integer, four samples at a time), which is then added to the at most four output
 * rows that are open there (float: a number that the integer sum is by the bits of it). Nothing is kept in between, and
 * warps meet once a chunk.
 *
 * Bound by: the integer pipe, at half the rate of others (dp4a), then shared memory; hence pairs of columns, which share what they read.
 */
#include "gpu/kernels/shim.cuh"

/* ---- rows into shared memory ---- */

/* Vectors of 16 bytes that a thread has under way. */
#define UNDER_WAY 4

template <int CHANNELS, int WIDE> struct fetch {
    gpu_u64 at;  /* of this thread's column of vectors in the source's first row */
    gpu_i32 row; /* its first row in the chunk; the chunk's length where it has none */
    gpu_i32 stride;
    gpu_i32 to; /* word in the tile */
    gpu_i32 words; /* of a channel's row in the tile */
    gpu_i32 interleaved;

    GPU_METHOD void init(const kernel_plane *plane, const kernel_source *source, int first)
    {
        const int bytes = WIDE ? 2 : 1;
        interleaved = CHANNELS == 2 && plane->interleaved;
        words = plane->tile * bytes / 4;
        int per_channel = plane->tile * bytes / 16;
        int per_row = CHANNELS * per_channel;
        int lie = interleaved ? 2 * bytes : bytes; /* bytes of a row for each column */
        int y = k_thread() / per_row, rest = k_thread() % per_row;
        int channel = interleaved || CHANNELS == 1 ? 0 : rest / per_channel;
        int vector = rest - channel * per_channel;
        int column = vector * 16 + first * lie;
        int number = CHANNELS == 1 ? 0 : 1 + channel;
        at = source->planes[number] + column;
        stride = source->strides[number];
        row = y < plane->fetch_rows && column < plane->width * lie ? y : plane->chunk;
        to = y * CHANNELS * words + (interleaved ? vector * 2 : channel * words + vector * 4);
    }

    GPU_METHOD void store(gpu_u32 *into, vec4 v, int shift)
    {
        if (WIDE && shift) {
            gpu_u32 mask = 0xffffu >> shift;
            mask |= mask << 16;
            v.x = v.x >> shift & mask;
            v.y = v.y >> shift & mask;
            v.z = v.z >> shift & mask;
            v.w = v.w >> shift & mask;
        }
        if (!interleaved) {
            *(vec4 *)into = v;
            return;
        }
        const gpu_u32 even = WIDE ? 0x5410 : 0x6420, odd = WIDE ? 0x7632 : 0x7531;
        into[0] = k_permute(v.x, v.y, even);
        into[1] = k_permute(v.z, v.w, even);
        into[words] = k_permute(v.x, v.y, odd);
        into[words + 1] = k_permute(v.z, v.w, odd);
    }

    GPU_METHOD void run(const kernel_plane *plane, int shift, int first, gpu_u32 *tile)
    {
        int step = plane->fetch_rows, chunk = plane->chunk, last = plane->height - 1;
        gpu_u32 *into = tile + to;
        for (int y = row; y < chunk;) {
            vec4 got[UNDER_WAY];
            GPU_UNROLL
            for (int k = 0; k < UNDER_WAY; k++)
                if (y + k * step < chunk)
                    got[k] =
                        k_load(at + (long long)k_min(first + y + k * step, last) * stride);
            GPU_UNROLL
            for (int k = 0; k < UNDER_WAY; k++, y += step)
                if (y < chunk) {
                    store(into, got[k], shift);
                    into += step * CHANNELS * words;
                }
        }
    }
};

/* ---- columns of one rung ---- */

/* 8x8 ordered dither, -0.5 … 0.5. */
GPU_INLINE float dither_at(int x, int y)
{
    int z = x ^ y;
    int level = (z & 1) << 5 | (y & 1) << 4 | (z & 2) << 2 | (y & 2) << 1 | (z & 4) >> 1 |
                (y & 4) >> 2;
    return k_fma((float)(2 * level + 1), 1.0f / 128, -0.5f);
}

template <int CHANNELS, int WIDE, int PLANES, int N> struct columns {
    gpu_u32 weights[PLANES][2][N];
    float open[CHANNELS][2][4]; /* sums of the output rows that are not complete */
    const kernel_rung *rung;
    gpu_u64 rows, ends, target[CHANNELS];
    float scale, bias;      /* what makes samples of sums' bits */
    int at;                 /* word of the tile's row where the pair begins */
    int x;                  /* first column of the pair */
    int row_next, row_last; /* of the source */
    int y, end;             /* the oldest open output row, and the source row that completes it */
    int own_first, own_end;
    int channel_words;

    GPU_METHOD void init(const kernel_rung *of, int pair, int is_active, int first, int segment,
                         int tile_words)
    {
        rung = of;
        x = pair * 2;
        rows = of->rows;
        ends = of->ends;
        int start = k_load_int(of->starts + (gpu_u64)pair * 4);
        at = ((start & ~3) - first) * (WIDE ? 2 : 1) / 4;
        scale = PLANES == 2 ? 1.0f / 4096 : k_float_of_bits((127 - 6 - (start & 3)) << 23);
        bias = k_mul(scale, -GPU_MAGIC);
        channel_words = tile_words;
        /* A pair of fewer words than N has zeros behind them, and reads no farther than its last word. */
        GPU_UNROLL
        for (int p = 0; p < PLANES; p++)
            GPU_UNROLL
            for (int c = 0; c < 2; c++)
                GPU_UNROLL
                for (int k = 0; k < N; k++)
                    weights[p][c][k] = (gpu_u32)k_load_int(
                        of->weights + ((gpu_u64)((p * N + k) * 2 + c) * of->pairs + pair) * 4);
        gpu_u64 place = of->segments + (gpu_u64)segment * 16;
        row_next = k_load_int(place);
        y = k_load_int(place + 4);
        own_first = k_load_int(place + 8);
        own_end = k_load_int(place + 12);
        row_last = own_end > own_first ? k_load_int(ends + (gpu_u64)(own_end - 1) * 4) : -1;
        end = k_load_int(ends + (gpu_u64)y * 4);
        if (!is_active)
            own_end = own_first;
        GPU_UNROLL
        for (int ch = 0; ch < CHANNELS; ch++)
            GPU_UNROLL
            for (int c = 0; c < 2; c++)
                GPU_UNROLL
                for (int s = 0; s < 4; s++)
                    open[ch][c][s] = 0;
    }

    GPU_METHOD void emit()
    {
        if (y < own_first || y >= own_end)
            return;
        const kernel_rung *r = rung;
        int wide = r->depth > 8, limit = (1 << r->depth) - 1;
        gpu_u32 made[CHANNELS][2];
        GPU_UNROLL
        for (int c = 0; c < 2; c++) {
            float more = r->dither ? k_add(dither_at(x + c, y), r->offset) : r->offset;
            GPU_UNROLL
            for (int ch = 0; ch < CHANNELS; ch++)
                made[ch][c] = (gpu_u32)k_round(k_add(open[ch][c][0], more), limit) << r->shift;
        }
        int store = x + 1 < r->width ? r->store : GPU_STORE_PLAIN;
        long long place = (long long)y * r->step_y + (long long)x * r->step_x;
        if (CHANNELS == 2 && store == GPU_STORE_QUAD) {
            const gpu_u32 last = CHANNELS - 1;
            if (wide)
                k_store64(target[0] + place * 2, made[0][0] | made[last][0] << 16,
                          made[0][1] | made[last][1] << 16);
            else
                k_store32(target[0] + place, made[0][0] | made[last][0] << 8 | made[0][1] << 16 |
                                                 made[last][1] << 24);
            return;
        }
        GPU_UNROLL
        for (int ch = 0; ch < CHANNELS; ch++) {
            gpu_u64 to = target[ch] + (place << wide);
            if (store == GPU_STORE_PAIR) {
                if (wide)
                    k_store32(to, made[ch][0] | made[ch][1] << 16);
                else
                    k_store16(to, made[ch][0] | made[ch][1] << 8);
                continue;
            }
            GPU_UNROLL
            for (int c = 0; c < 2; c++, to += (long long)r->step_x << wide) {
                if (x + c >= r->width)
                    continue;
                if (wide)
                    k_store16(to, made[ch][c]);
                else
                    k_store8(to, made[ch][c]);
            }
        }
    }

    /* The weighted sum of a row's samples for both columns. */
    GPU_METHOD void sums(const gpu_u32 *line, float out[2])
    {
        int sum[PLANES][2];
        GPU_UNROLL
        for (int p = 0; p < PLANES; p++)
            sum[p][0] = sum[p][1] = GPU_MAGIC_BITS;
        GPU_UNROLL
        for (int k = 0; k < N; k++) {
            gpu_u32 low = WIDE ? line[2 * k] : line[k];
            gpu_u32 high = WIDE ? line[2 * k + 1] : 0;
            GPU_UNROLL
            for (int p = 0; p < PLANES; p++)
                GPU_UNROLL
                for (int c = 0; c < 2; c++) {
                    gpu_u32 w = weights[p][c][k];
                    sum[p][c] = WIDE ? k_dp2a_upper(high, w, k_dp2a_lower(low, w, sum[p][c]))
                                     : k_dp4a(low, w, sum[p][c]);
                }
        }
        GPU_UNROLL
        for (int c = 0; c < 2; c++) {
            /* Every step is exact: the sums are whole numbers of less than 2^22. */
            float value;
            if (PLANES == 2) {
                value = k_fma(k_float_of_bits(sum[0][c]), 64 * scale, 65 * bias);
                value = k_fma(k_float_of_bits(sum[PLANES - 1][c]), scale, value);
            } else {
                value = k_fma(k_float_of_bits(sum[0][c]), scale, bias);
            }
            out[c] = value;
        }
    }

    GPU_METHOD void march(const gpu_u32 *tile, int first, int count)
    {
        int to = k_min(first + count - 1, row_last);
        for (; row_next <= to; row_next++) {
            vec4f w = k_load_floats(rows + (gpu_u64)row_next * 16);
            const gpu_u32 *line = tile + (row_next - first) * CHANNELS * channel_words + at;
            GPU_UNROLL
            for (int ch = 0; ch < CHANNELS; ch++) {
                float value[2];
                sums(line + ch * channel_words, value);
                GPU_UNROLL
                for (int c = 0; c < 2; c++) {
                    float *sum = open[ch][c];
                    sum[0] = k_fma(w.x, value[c], sum[0]);
                    sum[1] = k_fma(w.y, value[c], sum[1]);
                    sum[2] = k_fma(w.z, value[c], sum[2]);
                    sum[3] = k_fma(w.w, value[c], sum[3]);
                }
            }
            while (row_next == end) {
                emit();
                GPU_UNROLL
                for (int ch = 0; ch < CHANNELS; ch++)
                    GPU_UNROLL
                    for (int c = 0; c < 2; c++) {
                        float *sum = open[ch][c];
                        sum[0] = sum[1];
                        sum[1] = sum[2];
                        sum[2] = sum[3];
                        sum[3] = 0;
                    }
                y++;
                end = k_load_int(ends + (gpu_u64)y * 4);
            }
        }
    }
};

struct idle {
    GPU_METHOD void march(const gpu_u32 *, int, int)
    {
    }
};

/* ---- a block ---- */

template <int CHANNELS, int WIDE> struct block {
    const kernel_plane *plane;
    fetch<CHANNELS, WIDE> fetcher;
    int strip, segment, first; /* source sample */
    int shift;

    template <class W> GPU_METHOD void run(W *work)
    {
        GPU_SHARED(vec4, shared);
        gpu_u32 *tile = (gpu_u32 *)shared;
        int size = plane->chunk * CHANNELS * fetcher.words;
        gpu_u64 place = plane->segments + (gpu_u64)segment * 8;
        int from = k_load_int(place), to = k_load_int(place + 4);
        int chunk = plane->chunk, turn = 0;
        /* The turn before the first only fetches. What a turn overwrites was last read before the barrier that ended the
         * turn before; warps that have less to do fetch first. */
        for (int row = from - chunk; row < to; row += chunk) {
            work->march(tile + turn, row, chunk);
            turn ^= size;
            if (row + chunk < to)
                fetcher.run(plane, shift, row + chunk, tile + turn);
            k_sync();
        }
    }

    template <int PLANES, int N>
    GPU_METHOD void work(const kernel_ladder_args *args, const kernel_rung *rung, int number,
                         int pair, int active)
    {
        columns<CHANNELS, WIDE, PLANES, N> c;
        c.init(rung, pair, active, first, segment, fetcher.words);
        GPU_UNROLL
        for (int ch = 0; ch < CHANNELS; ch++)
            c.target[ch] = args->targets[k_block_z()][number][CHANNELS == 1 ? 0 : 1 + ch];
        run(&c);
    }
};

template <int CHANNELS, int WIDE, int FAR>
GPU_INLINE void plane_run(const kernel_ladder_args *args, const kernel_ladder *ladder, int number)
{
    block<CHANNELS, WIDE> b;
    const kernel_plane *plane = &ladder->planes[CHANNELS - 1];
    b.plane = plane;
    b.strip = number % plane->strip_count;
    b.segment = number / plane->strip_count;
    b.first = k_load_int(plane->strips + (gpu_u64)b.strip * 4);
    b.shift = ladder->shift;
    b.fetcher.init(plane, &args->sources[k_block_z()], b.first);

    int warp = k_thread() / GPU_LANES, i = 0;
    while (i < plane->rung_count && warp >= plane->rungs[i].jobs)
        warp -= plane->rungs[i++].jobs;
    int words = 0, planes = 1, pair = 0, active = 0;
    const kernel_rung *rung = &plane->rungs[i < plane->rung_count ? i : 0];
    if (i < plane->rung_count) {
        int from = rung->pairs * b.strip / plane->strip_count;
        int end = rung->pairs * (b.strip + 1) / plane->strip_count;
        pair = from + warp * GPU_LANES;
        if (pair < end) {
            words = rung->words;
            planes = rung->planes;
            pair += k_thread() % GPU_LANES;
            active = pair < end;
            pair = k_min(pair, end - 1);
        }
    }
    if (planes == 2)
        b.template work<2, 4>(args, rung, i, pair, active);
    else if (words == 3)
        b.template work<1, 3>(args, rung, i, pair, active);
    else if (words == 5)
        b.template work<1, 5>(args, rung, i, pair, active);
    else if (words == 7)
        b.template work<1, 7>(args, rung, i, pair, active);
    else if (words == 9)
        b.template work<1, 9>(args, rung, i, pair, active);
    else if (FAR && words == 12)
        b.template work<1, 12>(args, rung, i, pair, active);
    else if (FAR && words == 16)
        b.template work<1, 16>(args, rung, i, pair, active);
    else if (FAR && words == 20)
        b.template work<1, 20>(args, rung, i, pair, active);
    else {
        idle none;
        b.run(&none);
    }
}

template <int WIDE, int FAR> GPU_INLINE void ladder_run(const kernel_ladder_args *args)
{
    const kernel_ladder *ladder = (const kernel_ladder *)args->ladder;
    int luma = ladder->planes[0].strip_count * ladder->planes[0].segment_count;
    if (k_block_x() < luma)
        plane_run<1, WIDE, FAR>(args, ladder, k_block_x());
    else
        plane_run<2, WIDE, FAR>(args, ladder, k_block_x() - luma);
}

#define GPU_LADDER(name, wide, far)                                                                \
    GPU_KERNEL(GPU_LANES *GPU_WARPS_MAX, far ? 1 : 2) name(const kernel_ladder_args args)             \
    {                                                                                              \
        ladder_run<wide, far>(&args);                                                              \
    }
GPU_LADDER(ladder8, 0, 0)
GPU_LADDER(ladder8_far, 0, 1)
GPU_LADDER(ladder16, 1, 0)
GPU_LADDER(ladder16_far, 1, 1)
