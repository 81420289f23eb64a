/* gpu/gpu_twins.h: the C twin of every kernel: the truth that kernels are held against.
 *
 * A twin does what the kernel does, bit for bit, in memory that the host can reach. The stand-in driver runs these where
 * a GPU would run the kernel of the same name.
 *
 * Shapes:   arguments are as cuLaunchKernel takes them: args[0] points to the kernel's one struct of gpu_abi.h. Pointers into
 *           device memory are pointers here.
 * Threads:  any; twins keep no state.
 */
#ifndef SL_GPU_GPU_TWINS_H
#define SL_GPU_GPU_TWINS_H

struct gpu_twin {
    const char *name;
    /* Does the work of the whole grid. */
    void (*run)(const unsigned grid[3], const unsigned block[3], void **args);
};

/* The last one has no name. */
extern const struct gpu_twin gpu_twins[];

/* NULL: there is no such kernel. */
const struct gpu_twin *gpu_twin_find(const char *name);

void twin_ladder8(const unsigned grid[3], const unsigned block[3], void **args);
void twin_ladder16(const unsigned grid[3], const unsigned block[3], void **args);
void twin_sse(const unsigned grid[3], const unsigned block[3], void **args);
void twin_ssim(const unsigned grid[3], const unsigned block[3], void **args);
void twin_tone(const unsigned grid[3], const unsigned block[3], void **args);
void twin_deinterlace(const unsigned grid[3], const unsigned block[3], void **args);

#endif
