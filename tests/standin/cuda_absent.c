/* The stand-in libcuda: what a loader insists on and no one may use here: linking, textures, graphics, imports. */
#include "tests/standin/cuda.h"

#define ABSENT(name)                                                                               \
    STANDIN_EXPORT CUresult name(void);                                                            \
    CUresult name(void)                                                                            \
    {                                                                                              \
        return CUDA_NOT_SUPPORTED;                                                                 \
    }

ABSENT(cuDevicePrimaryCtxReset)
ABSENT(cuLinkCreate)
ABSENT(cuLinkAddData)
ABSENT(cuLinkComplete)
ABSENT(cuLinkDestroy)
ABSENT(cuModuleGetGlobal)
ABSENT(cuTexObjectCreate)
ABSENT(cuTexObjectDestroy)
ABSENT(cuGLGetDevices_v2)
ABSENT(cuGraphicsGLRegisterImage)
ABSENT(cuGraphicsUnregisterResource)
ABSENT(cuGraphicsMapResources)
ABSENT(cuGraphicsUnmapResources)
ABSENT(cuGraphicsSubResourceGetMappedArray)
ABSENT(cuGraphicsResourceGetMappedPointer_v2)
ABSENT(cuArrayCreate_v2)
ABSENT(cuArray3DCreate_v2)
ABSENT(cuArrayDestroy)
