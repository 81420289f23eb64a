/* model/ids.h: the ids that cross folders, as one-member structs so that they cannot be mixed up.
 *
 * A video id is 63 bits: milliseconds since 2020 above 21 random bits, so that order by id is
 * order of submission and ids cannot be guessed one from the next. Its text is "v" and 13 digits of
 * Crockford's base 32. Task ids and tokens are counters of the daemon; a task's text is "t" and
 * decimal digits. A node's text is the UUID that the agent keeps in its scratch folder.
 * 0 is no id.
 */
#ifndef SL_MODEL_IDS_H
#define SL_MODEL_IDS_H

#include <stdint.h>

struct video_id {
    int64_t v;
};

struct task_id {
    int64_t v;
};

/* A row number of the daemon; stable for one node identity. */
struct node_id {
    int64_t v;
};

/* The fencing token of one grant: unique for ever, larger than every earlier one. */
struct lease_token {
    uint64_t v;
};

#define VIDEO_ID_TEXT_BYTES 15 /* with its NUL */
#define TASK_ID_TEXT_BYTES  22
#define NODE_UUID_BYTES     37

/* random supplies the low bits. */
struct video_id video_id_make(int64_t unix_ns, uint32_t random);
char *video_id_format(struct video_id id, char text[VIDEO_ID_TEXT_BYTES]);
/* SL_EINVAL when text is no video id. */
int video_id_parse(const char *text, struct video_id *out);

char *task_id_format(struct task_id id, char text[TASK_ID_TEXT_BYTES]);
int task_id_parse(const char *text, struct task_id *out);

#endif
