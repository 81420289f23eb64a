#include "model/device_types.h"

_Static_assert(sizeof(struct device_telemetry) == DEVICE_TELEMETRY_MEMBERS * sizeof(int64_t),
               "telemetry travels as an array");

const struct device_telemetry device_telemetry_unknown = {-1, -1, -1, -1, -1, -1};

const char *device_health_word(enum device_health health)
{
    static const char *const words[HEALTH_COUNT] = {"healthy", "suspect", "quarantined", "proving"};
    return (unsigned)health < HEALTH_COUNT ? words[health] : "unknown";
}

const char *device_feed_word(enum device_feed feed)
{
    static const char *const words[FEED_COUNT] = {"none",   "unmeasured", "slower",
                                                  "faster", "never",      "always"};
    return (unsigned)feed < FEED_COUNT ? words[feed] : "unknown";
}
