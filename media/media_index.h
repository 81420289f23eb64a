/* media/media_index.h: packets of a video stream, collected while they pass and settled into an index.
 *
 * A row is a presented frame. Packets that show nothing (hidden by an edit list, alternate references of VP8 and VP9, in
 * front of the first keyframe of H.264 and H.265) are none. Times must grow: a clock that jumps back is refused,
 * as is a picture that would stand still for longer than MEDIA_GAP_MAX_NS.
 *
 * Owns:    the rows until fini; the index lives in the arena.
 * Errors:  SL_EUNSUPPORTED with the place of the jump, SL_ETOOBIG, SL_EDECODE, SL_ENOMEM.
 * Threads: one.
 */
#ifndef SL_MEDIA_MEDIA_INDEX_H
#define SL_MEDIA_MEDIA_INDEX_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/time.h"
#include "model/media_types.h"

/* A slide may be shown for long; an hour without a new frame is taken for a broken clock. */
#define MEDIA_GAP_MAX_NS SL_S_TO_NS(3600)

struct media_row {
    int64_t pts;
    int64_t byte_offset;
    int64_t duration;
    int32_t byte_length;
    uint8_t key;
};

struct media_rows {
    const AVStream *stream;
    struct media_row *row;
    size_t count, capacity;
    size_t packets;        /* that may be frames, with a time or without */
    size_t without_time;   /* of these, without a usable pts */
    int64_t first_key_pts; /* in coding order, hidden packets included */
    int64_t tail_duration; /* of the last packet in coding order */
    int64_t last_dts;
    int64_t most_pts;
    int64_t bytes;
    struct sl_failure clock; /* where it jumped back first */
    /* Fields, by the headers of H.264, MPEG-2 and VC-1. */
    AVCodecParserContext *parser;
    AVCodecContext *parser_codec;
    bool interlaced;
    bool top_field_first;
};

int media_rows_init(struct media_rows *rows, const AVStream *stream, struct sl_failure *why);
void media_rows_fini(struct media_rows *rows);
int media_rows_note(struct media_rows *rows, const AVPacket *packet, struct sl_failure *why);
/* A frame that a decoder gave, for sources whose packets have no times. */
int media_rows_note_frame(struct media_rows *rows, int64_t pts, struct sl_failure *why);
/* Sorts and checks. SL_EDECODE when nothing is left. */
int media_rows_settle(struct media_rows *rows, struct sl_failure *why);
int media_index_fill(const struct media_rows *rows, struct sl_arena *arena,
                     struct media_index *index, struct sl_failure *why);

#endif
