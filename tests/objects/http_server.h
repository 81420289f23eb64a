/* tests/objects/http_server.h: a daemon's objects over HTTP in little, with faults to order.
 *
 * Serves GET with Range, HEAD, PUT and DELETE of /objects/<key> from a local store, one thread per
 * connection, connections kept alive. The ticket must be the one given, where one is.
 */
#ifndef SL_TESTS_OBJECTS_HTTP_SERVER_H
#define SL_TESTS_OBJECTS_HTTP_SERVER_H

#include "objects/objects.h"

enum server_fault {
    SERVER_FINE,
    SERVER_STATUS,      /* answers with the number given, and nothing done */
    SERVER_RESET,       /* resets the connection in the middle of the answer's or request's body */
    SERVER_SHORT,       /* promises more bytes than it sends, then closes */
    SERVER_LONG,        /* sends more than was asked for */
    SERVER_OTHER_RANGE, /* answers with a range one byte further on */
    SERVER_NO_RANGE,    /* answers 200 with the whole object */
    SERVER_SMALL,       /* answers with at most the number of bytes given */
    SERVER_STALL,       /* never answers */
    SERVER_REPLY_LOST,  /* does the work and closes without an answer */
    SERVER_CLOSE_IDLE,  /* answers, then closes the connection that it promised to keep */
    SERVER_DROP,        /* reads the request whole and closes, nothing done */
    SERVER_GARBAGE,     /* answers with no HTTP */
    SERVER_REDIRECT,    /* points to the same object under another name */
};

struct server;

struct server *server_start(const char *folder, const char *ticket);
void server_stop(struct server **server);
const char *server_url(const struct server *server);
/* The next count requests meet the fault. */
void server_fault_set(struct server *server, enum server_fault fault, int number, int count);
int server_connections(const struct server *server); /* accepted so far */
int server_requests(const struct server *server);
int server_at_once_max(const struct server *server); /* most requests in work at one time */

#endif
