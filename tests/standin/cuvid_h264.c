#include "tests/standin/cuvid_h264.h"

#include <stdlib.h>
#include <string.h>

#define PROFILE_HIGH     100
#define PROFILE_LOSSLESS 244
#define LEVEL            52
#define SLICE_SETS_MAX   256 /* numbers of picture parameter sets */

/* ---- writing ---- */

static void raw_put(struct cuvid_h264 *s, const uint8_t *bytes, size_t count)
{
    if (s->length + count > s->room) {
        size_t room = 2 * s->room + count + 1024;
        uint8_t *more = realloc(s->bytes, room);
        s->failed |= !more;
        if (!more)
            return;
        s->bytes = more;
        s->room = room;
    }
    memcpy(s->bytes + s->length, bytes, count);
    s->length += count;
}

static void byte_put(struct cuvid_h264 *s, uint8_t byte)
{
    static const uint8_t escape = 3;
    if (s->zeros >= 2 && byte <= 3) {
        raw_put(s, &escape, 1);
        s->zeros = 0;
    }
    raw_put(s, &byte, 1);
    s->zeros = byte ? 0 : s->zeros + 1;
}

static void put(struct cuvid_h264 *s, uint32_t value, int count)
{
    while (count-- > 0) {
        s->part = s->part << 1 | (value >> count & 1);
        if (++s->count == 8) {
            byte_put(s, (uint8_t)s->part);
            s->part = 0;
            s->count = 0;
        }
    }
}

/* Exp-Golomb; without and with a sign. */
static void put_ue(struct cuvid_h264 *s, uint32_t value)
{
    int length = 0;
    while ((value + 1) >> (length + 1))
        length++;
    put(s, 0, length);
    put(s, value + 1, length + 1);
}

static void put_se(struct cuvid_h264 *s, int value)
{
    put_ue(s, value > 0 ? 2 * (uint32_t)value - 1 : 2 * (uint32_t)-value);
}

static void unit_begin(struct cuvid_h264 *s, uint8_t type)
{
    static const uint8_t start[] = {0, 0, 0, 1};
    raw_put(s, start, sizeof start);
    raw_put(s, &type, 1);
    s->zeros = 0;
}

static void unit_end(struct cuvid_h264 *s)
{
    put(s, 1, 1);
    while (s->count)
        put(s, 0, 1);
}

/* ---- parameter sets ---- */

static void sequence_put(struct cuvid_h264 *s, const CUVIDPICPARAMS *p)
{
    const CUVIDH264PICPARAMS *h = &p->CodecSpecific.h264;
    bool lossless = h->qpprime_y_zero_transform_bypass_flag;
    unit_begin(s, 0x67);
    put(s, lossless ? PROFILE_LOSSLESS : PROFILE_HIGH, 8);
    put(s, 0, 8);
    put(s, LEVEL, 8);
    put_ue(s, 0); /* its number */
    put_ue(s, 1); /* 4:2:0 */
    put_ue(s, h->bit_depth_luma_minus8);
    put_ue(s, h->bit_depth_chroma_minus8);
    put(s, lossless, 1);
    put(s, 0, 1); /* scaling lists are in the other set */
    put_ue(s, (uint32_t)h->log2_max_frame_num_minus4);
    put_ue(s, (uint32_t)h->pic_order_cnt_type);
    if (h->pic_order_cnt_type == 0)
        put_ue(s, (uint32_t)h->log2_max_pic_order_cnt_lsb_minus4);
    put_ue(s, (uint32_t)h->num_ref_frames);
    put(s, 1, 1); /* frame numbers may have gaps */
    put_ue(s, (uint32_t)p->PicWidthInMbs - 1);
    put_ue(s, (uint32_t)(p->FrameHeightInMbs / (h->frame_mbs_only_flag ? 1 : 2)) - 1);
    put(s, h->frame_mbs_only_flag != 0, 1);
    if (!h->frame_mbs_only_flag)
        put(s, h->MbaffFrameFlag != 0, 1);
    put(s, h->direct_8x8_inference_flag != 0, 1);
    put(s, 0, 1); /* no crop */
    put(s, 0, 1); /* no usability information */
    unit_end(s);
}

static const uint8_t zigzag4[16] = {0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15};
static const uint8_t zigzag8[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,
                                    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
                                    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
                                    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

static void list_put(struct cuvid_h264 *s, const uint8_t *list, const uint8_t *order, int count)
{
    int last = 8;
    put(s, 1, 1);
    for (int i = 0; i < count; i++) {
        int delta = list[order[i]] - last;
        put_se(s, delta > 127 ? delta - 256 : (delta < -128 ? delta + 256 : delta));
        last = list[order[i]];
    }
}

static bool lists_flat(const CUVIDH264PICPARAMS *h)
{
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 16; j++)
            if (h->WeightScale4x4[i][j] != 16)
                return false;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 64; j++)
            if (h->WeightScale8x8[i][j] != 16)
                return false;
    return true;
}

static void picture_put(struct cuvid_h264 *s, const CUVIDH264PICPARAMS *h, uint32_t number)
{
    bool flat = lists_flat(h);
    unit_begin(s, 0x68);
    put_ue(s, number);
    put_ue(s, 0);
    put(s, h->entropy_coding_mode_flag != 0, 1);
    put(s, h->pic_order_present_flag != 0, 1);
    put_ue(s, 0); /* one slice group */
    put_ue(s, (uint32_t)h->num_ref_idx_l0_active_minus1);
    put_ue(s, (uint32_t)h->num_ref_idx_l1_active_minus1);
    put(s, h->weighted_pred_flag != 0, 1);
    put(s, (uint32_t)h->weighted_bipred_idc, 2);
    put_se(s, h->pic_init_qp_minus26);
    put_se(s, 0);
    put_se(s, h->chroma_qp_index_offset);
    put(s, h->deblocking_filter_control_present_flag != 0, 1);
    put(s, h->constrained_intra_pred_flag != 0, 1);
    put(s, h->redundant_pic_cnt_present_flag != 0, 1);
    put(s, h->transform_8x8_mode_flag != 0, 1);
    put(s, !flat, 1);
    for (int i = 0; !flat && i < 6; i++)
        list_put(s, h->WeightScale4x4[i], zigzag4, 16);
    for (int i = 0; !flat && h->transform_8x8_mode_flag && i < 2; i++)
        list_put(s, h->WeightScale8x8[i], zigzag8, 64);
    put_se(s, h->second_chroma_qp_index_offset);
    unit_end(s);
}

/* ---- slices ---- */

static unsigned bit_get(struct cuvid_bits *r)
{
    if (r->left == 0) {
        if (r->zeros >= 2 && r->at < r->end && *r->at == 3) {
            r->at++;
            r->zeros = 0;
        }
        r->byte = r->at < r->end ? *r->at++ : 0x80;
        r->zeros = r->byte ? 0 : r->zeros + 1;
        r->left = 8;
    }
    return r->byte >> --r->left & 1;
}

uint32_t cuvid_bits_get(struct cuvid_bits *bits, int count)
{
    uint32_t value = 0;
    while (count-- > 0)
        value = value << 1 | bit_get(bits);
    return value;
}

uint32_t cuvid_bits_ue(struct cuvid_bits *bits)
{
    int length = 0;
    while (length < 31 && !bit_get(bits))
        length++;
    return cuvid_bits_get(bits, length) + (UINT32_C(1) << length) - 1;
}

int cuvid_bits_se(struct cuvid_bits *bits)
{
    uint32_t value = cuvid_bits_ue(bits);
    return value & 1 ? (int)(value / 2 + 1) : -(int)(value / 2);
}

/* Which set a slice is made with: behind its first macroblock and its type. */
static uint32_t slice_set(const uint8_t *slice, const uint8_t *end)
{
    struct cuvid_bits bits = {.at = slice + 4, .end = end}; /* start code and unit's head */
    cuvid_bits_ue(&bits);
    cuvid_bits_ue(&bits);
    return cuvid_bits_ue(&bits);
}

bool cuvid_h264_make(struct cuvid_h264 *s, const CUVIDPICPARAMS *p)
{
    const CUVIDH264PICPARAMS *h = &p->CodecSpecific.h264;
    bool done[SLICE_SETS_MAX] = {false};
    s->length = 0;
    if (p->field_pic_flag || h->pic_order_cnt_type == 1 || h->num_slice_groups_minus1 ||
        h->fmo_aso_enable || p->PicWidthInMbs < 1 || p->FrameHeightInMbs < 1)
        return false;
    sequence_put(s, p);
    for (unsigned i = 0; i < p->nNumSlices; i++) {
        if (p->pSliceDataOffsets[i] + 5 > p->nBitstreamDataLen)
            return false;
        uint32_t set = slice_set(p->pBitstreamData + p->pSliceDataOffsets[i],
                                 p->pBitstreamData + p->nBitstreamDataLen);
        if (set >= SLICE_SETS_MAX)
            return false;
        if (!done[set])
            picture_put(s, h, set);
        done[set] = true;
    }
    raw_put(s, p->pBitstreamData, p->nBitstreamDataLen);
    return !s->failed;
}

bool cuvid_h264_begins(const CUVIDPICPARAMS *p)
{
    const CUVIDH264PICPARAMS *h = &p->CodecSpecific.h264;
    for (int i = 0; i < 16; i++)
        if (h->dpb[i].PicIdx >= 0 && h->dpb[i].used_for_reference)
            return false;
    return true;
}

void cuvid_h264_free(struct cuvid_h264 *s)
{
    free(s->bytes);
    *s = (struct cuvid_h264){0};
}
