/* The same farm as the daemon's own tests: each area links only its own files. */
#include "tests/daemon/farm_kit.c"
