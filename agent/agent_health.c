/* The way back of a device that failed: a golden chunk after a while (worker/prove.h), and again until it is trusted.
 *
 * Invariants:
 *  1. A quarantined device is proven when its time has come, never while another proof runs; after each failure it waits
 *     twice as long, up to PROOF_MAX_NS.
 *  2. A proving device without a lease is proven again soon, so that a node without work gets its devices back too.
 *  3. Which devices are quarantined lies in scratch (health), so that an agent that starts anew does not take them for
 *     healthy.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent_internal.h"
#include "base/log.h"
#include "base/time.h"

#define PROOF_MAX_NS   SL_S_TO_NS(600)
#define PROOF_AGAIN_NS SL_S_TO_NS(1) /* of one that passed */

struct proof {
    char device_id[DEVICE_ID_BYTES]; /* empty: none */
    int64_t at_ns;
    int64_t wait_ns; /* before the next, should this one fail */
};

struct healer {
    struct agent *agent;
    struct proof proofs[NODE_DEVICES_MAX];
    char kept[NODE_DEVICES_MAX * (DEVICE_ID_BYTES + DEVICE_REASON_BYTES + 2)]; /* the file's text */
};

/* ---- what outlives the agent ---- */

static void path_make(const struct agent *agent, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/health", agent->options.scratch);
}

/* Lines of "device<TAB>reason" of what is quarantined or not yet trusted again. */
static void state_keep(struct healer *healer, const struct device_row *rows, int32_t count)
{
    char text[sizeof healer->kept] = "", path[PATH_MAX], fresh[PATH_MAX];
    size_t length = 0;
    for (int32_t i = 0; i < count; i++)
        if (rows[i].health == HEALTH_QUARANTINED || rows[i].health == HEALTH_PROVING)
            length += (size_t)snprintf(text + length, sizeof text - length, "%s\t%s\n",
                                       rows[i].device_id, rows[i].health_reason);
    if (strcmp(text, healer->kept) == 0)
        return;
    path_make(healer->agent, path);
    if (snprintf(fresh, sizeof fresh, "%s.new", path) >= (int)sizeof fresh)
        return;
    FILE *file = fopen(fresh, "we");
    bool good = file && fputs(text, file) >= 0;
    if (file && fclose(file) != 0)
        good = false;
    if (good && rename(fresh, path) == 0)
        memcpy(healer->kept, text, sizeof text);
    else
        sl_warn(NULL,
                "%s cannot be written: %s; an agent that starts anew takes all devices for "
                "healthy",
                path, strerror(errno));
}

void agent_health_recall(struct agent *agent)
{
    char path[PATH_MAX], line[DEVICE_ID_BYTES + DEVICE_REASON_BYTES + 8];
    path_make(agent, path);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        char *reason = strchr(line, '\t');
        if (!reason)
            continue;
        *reason++ = '\0';
        reason[strcspn(reason, "\n")] = '\0';
        device_table_quarantine(agent->devices, line, reason);
    }
    if (file)
        fclose(file);
}

/* ---- proofs ---- */

static int prove(struct agent *agent, const struct device_row *row, struct sl_failure *why)
{
    char device[DEVICE_ID_BYTES + 16];
    snprintf(device, sizeof device, "%s:%s", device_kind_word(row->kind), row->device_id);
    const char *const arguments[] = {"--prove", device, NULL};
    struct worker_process worker;
    struct worker_costs costs;
    int code = worker_process_start(agent->worker, arguments, &worker, why);
    if (code)
        return code;
    code = worker_process_ready(&worker, WORKER_START_NS, why);
    worker_process_reap(&worker, code && code != SL_EUNREACH ? 0 : WORKER_EXIT_NS, &costs);
    if (code == SL_EUNREACH)
        code = worker_process_explain(&costs, why);
    return code;
}

static struct proof *proof_of(struct healer *healer, const char *device_id)
{
    struct proof *empty = NULL;
    for (int i = 0; i < NODE_DEVICES_MAX; i++) {
        if (strcmp(healer->proofs[i].device_id, device_id) == 0)
            return &healer->proofs[i];
        if (!healer->proofs[i].device_id[0] && !empty)
            empty = &healer->proofs[i];
    }
    if (!empty)
        return NULL;
    snprintf(empty->device_id, sizeof empty->device_id, "%s", device_id);
    empty->wait_ns = healer->agent->options.config.prove_after_ns;
    empty->at_ns = sl_now_ns() + empty->wait_ns;
    return empty;
}

/* Devices that are trusted, or gone, need no proof. */
static void proofs_drop(struct healer *healer, const struct device_row *rows, int32_t count)
{
    for (int p = 0; p < NODE_DEVICES_MAX; p++) {
        bool ill = false;
        for (int32_t i = 0; i < count; i++)
            ill =
                ill || (strcmp(rows[i].device_id, healer->proofs[p].device_id) == 0 &&
                        (rows[i].health == HEALTH_QUARANTINED || rows[i].health == HEALTH_PROVING));
        if (!ill)
            healer->proofs[p] = (struct proof){0};
    }
}

static void proof_run(struct healer *healer, const struct device_row *row, struct proof *proof)
{
    struct agent *agent = healer->agent;
    struct sl_failure why = {0};
    struct hal_claim claim;
    /* Else a lease that is refused the session that this one has would teach too low a limit. */
    device_table_hold(agent->devices, row->device_id, &claim);
    int code = prove(agent, row, &why);
    device_table_release(agent->devices, &claim);
    int64_t now_ns = sl_now_ns();
    if (code == SL_OK) {
        device_table_note(agent->devices, row->device_id, SL_OK, NULL);
        proof->wait_ns = agent->options.config.prove_after_ns;
        proof->at_ns = now_ns + PROOF_AGAIN_NS;
        return;
    }
    /* Whatever keeps it from passing, a session of somebody else's aside, speaks against it. */
    if (code == SL_ESESSIONS) {
        proof->at_ns = now_ns + proof->wait_ns;
        return;
    }
    int64_t longer_ns = proof->wait_ns * 2 < PROOF_MAX_NS ? proof->wait_ns * 2 : PROOF_MAX_NS;
    sl_warn(NULL, "device %s stays quarantined: %s; the next golden chunk comes in %d s",
            row->device_id, why.message, (int)(longer_ns / SL_NS_PER_S));
    device_table_note(agent->devices, row->device_id,
                      sl_error_class(code) == SL_CLASS_DEVICE ? code : SL_EENCODE, why.message);
    proof->wait_ns = longer_ns;
    proof->at_ns = sl_now_ns() + longer_ns;
}

/* Does what is due; when the next is. */
static int64_t proofs_step(struct healer *healer)
{
    struct device_row rows[NODE_DEVICES_MAX];
    int64_t next_ns = INT64_MAX;
    int32_t count = device_table_rows(healer->agent->devices, rows);
    proofs_drop(healer, rows, count);
    state_keep(healer, rows, count);
    for (int32_t i = 0; i < count; i++) {
        const struct device_row *row = &rows[i];
        if (row->health != HEALTH_QUARANTINED &&
            (row->health != HEALTH_PROVING || row->sessions_in_use > 0))
            continue;
        struct proof *proof = proof_of(healer, row->device_id);
        if (!proof)
            continue;
        if (sl_now_ns() >= proof->at_ns) {
            proof_run(healer, row, proof);
            return 0; /* rows have changed */
        }
        if (proof->at_ns < next_ns)
            next_ns = proof->at_ns;
    }
    return next_ns;
}

void *agent_healer(void *arg)
{
    struct healer healer = {.agent = arg};
    struct agent *agent = arg;
    pthread_mutex_lock(&agent->lock);
    while (!agent->quit) {
        pthread_mutex_unlock(&agent->lock);
        int64_t next_ns = proofs_step(&healer);
        pthread_mutex_lock(&agent->lock);
        int64_t now_ns = sl_now_ns();
        if (agent->quit || next_ns <= now_ns)
            continue;
        if (next_ns == INT64_MAX)
            pthread_cond_wait(&agent->changed, &agent->lock);
        else
            agent_pause(agent, next_ns - now_ns);
    }
    pthread_mutex_unlock(&agent->lock);
    return NULL;
}
