#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/daemon/daemon_internal.h"

/* A name becomes a file name, so it is letters, digits, '_', '-' and inner dots. */
static bool name_is_safe(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length < POLICY_NAME_BYTES && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") ==
               length;
}

static int text_parse(struct api_call *call, const char *name, const char *text, size_t length,
                      struct policy *out, char **out_text)
{
    struct config_mistakes mistakes = {0};
    int code = config_policy_parse(name, text, length, out, &mistakes);
    if (code != SL_OK) {
        call->mistakes =
            sl_arena_array(&call->arena, (size_t)mistakes.count, sizeof *call->mistakes);
        for (int32_t i = 0; call->mistakes && i < mistakes.count; i++)
            call->mistakes[i] =
                (struct api_mistake){mistakes.items[i].line, mistakes.items[i].column,
                                     sl_arena_strdup(&call->arena, mistakes.items[i].message)};
        call->mistake_count = call->mistakes ? mistakes.count : 0;
        return sl_fail(&call->failure, code, "%s:%d:%d: %s", name, mistakes.items[0].line,
                       mistakes.items[0].column, mistakes.items[0].message);
    }
    *out_text = strndup(text, length);
    return *out_text ? SL_OK : sl_fail(&call->failure, SL_ENOMEM, "not enough memory");
}

static int named_load(struct daemon *d, struct api_call *call, const char *name, struct policy *out,
                      char **out_text)
{
    const char *folder = d->config.daemon.policy_dir;
    if (!name_is_safe(name))
        return sl_fail(&call->failure, SL_EINVAL,
                       "\"%s\" is no policy's name: letters, digits, '_', '-' and '.'", name);
    if (folder[0]) {
        char path[CONFIG_PATH_BYTES + POLICY_NAME_BYTES + 8];
        snprintf(path, sizeof path, "%s/%s.yaml", folder, name);
        struct sl_buf file = {0};
        int code = config_file_read(path, &file, &call->failure);
        if (code == SL_OK)
            code = text_parse(call, path, file.data ? (const char *)file.data : "", file.length,
                              out, out_text);
        sl_buf_fini(&file);
        if (code != SL_ENOENT)
            return code;
    }
    if (strcmp(name, "default") != 0)
        return sl_fail(
            &call->failure, SL_EINVAL,
            "there is no policy \"%s\"; \"default\" is built in, others are files NAME.yaml "
            "in daemon.policies%s%s",
            name, folder[0] ? ", which is " : ", which is not set", folder);
    const char *text = config_policy_default_text();
    return text_parse(call, "default", text, strlen(text), out, out_text);
}

int daemon_policy_load(struct daemon *d, struct api_call *call, struct policy *out, char **out_text)
{
    const struct api_submit *submit = &call->submit;
    if (submit->policy_text)
        return text_parse(call, "policy_text", submit->policy_text, strlen(submit->policy_text),
                          out, out_text);
    return named_load(d, call, submit->policy ? submit->policy : "default", out, out_text);
}

struct daemon_policy *daemon_policy_ref(struct daemon *d, const char *name, const char *text,
                                        const struct policy *policy)
{
    for (struct daemon_policy *p = d->policies; p; p = p->next)
        if (strcmp(p->text, text) == 0 && strcmp(p->name, name) == 0) {
            p->refs++;
            return p;
        }
    struct daemon_policy *p = calloc(1, sizeof *p);
    if (!p || !(p->text = strdup(text))) {
        free(p);
        return NULL;
    }
    snprintf(p->name, sizeof p->name, "%s", name);
    p->policy = *policy;
    p->refs = 1;
    p->next = d->policies;
    d->policies = p;
    return p;
}

void daemon_policy_unref(struct daemon *d, struct daemon_policy **policy)
{
    struct daemon_policy *p = *policy;
    *policy = NULL;
    if (!p || --p->refs > 0)
        return;
    struct daemon_policy **at = &d->policies;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    free(p->text);
    free(p);
}
