#include "wire/wire_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int not_an_address(const char *text, struct sl_failure *why)
{
    return sl_fail(why, SL_EINVAL,
                   "\"%.100s\" is no wire address; write tcp://HOST:PORT, for example "
                   "tcp://127.0.0.1:8801",
                   text);
}

int wire_url_parse(const char *text, struct wire_url *out, struct sl_failure *why)
{
    static const char scheme[] = "tcp://";
    struct wire_url url = {0};
    const char *rest = text + sizeof scheme - 1;
    if (strncmp(text, scheme, sizeof scheme - 1) != 0 || strlen(text) >= sizeof url.text)
        return not_an_address(text, why);
    const char *colon = strrchr(rest, ':');
    if (!colon)
        return not_an_address(text, why);
    size_t host_length = (size_t)(colon - rest);
    if (host_length >= 2 && rest[0] == '[' && rest[host_length - 1] == ']') {
        rest++;
        host_length -= 2;
    }
    char *end;
    long port = strtol(colon + 1, &end, 10);
    if (end == colon + 1 || *end || port < 0 || port > 65535 || host_length == 0 ||
        host_length >= sizeof url.host || memchr(rest, '/', host_length))
        return not_an_address(text, why);
    snprintf(url.text, sizeof url.text, "%s", text);
    memcpy(url.host, rest, host_length);
    url.port = (int)port;
    url.loopback = strcmp(url.host, "localhost") == 0 || strcmp(url.host, "::1") == 0 ||
                   strncmp(url.host, "127.", 4) == 0;
    *out = url;
    return SL_OK;
}
