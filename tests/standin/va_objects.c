#include "tests/standin/va_objects.h"

#include <pthread.h>
#include <stdlib.h>

#include "tests/standin/state.h"

#define OBJECTS_MAX 65536
/* So that a number of one kind that is taken for another is most likely none. */
#define FIRST_ID    0x1000

static struct va_object *objects[OBJECTS_MAX];
static int newest;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct va_object *va_object_make(enum va_kind kind, VAGenericID *id)
{
    struct va_object *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    made->kind = kind;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < OBJECTS_MAX; i++) {
        newest = (newest + 1) % OBJECTS_MAX;
        if (objects[newest])
            continue;
        objects[newest] = made;
        *id = (VAGenericID)newest + FIRST_ID;
        pthread_mutex_unlock(&lock);
        return made;
    }
    pthread_mutex_unlock(&lock);
    free(made);
    return NULL;
}

struct va_object *va_object_find(enum va_kind kind, VAGenericID id)
{
    if (id < FIRST_ID || id - FIRST_ID >= OBJECTS_MAX)
        return NULL;
    pthread_mutex_lock(&lock);
    struct va_object *found = objects[id - FIRST_ID];
    if (found && found->kind != kind)
        found = NULL;
    pthread_mutex_unlock(&lock);
    return found;
}

static void inside_free(struct va_object *object)
{
    switch (object->kind) {
    case VA_SURFACE:
        free(object->surface.data);
        break;
    case VA_BUFFER:
        if (!object->buffer.data_is_lent)
            free(object->buffer.data);
        break;
    case VA_CONTEXT:
        soft_close(&object->context.encoder);
        if (object->context.has_session)
            standin_session_give(object->context.device);
        break;
    default:
        break;
    }
}

bool va_object_free(enum va_kind kind, VAGenericID id)
{
    struct va_object *object = va_object_find(kind, id);
    if (!object)
        return false;
    pthread_mutex_lock(&lock);
    objects[id - FIRST_ID] = NULL;
    pthread_mutex_unlock(&lock);
    inside_free(object);
    free(object);
    return true;
}
