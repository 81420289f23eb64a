/* tests/standin/cuda.h: what the stand-in libcuda, libnvidia-encode, libnvcuvid and libnvidia-ml know of each other.
 *
 * Device memory is host memory and streams are synchronous: work is done when the call that asks for it returns.
 */
#ifndef SL_TESTS_STANDIN_CUDA_H
#define SL_TESTS_STANDIN_CUDA_H

#include <stdbool.h>
#include <stdint.h>

#include <ffnvcodec/dynlink_cuda.h>

#define STANDIN_EXPORT           __attribute__((visibility("default")))

/* Codes of the driver's interface that ffnvcodec does not name. */
#define CUDA_INVALID_VALUE       ((CUresult)1)
#define CUDA_OUT_OF_MEMORY       ((CUresult)2)
#define CUDA_NOT_INITIALIZED     ((CUresult)3)
#define CUDA_NO_DEVICE           ((CUresult)100)
#define CUDA_INVALID_DEVICE      ((CUresult)101)
#define CUDA_INVALID_IMAGE       ((CUresult)200)
#define CUDA_INVALID_CONTEXT     ((CUresult)201)
#define CUDA_INVALID_HANDLE      ((CUresult)400)
#define CUDA_NOT_FOUND           ((CUresult)500)
#define CUDA_NOT_SUPPORTED       ((CUresult)801)

/* As cuDriverGetVersion says it. */
#define STANDIN_CUDA_VERSION     12020
#define STANDIN_CUDA_VERSION_OLD 9010

#pragma GCC visibility push(default)

/* In each library; tells that this is no GPU. */
extern const char sluice_standin[];

/* Starts the shared state; 0 or the code that cuInit answers. */
int standin_cuda_init(void);
/* How many devices the machine has, whatever CUDA_VISIBLE_DEVICES leaves of them. */
int standin_cuda_machine_count(void);
uint64_t standin_cuda_total_bytes(int device);
void standin_cuda_uuid(int device, uint8_t out[16]);
void standin_cuda_name(int device, char *out, int out_bytes);
void standin_cuda_pci(int device, char *out, int out_bytes);
/* The device of a context, -1 for what is none; whether the device was lost since the context was made. */
int standin_cuda_device(const void *context);
bool standin_cuda_dead(const void *context);
/* As the vendor's, for the sisters' own use. */
CUresult cuCtxGetCurrent(CUcontext *out);
CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t bytes);
CUresult cuMemFree_v2(CUdeviceptr address);

#pragma GCC visibility pop

#endif
