/* tests/standin/cuda_private.h: the stand-in libcuda's own. */
#ifndef SL_TESTS_STANDIN_CUDA_PRIVATE_H
#define SL_TESTS_STANDIN_CUDA_PRIVATE_H

#include "tests/standin/cuda.h"

struct CUctx_st {
    uint32_t magic;
    int device;  /* its place in the machine */
    int ordinal; /* its number in this process */
    uint64_t losses;
};

/* This thread's; NULL: none. */
struct CUctx_st *context_current(void);
/* Success where this thread has a context whose device is still there. */
CUresult context_check(void);

#endif
