/* scheduler/store/store_sqlite.h: the embedded driver: one file, one daemon.
 *
 * sqlite:PATH. WAL with synchronous=FULL: a commit that returned survives a power cut. PATH.lock is
 * held with flock for as long as the writing handle is open, so a second daemon is refused and a killed
 * one leaves nothing behind. The file and what lies beside it are readable by their owner only.
 */
#ifndef SL_SCHEDULER_STORE_STORE_SQLITE_H
#define SL_SCHEDULER_STORE_STORE_SQLITE_H

#include "scheduler/store/store_ops.h"

extern const struct store_ops store_sqlite_ops;

#endif
