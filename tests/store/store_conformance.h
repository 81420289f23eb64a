/* tests/store/store_conformance.h: what every driver of the store must do. */
#ifndef SL_TESTS_STORE_STORE_CONFORMANCE_H
#define SL_TESTS_STORE_STORE_CONFORMANCE_H

#include <stddef.h>

#define PLACE_URL_BYTES 256

/* Where a driver's empty stores come from. */
struct store_place {
    const char *driver;
    void (*make)(char url[PLACE_URL_BYTES]);
    void (*remove)(const char *url);
};

/* Runs the suite as one cmocka group; returns how many tests failed. */
int store_conformance_run(const struct store_place *place);

#endif
