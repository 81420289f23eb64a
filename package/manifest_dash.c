/* Segments are named by a template of their number: the names without tokens, which the daemon gives the committed
 * segments beside those with tokens when it publishes. A list of names would need no second name, but dash.js plays
 * no list with a time line. Times count from the plan's zero, after the edit list, so presentationTimeOffset is 0. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "package/manifest_common.h"

static void xml_put(struct sl_buf *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c == '&')
            sl_buf_text(out, "&amp;");
        else if (*c == '<')
            sl_buf_text(out, "&lt;");
        else if (*c == '>')
            sl_buf_text(out, "&gt;");
        else if (*c == '"')
            sl_buf_text(out, "&quot;");
        else if ((unsigned char)*c < 0x20 || *c == 0x7f)
            sl_buf_text(out, "_");
        else
            sl_buf_append(out, c, 1);
    }
}

/* Seconds in ISO 8601, rounded up to milliseconds: no player stops before the last frame. */
static void duration_put(struct sl_buf *out, const char *name, int64_t us)
{
    int64_t ms = (us + 999) / 1000;
    sl_buf_printf(out, " %s=\"PT%" PRId64 ".%03" PRId64 "S\"", name, ms / 1000, ms % 1000);
}

static void id_put(struct sl_buf *out, const struct published_rendition *r)
{
    sl_buf_printf(out, "%s-", r->audio ? audio_codec_word(r->audio_codec) : codec_word(r->codec));
    for (const char *c = r->name; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                     (*c >= '0' && *c <= '9') || *c == '-' || *c == '.';
        sl_buf_append(out, plain ? c : "_", 1);
    }
}

static void timeline_put(struct sl_buf *out, const struct published_rendition *r)
{
    sl_buf_text(out, "          <SegmentTimeline>\n");
    for (int32_t i = 0; i < r->segment_count;) {
        int64_t start = manifest_start_ticks(&r->segments[i]);
        int64_t duration = r->segments[i].end_ticks - start;
        int32_t more = 0;
        while (i + more + 1 < r->segment_count &&
               r->segments[i + more + 1].end_ticks - r->segments[i + more + 1].start_ticks ==
                   duration)
            more++;
        sl_buf_printf(out, "            <S t=\"%" PRId64 "\" d=\"%" PRId64 "\"", start, duration);
        if (more)
            sl_buf_printf(out, " r=\"%d\"", more);
        sl_buf_text(out, "/>\n");
        i += more + 1;
    }
    sl_buf_text(out, "          </SegmentTimeline>\n");
}

/* Where the folder of a key ends. */
static int folder_length(const char *key)
{
    const char *last = strrchr(key, '/');
    return last ? (int)(last + 1 - key) : 0;
}

/* "h264/360p/$Number%06d$.m4s" of "h264/360p/000000.t57.m4s". */
static void template_put(struct sl_buf *out, const char *key)
{
    char folder[JOB_NAME_BYTES];
    snprintf(folder, sizeof folder, "%.*s", folder_length(key), key);
    manifest_uri_put(out, "", folder);
    sl_buf_text(out, "$Number%06d$.m4s");
}

static int names_check(const struct published_rendition *r, struct sl_failure *why)
{
    for (int32_t i = 0; i < r->segment_count; i++) {
        const char *key = r->segments[i].key;
        char head[JOB_NAME_BYTES + 16];
        int length = snprintf(head, sizeof head, "%.*s%06d.t", folder_length(r->segments[0].key),
                              r->segments[0].key, i);
        const char *token = strncmp(key, head, (size_t)length) == 0 ? key + length : "";
        size_t digits = strspn(token, "0123456789");
        if (digits == 0 || strcmp(token + digits, ".m4s") != 0)
            return sl_fail(why, SL_EMISMATCH, "segment %d of %s is not named by its number: %s", i,
                           r->name, key);
    }
    return SL_OK;
}

static void representation_put(struct sl_buf *out, const struct published_set *set,
                               const struct published_rendition *r)
{
    int64_t peak, average;
    manifest_bandwidth(r, &peak, &average);
    sl_buf_text(out, "      <Representation id=\"");
    id_put(out, r);
    sl_buf_printf(out, "\" bandwidth=\"%" PRId64 "\" codecs=\"", peak);
    xml_put(out, r->codecs);
    sl_buf_text(out, "\"");
    if (r->audio) {
        sl_buf_printf(out, " audioSamplingRate=\"%d\">\n", r->sample_rate_hz);
        sl_buf_printf(out,
                      "        <AudioChannelConfiguration schemeIdUri=\"urn:mpeg:dash:23003:3:"
                      "audio_channel_configuration:2011\" value=\"%d\"/>\n",
                      r->channels);
    } else {
        sl_buf_printf(out, " width=\"%d\" height=\"%d\" sar=\"1:1\"", r->width, r->height);
        if (set->frame_rate.num > 0 && set->frame_rate.den > 0)
            sl_buf_printf(out, " frameRate=\"%d/%d\"", set->frame_rate.num, set->frame_rate.den);
        sl_buf_text(out, ">\n");
    }
    sl_buf_printf(out,
                  "        <SegmentTemplate timescale=\"%d\" presentationTimeOffset=\"0\" "
                  "startNumber=\"0\" initialization=\"",
                  r->timescale);
    manifest_uri_put(out, "", r->init_key);
    sl_buf_text(out, "\" media=\"");
    template_put(out, r->segments[0].key);
    sl_buf_text(out, "\">\n");
    timeline_put(out, r);
    sl_buf_text(out, "        </SegmentTemplate>\n      </Representation>\n");
}

static bool switchable(const struct published_rendition *a, const struct published_rendition *b)
{
    if (a->audio != b->audio)
        return false;
    return a->audio ? a->audio_codec == b->audio_codec && a->track == b->track &&
                          a->channels == b->channels
                    : a->codec == b->codec && a->color_transfer == b->color_transfer;
}

/* HDR says so in a property that a player has to know (ISO/IEC 23001-8; DASH-IF IOP, part 7): one that does not leaves
 * the set alone and plays another. */
static void range_put(struct sl_buf *out, const struct published_rendition *r)
{
    const struct {
        const char *name;
        int32_t value;
    } properties[] = {{"ColourPrimaries", r->color_primaries},
                      {"TransferCharacteristics", r->color_transfer},
                      {"MatrixCoefficients", r->color_matrix}};
    if (r->color_transfer != 16 && r->color_transfer != 18) /* PQ, HLG */
        return;
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++)
        sl_buf_printf(out,
                      "      <EssentialProperty schemeIdUri=\"urn:mpeg:mpegB:cicp:%s\" "
                      "value=\"%d\"/>\n",
                      properties[i].name, properties[i].value);
}

/* What a person and a player choose a track by. */
static void track_put(struct sl_buf *out, const struct published_set *set,
                      const struct published_rendition *r)
{
    const char *main_language = r->language;
    for (int32_t i = 0; i < set->rendition_count; i++)
        if (set->renditions[i].audio && set->renditions[i].track == 0)
            main_language = set->renditions[i].language;
    const char *role = r->track == 0                             ? "main"
                       : r->role == AUDIO_ROLE_COMMENTARY        ? "commentary"
                       : r->role == AUDIO_ROLE_DESCRIPTION       ? "description"
                       : strcmp(r->language, main_language) != 0 ? "dub"
                                                                 : "alternate";
    if (r->label[0]) {
        sl_buf_text(out, "      <Label>");
        xml_put(out, r->label);
        sl_buf_text(out, "</Label>\n");
    }
    if (r->role == AUDIO_ROLE_DESCRIPTION)
        sl_buf_text(out, "      <Accessibility "
                         "schemeIdUri=\"urn:tva:metadata:cs:AudioPurposeCS:2007\" value=\"1\"/>\n");
    sl_buf_printf(out, "      <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"%s\"/>\n",
                  role);
}

/* One file for the whole track: what every player of DASH reads. */
static void text_put(struct sl_buf *out, const struct published_set *set, int32_t at, int32_t id)
{
    const struct published_text *text = &set->texts[at];
    char label[MANIFEST_LABEL_BYTES];
    int64_t us = manifest_ticks_us(set->duration_ticks, set->timescale);
    int64_t rate = us > 0 ? sl_muldiv_i64(text->whole_bytes, 8000000, us) : 0;
    manifest_text_label(set, at, label);
    sl_buf_printf(
        out, "    <AdaptationSet id=\"%d\" contentType=\"text\" mimeType=\"text/vtt\" lang=\"", id);
    xml_put(out, manifest_language(text->language));
    sl_buf_text(out, "\">\n      <Label>");
    xml_put(out, label);
    sl_buf_printf(out,
                  "</Label>\n      <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"%s\"/>\n",
                  text->forced     ? "forced-subtitle"
                  : text->impaired ? "caption"
                                   : "subtitle");
    if (text->is_default)
        sl_buf_text(out, "      <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>\n");
    sl_buf_printf(out, "      <Representation id=\"text-%d\" bandwidth=\"%" PRId64 "\">\n", at,
                  rate > 0 ? rate : 1);
    sl_buf_text(out, "        <BaseURL>");
    manifest_uri_put(out, "", text->whole_key);
    sl_buf_text(out, "</BaseURL>\n      </Representation>\n    </AdaptationSet>\n");
}

int manifest_dash(const struct published_set *set, struct sl_buf *out, struct sl_failure *why)
{
    int rc = manifest_set_check(set, why);
    if (rc < 0)
        return rc;
    int64_t end_us = 0, longest_us = 0;
    for (int32_t i = 0; i < set->rendition_count; i++) {
        const struct published_rendition *r = &set->renditions[i];
        if ((rc = names_check(r, why)) < 0)
            return rc;
        int64_t us = manifest_ticks_us(r->segments[r->segment_count - 1].end_ticks, r->timescale);
        end_us = us > end_us ? us : end_us;
        us = manifest_longest_us(r);
        longest_us = us > longest_us ? us : longest_us;
    }
    sl_buf_text(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                     "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" "
                     "profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" type=\"static\"");
    duration_put(out, "mediaPresentationDuration", end_us);
    duration_put(out, "maxSegmentDuration", longest_us);
    duration_put(out, "minBufferTime", longest_us);
    sl_buf_text(out, ">\n  <Period id=\"0\" start=\"PT0S\">\n");
    /* Players switch inside an adaptation set: one for each video codec, one for each codec and channels of a track. */
    int32_t id = 0;
    for (int32_t i = 0; i < set->rendition_count;) {
        const struct published_rendition *r = &set->renditions[i];
        sl_buf_printf(out,
                      "    <AdaptationSet id=\"%d\" contentType=\"%s\" mimeType=\"%s/mp4\" "
                      "segmentAlignment=\"true\" startWithSAP=\"1\"",
                      id++, r->audio ? "audio" : "video", r->audio ? "audio" : "video");
        if (r->audio) {
            sl_buf_text(out, " lang=\"");
            xml_put(out, manifest_language(r->language));
            sl_buf_text(out, "\"");
        }
        sl_buf_text(out, ">\n");
        if (r->audio)
            track_put(out, set, r);
        else
            range_put(out, r);
        int32_t next = i;
        do {
            representation_put(out, set, &set->renditions[next++]);
        } while (next < set->rendition_count && switchable(r, &set->renditions[next]));
        sl_buf_text(out, "    </AdaptationSet>\n");
        i = next;
    }
    for (int32_t i = 0; i < set->text_count; i++)
        text_put(out, set, i, id++);
    sl_buf_text(out, "  </Period>\n</MPD>\n");
    return out->failed ? sl_fail(why, SL_ENOMEM, "no memory for the MPD") : SL_OK;
}
