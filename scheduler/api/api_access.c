/* Who asks, and what they may. A peer on this machine may everything unless the configuration says
 * otherwise; any other shows a token, in the header Authorization or in the cookie of a session. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/time.h"
#include "scheduler/api/api_http.h"

#define COOKIE_NAME "sluice_session"

/* ---- this machine ---- */

bool api_address_is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;
        if (IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr))
            return true;
        return IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) && in6->sin6_addr.s6_addr[12] == 127;
    }
    return false;
}

bool api_host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* A name that a stranger's DNS points at 127.0.0.1 is not this machine's name: without this, a page from
 * elsewhere could read and steer the farm through a browser here (DNS rebinding). */
static bool host_is_ours(const struct api_config *config, const char *host)
{
    char name[256];
    if (!host)
        return true;
    snprintf(name, sizeof name, "%s", host);
    char *port = strrchr(name, ':');
    if (port && !strchr(port, ']'))
        *port = '\0';
    size_t length = strlen(name);
    if (name[0] == '[' && length > 2 && name[length - 1] == ']') {
        name[length - 1] = '\0';
        memmove(name, name + 1, length - 1);
    }
    return api_host_is_loopback(name) || strcmp(name, config->host) == 0;
}

/* A proxy on this machine that says so speaks for somebody else. */
static bool is_forwarded(struct api_request *request)
{
    static const char *const headers[] = {"Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"};
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        if (api_header(request, headers[i]))
            return true;
    return false;
}

static bool peer_is_here(struct api_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info && info->client_addr && api_address_is_loopback(info->client_addr);
}

/* ---- who ---- */

static const char *bearer_of(struct api_request *request)
{
    const char *given = api_header(request, "Authorization");
    return given && strncasecmp(given, "Bearer ", 7) == 0 ? given + 7 : NULL;
}

void api_who_find(struct api_request *request)
{
    const struct api_config *config = &request->api->config;
    const char *bearer = bearer_of(request);
    const char *cookie =
        MHD_lookup_connection_value(request->connection, MHD_COOKIE_KIND, COOKIE_NAME);
    if (bearer)
        api_tokens_find(request->api->tokens, bearer, &request->who);
    else if (cookie)
        request->by_cookie = api_tokens_session_find(request->api->tokens, cookie, &request->who);
    request->local = !config->tokens_on_loopback && peer_is_here(request) &&
                     !is_forwarded(request) && host_is_ours(config, api_header(request, "Host"));
}

bool api_is_admin(const struct api_request *request)
{
    return request->local || request->who.scopes & API_ADMIN;
}

/* ---- may they ---- */

/* A page of another origin must not steer the farm through a browser that may. False after having replied. */
static bool origin_check(struct api_request *request)
{
    const char *origin = api_header(request, "Origin");
    const char *host = api_header(request, "Host");
    const char *site = api_header(request, "Sec-Fetch-Site");
    bool reads = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0 ||
                 strcmp(request->method, "OPTIONS") == 0;
    if (reads)
        return true;
    const char *name = origin ? strstr(origin, "://") : NULL;
    bool foreign = origin && (!name || !host || strcmp(name + 3, host) != 0);
    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
        foreign = true;
    if (foreign) {
        api_reply_error(request, MHD_HTTP_FORBIDDEN, "refused", NULL,
                        "requests from pages of another origin (%.100s) are refused",
                        origin ? origin : site);
        return false;
    }
    if (request->by_cookie && !origin && !site) {
        api_reply_error(request, MHD_HTTP_FORBIDDEN, "refused", NULL,
                        "a change by the cookie of a session needs the header Origin, which "
                        "browsers send; other programs send \"Authorization: Bearer TOKEN\"");
        return false;
    }
    return true;
}

static void scopes_text(unsigned scopes, const char *between, char *text, size_t bytes)
{
    text[0] = '\0';
    for (int i = 0; api_scope_word(i); i++)
        if (scopes & (1U << i)) {
            size_t used = strlen(text);
            snprintf(text + used, bytes - used, "%s%s", used ? between : "", api_scope_word(i));
        }
}

static void reply_unknown(struct api_request *request)
{
    if (bearer_of(request)) {
        request->challenge = "Bearer realm=\"sluice\", error=\"invalid_token\"";
        api_reply_error(request, MHD_HTTP_UNAUTHORIZED, "refused", NULL,
                        "the token is not known here or has expired; `sluice token new` makes one");
        return;
    }
    request->challenge = "Bearer realm=\"sluice\"";
    api_reply_error(request, MHD_HTTP_UNAUTHORIZED, "refused", NULL,
                    "this needs a token or the farm's secret: send the header \"Authorization: "
                    "Bearer TOKEN\"; `sluice token new` makes one");
}

static void reply_scope(struct api_request *request)
{
    char needed[64], challenge[128];
    scopes_text(request->route->scopes, " ", needed, sizeof needed);
    snprintf(challenge, sizeof challenge,
             "Bearer realm=\"sluice\", error=\"insufficient_scope\", scope=\"%s\"", needed);
    request->challenge = challenge;
    api_reply_error(request, MHD_HTTP_FORBIDDEN, "refused", json_pack("{s:s}", "scope", needed),
                    "the token \"%s\" lacks the scope that this needs: %s", request->who.name,
                    needed);
    request->challenge = NULL;
}

bool api_access_check(struct api_request *request)
{
    unsigned scopes = request->route->scopes;
    if (scopes & API_TICKET)
        return true;
    if (!origin_check(request))
        return false;
    if (scopes & API_OPEN || request->local)
        return true;
    if (request->who.scopes & (scopes | API_ADMIN))
        return true;
    if (request->who.scopes)
        reply_scope(request);
    else if (peer_is_here(request) && !request->api->config.tokens_on_loopback &&
             !bearer_of(request) && !is_forwarded(request))
        api_reply_error(
            request, MHD_HTTP_FORBIDDEN, "refused", NULL,
            "the host %.100s is not this machine's: ask for 127.0.0.1 or localhost, or send the "
            "header \"Authorization: Bearer TOKEN\"",
            api_header(request, "Host"));
    else
        reply_unknown(request);
    return false;
}

/* ---- sessions, for browsers: a video element cannot send a header, but a cookie ---- */

static json_t *session_json(const struct api_request *request, int64_t expires_unix_ns)
{
    const struct api_token *who = &request->who;
    unsigned scopes = request->local || who->scopes & API_ADMIN ? API_ANY : who->scopes;
    json_t *list = json_array();
    for (int i = 0; api_scope_word(i); i++)
        if (scopes & (1U << i))
            json_array_append_new(list, json_string(api_scope_word(i)));
    return json_pack("{s:o,s:o,s:b,s:o}", "name", api_text(who->scopes ? who->name : NULL),
                     "scopes", list, "local", (int)request->local, "expires_at",
                     api_time(expires_unix_ns));
}

static void reply_cookie(struct api_request *request, json_t *value, const char *session,
                         int64_t seconds)
{
    char cookie[API_SESSION_BYTES + 128];
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE) : NULL;
    snprintf(cookie, sizeof cookie,
             COOKIE_NAME "=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%lld%s", session,
             (long long)seconds, api_is_https(request) ? "; Secure" : "");
    if (response) {
        MHD_add_response_header(response, "Content-Type", "application/json");
        MHD_add_response_header(response, "Cache-Control", "no-store");
        MHD_add_response_header(response, "Set-Cookie", cookie);
    }
    api_reply(request, MHD_HTTP_OK, response);
}

void api_session_begin(struct api_request *request)
{
    char session[API_SESSION_BYTES];
    if (!request->who.scopes) { /* of this machine, and without a token */
        api_reply_json(request, MHD_HTTP_OK, session_json(request, 0));
        return;
    }
    int64_t now_s = sl_now_unix_ns() / SL_NS_PER_S;
    int64_t end_s = now_s + API_SESSION_S;
    int64_t token_end_s = request->who.expires_unix_ns / SL_NS_PER_S;
    if (token_end_s && token_end_s < end_s)
        end_s = token_end_s;
    api_tokens_session_make(request->api->tokens, &request->who, end_s, session);
    reply_cookie(request, session_json(request, SL_S_TO_NS(end_s)), session, end_s - now_s);
}

void api_session_show(struct api_request *request)
{
    api_reply_json(request, MHD_HTTP_OK, session_json(request, request->who.expires_unix_ns));
}

void api_session_end(struct api_request *request)
{
    reply_cookie(request, json_pack("{s:b}", "ended", 1), "", 0);
}
