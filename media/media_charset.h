/* media/media_charset.h: text of unknown coding to UTF-8.
 *
 * In this order: a byte order mark decides (UTF-8, UTF-16); what reads as UTF-8 is that; all else is taken for
 * Windows-1252, of which Latin-1 is a part. What has zero bytes or control characters then is no text.
 *
 * Errors:  SL_EFORMAT with what was found; SL_ENOMEM.
 * Threads: any.
 */
#ifndef SL_MEDIA_MEDIA_CHARSET_H
#define SL_MEDIA_MEDIA_CHARSET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

/* Well-formed (RFC 3629): no overlong forms, no surrogates. */
bool media_utf8_valid(const void *bytes, size_t length);

/* Appends. */
int media_utf8_make(const void *bytes, size_t length, struct sl_buf *out, struct sl_failure *why);

#endif
