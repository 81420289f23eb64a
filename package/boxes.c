#include "package/boxes.h"

#include <string.h>

size_t box_open(struct sl_buf *out, const char type[4])
{
    size_t at = out->length;
    box_u32(out, 0);
    sl_buf_append(out, type, 4);
    return at;
}

size_t box_open_full(struct sl_buf *out, const char type[4], uint8_t version, uint32_t flags)
{
    size_t at = box_open(out, type);
    box_u32(out, (uint32_t)version << 24 | flags);
    return at;
}

void box_close(struct sl_buf *out, size_t box)
{
    box_u32_at(out, box, (uint32_t)(out->length - box));
}

void box_u32(struct sl_buf *out, uint32_t value)
{
    uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                        (uint8_t)value};
    sl_buf_append(out, bytes, sizeof bytes);
}

void box_u64(struct sl_buf *out, uint64_t value)
{
    box_u32(out, (uint32_t)(value >> 32));
    box_u32(out, (uint32_t)value);
}

void box_u32_at(struct sl_buf *out, size_t at, uint32_t value)
{
    if (out->failed)
        return;
    for (int i = 0; i < 4; i++)
        out->data[at + (size_t)i] = (uint8_t)(value >> (24 - 8 * i));
}

uint32_t box_read_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

uint64_t box_read_u64(const uint8_t *at)
{
    return (uint64_t)box_read_u32(at) << 32 | box_read_u32(at + 4);
}

const uint8_t *box_find(const uint8_t *bytes, size_t length, const char type[4], size_t *box_bytes)
{
    for (size_t at = 0; length - at >= 8;) {
        size_t size = box_read_u32(bytes + at);
        if (size < 8 || size > length - at)
            return NULL;
        if (memcmp(bytes + at + 4, type, 4) == 0) {
            *box_bytes = size;
            return bytes + at;
        }
        at += size;
    }
    return NULL;
}
