/* tests/objects/objects_conformance.h: what every driver of the object store must do. */
#ifndef SL_TESTS_OBJECTS_OBJECTS_CONFORMANCE_H
#define SL_TESTS_OBJECTS_OBJECTS_CONFORMANCE_H

#include "objects/objects.h"

struct objects_place {
    const char *driver;
    const char *ticket; /* or NULL */
    struct objects *(*open)(void);
    void (*close)(struct objects **objects);
    bool lists;    /* list, delete_prefix, path, open_fd and scratch are offered */
    bool replaces; /* put_bytes may replace */
};

/* Runs the suite as one cmocka group; returns how many tests failed. */
int objects_conformance_run(const struct objects_place *place);

#endif
