#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct error_row {
    int code;
    const char *word;
    const char *text;
    enum sl_class cls;
};

static const struct error_row rows[] = {
#define SL_ERROR_ROW(code, number, word, text, cls) {code, word, text, SL_CLASS_##cls},
    SL_ERROR_LIST(SL_ERROR_ROW)
#undef SL_ERROR_ROW
};

static const struct error_row *row_find(int code)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].code == code)
            return &rows[i];
    return NULL;
}

const char *sl_error_word(int code)
{
    if (code == SL_OK)
        return "ok";
    const struct error_row *row = row_find(code);
    return row ? row->word : "internal";
}

const char *sl_error_text(int code)
{
    if (code == SL_OK)
        return "no error";
    const struct error_row *row = row_find(code);
    return row ? row->text : "a fault inside sluice";
}

enum sl_class sl_error_class(int code)
{
    if (code == SL_OK)
        return SL_CLASS_NONE;
    const struct error_row *row = row_find(code);
    return row ? row->cls : SL_CLASS_TRANSIENT;
}

int sl_error_from_word(const char *word)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].word, word) == 0)
            return rows[i].code;
    return SL_EINTERNAL;
}

int sl_error_from_errno(int errno_value)
{
    switch (errno_value) {
    case 0:
        return SL_OK;
    case ENOMEM:
        return SL_ENOMEM;
    case ENOENT:
    case ENOTDIR:
        return SL_ENOENT;
    case EEXIST:
        return SL_EEXIST;
    case ENOSPC:
    case EDQUOT:
        return SL_ENOSPC;
    case EACCES:
    case EPERM:
    case EROFS:
        return SL_EACCES;
    case ETIMEDOUT:
        return SL_ETIMEDOUT;
    case ECONNREFUSED:
    case ECONNRESET:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EPIPE:
        return SL_EUNREACH;
    case EBUSY:
    case EADDRINUSE:
    case EWOULDBLOCK:
        return SL_EBUSY;
    case EMFILE:
    case ENFILE:
        return SL_ELIMIT;
    case EINVAL:
    case ENAMETOOLONG:
    case EISDIR:
        return SL_EINVAL;
    default:
        return SL_EIO;
    }
}

const char *sl_class_word(enum sl_class cls)
{
    static const char *const words[SL_CLASS_COUNT] = {
        "none", "input", "capacity", "device", "crash", "transient", "lost", "config", "cancelled",
    };
    return (unsigned)cls < SL_CLASS_COUNT ? words[cls] : "none";
}

int sl_fail(struct sl_failure *why, int code, const char *fmt, ...)
{
    if (!why)
        return code;
    why->code = code;
    va_list args;
    va_start(args, fmt);
    vsnprintf(why->message, sizeof why->message, fmt, args);
    va_end(args);
    return code;
}
