/* base/language.h: names of languages, out of what containers say (ISO 639-2), or of tags.
 *
 * Container text is hostile: what is not a short word of letters is no language.
 * Owns:    nothing; what is returned is constant or the argument.
 * Threads: any.
 */
#ifndef SL_BASE_LANGUAGE_H
#define SL_BASE_LANGUAGE_H

/* As manifests want it (RFC 5646): the two-letter code where there is one, "und" for none; others pass. */
const char *sl_language_tag(const char *iso639_2);

/* In English, for people: "German"; NULL where it is not known here. */
const char *sl_language_name(const char *iso639_2);

#endif
