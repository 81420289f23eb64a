#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *sl_buf_reserve(struct sl_buf *buf, size_t more)
{
    if (buf->failed)
        return NULL;
    if (more > SIZE_MAX / 2 - buf->length) {
        buf->failed = true;
        return NULL;
    }
    size_t need = buf->length + more + 1;
    if (need > buf->capacity) {
        size_t capacity = buf->capacity ? buf->capacity : 256;
        while (capacity < need)
            capacity *= 2;
        unsigned char *data = realloc(buf->data, capacity);
        if (!data) {
            buf->failed = true;
            return NULL;
        }
        buf->data = data;
        buf->capacity = capacity;
    }
    return buf->data + buf->length;
}

void sl_buf_append(struct sl_buf *buf, const void *bytes, size_t length)
{
    unsigned char *at = sl_buf_reserve(buf, length);
    if (!at)
        return;
    if (length)
        memcpy(at, bytes, length);
    buf->length += length;
    buf->data[buf->length] = '\0';
}

void sl_buf_text(struct sl_buf *buf, const char *text)
{
    sl_buf_append(buf, text, strlen(text));
}

void sl_buf_printf(struct sl_buf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (length < 0) {
        buf->failed = true;
        return;
    }
    char *at = sl_buf_reserve(buf, (size_t)length);
    if (!at)
        return;
    va_start(args, fmt);
    vsnprintf(at, (size_t)length + 1, fmt, args);
    va_end(args);
    buf->length += (size_t)length;
}

/* The length of the well-formed UTF-8 sequence at s, or 0. Overlong forms and surrogates are
 * not well-formed (RFC 3629, section 4). */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    unsigned char lead = s[0];
    if (lead < 0x80)
        return 1;
    size_t length;
    unsigned char low = 0x80, high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) {
        length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        length = 3;
        if (lead == 0xe0)
            low = 0xa0;
        if (lead == 0xed)
            high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        length = 4;
        if (lead == 0xf0)
            low = 0x90;
        if (lead == 0xf4)
            high = 0x8f;
    } else {
        return 0;
    }
    if (left < length || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    return length;
}

void sl_buf_json_string(struct sl_buf *buf, const char *text, size_t length)
{
    const unsigned char *s = (const unsigned char *)text;
    sl_buf_text(buf, "\"");
    for (size_t i = 0; i < length;) {
        size_t step = utf8_length(s + i, length - i);
        if (step == 0) {
            sl_buf_text(buf, "\xef\xbf\xbd");
            i++;
        } else if (step > 1) {
            sl_buf_append(buf, s + i, step);
            i += step;
        } else {
            unsigned char c = s[i++];
            if (c == '"' || c == '\\')
                sl_buf_printf(buf, "\\%c", c);
            else if (c == '\n')
                sl_buf_text(buf, "\\n");
            else if (c < 0x20 || c == 0x7f)
                sl_buf_printf(buf, "\\u%04x", c);
            else
                sl_buf_append(buf, &c, 1);
        }
    }
    sl_buf_text(buf, "\"");
}

void sl_buf_reset(struct sl_buf *buf)
{
    buf->length = 0;
    buf->failed = false;
    if (buf->data)
        buf->data[0] = '\0';
}

void sl_buf_fini(struct sl_buf *buf)
{
    free(buf->data);
    *buf = (struct sl_buf){0};
}
