#include "media/media_charset.h"

#include <stdint.h>
#include <string.h>

/* The character at at: its length, or 0 when it is not well-formed; *out is its code point. */
static size_t utf8_next(const unsigned char *at, size_t left, uint32_t *out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = *at < 0x80 ? 1 : *at >= 0xf0 ? 4 : *at >= 0xe0 ? 3 : *at >= 0xc2 ? 2 : 0;
    if (length == 0 || length > left || *at > 0xf4)
        return 0;
    uint32_t point = length == 1 ? *at : *at & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (at[i] & 0x3fu);
    }
    if (point < least[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
        return 0;
    *out = point;
    return length;
}

bool media_utf8_valid(const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    uint32_t point;
    while (length > 0) {
        size_t step = utf8_next(at, length, &point);
        if (step == 0)
            return false;
        at += step;
        length -= step;
    }
    return true;
}

static void utf8_put(struct sl_buf *out, uint32_t point)
{
    unsigned char bytes[4];
    size_t length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--, point >>= 6)
        bytes[i] = (unsigned char)(0x80 | (point & 0x3f));
    bytes[0] = (unsigned char)(heads[length] | point);
    sl_buf_append(out, bytes, length);
}

static int utf16_convert(const unsigned char *at, size_t length, bool little, struct sl_buf *out,
                         struct sl_failure *why)
{
    uint32_t high = 0;
    for (size_t i = 0; i + 1 < length; i += 2) {
        uint32_t unit =
            little ? at[i] | (uint32_t)at[i + 1] << 8 : at[i + 1] | (uint32_t)at[i] << 8;
        bool low = unit >= 0xdc00 && unit < 0xe000;
        if (low != (high != 0))
            return sl_fail(
                why, SL_EFORMAT,
                "the text begins as UTF-16 and is not well-formed at byte %zu: save it as "
                "UTF-8",
                i + 2);
        if (unit >= 0xd800 && unit < 0xdc00) {
            high = unit;
            continue;
        }
        utf8_put(out, low ? 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00) : unit);
        high = 0;
    }
    if (high || length % 2)
        return sl_fail(why, SL_EFORMAT, "the text begins as UTF-16 and ends within a character");
    return SL_OK;
}

/* Not by iconv: it loads its tables from files, and a worker has none. */
static int windows_convert(const unsigned char *at, size_t length, struct sl_buf *out,
                           struct sl_failure *why)
{
    static const uint16_t points[32] = {
        0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
        0x2039, 0x0152, 0,      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178,
    };
    for (size_t i = 0; i < length; i++) {
        uint32_t point = at[i] >= 0x80 && at[i] < 0xa0 ? points[at[i] - 0x80] : at[i];
        if (point == 0 && at[i])
            return sl_fail(
                why, SL_EFORMAT,
                "the text is neither UTF-8 nor UTF-16 with a mark, and byte %02x at place "
                "%zu is none of Latin-1: save it as UTF-8",
                (unsigned)at[i], i);
        utf8_put(out, point);
    }
    return SL_OK;
}

static int controls_refuse(const unsigned char *at, size_t length, struct sl_failure *why)
{
    for (size_t i = 0; i < length; i++)
        if ((at[i] < 0x20 && at[i] != '\t' && at[i] != '\n' && at[i] != '\r' && at[i] != '\f' &&
             at[i] != 0x1a) ||
            at[i] == 0x7f)
            return sl_fail(why, SL_EFORMAT,
                           "the file is no text: byte %02x stands at place %zu of it",
                           (unsigned)at[i], i);
    return SL_OK;
}

int media_utf8_make(const void *bytes, size_t length, struct sl_buf *out, struct sl_failure *why)
{
    const unsigned char *at = bytes;
    size_t begun = out->length;
    int code = SL_OK;
    if (length >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0) {
        at += 3;
        length -= 3;
        if (!media_utf8_valid(at, length))
            return sl_fail(why, SL_EFORMAT,
                           "the text begins as UTF-8 and is not well-formed: save it as UTF-8");
        sl_buf_append(out, at, length);
    } else if (length >= 2 && (memcmp(at, "\xff\xfe", 2) == 0 || memcmp(at, "\xfe\xff", 2) == 0)) {
        code = utf16_convert(at + 2, length - 2, at[0] == 0xff, out, why);
    } else if (media_utf8_valid(at, length)) {
        sl_buf_append(out, at, length);
    } else {
        code = windows_convert(at, length, out, why);
    }
    if (code == SL_OK && out->failed)
        code = sl_fail(why, SL_ENOMEM, "no memory for %zu bytes of text", length);
    if (code == SL_OK)
        code = controls_refuse(out->data + begun, out->length - begun, why);
    return code;
}
