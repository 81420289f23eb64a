/* docs/openapi.json, as it was when the program was built. */
#include <stdlib.h>
#include <string.h>

#include "scheduler/api/api_http.h"

__asm__(".section .rodata\n"
        "api_openapi_begin:\n"
        ".incbin \"docs/openapi.json\"\n"
        "api_openapi_end:\n"
        ".byte 0\n"
        ".previous\n");

extern const char api_openapi_begin[] __attribute__((visibility("hidden")));
extern const char api_openapi_end[] __attribute__((visibility("hidden")));

void api_openapi_show(struct api_request *request)
{
    size_t length = (size_t)(api_openapi_end - api_openapi_begin);
    char *text = malloc(length);
    if (text)
        memcpy(text, api_openapi_begin, length);
    api_reply_tagged(request, "application/json", "no-cache", text, length);
}
