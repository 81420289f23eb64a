/* model/limit_types.h: what one source may cost, from the daemon's configuration (`limits:`).
 *
 * They travel with every job. The probe holds the source against them before anything is decoded; the agent puts those
 * of the last group on the worker's process, from outside.
 */
#ifndef SL_MODEL_LIMIT_TYPES_H
#define SL_MODEL_LIMIT_TYPES_H

#include <stdint.h>

/* name, kind (COUNT; TIME in ns; SIZE in bytes), least, most and default value */
/* clang-format off */
#define LIMIT_LIST(X)                                                                              \
    /* of the picture */                                                                           \
    X(width,        COUNT, 16,              65536,                8192)                            \
    X(height,       COUNT, 16,              65536,                8192)                            \
    X(pixels,       COUNT, 256,             INT64_C(1) << 30,     36000000)                        \
    /* of the file */                                                                              \
    X(streams,      COUNT, 1,               1000,                 64)                              \
    X(packets,      COUNT, 1,               INT64_C(1) << 30,     50000000)                        \
    X(frames,       COUNT, 1,               64 << 20,             10000000)                        \
    X(duration,     TIME,  LIMIT_S(1),      LIMIT_S(30 * 86400),  LIMIT_S(86400))                  \
    /* of the probe */                                                                             \
    X(probe_time,   TIME,  LIMIT_S(1),      LIMIT_S(3600),        LIMIT_S(20))                     \
    X(probe_memory, SIZE,  LIMIT_MIB(256),  LIMIT_MIB(1 << 20),   LIMIT_MIB(2048))                 \
    /* of the process, any step */                                                                 \
    X(memory,       SIZE,  LIMIT_MIB(512),  LIMIT_MIB(1 << 24),   LIMIT_MIB(8192))                 \
    X(cpu,          TIME,  LIMIT_S(10),     LIMIT_S(30 * 86400),  LIMIT_S(86400))                  \
    X(output_file,  SIZE,  LIMIT_MIB(1),    LIMIT_MIB(1 << 20),   LIMIT_MIB(1024))                 \
    X(descriptors,  COUNT, 96,              65536,                256)
/* clang-format on */

#define LIMIT_S(s)     (INT64_C(1000000000) * (s))
#define LIMIT_MIB(mib) ((INT64_C(1) << 20) * (mib))

struct limits {
#define LIMIT_MEMBER(name, kind, least, most, otherwise) int64_t name;
    LIMIT_LIST(LIMIT_MEMBER)
#undef LIMIT_MEMBER
};

void limits_default(struct limits *out);

#endif
