#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/store/store_build.h"
#include "tests/store/store_conformance.h"

static void sqlite_make(char url[PLACE_URL_BYTES])
{
    char folder[200];
    build_folder_make(folder);
    snprintf(url, PLACE_URL_BYTES, "sqlite:%s/sluice.db", folder);
}

static void sqlite_remove(const char *url)
{
    char folder[PLACE_URL_BYTES];
    snprintf(folder, sizeof folder, "%s", url + strlen("sqlite:"));
    *strrchr(folder, '/') = '\0';
    build_folder_remove(folder);
}

int main(void)
{
    const struct store_place sqlite = {"sqlite", sqlite_make, sqlite_remove};
    return store_conformance_run(&sqlite);
}
