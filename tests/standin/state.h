/* tests/standin/state.h: what all processes that use stand-in devices share, and the script of faults.
 *
 * The shared part is one file, mapped while the library starts, since a worker's sandbox opens nothing later. Whether
 * a process still lives is told by a robust mutex that a thread of its own holds for as long as the process does: the
 * kernel gives it back however the process ends, and nobody has to ask for another's process.
 *
 * Owns:     the mapping, for the life of the process.
 * Units:    *_ns monotonic, which is one clock for all processes of a machine.
 * Errors:   false, with a line on standard error.
 * Threads:  any.
 */
#ifndef SL_TESTS_STANDIN_STATE_H
#define SL_TESTS_STANDIN_STATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* libcuda is built with this file in it; its sisters find it there. */
#pragma GCC visibility push(default)

#define STANDIN_DEVICES_MAX   8
#define STANDIN_PROCESSES_MAX 128
#define STANDIN_FAULTS_MAX    32

struct standin_device {
    uint64_t pictures; /* encoded, since the state was made */
    uint64_t decoded;  /* pictures as well */
    uint64_t opened;   /* sessions */
    uint64_t refused;  /* opens beyond the limit */
    uint64_t lost;     /* how often; contexts made before are dead */
    uint64_t hung;
    int64_t lost_until_ns;
    uint64_t busy_ns;    /* spent in encoding */
    uint64_t host_bytes; /* copied out of the device's memory */
    uint32_t sessions_high;
};

struct standin_process {
    pthread_mutex_t alive;
    bool used;
    uint32_t sessions[STANDIN_DEVICES_MAX];
    uint64_t memory_bytes[STANDIN_DEVICES_MAX];
};

struct standin_shared {
    uint32_t magic;
    pthread_mutex_t lock; /* of everything but the counters of pictures and time */
    uint32_t sessions_high;
    struct standin_device devices[STANDIN_DEVICES_MAX];
    struct standin_process processes[STANDIN_PROCESSES_MAX];
};

enum standin_fault_kind {
    FAULT_LIMIT,
    FAULT_LIMIT_CODE,
    FAULT_LIMIT_SCOPE,
    FAULT_NO_ENGINE,
    FAULT_OLD_DRIVER,
    FAULT_LOST,
    FAULT_HANG,
    FAULT_WRONG,
    FAULT_SLOW,
    FAULT_CRASH_AT_INIT,
    FAULT_HANG_AT_INIT,
    FAULT_CRASH_AT_OPEN,
    FAULT_INIT_CODE,
    FAULT_NO_B,
    FAULT_NO_TEN,
    FAULT_NO_AV1,
    FAULT_NO_H265,
    FAULT_MEMORY,
    FAULT_REAL_SIZES,
};

/* Each counts its own pictures and has its own words in the script. */
enum standin_engine { ENGINE_ENCODE, ENGINE_DECODE };

enum standin_wrong { WRONG_PICTURE, WRONG_GARBAGE, WRONG_DROP, WRONG_REFUSE };

struct standin_fault {
    enum standin_fault_kind kind;
    enum standin_engine engine;
    int device;           /* -1: all */
    uint64_t first, last; /* pictures */
    int64_t number;       /* a code, a limit, bytes, nanoseconds */
    enum standin_wrong how;
};

extern struct standin_shared *standin_shared;

/* Reads SLUICE_STANDIN_FAULTS and maps <SLUICE_STANDIN_STATE>/<kind>.state (without the variable: memory of this
 * process alone) and takes a place for this process. Does its work once. */
bool standin_start(const char *kind);

/* The shared part alone, to read it: no place is taken. NULL where there is none. */
struct standin_shared *standin_open(const char *path);

/* The first fault of this kind for this device; NULL: none. Those of the decode engine are asked for apart. */
const struct standin_fault *standin_fault(enum standin_fault_kind kind, int device);
const struct standin_fault *standin_fault_decoding(enum standin_fault_kind kind, int device);

void standin_lock(void);
void standin_unlock(void);

/* All processes' sessions, those of processes that have ended no longer among them. device -1: of all devices. The
 * lock is held. */
uint32_t standin_sessions(int device);
uint64_t standin_memory(int device);

/* Takes a session of the device for this process unless that is beyond the limit; gives it back. */
bool standin_session_take(int device);
void standin_session_give(int device);
/* Adds to (or takes from) this process's memory unless that were more than total_bytes in all. */
bool standin_memory_take(int device, int64_t bytes, uint64_t total_bytes);

/* Counts a picture and does what the script says for it: waits, hangs, loses the device. Returns how the picture is
 * to be spoilt, or -1. */
int standin_picture(int device, enum standin_engine engine);
void standin_busy(int device, int64_t ns);
void standin_host_bytes(int device, uint64_t bytes);

/* The device is gone at this moment; how often it was lost. */
bool standin_lost(int device);
uint64_t standin_losses(int device);

int64_t standin_now_ns(void);

#pragma GCC visibility pop

#endif
