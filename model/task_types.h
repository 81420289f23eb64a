/* model/task_types.h: steps, states and priorities of the work. */
#ifndef SL_MODEL_TASK_TYPES_H
#define SL_MODEL_TASK_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "model/device_types.h"
#include "model/ids.h"

/* A stage of the DAG. Numbers are stored: add at the end. */
enum step {
    STEP_PROBE,
    STEP_PLAN, /* done by the daemon itself, never leased */
    STEP_TRANSCODE,
    STEP_AUDIO,
    STEP_SUBTITLES,
    STEP_IMAGES,
    STEP_PACKAGE,
    STEP_VERIFY,
    STEP_COUNT
};

#define STEP_BIT(step) (UINT32_C(1) << (step))

/* Numbers are stored. */
enum task_state {
    TASK_WAITING, /* on other steps of its video */
    TASK_QUEUED,
    TASK_RUNNING, /* leased */
    TASK_DONE,
    TASK_DEAD, /* in the dead-letter queue, waiting for a person */
    TASK_CANCELLED,
    TASK_STATE_COUNT
};

enum priority { PRIORITY_LOW, PRIORITY_NORMAL, PRIORITY_HIGH, PRIORITY_URGENT, PRIORITY_COUNT };

enum node_state {
    NODE_READY,
    NODE_DRAINING,
    NODE_DRAINED,
    NODE_PREEMPTING,
    NODE_LOST,
    NODE_STATE_COUNT
};

/* A video as people see it. Numbers are stored. */
enum video_status {
    VIDEO_UPLOADED, /* known; its source may still be arriving */
    VIDEO_PROBING,
    VIDEO_TRANSCODING,
    VIDEO_PACKAGING,
    VIDEO_VERIFYING,
    VIDEO_READY,
    VIDEO_FAILED,
    VIDEO_CANCELLED,
    VIDEO_STATUS_COUNT
};

/* Words as the API prints them; the parsers return SL_EINVAL for others. */
const char *step_word(enum step step);
int step_from_word(const char *word, enum step *out);
const char *task_state_word(enum task_state state);
const char *priority_word(enum priority priority);
int priority_from_word(const char *word, enum priority *out);
const char *node_state_word(enum node_state state);
const char *video_status_word(enum video_status status);
int video_status_from_word(const char *word, enum video_status *out);

#endif
