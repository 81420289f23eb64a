#include "base/language.h"

#include <stddef.h>
#include <string.h>

#define TAG_LENGTH_MAX 12

struct language {
    const char *iso639_2;
    const char *tag;
    const char *name;
};

static const struct language languages[] = {
    {"ara", "ar", "Arabic"},     {"bul", "bg", "Bulgarian"},  {"cat", "ca", "Catalan"},
    {"ces", "cs", "Czech"},      {"chi", "zh", "Chinese"},    {"cze", "cs", "Czech"},
    {"dan", "da", "Danish"},     {"deu", "de", "German"},     {"dut", "nl", "Dutch"},
    {"ell", "el", "Greek"},      {"eng", "en", "English"},    {"est", "et", "Estonian"},
    {"fin", "fi", "Finnish"},    {"fra", "fr", "French"},     {"fre", "fr", "French"},
    {"ger", "de", "German"},     {"gre", "el", "Greek"},      {"heb", "he", "Hebrew"},
    {"hin", "hi", "Hindi"},      {"hrv", "hr", "Croatian"},   {"hun", "hu", "Hungarian"},
    {"ind", "id", "Indonesian"}, {"ita", "it", "Italian"},    {"jpn", "ja", "Japanese"},
    {"kor", "ko", "Korean"},     {"lav", "lv", "Latvian"},    {"lit", "lt", "Lithuanian"},
    {"may", "ms", "Malay"},      {"msa", "ms", "Malay"},      {"nld", "nl", "Dutch"},
    {"nor", "no", "Norwegian"},  {"per", "fa", "Persian"},    {"pol", "pl", "Polish"},
    {"por", "pt", "Portuguese"}, {"ron", "ro", "Romanian"},   {"rum", "ro", "Romanian"},
    {"rus", "ru", "Russian"},    {"slk", "sk", "Slovak"},     {"slo", "sk", "Slovak"},
    {"slv", "sl", "Slovenian"},  {"spa", "es", "Spanish"},    {"srp", "sr", "Serbian"},
    {"swe", "sv", "Swedish"},    {"tha", "th", "Thai"},       {"tur", "tr", "Turkish"},
    {"ukr", "uk", "Ukrainian"},  {"vie", "vi", "Vietnamese"}, {"zho", "zh", "Chinese"},
};

static const struct language *language_find(const char *iso639_2)
{
    for (size_t i = 0; i < sizeof languages / sizeof *languages; i++)
        if (strcmp(languages[i].iso639_2, iso639_2) == 0 || strcmp(languages[i].tag, iso639_2) == 0)
            return &languages[i];
    return NULL;
}

const char *sl_language_tag(const char *iso639_2)
{
    const struct language *known = language_find(iso639_2);
    if (known)
        return known->tag;
    size_t length = strspn(iso639_2, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-");
    return length > 0 && length <= TAG_LENGTH_MAX && iso639_2[length] == '\0' ? iso639_2 : "und";
}

const char *sl_language_name(const char *iso639_2)
{
    const struct language *known = language_find(iso639_2);
    return known ? known->name : NULL;
}
