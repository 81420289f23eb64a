/* package/boxes.h: writing and finding ISO base media boxes (ISO/IEC 14496-12).
 *
 * Owns:    nothing; everything goes to the caller's buffer, whose failed mark tells of lost memory.
 * Threads: any.
 */
#ifndef SL_PACKAGE_BOXES_H
#define SL_PACKAGE_BOXES_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Starts a box; what it returns goes to box_close, which fills in the size. */
size_t box_open(struct sl_buf *out, const char type[4]);
size_t box_open_full(struct sl_buf *out, const char type[4], uint8_t version, uint32_t flags);
void box_close(struct sl_buf *out, size_t box);

void box_u32(struct sl_buf *out, uint32_t value);
void box_u64(struct sl_buf *out, uint64_t value);
/* Overwrites what box_u32 wrote at this place. */
void box_u32_at(struct sl_buf *out, size_t at, uint32_t value);

uint32_t box_read_u32(const uint8_t *at);
uint64_t box_read_u64(const uint8_t *at);

/* The first box of a type among those that lie one after another in bytes, its header included;
 * NULL when there is none or the sizes lead outside. */
const uint8_t *box_find(const uint8_t *bytes, size_t length, const char type[4], size_t *box_bytes);

#endif
