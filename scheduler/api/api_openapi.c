/* docs/openapi.json, as it was when the program was built. */
#include <stdlib.h>
#include <string.h>

#include "scheduler/api/api_http.h"

__asm__(".section .rodata\n"
        ".balign 8\n"
        "api_openapi_bytes:\n"
        ".quad api_openapi_end - api_openapi_begin\n"
        "api_openapi_begin:\n"
        ".incbin \"docs/openapi.json\"\n"
        "api_openapi_end:\n"
        ".previous\n");

extern const char api_openapi_begin[] __attribute__((visibility("hidden")));
extern const uint64_t api_openapi_bytes __attribute__((visibility("hidden")));

void api_openapi_show(struct api_request *request)
{
    size_t length = (size_t)api_openapi_bytes;
    char *text = malloc(length);
    if (text)
        memcpy(text, api_openapi_begin, length);
    api_reply_tagged(request, "application/json", "no-cache", text, length);
}
