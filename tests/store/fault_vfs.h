/* tests/store/fault_vfs.h: a file layer for SQLite that fails when told to.
 *
 * Becomes the default of the process, so that store_open needs no word about it. One thread.
 */
#ifndef SL_TESTS_STORE_FAULT_VFS_H
#define SL_TESTS_STORE_FAULT_VFS_H

enum fault_kind {
    FAULT_NONE,
    FAULT_FULL,      /* a write finds no space */
    FAULT_WRITE,     /* a write fails with EIO */
    FAULT_SYNC,      /* a sync fails with EIO */
    FAULT_FULL_LONG, /* from the nth write on, every one finds no space */
};

void fault_vfs_install(void);
/* The nth write (or sync) from now, from 1, fails. */
void fault_vfs_fail(enum fault_kind kind, int nth);
/* Has the armed fault struck? */
int fault_vfs_struck(void);

#endif
