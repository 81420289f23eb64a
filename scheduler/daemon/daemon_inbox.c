#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scheduler/daemon/daemon_internal.h"

bool daemon_list_push(struct daemon_list *list, void *item)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 16;
        void **items = realloc(list->items, capacity * sizeof *items);
        if (!items)
            return false;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = item;
    return true;
}

void daemon_list_fini(struct daemon_list *list)
{
    free(list->items);
    *list = (struct daemon_list){0};
}

int daemon_inbox_init(struct daemon_inbox *inbox)
{
    memset(inbox, 0, sizeof *inbox);
    pthread_mutex_init(&inbox->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int failed = pthread_cond_init(&inbox->some, &attr);
    pthread_condattr_destroy(&attr);
    return failed ? SL_ENOMEM : SL_OK;
}

void daemon_inbox_fini(struct daemon_inbox *inbox)
{
    pthread_cond_destroy(&inbox->some);
    pthread_mutex_destroy(&inbox->lock);
}

int daemon_inbox_post(struct daemon_inbox *inbox, enum daemon_item_kind kind, void *what,
                      bool forced)
{
    struct daemon_item *item = calloc(1, sizeof *item);
    if (!item)
        return SL_ENOMEM;
    item->kind = kind;
    if (kind == ITEM_SYNC)
        item->sync = what;
    else if (kind == ITEM_CALL)
        item->call = what;
    else
        item->work = what;
    pthread_mutex_lock(&inbox->lock);
    bool refused = !forced && (inbox->stop || inbox->count >= DAEMON_INBOX_MAX);
    if (!refused) {
        if (inbox->last)
            inbox->last->next = item;
        else
            inbox->first = item;
        inbox->last = item;
        inbox->count++;
        pthread_cond_signal(&inbox->some);
    }
    pthread_mutex_unlock(&inbox->lock);
    if (refused)
        free(item);
    return refused ? SL_ELIMIT : SL_OK;
}

struct daemon_item *daemon_inbox_take(struct daemon_inbox *inbox, int max, int64_t deadline_at_ns)
{
    pthread_mutex_lock(&inbox->lock);
    while (!inbox->first && !inbox->stop) {
        int64_t left_ns =
            deadline_at_ns == INT64_MAX ? SL_S_TO_NS(60) : deadline_at_ns - sl_now_ns();
        if (left_ns <= 0)
            break;
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t at_ns = (int64_t)until.tv_sec * SL_NS_PER_S + until.tv_nsec +
                        (left_ns < SL_S_TO_NS(60) ? left_ns : SL_S_TO_NS(60));
        until.tv_sec = (time_t)(at_ns / SL_NS_PER_S);
        until.tv_nsec = (long)(at_ns % SL_NS_PER_S);
        pthread_cond_timedwait(&inbox->some, &inbox->lock, &until);
        /* The clock that deadlines are in runs on while the machine sleeps, this wait does not. */
        if (deadline_at_ns == INT64_MAX)
            break;
    }
    struct daemon_item *first = inbox->first;
    struct daemon_item *last = first;
    int taken = first ? 1 : 0;
    while (last && last->next && taken < max) {
        last = last->next;
        taken++;
    }
    if (last) {
        inbox->first = last->next;
        if (!inbox->first)
            inbox->last = NULL;
        last->next = NULL;
        inbox->count -= taken;
    }
    pthread_mutex_unlock(&inbox->lock);
    return first;
}
