#include <assert.h>
#include <string.h>

#include "config/config.h"

/* clang-format off */
/* The text of config/policies/default.yaml; a test holds the two equal. */
static const char default_text[] =
    "# The policy used where none is named: H.264 that plays everywhere, from phone to 4K.\n"
    "# Keys and their ranges: docs/policies.md\n"
    "name: default\n"
    "gop: 2s\n"
    "segment: 6s\n"
    "chunk: 6s\n"
    "check: sample\n"
    "watchdog: 60s\n"
    "codecs:\n"
    "  - codec: h264\n"
    "    route: [x264]\n"
    "    preset: medium\n"
    "    profile: high\n"
    "    # Rungs above the source are left out. bufsize is two seconds of maxrate.\n"
    "    rungs:\n"
    "      - {name: 240p, height: 240, crf: 23, maxrate: 400k, bufsize: 800k}\n"
    "      - {name: 360p, height: 360, crf: 23, maxrate: 800k, bufsize: 1600k}\n"
    "      - {name: 480p, height: 480, crf: 23, maxrate: 1400k, bufsize: 2800k}\n"
    "      - {name: 720p, height: 720, crf: 23, maxrate: 2800k, bufsize: 5600k}\n"
    "      - {name: 1080p, height: 1080, crf: 23, maxrate: 5M, bufsize: 10M}\n"
    "      - {name: 1440p, height: 1440, crf: 23, maxrate: 9M, bufsize: 18M}\n"
    "      - {name: 2160p, height: 2160, crf: 23, maxrate: 16M, bufsize: 32M}\n"
    "audio:\n"
    "  - {codec: aac, bitrate: 128k, channels: 2, sample_rate: 48000}\n";
/* clang-format on */

const char *config_policy_default_text(void)
{
    return default_text;
}

void config_policy_default(struct policy *out)
{
    struct config_mistakes mistakes = {0};
    int rc = config_policy_parse("default", default_text, strlen(default_text), out, &mistakes);
    assert(rc == SL_OK);
    (void)rc;
}
