/* gpu/kernels/kernels.cu: all kernels as one module. */
#include "gpu/kernels/deinterlace.cu"
#include "gpu/kernels/ladder.cu"
#include "gpu/kernels/measure.cu"
#include "gpu/kernels/tone.cu"
