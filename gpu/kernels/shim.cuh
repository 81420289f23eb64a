/* gpu/kernels/shim.cuh: the little of CUDA that the kernels use, for three compilers.
 *
 * nvcc; clang without any toolkit (no headers, no device library: hence no expf and the like); and a C++ compiler of the
 * host with GPU_EMULATED (what to include instead), where tests/gpu/emulate.h runs the same source thread by thread, so that a machine
 * without a GPU can still hold kernels against their twins.
 *
 * Sums and products that twins repeat are spelled out: no compiler may join a product and a sum on its own.
 */
#ifndef SL_GPU_KERNELS_SHIM_H
#define SL_GPU_KERNELS_SHIM_H

#include "gpu/gpu_abi.h"

struct alignas(16) vec4 {
    gpu_u32 x, y, z, w;
};
struct alignas(16) vec4f {
    float x, y, z, w;
};

#ifdef GPU_EMULATED

#include GPU_EMULATED

#else

#ifdef __clang__
#define __global__       __attribute__((global))
#define __device__       __attribute__((device))
#define __shared__       __attribute__((shared))
#define GPU_INLINE       static __device__ inline __attribute__((always_inline))
#define GPU_KERNEL(t, b) extern "C" __global__ __attribute__((launch_bounds(t, b))) void
#else
#define GPU_INLINE       static __device__ __forceinline__
#define GPU_KERNEL(t, b) extern "C" __global__ void __launch_bounds__(t, b)
#endif

#define GPU_METHOD                    __device__ inline __attribute__((always_inline))
#define GPU_UNROLL                    _Pragma("unroll")
#define GPU_SHARED(type, name)        extern __shared__ type name[]
#define GPU_SHARED_ARRAY(type, name, n) __shared__ type name[n]

#define GPU_REGISTER(function, name)                                                               \
    GPU_INLINE int function(void)                                                                  \
    {                                                                                              \
        int out;                                                                                   \
        asm("mov.u32 %0, %%" name ";" : "=r"(out));                                                \
        return out;                                                                                \
    }
GPU_REGISTER(k_thread, "tid.x")
GPU_REGISTER(k_threads, "ntid.x")
GPU_REGISTER(k_block_x, "ctaid.x")
GPU_REGISTER(k_block_y, "ctaid.y")
GPU_REGISTER(k_block_z, "ctaid.z")
GPU_REGISTER(k_blocks_x, "nctaid.x")

/* All threads of the block meet; warps may come from different places in the code. */
GPU_INLINE void k_sync(void)
{
    asm volatile("barrier.sync 0;" ::: "memory");
}

/* Four unsigned by four signed bytes, added to c. */
GPU_INLINE int k_dp4a(gpu_u32 a, gpu_u32 b, int c)
{
    int out;
    asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
    return out;
}

/* Four unsigned by four unsigned bytes. */
GPU_INLINE gpu_u32 k_dp4a_unsigned(gpu_u32 a, gpu_u32 b, gpu_u32 c)
{
    gpu_u32 out;
    asm("dp4a.u32.u32 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
    return out;
}

/* Two unsigned 16-bit values by the two lower (upper) signed bytes of b. */
GPU_INLINE int k_dp2a_lower(gpu_u32 a, gpu_u32 b, int c)
{
    int out;
    asm("dp2a.lo.u32.s32 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
    return out;
}

GPU_INLINE int k_dp2a_upper(gpu_u32 a, gpu_u32 b, int c)
{
    int out;
    asm("dp2a.hi.u32.s32 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
    return out;
}

/* Bytes of b:a by the nibbles of pick. */
GPU_INLINE gpu_u32 k_permute(gpu_u32 a, gpu_u32 b, gpu_u32 pick)
{
    gpu_u32 out;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(pick));
    return out;
}

GPU_INLINE float k_fma(float a, float b, float c)
{
    float out;
    asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(out) : "f"(a), "f"(b), "f"(c));
    return out;
}

GPU_INLINE float k_add(float a, float b)
{
    float out;
    asm("add.rn.f32 %0, %1, %2;" : "=f"(out) : "f"(a), "f"(b));
    return out;
}

GPU_INLINE float k_mul(float a, float b)
{
    float out;
    asm("mul.rn.f32 %0, %1, %2;" : "=f"(out) : "f"(a), "f"(b));
    return out;
}

GPU_INLINE float k_div(float a, float b)
{
    float out;
    asm("div.rn.f32 %0, %1, %2;" : "=f"(out) : "f"(a), "f"(b));
    return out;
}

GPU_INLINE float k_float_of_bits(int bits)
{
    float out;
    asm("mov.b32 %0, %1;" : "=f"(out) : "r"(bits));
    return out;
}

GPU_INLINE int k_bits_of_float(float value)
{
    int out;
    asm("mov.b32 %0, %1;" : "=r"(out) : "f"(value));
    return out;
}

/* Reads of what no thread writes in this launch. */
GPU_INLINE vec4 k_load(gpu_u64 at)
{
    vec4 v;
    asm volatile("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(at));
    return v;
}

GPU_INLINE vec4f k_load_floats(gpu_u64 at)
{
    vec4f v;
    asm("ld.global.nc.v4.f32 {%0, %1, %2, %3}, [%4];"
        : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
        : "l"(at));
    return v;
}

GPU_INLINE int k_load_int(gpu_u64 at)
{
    int v;
    asm("ld.global.nc.s32 %0, [%1];" : "=r"(v) : "l"(at));
    return v;
}

GPU_INLINE int k_load_sample(gpu_u64 at, int wide)
{
    if (wide) {
        unsigned short v;
        asm("ld.global.nc.u16 %0, [%1];" : "=h"(v) : "l"(at));
        return v;
    }
    gpu_u32 v;
    asm("ld.global.nc.u8 %0, [%1];" : "=r"(v) : "l"(at));
    return (int)v;
}

GPU_INLINE void k_store8(gpu_u64 at, gpu_u32 v)
{
    asm volatile("st.global.u8 [%0], %1;" ::"l"(at), "r"(v) : "memory");
}

GPU_INLINE void k_store16(gpu_u64 at, gpu_u32 v)
{
    asm volatile("st.global.u16 [%0], %1;" ::"l"(at), "h"((unsigned short)v) : "memory");
}

GPU_INLINE void k_store32(gpu_u64 at, gpu_u32 v)
{
    asm volatile("st.global.u32 [%0], %1;" ::"l"(at), "r"(v) : "memory");
}

GPU_INLINE void k_store64(gpu_u64 at, gpu_u32 low, gpu_u32 high)
{
    asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(at), "r"(low), "r"(high) : "memory");
}

GPU_INLINE void k_sum(gpu_u64 at, gpu_u64 v)
{
    asm volatile("red.global.add.u64 [%0], %1;" ::"l"(at), "l"(v) : "memory");
}

#endif

GPU_INLINE int k_min(int a, int b)
{
    return a < b ? a : b;
}

GPU_INLINE int k_max(int a, int b)
{
    return a > b ? a : b;
}

/* The integer nearest to a value of less than 2^22, ties to even, kept within 0 … limit. */
GPU_INLINE int k_round(float value, int limit)
{
    int whole = k_bits_of_float(k_add(value, GPU_MAGIC)) - GPU_MAGIC_BITS;
    return k_min(k_max(whole, 0), limit);
}

#endif
