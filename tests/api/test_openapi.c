/* The table of routes and docs/openapi.json say the same, both ways. What the routes answer is held against
 * the document by tests/e2e/test_api.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/api/api_http.h"
#include "tests/daemon/farm_kit.h"

struct world {
    struct farm farm;
    json_t *document;
};

static int setup(void **state)
{
    static struct world world;
    farm_open(&world.farm);
    farm_start(&world.farm);
    world.document = farm_json(&world.farm, "GET", "/api/v1/openapi.json", NULL, 200);
    *state = &world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    json_decref(world->document);
    farm_close(&world->farm);
    return 0;
}

/* "/media/{path...}" is "/media/{path}" in the document, "GET" is "get". */
static void route_names(const struct api_route *route, char path[96], char method[16])
{
    const char *dots = strstr(route->pattern, "...");
    int before = dots ? (int)(dots - route->pattern) : (int)strlen(route->pattern);
    snprintf(path, 96, "%.*s%s", before, route->pattern, dots ? dots + 3 : "");
    size_t i = 0;
    for (; route->method[i] && i < 15; i++)
        method[i] = (char)tolower((unsigned char)route->method[i]);
    method[i] = '\0';
}

static const struct api_route *route_of(const char *path, const char *method)
{
    for (size_t i = 0; i < api_route_count; i++) {
        char own_path[96], own_method[16];
        route_names(&api_routes[i], own_path, own_method);
        if (strcmp(own_path, path) == 0 && strcmp(own_method, method) == 0)
            return &api_routes[i];
    }
    return NULL;
}

/* The scopes that the document names; API_OPEN for none, API_TICKET for a ticket. */
static unsigned documented_scopes(const json_t *operation)
{
    const json_t *security = json_object_get(operation, "security");
    unsigned scopes = 0;
    size_t i, k;
    json_t *way, *word;
    if (!security)
        return 0;
    json_array_foreach(security, i, way)
    {
        if (json_object_get(way, "ticket"))
            scopes |= API_TICKET;
        json_array_foreach(json_object_get(way, "token"), k, word)
        {
            int at = 0;
            while (api_scope_word(at) && strcmp(api_scope_word(at), json_string_value(word)) != 0)
                at++;
            assert_non_null(api_scope_word(at));
            scopes |= 1U << at;
        }
    }
    return json_array_size(security) ? scopes : API_OPEN;
}

static void test_every_route_is_described(void **state)
{
    struct world *w = *state;
    int missing = 0;
    for (size_t i = 0; i < api_route_count; i++) {
        char path[96], method[16];
        route_names(&api_routes[i], path, method);
        const json_t *item = json_object_get(json_object_get(w->document, "paths"), path);
        const json_t *operation = json_object_get(item, method);
        if (!operation) {
            print_error("docs/openapi.json lacks paths[\"%s\"].%s, which api_routes.c has\n", path,
                        method);
            missing++;
        } else if (documented_scopes(operation) != api_routes[i].scopes) {
            print_error("docs/openapi.json: security of %s %s is not that of api_routes.c\n",
                        method, path);
            missing++;
        }
    }
    assert_int_equal(missing, 0);
}

static void test_every_description_is_of_a_route(void **state)
{
    struct world *w = *state;
    const char *path, *method;
    json_t *item, *operation;
    json_object_foreach(json_object_get(w->document, "paths"), path, item)
    {
        json_object_foreach(item, method, operation)
        {
            if (!route_of(path, method))
                fail_msg("api_routes.c lacks %s %s, which docs/openapi.json describes", method,
                         path);
        }
    }
}

static void test_every_route_has_its_way_to_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < api_route_count; i++) {
        const struct api_route *route = &api_routes[i];
        assert_true((route->run != NULL) != (route->stream != NULL));
        assert_int_not_equal(route->scopes, 0);
        assert_int_equal(route->pattern[0], '/');
    }
}

static void test_every_error_code_is_described(void **state)
{
    struct world *w = *state;
    const json_t *schemas = json_object_get(json_object_get(w->document, "components"), "schemas");
    const json_t *words = json_object_get(json_object_get(schemas, "ErrorCode"), "enum");
    int code = -1;
    size_t i;
    json_t *word;
    json_array_foreach(words, i, word)
    {
        assert_string_equal(json_string_value(word), sl_error_word(code));
        code--;
    }
    assert_true(json_array_size(words) > 30);
    assert_string_equal(sl_error_word(code), "internal"); /* beyond the list */
}

static void test_document_is_of_this_version(void **state)
{
    struct world *w = *state;
    const json_t *info = json_object_get(w->document, "info");
    assert_string_equal(json_string_value(json_object_get(info, "version")), SLUICE_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_route_is_described),
        cmocka_unit_test(test_every_description_is_of_a_route),
        cmocka_unit_test(test_every_route_has_its_way_to_answer),
        cmocka_unit_test(test_every_error_code_is_described),
        cmocka_unit_test(test_document_is_of_this_version),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
