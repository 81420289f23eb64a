/* tests/standin/va_objects.h: what the stand-in VA driver hands out by number: surfaces, buffers, images, contexts.
 *
 * Owns:     every object, from its make to its free; the memory of a surface is the surface's.
 * Shapes:   a picture is NV12 or P010: luma rows, then rows of chroma pairs, one pitch for both.
 * Threads:  make, find and free from any; what is found is used by one thread at a time, as VA asks.
 */
#ifndef SL_TESTS_STANDIN_VA_OBJECTS_H
#define SL_TESTS_STANDIN_VA_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <va/va.h>
#include <va/va_backend.h>

#include "tests/standin/soft.h"

#define VA_SIZE_MAX    8192
/* What libva's callers are told of a device that is gone. */
#define VA_STATUS_LOST VA_STATUS_ERROR_HW_BUSY

/* A surface: NV12 or P010. */
struct va_picture {
    uint8_t *data;
    int32_t width, height; /* as asked for */
    int32_t pitch, rows;   /* of the memory */
    uint32_t fourcc;
};

enum va_kind { VA_CONFIG, VA_SURFACE, VA_BUFFER, VA_IMAGE, VA_CONTEXT };

struct va_config {
    VAProfile profile;
    VAEntrypoint entrypoint;
    uint32_t rate_control;
    uint32_t rt_format;
};

struct va_buffer {
    VABufferType type;
    size_t bytes; /* of one element */
    unsigned count;
    uint8_t *data;
    bool data_is_lent;            /* a surface's, of a derived image */
    VACodedBufferSegment segment; /* of a coded buffer */
};

struct va_context {
    struct va_config config;
    int device;
    uint64_t losses; /* of the device, when this was made */
    bool has_session;
    VASurfaceID target;
    VABufferID coded;
    bool key;
    int64_t pictures;
    struct soft_params params; /* as the buffers told so far */
    struct soft_encoder *encoder;
    VAProcPipelineParameterBuffer *process;
};

struct va_object {
    enum va_kind kind;
    union {
        struct va_config config;
        struct va_picture surface;
        struct va_buffer buffer;
        VAImage image;
        struct va_context context;
    };
};

static inline int va_device_of(VADriverContextP driver)
{
    return (int)(intptr_t)driver->pDriverData;
}

/* A zeroed object and its number; NULL without memory. */
struct va_object *va_object_make(enum va_kind kind, VAGenericID *id);
/* NULL where the number is of no such object. */
struct va_object *va_object_find(enum va_kind kind, VAGenericID id);
/* With what it holds. False where there is none. */
bool va_object_free(enum va_kind kind, VAGenericID id);

#endif
