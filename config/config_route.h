/* config/config_route.h: the route of a policy's codec: which encoders may make it, in which order, and when.
 *
 * Errors:  mistakes with their place, as in config_read.h.
 */
#ifndef SL_CONFIG_CONFIG_ROUTE_H
#define SL_CONFIG_CONFIG_ROUTE_H

#include "config/config_read.h"

/* The codec's keys `route`, `preset` and `mix`. node is its mapping; codec->codec is known. */
void config_route_read(const struct config_reader *reader, const struct config_node *node,
                       struct policy_codec *codec);

#endif
