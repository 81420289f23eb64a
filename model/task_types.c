#include "model/task_types.h"

#include <string.h>

#include "base/error.h"

static const char *const step_words[STEP_COUNT] = {
    "probe", "plan", "transcode", "audio", "subtitles", "images", "package", "verify",
};
static const char *const task_state_words[TASK_STATE_COUNT] = {
    "waiting", "queued", "running", "done", "dead", "cancelled",
};
static const char *const priority_words[PRIORITY_COUNT] = {"low", "normal", "high", "urgent"};
static const char *const node_state_words[NODE_STATE_COUNT] = {
    "ready", "draining", "drained", "preempting", "lost",
};
static const char *const video_status_words[VIDEO_STATUS_COUNT] = {
    "uploaded", "probing", "transcoding", "packaging", "verifying", "ready", "failed", "cancelled",
};

static int word_find(const char *const *words, int count, const char *word)
{
    for (int i = 0; i < count; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

const char *step_word(enum step step)
{
    return (unsigned)step < STEP_COUNT ? step_words[step] : "unknown";
}

int step_from_word(const char *word, enum step *out)
{
    int found = word_find(step_words, STEP_COUNT, word);
    if (found < 0)
        return SL_EINVAL;
    *out = (enum step)found;
    return SL_OK;
}

const char *task_state_word(enum task_state state)
{
    return (unsigned)state < TASK_STATE_COUNT ? task_state_words[state] : "unknown";
}

const char *priority_word(enum priority priority)
{
    return (unsigned)priority < PRIORITY_COUNT ? priority_words[priority] : "unknown";
}

int priority_from_word(const char *word, enum priority *out)
{
    int found = word_find(priority_words, PRIORITY_COUNT, word);
    if (found < 0)
        return SL_EINVAL;
    *out = (enum priority)found;
    return SL_OK;
}

const char *node_state_word(enum node_state state)
{
    return (unsigned)state < NODE_STATE_COUNT ? node_state_words[state] : "unknown";
}

const char *video_status_word(enum video_status status)
{
    return (unsigned)status < VIDEO_STATUS_COUNT ? video_status_words[status] : "unknown";
}

int video_status_from_word(const char *word, enum video_status *out)
{
    int found = word_find(video_status_words, VIDEO_STATUS_COUNT, word);
    if (found < 0)
        return SL_EINVAL;
    *out = (enum video_status)found;
    return SL_OK;
}
