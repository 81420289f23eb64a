/* tests/gpu/emulate.h: the kernels' own source, run thread by thread on the host.
 *
 * Every thread of a block is a fiber that runs to the next barrier; so what is tested is the code that a GPU runs, with its
 * tiles, barriers and borders, not a second version of it. Each access to device memory is held against the
 * ranges that the test declared, and shared memory ends at a page that cannot be touched.
 *
 * Threads: one launch at a time.
 */
#ifndef SL_TESTS_GPU_EMULATE_H
#define SL_TESTS_GPU_EMULATE_H

#include "gpu/gpu_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

struct emulated_place {
    int thread, threads;
    int block[3];
    int blocks[3];
    void *shared;
};
extern struct emulated_place emulated;

void emulated_sync(void);
/* address, if bytes from it on lie in a declared range; else the test fails. */
void *emulated_reach(gpu_u64 address, gpu_u64 bytes);
void *emulated_reach_to_write(gpu_u64 address, gpu_u64 bytes);

/* ---- for tests ---- */

/* by_name: as gpu/gpu_twins.h names kernels; 0: there is no such kernel, or this build has no emulation. */
int emulated_launch(const char *by_name, const unsigned grid[3], const unsigned block[3],
                    unsigned shared_bytes, const void *args);
void emulated_range(const void *first, gpu_u64 bytes, int writable);
void emulated_ranges_forget(void);

typedef void (*emulated_kernel)(const void *args);
emulated_kernel emulated_find(const char *name);

#ifdef __cplusplus
}
#endif

#if defined GPU_EMULATED && defined __cplusplus

#define GPU_INLINE static inline
#define GPU_METHOD inline
#define GPU_UNROLL
#define GPU_KERNEL(t, b)                static void
#define GPU_SHARED(type, name)          type *name = (type *)emulated.shared
#define GPU_SHARED_ARRAY(type, name, n) static type name[n]

GPU_INLINE int k_thread(void)
{
    return emulated.thread;
}

GPU_INLINE int k_threads(void)
{
    return emulated.threads;
}

GPU_INLINE int k_block_x(void)
{
    return emulated.block[0];
}

GPU_INLINE int k_block_y(void)
{
    return emulated.block[1];
}

GPU_INLINE int k_block_z(void)
{
    return emulated.block[2];
}

GPU_INLINE int k_blocks_x(void)
{
    return emulated.blocks[0];
}

GPU_INLINE void k_sync(void)
{
    emulated_sync();
}

GPU_INLINE int k_dp4a(gpu_u32 a, gpu_u32 b, int c)
{
    for (int i = 0; i < 4; i++)
        c += (int)(a >> 8 * i & 0xff) * (signed char)(b >> 8 * i & 0xff);
    return c;
}

GPU_INLINE gpu_u32 k_dp4a_unsigned(gpu_u32 a, gpu_u32 b, gpu_u32 c)
{
    for (int i = 0; i < 4; i++)
        c += (a >> 8 * i & 0xff) * (b >> 8 * i & 0xff);
    return c;
}

GPU_INLINE int k_dp2a_lower(gpu_u32 a, gpu_u32 b, int c)
{
    return c + (int)(a & 0xffff) * (signed char)(b & 0xff) +
           (int)(a >> 16) * (signed char)(b >> 8 & 0xff);
}

GPU_INLINE int k_dp2a_upper(gpu_u32 a, gpu_u32 b, int c)
{
    return k_dp2a_lower(a, b >> 16, c);
}

GPU_INLINE gpu_u32 k_permute(gpu_u32 a, gpu_u32 b, gpu_u32 pick)
{
    gpu_u64 both = (gpu_u64)b << 32 | a;
    gpu_u32 out = 0;
    for (int i = 0; i < 4; i++)
        out |= (gpu_u32)(both >> 8 * (pick >> 4 * i & 7) & 0xff) << 8 * i;
    return out;
}

GPU_INLINE float k_fma(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}

GPU_INLINE float k_add(float a, float b)
{
    return a + b;
}

GPU_INLINE float k_mul(float a, float b)
{
    return a * b;
}

GPU_INLINE float k_div(float a, float b)
{
    return a / b;
}

GPU_INLINE float k_float_of_bits(int bits)
{
    float out;
    __builtin_memcpy(&out, &bits, 4);
    return out;
}

GPU_INLINE int k_bits_of_float(float value)
{
    int out;
    __builtin_memcpy(&out, &value, 4);
    return out;
}

GPU_INLINE vec4 k_load(gpu_u64 at)
{
    return *(const vec4 *)emulated_reach(at, 16);
}

GPU_INLINE vec4f k_load_floats(gpu_u64 at)
{
    return *(const vec4f *)emulated_reach(at, 16);
}

GPU_INLINE int k_load_int(gpu_u64 at)
{
    return *(const int *)emulated_reach(at, 4);
}

GPU_INLINE int k_load_sample(gpu_u64 at, int wide)
{
    return wide ? *(const unsigned short *)emulated_reach(at, 2)
                : *(const unsigned char *)emulated_reach(at, 1);
}

GPU_INLINE void k_store8(gpu_u64 at, gpu_u32 v)
{
    *(unsigned char *)emulated_reach_to_write(at, 1) = (unsigned char)v;
}

GPU_INLINE void k_store16(gpu_u64 at, gpu_u32 v)
{
    *(unsigned short *)emulated_reach_to_write(at, 2) = (unsigned short)v;
}

GPU_INLINE void k_store32(gpu_u64 at, gpu_u32 v)
{
    *(gpu_u32 *)emulated_reach_to_write(at, 4) = v;
}

GPU_INLINE void k_store64(gpu_u64 at, gpu_u32 low, gpu_u32 high)
{
    *(gpu_u64 *)emulated_reach_to_write(at, 8) = (gpu_u64)high << 32 | low;
}

GPU_INLINE void k_sum(gpu_u64 at, gpu_u64 v)
{
    *(gpu_u64 *)emulated_reach_to_write(at, 8) += v;
}

#endif

#endif
