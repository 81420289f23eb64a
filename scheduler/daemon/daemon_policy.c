#include <dirent.h>
#include <limits.h>
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

/* file: what mistakes call it. */
static int text_parse(struct api_call *call, const char *file, const char *name, const char *text,
                      size_t length, struct policy *out, char **out_text)
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
        return sl_fail(&call->failure, code, "%s:%d:%d: %s", file, mistakes.items[0].line,
                       mistakes.items[0].column, mistakes.items[0].message);
    }
    *out_text = strndup(text, length);
    return *out_text ? SL_OK : sl_fail(&call->failure, SL_ENOMEM, "not enough memory");
}

/* SL_ENOENT: there is no such file. */
static int file_load(struct api_call *call, const char *folder, const char *file, const char *name,
                     struct policy *out, char **out_text)
{
    char path[CONFIG_PATH_BYTES + NAME_MAX + 2];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    struct sl_buf bytes = {0};
    int code = config_file_read(path, &bytes, &call->failure);
    if (code == SL_OK)
        code = text_parse(call, path, name, bytes.data ? (const char *)bytes.data : "",
                          bytes.length, out, out_text);
    sl_buf_fini(&bytes);
    return code;
}

static int is_yaml(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 5 && entry->d_name[0] != '.' &&
           strcmp(entry->d_name + length - 5, ".yaml") == 0;
}

/* The file in which name is the policy's or a tier's. SL_ENOENT: in none; those with mistakes are passed over. */
static int tier_load(struct api_call *call, const char *folder, const char *name,
                     struct policy *out, char **out_text)
{
    struct dirent **entries = NULL;
    char found[NAME_MAX + 1] = "";
    int count = scandir(folder, &entries, is_yaml, alphasort);
    int code = SL_ENOENT;
    for (int i = 0; i < count; i++) {
        const char *file = entries[i]->d_name;
        struct policy policy;
        char *text = NULL;
        if (code != SL_EINVAL && file_load(call, folder, file, name, &policy, &text) == SL_OK &&
            strcmp(policy.name, name) == 0) {
            if (found[0]) {
                code = sl_fail(&call->failure, SL_EINVAL,
                               "both %s and %s in %s have a policy \"%s\"; rename one", found, file,
                               folder, name);
            } else {
                code = SL_OK;
                snprintf(found, sizeof found, "%s", file);
                *out = policy;
                *out_text = text;
                text = NULL;
            }
        }
        free(text);
        free(entries[i]);
    }
    free(entries);
    if (code == SL_EINVAL) {
        free(*out_text);
        *out_text = NULL;
    }
    if (code != SL_EINVAL) {
        call->mistakes = NULL;
        call->mistake_count = 0;
    }
    return code;
}

/* NAME.yaml, else a file that has a policy or tier of this name. */
static int folder_load(struct api_call *call, const char *folder, const char *name,
                       struct policy *out, char **out_text)
{
    char file[POLICY_NAME_BYTES + 8];
    if (!folder[0])
        return SL_ENOENT;
    snprintf(file, sizeof file, "%s.yaml", name);
    int code = file_load(call, folder, file, name, out, out_text);
    return code == SL_ENOENT ? tier_load(call, folder, name, out, out_text) : code;
}

static int named_load(struct daemon *d, struct api_call *call, const char *name, struct policy *out,
                      char **out_text)
{
    const char *folder = d->config.daemon.policy_dir;
    if (!name_is_safe(name))
        return sl_fail(&call->failure, SL_EINVAL,
                       "\"%s\" is no policy's name: letters, digits, '_', '-' and '.'", name);
    int code = folder_load(call, folder, name, out, out_text);
    if (code != SL_ENOENT)
        return code;
    const char *text = config_policy_default_text();
    if (strcmp(name, "default") == 0)
        return text_parse(call, "default", name, text, strlen(text), out, out_text);
    code = folder_load(call, d->policies_shipped, name, out, out_text);
    if (code != SL_ENOENT)
        return code;
    return sl_fail(&call->failure, SL_EINVAL,
                   "there is no policy \"%s\"; \"default\" is built in, others are in files "
                   "NAME.yaml in daemon.policies%s%s%s%s",
                   name, folder[0] ? ", which is " : ", which is not set", folder,
                   d->policies_shipped[0] ? ", and shipped in " : "", d->policies_shipped);
}

int daemon_policy_load(struct daemon *d, struct api_call *call, struct policy *out, char **out_text)
{
    const struct api_submit *submit = &call->submit;
    if (submit->policy_text)
        return text_parse(call, "policy_text", NULL, submit->policy_text,
                          strlen(submit->policy_text), out, out_text);
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
