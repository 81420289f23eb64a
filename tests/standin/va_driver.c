/* tests/standin/va_driver.c: sluice_drv_video.so, a VA driver whose devices encode in software, so that libavcodec's
 * VA-API encoders and filters run unchanged on any machine.
 *
 * A display says which device it is by native_dpy, "standin-va0" …, as gpu/gpu_va.c fills it. What the devices can: H.264,
 * H.265, VP9 and (where libavcodec has av1_vaapi) AV1, 8 and 10 bit, with CQP, ICQ, VBR and QVBR, no B-frames, no packed headers (parameter sets are the encoder's, in
 * the stream); scaling (VAEntrypointVideoProc). No decoder. Faults: tests/standin/README.md. */
#include <libavutil/imgutils.h>
#include <libswscale/swscale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <va/va_backend.h>
#include <va/va_backend_vpp.h>
#include <va/va_enc_av1.h>
#include <va/va_enc_h264.h>
#include <va/va_enc_hevc.h>
#include <va/va_enc_vp9.h>
#include <va/va_vpp.h>

#include "tests/standin/state.h"
#include "tests/standin/va_objects.h"
#include "tests/standin/va_surfaces.h"

__attribute__((visibility("default"))) const char sluice_standin[] =
    "sluice stand-in for a VA driver";

#define ENCODERS "x264, x265, libaom, libvpx"

__attribute__((visibility("default"))) VAStatus __vaDriverInit_1_0(VADriverContextP driver);

/* ---- what there is ---- */

static bool encodes(int device, VAProfile profile)
{
    switch (profile) {
    case VAProfileH264ConstrainedBaseline:
    case VAProfileH264Main:
    case VAProfileH264High:
        return !standin_fault(FAULT_NO_ENGINE, device);
    case VAProfileHEVCMain10:
        if (standin_fault(FAULT_NO_TEN, device))
            return false;
        /* fallthrough */
    case VAProfileHEVCMain:
        return !standin_fault(FAULT_NO_ENGINE, device) && !standin_fault(FAULT_NO_H265, device);
    case VAProfileVP9Profile2:
        if (standin_fault(FAULT_NO_TEN, device))
            return false;
        /* fallthrough */
    case VAProfileVP9Profile0:
        return !standin_fault(FAULT_NO_ENGINE, device);
    case VAProfileAV1Profile0:
        return soft_codec_built(SOFT_AV1) && !standin_fault(FAULT_NO_ENGINE, device) &&
               !standin_fault(FAULT_NO_AV1, device);
    default:
        return false;
    }
}

static VAStatus profiles_query(VADriverContextP driver, VAProfile *out, int *count)
{
    static const VAProfile all[] = {VAProfileH264ConstrainedBaseline,
                                    VAProfileH264Main,
                                    VAProfileH264High,
                                    VAProfileHEVCMain,
                                    VAProfileHEVCMain10,
                                    VAProfileAV1Profile0,
                                    VAProfileVP9Profile0,
                                    VAProfileVP9Profile2};
    *count = 0;
    out[(*count)++] = VAProfileNone;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (encodes(va_device_of(driver), all[i]))
            out[(*count)++] = all[i];
    return VA_STATUS_SUCCESS;
}

static VAStatus entrypoints_query(VADriverContextP driver, VAProfile profile, VAEntrypoint *out,
                                  int *count)
{
    *count = 1;
    if (profile == VAProfileNone)
        *out = VAEntrypointVideoProc;
    else if (encodes(va_device_of(driver), profile))
        *out = VAEntrypointEncSlice;
    else
        return VA_STATUS_ERROR_UNSUPPORTED_PROFILE;
    return VA_STATUS_SUCCESS;
}

static uint32_t attribute(VAProfile profile, VAConfigAttribType type)
{
    bool video = profile != VAProfileNone;
    switch (type) {
    case VAConfigAttribRTFormat:
        if (!video)
            return VA_RT_FORMAT_YUV420 | VA_RT_FORMAT_YUV420_10;
        if (profile == VAProfileAV1Profile0)
            return VA_RT_FORMAT_YUV420 | VA_RT_FORMAT_YUV420_10;
        return profile == VAProfileHEVCMain10 || profile == VAProfileVP9Profile2
                   ? VA_RT_FORMAT_YUV420_10
                   : VA_RT_FORMAT_YUV420;
    case VAConfigAttribRateControl:
        return video ? VA_RC_CQP | VA_RC_VBR | VA_RC_ICQ | VA_RC_QVBR : VA_ATTRIB_NOT_SUPPORTED;
    case VAConfigAttribEncMaxRefFrames:
        return video ? 1 : VA_ATTRIB_NOT_SUPPORTED;
    /* One tile, no tool that could be asked for, all kinds of transform: what libavcodec wants to be told. */
    case VAConfigAttribEncAV1:
    case VAConfigAttribEncAV1Ext1:
        return 0;
    case VAConfigAttribEncAV1Ext2:
        return (VAConfigAttribValEncAV1Ext2){.bits.tx_mode_support = 7}.value;
    case VAConfigAttribMaxPictureWidth:
    case VAConfigAttribMaxPictureHeight:
        return VA_SIZE_MAX;
    default:
        return VA_ATTRIB_NOT_SUPPORTED;
    }
}

static VAStatus attributes_get(VADriverContextP driver, VAProfile profile, VAEntrypoint entrypoint,
                               VAConfigAttrib *list, int count)
{
    VAEntrypoint there;
    int n;
    VAStatus status = entrypoints_query(driver, profile, &there, &n);
    if (status != VA_STATUS_SUCCESS)
        return status;
    if (there != entrypoint)
        return VA_STATUS_ERROR_UNSUPPORTED_ENTRYPOINT;
    for (int i = 0; i < count; i++)
        list[i].value = attribute(profile, list[i].type);
    return VA_STATUS_SUCCESS;
}

static VAStatus config_create(VADriverContextP driver, VAProfile profile, VAEntrypoint entrypoint,
                              VAConfigAttrib *list, int count, VAConfigID *id)
{
    VAStatus status = attributes_get(driver, profile, entrypoint, NULL, 0);
    if (status != VA_STATUS_SUCCESS)
        return status;
    struct va_object *made = va_object_make(VA_CONFIG, id);
    if (!made)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    made->config = (struct va_config){profile, entrypoint, VA_RC_CQP, VA_RT_FORMAT_YUV420};
    for (int i = 0; i < count; i++) {
        if (list[i].type == VAConfigAttribRateControl)
            made->config.rate_control = list[i].value;
        if (list[i].type == VAConfigAttribRTFormat)
            made->config.rt_format = list[i].value;
    }
    return VA_STATUS_SUCCESS;
}

static VAStatus config_destroy(VADriverContextP driver, VAConfigID id)
{
    (void)driver;
    return va_object_free(VA_CONFIG, id) ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_CONFIG;
}

static VAStatus config_attributes(VADriverContextP driver, VAConfigID id, VAProfile *profile,
                                  VAEntrypoint *entrypoint, VAConfigAttrib *list, int *count)
{
    (void)driver;
    struct va_object *config = va_object_find(VA_CONFIG, id);
    if (!config)
        return VA_STATUS_ERROR_INVALID_CONFIG;
    *profile = config->config.profile;
    *entrypoint = config->config.entrypoint;
    list[0] = (VAConfigAttrib){VAConfigAttribRTFormat, config->config.rt_format};
    list[1] = (VAConfigAttrib){VAConfigAttribRateControl, config->config.rate_control};
    *count = 2;
    return VA_STATUS_SUCCESS;
}

/* ---- contexts ---- */

static struct soft_params params_of(const struct va_config *config)
{
    VAProfile profile = config->profile;
    uint32_t mode = config->rate_control;
    struct soft_params params = {
        .codec = SOFT_H264,
        .ten_bit = config->rt_format == VA_RT_FORMAT_YUV420_10,
        .rate = mode == VA_RC_CQP   ? SOFT_QP
                : mode == VA_RC_VBR ? SOFT_BITRATE
                                    : SOFT_QUALITY,
        .quality = 26,
        .in_band = true,
        .baseline = profile == VAProfileH264ConstrainedBaseline,
        .main_only = profile == VAProfileH264Main,
    };
    if (profile == VAProfileHEVCMain || profile == VAProfileHEVCMain10)
        params.codec = SOFT_H265;
    else if (profile == VAProfileAV1Profile0)
        params.codec = SOFT_AV1;
    else if (profile == VAProfileVP9Profile0 || profile == VAProfileVP9Profile2)
        params.codec = SOFT_VP9;
    return params;
}

static VAStatus context_create(VADriverContextP driver, VAConfigID config_id, int width, int height,
                               int flag, VASurfaceID *targets, int target_count, VAContextID *id)
{
    (void)width, (void)height, (void)flag, (void)targets, (void)target_count;
    int device = va_device_of(driver);
    struct va_object *config = va_object_find(VA_CONFIG, config_id);
    if (!config)
        return VA_STATUS_ERROR_INVALID_CONFIG;
    if (standin_lost(device))
        return VA_STATUS_LOST;
    bool session = config->config.entrypoint == VAEntrypointEncSlice;
    if (session && standin_fault(FAULT_CRASH_AT_OPEN, device))
        raise(SIGSEGV);
    if (session && !standin_session_take(device))
        return VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
    struct va_object *made = va_object_make(VA_CONTEXT, id);
    if (!made) {
        if (session)
            standin_session_give(device);
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    }
    made->context.config = config->config;
    made->context.device = device;
    made->context.losses = standin_losses(device);
    made->context.has_session = session;
    made->context.params = params_of(&config->config);
    return VA_STATUS_SUCCESS;
}

static VAStatus context_destroy(VADriverContextP driver, VAContextID id)
{
    (void)driver;
    return va_object_free(VA_CONTEXT, id) ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_CONTEXT;
}

static VAStatus picture_begin(VADriverContextP driver, VAContextID id, VASurfaceID target)
{
    (void)driver;
    struct va_object *context = va_object_find(VA_CONTEXT, id);
    if (!context)
        return VA_STATUS_ERROR_INVALID_CONTEXT;
    if (!va_object_find(VA_SURFACE, target))
        return VA_STATUS_ERROR_INVALID_SURFACE;
    context->context.target = target;
    context->context.coded = VA_INVALID_ID;
    context->context.process = NULL;
    return VA_STATUS_SUCCESS;
}

static void misc_read(struct va_context *context, const struct va_buffer *buffer)
{
    const VAEncMiscParameterBuffer *misc = (const void *)buffer->data;
    struct soft_params *params = &context->params;
    uint32_t mode = context->config.rate_control;
    if (misc->type == VAEncMiscParameterTypeRateControl) {
        const VAEncMiscParameterRateControl *control = (const void *)misc->data;
        uint32_t percent = control->target_percentage ? control->target_percentage : 100;
        params->maxrate = mode == VA_RC_ICQ ? 0 : control->bits_per_second;
        params->bitrate = (int64_t)control->bits_per_second * percent / 100;
        params->quality = mode == VA_RC_ICQ ? control->ICQ_quality_factor : control->quality_factor;
    } else if (misc->type == VAEncMiscParameterTypeHRD) {
        params->buffer = ((const VAEncMiscParameterHRD *)(const void *)misc->data)->buffer_size;
    } else if (misc->type == VAEncMiscParameterTypeFrameRate) {
        uint32_t fps = ((const VAEncMiscParameterFrameRate *)(const void *)misc->data)->framerate;
        params->fps_num = (int)(fps & 0xffff);
        params->fps_den = fps >> 16 ? (int)(fps >> 16) : 1;
    }
}

static void picture_read(struct va_context *context, const struct va_buffer *buffer)
{
    int qp;
    switch (context->params.codec) {
    case SOFT_H265: {
        const VAEncPictureParameterBufferHEVC *p = (const void *)buffer->data;
        context->coded = p->coded_buf;
        context->key = p->pic_fields.bits.idr_pic_flag;
        qp = p->pic_init_qp;
        break;
    }
    case SOFT_AV1: {
        const VAEncPictureParameterBufferAV1 *p = (const void *)buffer->data;
        context->coded = p->coded_buf;
        context->key = p->picture_flags.bits.frame_type == 0;
        qp = p->base_qindex / 4; /* libaom's own scale */
        break;
    }
    case SOFT_VP9: {
        const VAEncPictureParameterBufferVP9 *p = (const void *)buffer->data;
        context->coded = p->coded_buf;
        context->key = p->pic_flags.bits.frame_type == 0;
        qp = p->luma_ac_qindex / 4;
        break;
    }
    default: {
        const VAEncPictureParameterBufferH264 *p = (const void *)buffer->data;
        context->coded = p->coded_buf;
        context->key = p->pic_fields.bits.idr_pic_flag;
        qp = p->pic_init_qp;
    }
    }
    if (context->config.rate_control == VA_RC_CQP && !context->encoder)
        context->params.quality = qp;
}

static VAStatus picture_render(VADriverContextP driver, VAContextID id, VABufferID *buffers,
                               int count)
{
    (void)driver;
    struct va_object *context = va_object_find(VA_CONTEXT, id);
    if (!context)
        return VA_STATUS_ERROR_INVALID_CONTEXT;
    for (int i = 0; i < count; i++) {
        struct va_object *buffer = va_object_find(VA_BUFFER, buffers[i]);
        if (!buffer)
            return VA_STATUS_ERROR_INVALID_BUFFER;
        if (buffer->buffer.type == VAEncMiscParameterBufferType)
            misc_read(&context->context, &buffer->buffer);
        else if (buffer->buffer.type == VAEncPictureParameterBufferType)
            picture_read(&context->context, &buffer->buffer);
        else if (buffer->buffer.type == VAProcPipelineParameterBufferType)
            context->context.process = (void *)buffer->buffer.data;
    }
    return VA_STATUS_SUCCESS;
}

/* A picture that is not the one that came: what a broken device gives. */
static void picture_spoil(const struct va_picture *picture)
{
    for (int y = 0; y < picture->rows; y++)
        for (int x = 0; x < picture->pitch; x++)
            picture->data[(size_t)y * (size_t)picture->pitch + (size_t)x] ^= 0x7f;
}

static VAStatus encode(struct va_context *context, const struct va_picture *picture)
{
    struct va_object *coded = va_object_find(VA_BUFFER, context->coded);
    if (!coded)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    int spoilt = standin_picture(context->device, ENGINE_ENCODE);
    if (standin_lost(context->device) || context->losses != standin_losses(context->device))
        return VA_STATUS_LOST;
    if (spoilt == WRONG_PICTURE)
        picture_spoil(picture);
    int64_t from_ns = standin_now_ns();
    /* The first picture is the first to tell its true size; sequences are told in whole blocks. */
    if (!context->encoder) {
        context->params.width = picture->width;
        context->params.height = picture->height;
        context->encoder = soft_open(&context->params);
    }
    size_t luma = (size_t)picture->pitch * (size_t)picture->rows;
    const struct soft_picture in = {
        .layout = picture->fourcc == VA_FOURCC_P010 ? SOFT_P010 : SOFT_NV12,
        .planes = {picture->data, picture->data + luma},
        .stride_bytes = {(size_t)picture->pitch, (size_t)picture->pitch},
        .pts = context->pictures++,
        .force_key = context->key,
    };
    struct soft_packet out;
    if (!context->encoder || !soft_encode(context->encoder, &in, &out) ||
        out.bytes > coded->buffer.bytes)
        return VA_STATUS_ERROR_ENCODING_ERROR;
    standin_busy(context->device, standin_now_ns() - from_ns);
    memcpy(coded->buffer.data, out.data, out.bytes);
    for (size_t i = 8; spoilt == WRONG_GARBAGE && i < out.bytes; i++)
        coded->buffer.data[i] ^= 0x5a;
    coded->buffer.segment.size = spoilt == WRONG_DROP ? 0 : (uint32_t)out.bytes;
    return VA_STATUS_SUCCESS;
}

static void planes_of(const struct va_picture *picture, const VARectangle *region,
                      uint8_t *planes[4], int strides[4])
{
    size_t sample = picture->fourcc == VA_FOURCC_P010 ? 2 : 1;
    size_t x = region ? (size_t)region->x : 0, y = region ? (size_t)region->y : 0;
    size_t pitch = (size_t)picture->pitch;
    planes[0] = picture->data + y * pitch + x * sample;
    planes[1] = picture->data + ((size_t)picture->rows + y / 2) * pitch + x * sample;
    planes[2] = planes[3] = NULL;
    strides[0] = strides[1] = picture->pitch;
    strides[2] = strides[3] = 0;
}

static VAStatus scale(const VAProcPipelineParameterBuffer *how, const struct va_picture *to)
{
    struct va_object *from = va_object_find(VA_SURFACE, how->surface);
    if (!from)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    const VARectangle *in = how->surface_region, *out = how->output_region;
    const enum AVPixelFormat format[] = {AV_PIX_FMT_NV12, AV_PIX_FMT_P010LE};
    struct SwsContext *sws =
        sws_getContext(in ? in->width : from->surface.width, in ? in->height : from->surface.height,
                       format[from->surface.fourcc == VA_FOURCC_P010], out ? out->width : to->width,
                       out ? out->height : to->height, format[to->fourcc == VA_FOURCC_P010],
                       SWS_BICUBIC | SWS_ACCURATE_RND, NULL, NULL, NULL);
    if (!sws)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    uint8_t *a[4], *b[4];
    int a_strides[4], b_strides[4];
    planes_of(&from->surface, in, a, a_strides);
    planes_of(to, out, b, b_strides);
    sws_scale(sws, (const uint8_t *const *)a, a_strides, 0, in ? in->height : from->surface.height,
              b, b_strides);
    sws_freeContext(sws);
    return VA_STATUS_SUCCESS;
}

static VAStatus picture_end(VADriverContextP driver, VAContextID id)
{
    struct va_object *context = va_object_find(VA_CONTEXT, id);
    struct va_object *target = context ? va_object_find(VA_SURFACE, context->context.target) : NULL;
    if (!target)
        return context ? VA_STATUS_ERROR_INVALID_SURFACE : VA_STATUS_ERROR_INVALID_CONTEXT;
    if (context->context.config.entrypoint == VAEntrypointEncSlice)
        return encode(&context->context, &target->surface);
    if (standin_lost(va_device_of(driver)))
        return VA_STATUS_LOST;
    return context->context.process ? scale(context->context.process, &target->surface)
                                    : VA_STATUS_ERROR_INVALID_BUFFER;
}

static VAStatus process_filters(VADriverContextP driver, VAContextID id, VAProcFilterType *out,
                                unsigned *count)
{
    (void)driver, (void)id, (void)out;
    *count = 0;
    return VA_STATUS_SUCCESS;
}

static VAStatus process_filter_caps(VADriverContextP driver, VAContextID id, VAProcFilterType type,
                                    void *out, unsigned *count)
{
    (void)driver, (void)id, (void)type, (void)out, (void)count;
    return VA_STATUS_ERROR_UNSUPPORTED_FILTER;
}

static VAStatus process_caps(VADriverContextP driver, VAContextID id, VABufferID *filters,
                             unsigned count, VAProcPipelineCaps *out)
{
    (void)driver, (void)id, (void)filters, (void)count;
    static VAProcColorStandardType standards[] = {VAProcColorStandardBT601,
                                                  VAProcColorStandardBT709};
    *out = (VAProcPipelineCaps){
        .input_color_standards = standards,
        .num_input_color_standards = 2,
        .output_color_standards = standards,
        .num_output_color_standards = 2,
    };
    return VA_STATUS_SUCCESS;
}

/* ---- what libva wants to be there and nobody calls ---- */

static VAStatus absent(void)
{
    return VA_STATUS_ERROR_UNIMPLEMENTED;
}

static VAStatus subpictures_none(VADriverContextP driver, VAImageFormat *list, unsigned *flags,
                                 unsigned *count)
{
    (void)driver, (void)list, (void)flags;
    *count = 0;
    return VA_STATUS_SUCCESS;
}

static VAStatus display_attributes(VADriverContextP driver, VADisplayAttribute *list, int *count)
{
    (void)driver, (void)list;
    *count = 0;
    return VA_STATUS_SUCCESS;
}

static VAStatus terminate(VADriverContextP driver)
{
    (void)driver;
    return VA_STATUS_SUCCESS;
}

/* One body for many shapes: the arguments are not looked at. */
#define ABSENT(member) table->member = (__typeof__(table->member))(void *)absent

static void table_fill(struct VADriverVTable *table)
{
    va_surfaces_fill(table);
    table->vaTerminate = terminate;
    table->vaQueryConfigProfiles = profiles_query;
    table->vaQueryConfigEntrypoints = entrypoints_query;
    table->vaGetConfigAttributes = attributes_get;
    table->vaCreateConfig = config_create;
    table->vaDestroyConfig = config_destroy;
    table->vaQueryConfigAttributes = config_attributes;
    table->vaCreateContext = context_create;
    table->vaDestroyContext = context_destroy;
    table->vaBeginPicture = picture_begin;
    table->vaRenderPicture = picture_render;
    table->vaEndPicture = picture_end;
    table->vaQuerySubpictureFormats = subpictures_none;
    table->vaQueryDisplayAttributes = display_attributes;
    ABSENT(vaPutSurface);
    ABSENT(vaSetImagePalette);
    ABSENT(vaCreateSubpicture);
    ABSENT(vaDestroySubpicture);
    ABSENT(vaSetSubpictureImage);
    ABSENT(vaSetSubpictureChromakey);
    ABSENT(vaSetSubpictureGlobalAlpha);
    ABSENT(vaAssociateSubpicture);
    ABSENT(vaDeassociateSubpicture);
    ABSENT(vaGetDisplayAttributes);
    ABSENT(vaSetDisplayAttributes);
}

VAStatus __vaDriverInit_1_0(VADriverContextP driver)
{
    const char *name = driver->display_type == 0 ? driver->native_dpy : NULL;
    int device = 0;
    if (name && sscanf(name, "standin-va%d", &device) != 1)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    if (device < 0 || device >= STANDIN_DEVICES_MAX || !standin_start("vaapi"))
        return VA_STATUS_ERROR_OPERATION_FAILED;
    if (standin_fault(FAULT_CRASH_AT_INIT, device))
        raise(SIGSEGV);
    while (standin_fault(FAULT_HANG_AT_INIT, device))
        pause();
    if (standin_fault(FAULT_OLD_DRIVER, device))
        return VA_STATUS_ERROR_UNIMPLEMENTED;
    driver->pDriverData = (void *)(intptr_t)device;
    driver->version_major = 1;
    driver->version_minor = 0;
    driver->max_profiles = 16;
    driver->max_entrypoints = 4;
    driver->max_attributes = 32;
    driver->max_image_formats = 4;
    driver->max_subpic_formats = 1;
    driver->max_display_attributes = 1;
    driver->str_vendor = "sluice stand-in VA driver 1.0 for software encoders (" ENCODERS ")";
    table_fill(driver->vtable);
    driver->vtable_vpp->vaQueryVideoProcFilters = process_filters;
    driver->vtable_vpp->vaQueryVideoProcFilterCaps = process_filter_caps;
    driver->vtable_vpp->vaQueryVideoProcPipelineCaps = process_caps;
    return VA_STATUS_SUCCESS;
}
