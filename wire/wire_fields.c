#include "wire/wire_fields.h"

#include <string.h>

int wire_fail(struct wire_decoder *d, const char *member, const char *what)
{
    d->code = sl_fail(d->why, SL_EPROTO, "unreadable message: %s: %s", member, what);
    return d->code;
}

int wire_no_memory(struct wire_decoder *d)
{
    d->code = sl_fail(d->why, SL_ENOMEM, "not enough memory to decode a message");
    return d->code;
}

int wire_text_get(struct wire_decoder *d, const char *member, const char *text, char *out,
                  size_t out_bytes)
{
    size_t length = text ? strlen(text) : 0;
    if (length >= out_bytes)
        return wire_fail(d, member, "the text is too long");
    if (length)
        memcpy(out, text, length);
    out[length] = '\0';
    return SL_OK;
}

int wire_count_get(struct wire_decoder *d, const char *member, size_t count, size_t max,
                   int32_t *out)
{
    if (count > max)
        return wire_fail(d, member, "more elements than allowed");
    *out = (int32_t)count;
    return SL_OK;
}

static void *scratch_alloc(void *arg, size_t bytes)
{
    return sl_arena_alloc(arg, bytes);
}

static void scratch_free(void *arg, void *at)
{
    (void)arg;
    (void)at; /* the arena gives everything back at once */
}

void *wire_unpack(struct wire_decoder *d, const ProtobufCMessageDescriptor *type, const char *what,
                  const void *bytes, size_t length)
{
    static const unsigned char nothing[1];
    d->scratch.limit_bytes = WIRE_SCRATCH_BYTES + length * WIRE_SCRATCH_FACTOR;
    ProtobufCAllocator allocator = {scratch_alloc, scratch_free, &d->scratch};
    void *message = protobuf_c_message_unpack(type, &allocator, length, bytes ? bytes : nothing);
    if (!message)
        d->code = sl_fail(d->why, SL_EPROTO, "these %zu bytes are no %s", length, what);
    return message;
}

void wire_decoder_fini(struct wire_decoder *d)
{
    sl_arena_fini(&d->scratch);
}

int wire_pack(const ProtobufCMessage *message, size_t max, struct sl_buf *out)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > max)
        return SL_ELIMIT;
    uint8_t *at = sl_buf_reserve(out, size);
    if (!at)
        return SL_ENOMEM;
    out->length += protobuf_c_message_pack(message, at);
    out->data[out->length] = '\0';
    return SL_OK;
}

void *wire_repeated(struct sl_arena *arena, size_t count, size_t element_bytes, void **first)
{
    void **pointers = sl_arena_array(arena, count, sizeof *pointers);
    unsigned char *elements = sl_arena_array(arena, count, element_bytes);
    if (!pointers || !elements)
        return NULL;
    for (size_t i = 0; i < count; i++)
        pointers[i] = elements + i * element_bytes;
    *first = elements;
    return pointers;
}
