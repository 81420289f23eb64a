/* base/error.h: every error that sluice can name, in one list.
 *
 * Each row gives the code used in C, the word that API, logs and documents use, a sentence for
 * people, and the failure class that decides what the scheduler does about it.
 * The classes are those of docs/architecture.md, "Failure classes".
 *
 * Errors:  functions return 0 or a negative SL_E*; out-parameters change only on success.
 * Threads: everything here is pure.
 */
#ifndef SL_BASE_ERROR_H
#define SL_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* What a failure means for the work, whoever reports it. */
enum sl_class {
    SL_CLASS_NONE = 0,  /* no failure */
    SL_CLASS_INPUT,     /* the source itself; final after distinct devices agree */
    SL_CLASS_CAPACITY,  /* no room here and now: requeued, no attempt charged */
    SL_CLASS_DEVICE,    /* the device is suspect: retried elsewhere */
    SL_CLASS_CRASH,     /* the worker died: charged, blamed by who else it happens to */
    SL_CLASS_TRANSIENT, /* store or network trouble: backoff, charged */
    SL_CLASS_LOST,      /* node silent or taken away: requeued, not charged */
    SL_CLASS_CONFIG,    /* a mistake in configuration or policy: final */
    SL_CLASS_CANCELLED, /* by a person or by a twin's win: final */
    SL_CLASS_COUNT
};

/* clang-format off */
#define SL_ERROR_LIST(X)                                                                            \
    X(SL_EINVAL,      1, "invalid",            "the request is not valid",                   CONFIG)    \
    X(SL_ENOMEM,      2, "out_of_memory",      "not enough memory",                          CAPACITY)  \
    X(SL_EIO,         3, "io_error",           "reading or writing failed",                  TRANSIENT) \
    X(SL_ENOENT,      4, "not_found",          "there is no such thing",                     CONFIG)    \
    X(SL_EEXIST,      5, "exists",             "it exists already",                          CONFIG)    \
    X(SL_ENOSPC,      6, "disk_full",          "no space left on the disk",                  CAPACITY)  \
    X(SL_EACCES,      7, "refused",            "permission denied",                          CONFIG)    \
    X(SL_ETIMEDOUT,   8, "timed_out",          "no answer in time",                          TRANSIENT) \
    X(SL_EUNREACH,    9, "unreachable",        "the peer cannot be reached",                 TRANSIENT) \
    X(SL_EPROTO,     10, "protocol",           "the peer sent something unreadable",         TRANSIENT) \
    X(SL_EVERSION,   11, "version",            "the peer speaks another version",            CONFIG)    \
    X(SL_ELIMIT,     12, "limit",              "a named limit was reached",                  CAPACITY)  \
    X(SL_ESTALE,     13, "stale",              "the lease was given to another",             LOST)      \
    X(SL_ECONFLICT,  14, "conflict",           "the state does not allow it",                CONFIG)    \
    X(SL_EBUSY,      15, "busy",               "in use by another",                          TRANSIENT) \
    X(SL_ECANCELLED, 16, "cancelled",          "cancelled",                                  CANCELLED) \
    X(SL_ELOST,      17, "node_lost",          "the node fell silent",                       LOST)      \
    X(SL_EPREEMPTED, 18, "preempted",          "the node was taken away",                    LOST)      \
    X(SL_EHANDBACK,  19, "handed_back",        "the node gave the lease back",               LOST)      \
    X(SL_ENOVIDEO,   20, "no_video",           "the file has no video stream",               INPUT)     \
    X(SL_EFORMAT,    21, "unreadable",         "the file is not readable as media",          INPUT)     \
    X(SL_EDECODE,    22, "undecodable",        "the stream cannot be decoded",               INPUT)     \
    X(SL_EUNSUPPORTED, 23, "unsupported",      "this kind of media is not supported",        INPUT)     \
    X(SL_ETOOBIG,    24, "over_limit",         "the file exceeds a configured limit",        INPUT)     \
    X(SL_ECHANGED,   25, "source_changed",     "the source is not what it was",              INPUT)     \
    X(SL_EPOISON,    26, "poison",             "the task keeps taking nodes down",           INPUT)     \
    X(SL_ENOENCODER, 27, "unknown_encoder",    "the encoder is not available",               CONFIG)    \
    X(SL_EENCODE,    28, "encode_failed",      "the encoder failed",                         DEVICE)    \
    X(SL_EMISMATCH,  29, "output_mismatch",    "the output is not what the plan asked for",  DEVICE)    \
    X(SL_ESEAM,      30, "seam_mismatch",      "two chunks do not meet",                     DEVICE)    \
    X(SL_EHANG,      31, "hang",               "no progress within the watchdog's time",     DEVICE)    \
    X(SL_EDEVICELOST, 32, "device_lost",       "the device disappeared",                     DEVICE)    \
    X(SL_ESESSIONS,  33, "session_limit",      "no free encoder session",                    CAPACITY)  \
    X(SL_ECRASH,     34, "worker_crashed",     "the worker was killed by a signal",          CRASH)     \
    X(SL_EWORKER,    35, "worker_failed",      "the worker ended without a report",          CRASH)     \
    X(SL_EUNPLACED,  36, "unplaced",           "nothing in the farm can run it",             CAPACITY)  \
    X(SL_EVERIFY,    37, "verify_failed",      "the published set did not pass its checks",  DEVICE)    \
    X(SL_EINTERNAL,  38, "internal",           "a fault inside sluice",                      TRANSIENT)
/* clang-format on */

enum sl_error {
    SL_OK = 0,
#define SL_ERROR_ENUM(code, number, word, text, cls) code = -(number),
    SL_ERROR_LIST(SL_ERROR_ENUM)
#undef SL_ERROR_ENUM
};

/* The longest message that travels with a failure, its terminating NUL included. */
#define SL_MESSAGE_BYTES 256

/* A failure with the sentence that an operator reads. code 0 means none. */
struct sl_failure {
    int code;
    char message[SL_MESSAGE_BYTES];
};

/* The word for a code ("disk_full"); "ok" for 0 and "internal" for a number not in the list. */
const char *sl_error_word(int code);

/* The sentence for a code. */
const char *sl_error_text(int code);

/* The failure class of a code; SL_CLASS_NONE for 0. */
enum sl_class sl_error_class(int code);

/* The code whose word is given, or SL_EINTERNAL. */
int sl_error_from_word(const char *word);

/* Maps an errno value to a code. */
int sl_error_from_errno(int errno_value);

/* "input", "capacity", …; "none" for SL_CLASS_NONE. */
const char *sl_class_word(enum sl_class cls);

/* Fills why (NULL is allowed) and returns code, so that callers can `return sl_fail(...)`. */
int sl_fail(struct sl_failure *why, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
