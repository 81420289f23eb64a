#include "tests/standin/va_surfaces.h"

#include <stdlib.h>
#include <string.h>

#include "tests/standin/state.h"
#include "tests/standin/va_objects.h"

/* ---- surfaces ---- */

static int round_up(int value, int to)
{
    return (value + to - 1) / to * to;
}

static VAStatus surfaces_create(VADriverContextP driver, unsigned format, unsigned width,
                                unsigned height, VASurfaceID *out, unsigned count,
                                VASurfaceAttrib *list, unsigned attributes)
{
    if (standin_lost(va_device_of(driver)))
        return VA_STATUS_LOST;
    uint32_t fourcc = format & VA_RT_FORMAT_YUV420_10 ? VA_FOURCC_P010 : VA_FOURCC_NV12;
    for (unsigned i = 0; i < attributes; i++)
        if (list[i].type == VASurfaceAttribPixelFormat)
            fourcc = (uint32_t)list[i].value.value.i;
    if ((fourcc != VA_FOURCC_P010 && fourcc != VA_FOURCC_NV12) || width > VA_SIZE_MAX ||
        height > VA_SIZE_MAX)
        return VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT;
    for (unsigned i = 0; i < count; i++) {
        struct va_object *made = va_object_make(VA_SURFACE, &out[i]);
        if (!made)
            return VA_STATUS_ERROR_ALLOCATION_FAILED;
        struct va_picture *p = &made->surface;
        p->fourcc = fourcc;
        p->width = (int32_t)width;
        p->height = (int32_t)height;
        p->pitch = round_up(p->width * (fourcc == VA_FOURCC_P010 ? 2 : 1), 64);
        p->rows = round_up(p->height, 16);
        p->data = calloc(1, (size_t)p->pitch * (size_t)p->rows * 3 / 2);
        if (!p->data)
            return VA_STATUS_ERROR_ALLOCATION_FAILED;
    }
    return VA_STATUS_SUCCESS;
}

static VAStatus surfaces_create_old(VADriverContextP driver, int width, int height, int format,
                                    int count, VASurfaceID *out)
{
    return surfaces_create(driver, (unsigned)format, (unsigned)width, (unsigned)height, out,
                           (unsigned)count, NULL, 0);
}

static VAStatus surfaces_destroy(VADriverContextP driver, VASurfaceID *list, int count)
{
    (void)driver;
    for (int i = 0; i < count; i++)
        if (!va_object_free(VA_SURFACE, list[i]))
            return VA_STATUS_ERROR_INVALID_SURFACE;
    return VA_STATUS_SUCCESS;
}

static void number_put(VASurfaceAttrib *out, VASurfaceAttribType type, uint32_t value)
{
    *out = (VASurfaceAttrib){
        .type = type,
        .flags = VA_SURFACE_ATTRIB_GETTABLE | VA_SURFACE_ATTRIB_SETTABLE,
        .value = {.type = VAGenericValueTypeInteger, .value.i = (int)value},
    };
}

static VAStatus surface_attributes(VADriverContextP driver, VAConfigID id, VASurfaceAttrib *out,
                                   unsigned *count)
{
    (void)driver;
    struct va_object *config = va_object_find(VA_CONFIG, id);
    if (!config)
        return VA_STATUS_ERROR_INVALID_CONFIG;
    bool both = config->config.profile == VAProfileNone;
    bool deep = config->config.rt_format == VA_RT_FORMAT_YUV420_10;
    unsigned needed = both ? 6 : 5;
    if (out && *count < needed) {
        *count = needed;
        return VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
    }
    *count = needed;
    if (!out)
        return VA_STATUS_SUCCESS;
    if (both || deep)
        number_put(out++, VASurfaceAttribPixelFormat, VA_FOURCC_P010);
    if (both || !deep)
        number_put(out++, VASurfaceAttribPixelFormat, VA_FOURCC_NV12);
    number_put(out++, VASurfaceAttribMinWidth, 32);
    number_put(out++, VASurfaceAttribMinHeight, 32);
    number_put(out++, VASurfaceAttribMaxWidth, VA_SIZE_MAX);
    number_put(out++, VASurfaceAttribMaxHeight, VA_SIZE_MAX);
    return VA_STATUS_SUCCESS;
}

/* Everything is done before a call returns. */
static VAStatus surface_sync(VADriverContextP driver, VASurfaceID id)
{
    (void)driver;
    return va_object_find(VA_SURFACE, id) ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_SURFACE;
}

static VAStatus buffer_sync(VADriverContextP driver, VABufferID id, uint64_t timeout_ns)
{
    (void)driver, (void)timeout_ns;
    return va_object_find(VA_BUFFER, id) ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_BUFFER;
}

static VAStatus surface_status(VADriverContextP driver, VASurfaceID id, VASurfaceStatus *out)
{
    *out = VASurfaceReady;
    return surface_sync(driver, id);
}

/* ---- buffers ---- */

static VAStatus buffer_create(VADriverContextP driver, VAContextID context, VABufferType type,
                              unsigned bytes, unsigned count, void *data, VABufferID *id)
{
    (void)driver, (void)context;
    struct va_object *made = va_object_make(VA_BUFFER, id);
    if (!made)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    made->buffer.type = type;
    made->buffer.bytes = bytes;
    made->buffer.count = count;
    made->buffer.data = calloc(count ? count : 1, bytes ? bytes : 1);
    if (!made->buffer.data) {
        va_object_free(VA_BUFFER, *id);
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    }
    if (data)
        memcpy(made->buffer.data, data, (size_t)bytes * count);
    made->buffer.segment.buf = made->buffer.data;
    return VA_STATUS_SUCCESS;
}

static VAStatus buffer_count_set(VADriverContextP driver, VABufferID id, unsigned count)
{
    (void)driver;
    struct va_object *buffer = va_object_find(VA_BUFFER, id);
    if (!buffer || count > buffer->buffer.count)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    buffer->buffer.count = count;
    return VA_STATUS_SUCCESS;
}

static VAStatus buffer_map(VADriverContextP driver, VABufferID id, void **out)
{
    (void)driver;
    struct va_object *buffer = va_object_find(VA_BUFFER, id);
    if (!buffer)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    bool coded = buffer->buffer.type == VAEncCodedBufferType;
    *out = coded ? (void *)&buffer->buffer.segment : buffer->buffer.data;
    return VA_STATUS_SUCCESS;
}

static VAStatus buffer_unmap(VADriverContextP driver, VABufferID id)
{
    return buffer_sync(driver, id, 0);
}

static VAStatus buffer_destroy(VADriverContextP driver, VABufferID id)
{
    (void)driver;
    return va_object_free(VA_BUFFER, id) ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_BUFFER;
}

/* ---- images ---- */

static const VAImageFormat formats[] = {
    {.fourcc = VA_FOURCC_NV12, .byte_order = VA_LSB_FIRST, .bits_per_pixel = 12},
    {.fourcc = VA_FOURCC_P010, .byte_order = VA_LSB_FIRST, .bits_per_pixel = 24},
};

static VAStatus image_formats(VADriverContextP driver, VAImageFormat *out, int *count)
{
    (void)driver;
    memcpy(out, formats, sizeof formats);
    *count = sizeof formats / sizeof formats[0];
    return VA_STATUS_SUCCESS;
}

/* data: of a surface that the image is; NULL: its own. */
static VAStatus image_make(const struct va_picture *picture, uint8_t *data, VAImage *out)
{
    VAGenericID id, buffer_id;
    struct va_object *image = va_object_make(VA_IMAGE, &id);
    struct va_object *buffer = va_object_make(VA_BUFFER, &buffer_id);
    if (!image || !buffer)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    size_t luma = (size_t)picture->pitch * (size_t)picture->rows;
    buffer->buffer.type = VAImageBufferType;
    buffer->buffer.bytes = luma * 3 / 2;
    buffer->buffer.count = 1;
    buffer->buffer.data_is_lent = data;
    buffer->buffer.data = data ? data : calloc(1, luma * 3 / 2);
    if (!buffer->buffer.data)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    image->image = (VAImage){
        .image_id = id,
        .format = formats[picture->fourcc == VA_FOURCC_P010],
        .buf = buffer_id,
        .width = (uint16_t)picture->width,
        .height = (uint16_t)picture->height,
        .data_size = (uint32_t)(luma * 3 / 2),
        .num_planes = 2,
        .pitches = {(uint32_t)picture->pitch, (uint32_t)picture->pitch},
        .offsets = {0, (uint32_t)luma},
    };
    *out = image->image;
    return VA_STATUS_SUCCESS;
}

static VAStatus image_create(VADriverContextP driver, VAImageFormat *format, int width, int height,
                             VAImage *out)
{
    (void)driver;
    if (format->fourcc != VA_FOURCC_NV12 && format->fourcc != VA_FOURCC_P010)
        return VA_STATUS_ERROR_INVALID_IMAGE_FORMAT;
    const struct va_picture shape = {
        .width = width,
        .height = height,
        .pitch = round_up(width * (format->fourcc == VA_FOURCC_P010 ? 2 : 1), 64),
        .rows = round_up(height, 2),
        .fourcc = format->fourcc,
    };
    return image_make(&shape, NULL, out);
}

static VAStatus image_derive(VADriverContextP driver, VASurfaceID id, VAImage *out)
{
    (void)driver;
    struct va_object *surface = va_object_find(VA_SURFACE, id);
    if (!surface)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    return image_make(&surface->surface, surface->surface.data, out);
}

static VAStatus image_destroy(VADriverContextP driver, VAImageID id)
{
    (void)driver;
    struct va_object *image = va_object_find(VA_IMAGE, id);
    if (!image)
        return VA_STATUS_ERROR_INVALID_IMAGE;
    va_object_free(VA_BUFFER, image->image.buf);
    va_object_free(VA_IMAGE, id);
    return VA_STATUS_SUCCESS;
}

/* Between a surface and an image, whole pictures only: what libavutil asks for. */
static VAStatus image_copy(VASurfaceID surface_id, VAImageID image_id, bool to_surface)
{
    struct va_object *surface = va_object_find(VA_SURFACE, surface_id);
    struct va_object *image = va_object_find(VA_IMAGE, image_id);
    struct va_object *buffer = image ? va_object_find(VA_BUFFER, image->image.buf) : NULL;
    if (!surface)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    if (!buffer || image->image.format.fourcc != surface->surface.fourcc)
        return VA_STATUS_ERROR_INVALID_IMAGE;
    const struct va_picture *p = &surface->surface;
    size_t sample = p->fourcc == VA_FOURCC_P010 ? 2 : 1;
    int width = image->image.width < p->width ? image->image.width : p->width;
    int height = image->image.height < p->height ? image->image.height : p->height;
    for (int plane = 0; plane < 2; plane++)
        for (int y = 0; y < (plane ? (height + 1) / 2 : height); y++) {
            uint8_t *a = p->data + (size_t)(plane * p->rows + y) * (size_t)p->pitch;
            uint8_t *b = buffer->buffer.data + image->image.offsets[plane] +
                         (size_t)y * image->image.pitches[plane];
            int samples = plane ? (width + 1) / 2 * 2 : width;
            memcpy(to_surface ? a : b, to_surface ? b : a, (size_t)samples * sample);
        }
    return VA_STATUS_SUCCESS;
}

static VAStatus image_get(VADriverContextP driver, VASurfaceID surface, int x, int y,
                          unsigned width, unsigned height, VAImageID image)
{
    (void)driver, (void)x, (void)y, (void)width, (void)height;
    return image_copy(surface, image, false);
}

static VAStatus image_put(VADriverContextP driver, VASurfaceID surface, VAImageID image, int sx,
                          int sy, unsigned sw, unsigned sh, int dx, int dy, unsigned dw,
                          unsigned dh)
{
    (void)driver, (void)sx, (void)sy, (void)sw, (void)sh, (void)dx, (void)dy, (void)dw, (void)dh;
    return image_copy(surface, image, true);
}

void va_surfaces_fill(struct VADriverVTable *table)
{
    table->vaCreateSurfaces = surfaces_create_old;
    table->vaCreateSurfaces2 = surfaces_create;
    table->vaDestroySurfaces = surfaces_destroy;
    table->vaQuerySurfaceAttributes = surface_attributes;
    table->vaCreateBuffer = buffer_create;
    table->vaBufferSetNumElements = buffer_count_set;
    table->vaMapBuffer = buffer_map;
    table->vaUnmapBuffer = buffer_unmap;
    table->vaDestroyBuffer = buffer_destroy;
    table->vaSyncSurface = surface_sync;
    table->vaSyncBuffer = buffer_sync;
    table->vaQuerySurfaceStatus = surface_status;
    table->vaQueryImageFormats = image_formats;
    table->vaCreateImage = image_create;
    table->vaDeriveImage = image_derive;
    table->vaDestroyImage = image_destroy;
    table->vaGetImage = image_get;
    table->vaPutImage = image_put;
}
