#include "model/device_types.h"

const char *device_health_word(enum device_health health)
{
    static const char *const words[HEALTH_COUNT] = {"healthy", "suspect", "quarantined", "proving"};
    return (unsigned)health < HEALTH_COUNT ? words[health] : "unknown";
}
