/* The stand-in libnvcuvid's parser of streams. libavcodec has its own; bench/gpu_check_engines.c goes by this one, with H.264 of the
 * plainest kind: baseline, one slice a picture, one reference, pictures in their order. All else is refused. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/standin/cuvid_h264.h"

#define PARSER_MAGIC 0x6e767031u
#define BASELINE     66

struct parser {
    uint32_t magic;
    CUVIDPARSERPARAMS params;
    CUVIDPICPARAMS picture; /* what the parameter sets say of each */
    bool sequence, set;     /* have come */
    int surfaces;           /* that pictures go into, one after the other */
    int count;              /* pictures since the last IDR */
    int index;              /* of the latest picture */
};

static struct parser *parser_of(CUvideoparser handle)
{
    struct parser *parser = handle;
    return parser && parser->magic == PARSER_MAGIC ? parser : NULL;
}

STANDIN_EXPORT CUresult cuvidCreateVideoParser(CUvideoparser *out, CUVIDPARSERPARAMS *params)
{
    *out = NULL;
    if (!params->pfnSequenceCallback || !params->pfnDecodePicture || !params->pfnDisplayPicture)
        return CUDA_INVALID_VALUE;
    if (params->CodecType != cudaVideoCodec_H264)
        return CUDA_NOT_SUPPORTED;
    struct parser *parser = calloc(1, sizeof *parser);
    if (!parser)
        return CUDA_OUT_OF_MEMORY;
    parser->magic = PARSER_MAGIC;
    parser->params = *params;
    parser->surfaces = (int)params->ulMaxNumDecodeSurfaces;
    *out = parser;
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuvidDestroyVideoParser(CUvideoparser handle)
{
    struct parser *parser = parser_of(handle);
    if (!parser)
        return CUDA_INVALID_HANDLE;
    parser->magic = 0;
    free(parser);
    return CUDA_SUCCESS;
}

static CUresult sequence_read(struct parser *parser, struct cuvid_bits *bits)
{
    CUVIDPICPARAMS *p = &parser->picture;
    CUVIDH264PICPARAMS *h = &p->CodecSpecific.h264;
    uint32_t profile = cuvid_bits_get(bits, 8);
    cuvid_bits_get(bits, 16); /* constraints, level */
    cuvid_bits_ue(bits);      /* its number */
    h->log2_max_frame_num_minus4 = (int)cuvid_bits_ue(bits);
    h->pic_order_cnt_type = (int)cuvid_bits_ue(bits);
    h->num_ref_frames = (int)cuvid_bits_ue(bits);
    cuvid_bits_get(bits, 1);
    p->PicWidthInMbs = (int)cuvid_bits_ue(bits) + 1;
    p->FrameHeightInMbs = (int)cuvid_bits_ue(bits) + 1;
    h->frame_mbs_only_flag = (int)cuvid_bits_get(bits, 1);
    h->direct_8x8_inference_flag = (int)cuvid_bits_get(bits, 1);
    bool cropped = cuvid_bits_get(bits, 1);
    if (profile != BASELINE || h->log2_max_frame_num_minus4 > 12 || h->pic_order_cnt_type != 2 ||
        h->num_ref_frames != 1 || !h->frame_mbs_only_flag || cropped)
        return CUDA_NOT_SUPPORTED;
    memset(h->WeightScale4x4, 16, sizeof h->WeightScale4x4);
    memset(h->WeightScale8x8, 16, sizeof h->WeightScale8x8);
    if (parser->sequence)
        return CUDA_SUCCESS;
    unsigned width = (unsigned)p->PicWidthInMbs * 16, height = (unsigned)p->FrameHeightInMbs * 16;
    CUVIDEOFORMAT format = {
        .codec = cudaVideoCodec_H264,
        .progressive_sequence = 1,
        .min_num_decode_surfaces = 2,
        .coded_width = width,
        .coded_height = height,
        .display_area = {0, 0, (int)width, (int)height},
        .chroma_format = cudaVideoChromaFormat_420,
    };
    int answer = parser->params.pfnSequenceCallback(parser->params.pUserData, &format);
    if (answer > 1)
        parser->surfaces = answer;
    parser->sequence = answer > 0 && parser->surfaces > 1;
    return parser->sequence ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

static CUresult set_read(struct parser *parser, struct cuvid_bits *bits)
{
    CUVIDH264PICPARAMS *h = &parser->picture.CodecSpecific.h264;
    cuvid_bits_ue(bits); /* its number and the other's */
    cuvid_bits_ue(bits);
    h->entropy_coding_mode_flag = (int)cuvid_bits_get(bits, 1);
    h->pic_order_present_flag = (int)cuvid_bits_get(bits, 1);
    uint32_t groups = cuvid_bits_ue(bits);
    h->num_ref_idx_l0_active_minus1 = (int)cuvid_bits_ue(bits);
    h->num_ref_idx_l1_active_minus1 = (int)cuvid_bits_ue(bits);
    h->weighted_pred_flag = (int)cuvid_bits_get(bits, 1);
    h->weighted_bipred_idc = (int)cuvid_bits_get(bits, 2);
    h->pic_init_qp_minus26 = cuvid_bits_se(bits);
    cuvid_bits_se(bits);
    h->chroma_qp_index_offset = h->second_chroma_qp_index_offset = cuvid_bits_se(bits);
    h->deblocking_filter_control_present_flag = (int)cuvid_bits_get(bits, 1);
    h->constrained_intra_pred_flag = (int)cuvid_bits_get(bits, 1);
    h->redundant_pic_cnt_present_flag = (int)cuvid_bits_get(bits, 1);
    parser->set = !groups;
    return groups ? CUDA_NOT_SUPPORTED : CUDA_SUCCESS;
}

/* The one reference is the picture before. */
static CUresult slice_read(struct parser *parser, const uint8_t *start, const uint8_t *end,
                           struct cuvid_bits *bits, bool idr, bool refers)
{
    static const unsigned offset = 0;
    CUVIDPICPARAMS picture = parser->picture;
    CUVIDH264PICPARAMS *h = &picture.CodecSpecific.h264;
    uint32_t first = cuvid_bits_ue(bits);
    cuvid_bits_ue(bits);
    cuvid_bits_ue(bits);
    if (!parser->sequence || !parser->set || first || !refers || (!idr && !parser->count))
        return CUDA_NOT_SUPPORTED;
    h->frame_num = (int)cuvid_bits_get(bits, h->log2_max_frame_num_minus4 + 4);
    if (idr)
        parser->count = 0;
    for (int i = 0; i < 16; i++)
        h->dpb[i].PicIdx = -1;
    if (!idr)
        h->dpb[0] = (CUVIDH264DPBENTRY){
            .PicIdx = parser->index,
            .FrameIdx = (parser->count - 1) & ((16 << h->log2_max_frame_num_minus4) - 1),
            .used_for_reference = 3,
            .FieldOrderCnt = {2 * parser->count - 2, 2 * parser->count - 2}};
    h->CurrFieldOrderCnt[0] = h->CurrFieldOrderCnt[1] = 2 * parser->count;
    h->ref_pic_flag = picture.ref_pic_flag = 1;
    picture.intra_pic_flag = idr;
    picture.CurrPicIdx = parser->index = (parser->index + 1) % parser->surfaces;
    picture.pBitstreamData = start;
    picture.nBitstreamDataLen = (unsigned)(end - start);
    picture.nNumSlices = 1;
    picture.pSliceDataOffsets = &offset;
    parser->count++;
    CUVIDPARSERDISPINFO shown = {.picture_index = picture.CurrPicIdx, .progressive_frame = 1};
    return parser->params.pfnDecodePicture(parser->params.pUserData, &picture) > 0 &&
                   parser->params.pfnDisplayPicture(parser->params.pUserData, &shown) > 0
               ? CUDA_SUCCESS
               : CUDA_ERROR_UNKNOWN;
}

/* 00 00 01 from here on, or the end. */
static const uint8_t *start_find(const uint8_t *at, const uint8_t *end)
{
    for (; end - at >= 3; at++)
        if (!at[0] && !at[1] && at[2] == 1)
            return at;
    return end;
}

static CUresult unit_read(struct parser *parser, const uint8_t *start, const uint8_t *end)
{
    struct cuvid_bits bits = {.at = start + 4, .end = end};
    switch (start[3] & 31) {
    case 1:
    case 5:
        return slice_read(parser, start, end, &bits, (start[3] & 31) == 5, start[3] >> 5 & 3);
    case 7:
        return sequence_read(parser, &bits);
    case 8:
        return set_read(parser, &bits);
    default:
        return CUDA_SUCCESS;
    }
}

STANDIN_EXPORT CUresult cuvidParseVideoData(CUvideoparser handle, CUVIDSOURCEDATAPACKET *packet)
{
    struct parser *parser = parser_of(handle);
    if (!parser)
        return CUDA_INVALID_HANDLE;
    const uint8_t *end = packet->payload + packet->payload_size;
    CUresult rc = CUDA_SUCCESS;
    for (const uint8_t *at = packet->payload ? start_find(packet->payload, end) : end;
         rc == CUDA_SUCCESS && end - at > 4;) {
        const uint8_t *next = start_find(at + 3, end);
        rc = unit_read(parser, at, next);
        at = next;
    }
    if (packet->flags & CUVID_PKT_NOTIFY_EOS)
        parser->params.pfnDisplayPicture(parser->params.pUserData, NULL);
    return rc;
}
