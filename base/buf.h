/* base/buf.h: a growing run of bytes.
 *
 * Owns:    data; freed by sl_buf_fini. Zero-initialised is empty.
 * Errors:  an append that finds no memory marks the buffer failed and later appends do nothing, so
 *          that a writer checks once at its end.
 * Threads: one thread per buffer.
 */
#ifndef SL_BASE_BUF_H
#define SL_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sl_buf {
    unsigned char *data; /* NUL follows the last byte once anything was appended */
    size_t length;       /* bytes */
    size_t capacity;     /* bytes */
    bool failed;
};

void sl_buf_append(struct sl_buf *buf, const void *bytes, size_t length);
void sl_buf_text(struct sl_buf *buf, const char *text);
void sl_buf_printf(struct sl_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Appends text as a JSON string with its quotes: control bytes escaped, bytes that are no UTF-8
 * replaced by U+FFFD, so that a hostile name stays one value on one line. */
void sl_buf_json_string(struct sl_buf *buf, const char *text, size_t length);

/* Room for more bytes at data + length, or NULL (then failed). */
void *sl_buf_reserve(struct sl_buf *buf, size_t more);

/* Empties and keeps the memory. */
void sl_buf_reset(struct sl_buf *buf);
void sl_buf_fini(struct sl_buf *buf);

#endif
