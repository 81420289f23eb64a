#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/objects/http_server.h"
#include "tests/objects/objects_build.h"
#include "tests/objects/objects_conformance.h"

static char folder[200];
static struct server *server;

static struct objects *local_open(void)
{
    build_folder_make(folder);
    return build_local(folder);
}

static void local_close(struct objects **objects)
{
    objects_close(objects);
    build_folder_remove(folder);
}

static struct objects *http_open(void)
{
    build_folder_make(folder);
    server = server_start(folder, "a-ticket");
    struct objects *objects = NULL;
    struct sl_failure why;
    if (objects_open_http(server_url(server), &objects, &why) != SL_OK)
        fail_msg("%s", why.message);
    return objects;
}

static void http_close(struct objects **objects)
{
    objects_close(objects);
    server_stop(&server);
    build_folder_remove(folder);
}

int main(void)
{
    const struct objects_place local = {"local", NULL, local_open, local_close, true, true};
    const struct objects_place http = {"http", "a-ticket", http_open, http_close, false, false};
    return objects_conformance_run(&local) + objects_conformance_run(&http);
}
