/* gpu/gpu_twins.h: the kernels' C twins, by the kernels' names.
 *
 * The stand-in driver runs these where a GPU would run the kernel of the same name.
 *
 * Shapes:   arguments are as cuLaunchKernel takes them: args[i] points to the kernel's i-th argument. Pointers into
 *           device memory are pointers here.
 * Threads:  any; twins keep no state.
 */
#ifndef SL_GPU_TWINS_H
#define SL_GPU_TWINS_H

struct gpu_twin {
    const char *name;
    /* Does the work of the whole grid. */
    void (*run)(const unsigned grid[3], const unsigned block[3], void **args);
};

/* The last one has no name. */
extern const struct gpu_twin gpu_twins[];

#endif
