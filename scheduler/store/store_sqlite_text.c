#include "scheduler/store/store_sqlite_priv.h"

/* clang-format off */
#define VIDEO_COLUMNS \
    "id, provider, external_id, priority, status, name, policy_name, policy_text, " \
    "original_key, original_bytes, original_sha256, created_unix_ns, " \
    "started_unix_ns, completed_unix_ns, info, index_key, plan_key, version, " \
    "published_key, result, cancelled, steps_done, steps_skipped, failure_step, " \
    "failure_code, failure_message, stream_asked"

#define VIDEO_SETS \
    "provider = excluded.provider, external_id = excluded.external_id, " \
    "priority = excluded.priority, status = excluded.status, name = excluded.name, " \
    "policy_name = excluded.policy_name, policy_text = excluded.policy_text, " \
    "original_key = excluded.original_key, " \
    "original_bytes = excluded.original_bytes, " \
    "original_sha256 = excluded.original_sha256, " \
    "created_unix_ns = excluded.created_unix_ns, " \
    "started_unix_ns = excluded.started_unix_ns, " \
    "completed_unix_ns = excluded.completed_unix_ns, info = excluded.info, " \
    "index_key = excluded.index_key, plan_key = excluded.plan_key, " \
    "version = excluded.version, published_key = excluded.published_key, " \
    "result = excluded.result, cancelled = excluded.cancelled, " \
    "steps_done = excluded.steps_done, steps_skipped = excluded.steps_skipped, " \
    "failure_step = excluded.failure_step, failure_code = excluded.failure_code, " \
    "failure_message = excluded.failure_message, stream_asked = excluded.stream_asked"

#define VIDEO_MARKS \
    "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"

#define TASK_COLUMNS \
    "id, video, step, piece, wait_mask, codec, needs_codec, rank, cpu_millicores, " \
    "sessions, memory_bytes, vram_bytes, work_mpix, fetch_bytes, state, attempts, " \
    "losses, preroll, not_before_unix_ns, token, node, granted_unix_ns, avoid0, " \
    "avoid1, avoid2, avoid3, lost_nodes, failure_code, failure_message, finished_unix_ns, " \
    "entry, kind, lease_sessions"

#define TASK_SETS \
    "video = excluded.video, step = excluded.step, piece = excluded.piece, " \
    "wait_mask = excluded.wait_mask, codec = excluded.codec, " \
    "needs_codec = excluded.needs_codec, rank = excluded.rank, " \
    "cpu_millicores = excluded.cpu_millicores, sessions = excluded.sessions, " \
    "memory_bytes = excluded.memory_bytes, vram_bytes = excluded.vram_bytes, " \
    "work_mpix = excluded.work_mpix, fetch_bytes = excluded.fetch_bytes, " \
    "state = excluded.state, attempts = excluded.attempts, " \
    "losses = excluded.losses, preroll = excluded.preroll, " \
    "not_before_unix_ns = excluded.not_before_unix_ns, token = excluded.token, " \
    "node = excluded.node, granted_unix_ns = excluded.granted_unix_ns, " \
    "avoid0 = excluded.avoid0, avoid1 = excluded.avoid1, avoid2 = excluded.avoid2, " \
    "avoid3 = excluded.avoid3, lost_nodes = excluded.lost_nodes, " \
    "failure_code = excluded.failure_code, " \
    "failure_message = excluded.failure_message, entry = excluded.entry, " \
    "kind = excluded.kind, lease_sessions = excluded.lease_sessions, " \
    "finished_unix_ns = CASE WHEN tasks.finished_unix_ns <> 0 AND tasks.state = excluded.state" \
    " THEN tasks.finished_unix_ns ELSE excluded.finished_unix_ns END"

#define TASK_MARKS \
    "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, " \
    "?, ?, ?, ?, ?, ?, ?"

#define ROUTE_COLUMNS \
    "video, codec, count, kind0, longer_ns0, kind1, longer_ns1, kind2, longer_ns2, kind3, longer_ns3, " \
    "mix, ten_bit, cpu_millicores, sessions, memory_bytes, vram_bytes"

static const char *const texts[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    /* Upserts, never REPLACE: that would delete the old row and with it what refers to it. */
    [SQL_PUT_VIDEO] =
        "INSERT INTO videos(" VIDEO_COLUMNS ") VALUES(" VIDEO_MARKS ")"
        " ON CONFLICT(id) DO UPDATE SET " VIDEO_SETS,
    /* Nothing refers to a route. */
    [SQL_PUT_ROUTE] =
        "INSERT OR REPLACE INTO routes(" ROUTE_COLUMNS ")"
        " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [SQL_PUT_TASK] =
        "INSERT INTO tasks(" TASK_COLUMNS ") VALUES(" TASK_MARKS ")"
        " ON CONFLICT(id) DO UPDATE SET " TASK_SETS,
    [SQL_PUT_REPORT] =
        "INSERT INTO reports(task, bytes) VALUES(?, ?)"
        " ON CONFLICT(task) DO UPDATE SET bytes = excluded.bytes",
    [SQL_PUT_NODE] =
        "INSERT INTO nodes(id, uuid, name, spot, drain, drain_deadline_unix_ns)"
        " VALUES(?, ?, ?, ?, ?, ?)"
        " ON CONFLICT(id) DO UPDATE SET uuid = excluded.uuid, name = excluded.name,"
        " spot = excluded.spot, drain = excluded.drain,"
        " drain_deadline_unix_ns = excluded.drain_deadline_unix_ns",
    [SQL_PUT_COUNTERS] =
        "INSERT INTO counters(id, next_task, next_token, next_node) VALUES(1, ?, ?, ?)"
        " ON CONFLICT(id) DO UPDATE SET next_task = excluded.next_task,"
        " next_token = excluded.next_token, next_node = excluded.next_node",
    [SQL_DELETE_VIDEO] = "DELETE FROM videos WHERE id = ?",
    [SQL_DELETE_TASKS] = "DELETE FROM tasks WHERE video = ? AND ((1 << step) & ?) <> 0",
    [SQL_CLEAR_REPORTS] =
        "DELETE FROM reports WHERE task IN (SELECT id FROM tasks WHERE video = ?)",
    [SQL_PRUNE_TASKS] =
        "DELETE FROM tasks WHERE video IN"
        " (SELECT id FROM videos WHERE status = 5 ORDER BY id DESC LIMIT ?2 OFFSET ?1)",
    [SQL_PRUNE_ROUTES] =
        "DELETE FROM routes WHERE video IN"
        " (SELECT id FROM videos WHERE status = 5 ORDER BY id DESC LIMIT ?2 OFFSET ?1)",
    [SQL_LOAD_COUNTERS] = "SELECT next_task, next_token, next_node FROM counters",
    [SQL_WALK_NODES] =
        "SELECT id, uuid, name, spot, drain, drain_deadline_unix_ns FROM nodes ORDER BY id",
    /* 5 is VIDEO_READY, written out so that the partial index is used. */
    [SQL_WALK_LIVE_VIDEOS] =
        "SELECT " VIDEO_COLUMNS " FROM videos WHERE status <> 5 ORDER BY id",
    [SQL_WALK_ROUTES] = "SELECT " ROUTE_COLUMNS " FROM routes WHERE video = ? ORDER BY codec",
    [SQL_WALK_TASKS] = "SELECT " TASK_COLUMNS " FROM tasks WHERE video = ? ORDER BY id",
    [SQL_WALK_REPORTS] =
        "SELECT t.id, t.step, t.piece, r.bytes FROM tasks t JOIN reports r ON r.task = t.id"
        " WHERE t.video = ? ORDER BY t.id",
    [SQL_GET_VIDEO] = "SELECT " VIDEO_COLUMNS " FROM videos WHERE id = ?",
    /* The two IS NOT NULL let the partial index be used. */
    [SQL_FIND_EXTERNAL] =
        "SELECT id FROM videos WHERE provider = ? AND external_id = ?"
        " AND provider IS NOT NULL AND external_id IS NOT NULL",
    [SQL_GET_TASK] = "SELECT " TASK_COLUMNS " FROM tasks WHERE id = ?",
    [SQL_LIST_VIDEOS] =
        "SELECT " VIDEO_COLUMNS " FROM videos WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
    [SQL_LIST_VIDEOS_STATUS] =
        "SELECT " VIDEO_COLUMNS " FROM videos WHERE status = ?3 AND id < ?1"
        " ORDER BY id DESC LIMIT ?2",
    [SQL_COUNT_VIDEOS] = "SELECT status, count FROM video_counts",
    [SQL_GET_META] = "SELECT value FROM meta WHERE key = ?",
};
/* clang-format on */

const char *store_sqlite_text(enum store_sql sql)
{
    return texts[sql];
}
