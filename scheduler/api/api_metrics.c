/* GET /metrics, and what is counted of every answer for it. */
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "scheduler/api/api_http.h"

/* ---- traffic ---- */

void api_traffic_add(struct api_request *request, int status)
{
    struct api_traffic *traffic = &request->api->traffic;
    size_t row = request->route ? (size_t)(request->route - api_routes) : api_route_count;
    int column = 0;
    pthread_mutex_lock(&traffic->lock);
    while (column < API_STATUSES_MAX - 1 && traffic->statuses[column] != 0 &&
           traffic->statuses[column] != status)
        column++;
    traffic->statuses[column] = status;
    traffic->routes[row].answers[column]++;
    api_histogram_add(&traffic->routes[row].duration, sl_now_ns() - request->began_ns);
    pthread_mutex_unlock(&traffic->lock);
}

/* "{path...}" is "{path}" outside of the table. */
static void route_labels(size_t row, char *text, size_t bytes)
{
    if (row == api_route_count) {
        snprintf(text, bytes, "method=\"\",route=\"none\"");
        return;
    }
    const char *pattern = api_routes[row].pattern;
    const char *dots = strstr(pattern, "...");
    int before = dots ? (int)(dots - pattern) : (int)strlen(pattern);
    snprintf(text, bytes, "method=\"%s\",route=\"%.*s%s\"", api_routes[row].method, before, pattern,
             dots ? dots + 3 : "");
}

/* ---- the text ---- */

static void metric(struct sl_buf *out, const char *name, const char *type, const char *help,
                   int64_t value)
{
    sl_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %lld\n", name, help, name, type, name,
                  (long long)value);
}

static void histogram_head(struct sl_buf *out, const char *name, const char *help)
{
    sl_buf_printf(out, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
}

/* labels: "" or "a=\"b\"". */
static void histogram_rows(struct sl_buf *out, const char *name, const char *labels,
                           const struct api_histogram *histogram)
{
    int64_t sum = 0;
    double bound = (double)API_BUCKET_FIRST_NS / 1e9;
    const char *open = labels[0] ? "{" : "", *close = labels[0] ? "}" : "";
    const char *comma = labels[0] ? "," : "";
    for (int i = 0; i < API_BUCKETS; i++, bound *= 2) {
        sum += histogram->counts[i];
        sl_buf_printf(out, "%s_bucket{%s%sle=\"%g\"} %lld\n", name, labels, comma, bound,
                      (long long)sum);
    }
    sum += histogram->counts[API_BUCKETS];
    sl_buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %lld\n%s_sum%s%s%s %.9g\n%s_count%s%s%s %lld\n",
                  name, labels, comma, (long long)sum, name, open, labels, close,
                  (double)histogram->sum_ns / 1e9, name, open, labels, close, (long long)sum);
}

static void metric_histogram(struct sl_buf *out, const char *name, const char *help,
                             const struct api_histogram *histogram)
{
    histogram_head(out, name, help);
    histogram_rows(out, name, "", histogram);
}

static void traffic_write(struct sl_buf *out, struct api *api)
{
    struct api_traffic *traffic = &api->traffic;
    char labels[160];
    int64_t open, late, turned_away;
    pthread_mutex_lock(&traffic->lock);
    sl_buf_text(out, "# HELP sluice_http_requests_total HTTP requests answered, by route and "
                     "status.\n# TYPE sluice_http_requests_total counter\n");
    for (size_t row = 0; row <= api_route_count; row++) {
        route_labels(row, labels, sizeof labels);
        for (int i = 0; i < API_STATUSES_MAX; i++)
            if (traffic->routes[row].answers[i])
                sl_buf_printf(out, "sluice_http_requests_total{%s,status=\"%d\"} %lld\n", labels,
                              traffic->statuses[i], (long long)traffic->routes[row].answers[i]);
    }
    histogram_head(out, "sluice_http_request_seconds",
                   "From a request's last header to the begin of its answer, by route.");
    for (size_t row = 0; row <= api_route_count; row++) {
        const struct api_histogram *duration = &traffic->routes[row].duration;
        route_labels(row, labels, sizeof labels);
        int64_t count = 0;
        for (int i = 0; i <= API_BUCKETS; i++)
            count += duration->counts[i];
        if (count)
            histogram_rows(out, "sluice_http_request_seconds", labels, duration);
    }
    pthread_mutex_unlock(&traffic->lock);
    api_guard_counts(api->guard, &open, &late, &turned_away);
    metric(out, "sluice_http_connections", "gauge", "HTTP connections open.", open);
    metric(out, "sluice_http_late_total", "counter",
           "Connections cut off because a request came too slowly.", late);
    metric(out, "sluice_http_turned_away_total", "counter",
           "Connections refused because their address had too many.", turned_away);
    metric(out, "sluice_http_followers", "gauge", "Clients that follow the events.",
           atomic_load(&api->streams));
}

static void kind_rows(struct sl_buf *out, const char *name, const char *help,
                      const struct api_metrics *m, int64_t (*value)(const struct api_kind *))
{
    sl_buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
    for (int i = 0; i < DEVICE_KIND_COUNT; i++)
        sl_buf_printf(out, "%s{kind=\"%s\"} %lld\n", name, device_kind_word((enum device_kind)i),
                      (long long)value(&m->kinds[i]));
}

static int64_t kind_queued(const struct api_kind *kind)
{
    return kind->queued;
}

static int64_t kind_running(const struct api_kind *kind)
{
    return kind->running;
}

static int64_t kind_devices(const struct api_kind *kind)
{
    return kind->devices;
}

static int64_t kind_sessions(const struct api_kind *kind)
{
    return kind->sessions;
}

static int64_t kind_limit(const struct api_kind *kind)
{
    return kind->session_limit;
}

static int64_t kind_wait(const struct api_kind *kind)
{
    return kind->wait_ns / SL_NS_PER_S;
}

static void kinds_write(struct sl_buf *out, const struct api_metrics *m)
{
    kind_rows(out, "sluice_encodes_queued", "Encodes that wait for a device, by its kind.", m,
              kind_queued);
    kind_rows(out, "sluice_encodes_running", "Encodes leased to a device, by its kind.", m,
              kind_running);
    kind_rows(out, "sluice_encode_wait_seconds",
              "How long what is queued and running will take, as far as throughput is known.", m,
              kind_wait);
    kind_rows(out, "sluice_encode_devices", "Devices that encode and take work.", m, kind_devices);
    kind_rows(out, "sluice_sessions_in_use", "Encoder sessions of leases; of CPUs, the leases.", m,
              kind_sessions);
    kind_rows(out, "sluice_session_limit",
              "Encoder sessions that devices with a known limit have together.", m, kind_limit);
}

/* ---- devices ---- */

static void label_put(struct sl_buf *out, const char *name, const char *text)
{
    json_t *value = api_text(text); /* valid UTF-8 in any case */
    sl_buf_printf(out, "%s=\"", name);
    for (const char *c = json_string_value(value); c && *c; c++)
        if (*c == '"' || *c == '\\')
            sl_buf_printf(out, "\\%c", *c);
        else
            sl_buf_append(out, (unsigned char)*c < ' ' ? " " : c, 1);
    sl_buf_text(out, "\"");
    json_decref(value);
}

static void device_labels(struct sl_buf *out, const char *name, const struct api_node *node,
                          const struct device_row *row)
{
    sl_buf_printf(out, "%s{", name);
    label_put(out, "node", node->name);
    label_put(out, ",node_id", node->uuid);
    label_put(out, ",device", row->device_id);
    sl_buf_printf(out, ",kind=\"%s\"", device_kind_word(row->kind));
}

/* What devices of nodes that are there say: false where it is not known. */
struct device_metric {
    const char *name, *help;
    bool (*value)(const struct device_row *row, double *out);
};

static bool known(int64_t value, double scale, double *out)
{
    *out = (double)value * scale;
    return value >= 0;
}

static bool device_busy(const struct device_row *row, double *out)
{
    return known(row->telemetry.busy_percent, 0.01, out);
}

static bool device_encoder(const struct device_row *row, double *out)
{
    return known(row->telemetry.encoder_percent, 0.01, out);
}

static bool device_decoder(const struct device_row *row, double *out)
{
    return known(row->telemetry.decoder_percent, 0.01, out);
}

static bool device_memory(const struct device_row *row, double *out)
{
    return known(row->telemetry.memory_used_bytes, 1, out);
}

static bool device_temperature(const struct device_row *row, double *out)
{
    return known(row->telemetry.temperature_c, 1, out);
}

static bool device_power(const struct device_row *row, double *out)
{
    return known(row->telemetry.power_mw, 0.001, out);
}

static bool device_sessions(const struct device_row *row, double *out)
{
    return known(row->sessions_in_use, 1, out);
}

static const struct device_metric device_metrics[] = {
    {"sluice_device_busy_ratio", "Of a device's time, that it worked; of CPUs, of all of them.",
     device_busy},
    {"sluice_device_encoder_busy_ratio", "Of the time of its encode engines.", device_encoder},
    {"sluice_device_decoder_busy_ratio", "Of the time of its decode engines.", device_decoder},
    {"sluice_device_memory_used_bytes", "Of its memory, by all programs.", device_memory},
    {"sluice_device_temperature_celsius", "As its driver says.", device_temperature},
    {"sluice_device_power_watts", "As its driver says.", device_power},
    {"sluice_device_sessions", "Encoder sessions of leases.", device_sessions},
};

static void device_metric_write(struct sl_buf *out, const struct api_call *call,
                                const struct device_metric *what)
{
    sl_buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n", what->name, what->help, what->name);
    for (int32_t i = 0; i < call->node_count; i++)
        for (int32_t d = 0; d < call->nodes[i].device_count; d++) {
            const struct device_row *row = &call->nodes[i].devices[d];
            double value;
            if (call->nodes[i].state == NODE_LOST || !what->value(row, &value))
                continue;
            device_labels(out, what->name, &call->nodes[i], row);
            sl_buf_printf(out, "} %.15g\n", value);
        }
}

static void device_health_write(struct sl_buf *out, const struct api_call *call)
{
    static const char name[] = "sluice_device_health";
    sl_buf_printf(out, "# HELP %s 1 for the state that a device is in.\n# TYPE %s gauge\n", name,
                  name);
    for (int32_t i = 0; i < call->node_count; i++)
        for (int32_t d = 0; d < call->nodes[i].device_count; d++)
            for (int state = 0; state < HEALTH_COUNT && call->nodes[i].state != NODE_LOST;
                 state++) {
                const struct device_row *row = &call->nodes[i].devices[d];
                device_labels(out, name, &call->nodes[i], row);
                sl_buf_printf(out, ",state=\"%s\"} %d\n",
                              device_health_word((enum device_health)state),
                              row->health == (enum device_health)state);
            }
}

static void devices_write(struct sl_buf *out, const struct api_call *call)
{
    for (size_t i = 0; i < sizeof device_metrics / sizeof *device_metrics; i++)
        device_metric_write(out, call, &device_metrics[i]);
    device_health_write(out, call);
}

void api_metrics_show(struct api_request *request)
{
    struct api_call *call = api_call_new(API_CALL_METRICS);
    if (!api_ask(request, &call))
        return;
    struct api_call *nodes = api_call_new(API_CALL_NODES);
    if (!api_ask(request, &nodes)) {
        api_call_free(&call);
        return;
    }
    const struct api_metrics *m = call->metrics;
    struct sl_buf out = {0};
    sl_buf_text(&out, "# HELP sluice_tasks_queued Tasks ready to be leased, by priority.\n"
                      "# TYPE sluice_tasks_queued gauge\n");
    for (int i = 0; i < PRIORITY_COUNT; i++)
        sl_buf_printf(&out, "sluice_tasks_queued{priority=\"%s\"} %lld\n",
                      priority_word((enum priority)i), (long long)m->by_priority[i]);
    sl_buf_text(&out, "# HELP sluice_nodes Nodes known, by state.\n# TYPE sluice_nodes gauge\n");
    for (int i = 0; i < NODE_STATE_COUNT; i++)
        sl_buf_printf(&out, "sluice_nodes{state=\"%s\"} %lld\n",
                      node_state_word((enum node_state)i), (long long)m->nodes[i]);
    kinds_write(&out, m);
    devices_write(&out, nodes);
    api_call_free(&nodes);
    metric(&out, "sluice_tasks_waiting", "gauge", "Tasks that wait for other steps.", m->waiting);
    metric(&out, "sluice_tasks_running", "gauge", "Tasks leased to a node.", m->running);
    metric(&out, "sluice_tasks_dead", "gauge", "Tasks in the dead-letter queue.", m->dead);
    metric(&out, "sluice_videos_live", "gauge", "Videos that are not finished.", m->videos_live);
    metric(&out, "sluice_grants_total", "counter", "Leases granted.", m->grants);
    metric(&out, "sluice_completions_total", "counter", "Leases completed.", m->completions);
    metric(&out, "sluice_failures_total", "counter", "Leases that failed.", m->failures);
    metric(&out, "sluice_lapses_total", "counter", "Leases that lapsed.", m->lapses);
    metric(&out, "sluice_stale_total", "counter", "Tokens refused as stale.", m->stale);
    metric(&out, "sluice_syncs_total", "counter", "Syncs taken.", m->syncs);
    metric(&out, "sluice_syncs_refused_total", "counter", "Syncs refused.", m->syncs_refused);
    metric(&out, "sluice_syncs_parked", "gauge", "Syncs that wait for work.", m->syncs_parked);
    metric(&out, "sluice_inbox_refused_total", "counter", "Requests turned away: too many waited.",
           m->inbox_refused);
    metric(&out, "sluice_commit_retries_total", "counter", "Commits that had to be repeated.",
           m->commit_retries);
    metric_histogram(&out, "sluice_queue_wait_seconds", "From ready to leased.", &m->queue_wait);
    metric_histogram(&out, "sluice_commit_seconds", "Duration of a batch's commit.", &m->commit);
    traffic_write(&out, request->api);
    api_call_free(&call);
    api_reply_text(request, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &out);
}
