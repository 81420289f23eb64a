#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "config/config.h"

static struct config config;
static struct config_mistakes mistakes;
static char folder[64];
static char secret_path[128];

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/sluice-config-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(secret_path, sizeof secret_path, "%s/secret", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(secret_path);
    return rmdir(folder);
}

static void expect(const char *text, const char *lines)
{
    struct sl_buf buf = {0};
    int rc = config_parse("s.yaml", text, strlen(text), &config, &mistakes);
    sl_buf_text(&buf, "");
    config_mistakes_print("s.yaml", &mistakes, &buf);
    assert_string_equal((const char *)buf.data, lines);
    assert_int_equal(rc, *lines ? SL_EINVAL : SL_OK);
    sl_buf_fini(&buf);
}

static void secret_write(const char *bytes, size_t length, mode_t mode)
{
    unlink(secret_path);
    int fd = open(secret_path, O_CREAT | O_WRONLY | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, length), length);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void expect_secret(const char *message)
{
    char text[256], lines[512] = "";
    snprintf(text, sizeof text, "farm:\n  secret_file: %s\n", secret_path);
    if (*message)
        snprintf(lines, sizeof lines, "s.yaml:2:16: farm.secret_file: %s%s\n", secret_path,
                 message);
    expect(text, lines);
}

static void expect_defaults(void)
{
    struct config fallback;
    config_default(&fallback);
    const struct config_daemon *a = &config.daemon, *b = &fallback.daemon;
    assert_string_equal(a->http_host, b->http_host);
    assert_int_equal(a->http_port, b->http_port);
    assert_string_equal(a->wire_url, b->wire_url);
    assert_string_equal(a->store_url, b->store_url);
    assert_string_equal(a->policy_dir, b->policy_dir);
    assert_int_equal(a->lease_timeout_ns, b->lease_timeout_ns);
    assert_int_equal(a->renew_interval_ns, b->renew_interval_ns);
    assert_int_equal(a->retry_base_ns, b->retry_base_ns);
    assert_int_equal(a->retry_max_ns, b->retry_max_ns);
    assert_int_equal(a->attempts_max, b->attempts_max);
    assert_memory_equal(a->aging_ns, b->aging_ns, sizeof a->aging_ns);
    assert_memory_equal(&a->limits, &b->limits, sizeof a->limits);
    assert_int_equal(a->upload_bytes_max, b->upload_bytes_max);
    assert_memory_equal(&a->api, &b->api, sizeof a->api);
    const struct config_agent *c = &config.agent, *d = &fallback.agent;
    assert_int_equal(c->cpus, d->cpus);
    assert_int_equal(c->memory_bytes, d->memory_bytes);
    assert_int_equal(c->cache_bytes_max, d->cache_bytes_max);
    assert_int_equal(c->objects_http, d->objects_http);
    assert_int_equal(c->spot, d->spot);
    assert_int_equal(c->give_up_ns, d->give_up_ns);
    assert_int_equal(c->device_count, d->device_count);
    assert_int_equal(a->farm.secret_bytes + c->farm.secret_bytes, 0);
}

static void test_empty_file_is_the_defaults(void **state)
{
    (void)state;
    expect("", "");
    expect_defaults();
    expect("farm:\ndaemon:\nagent: {}\n", "");
    expect_defaults();
    assert_string_equal(config.daemon.http_host, "127.0.0.1");
    assert_int_equal(config.daemon.http_port, 8800);
    assert_string_equal(config.daemon.wire_url, "tcp://127.0.0.1:8801");
    assert_string_equal(config.daemon.store_url, "");
    assert_int_equal(config.daemon.lease_timeout_ns, SL_S_TO_NS(12));
    assert_int_equal(config.daemon.renew_interval_ns, SL_S_TO_NS(3));
    assert_int_equal(config.agent.give_up_ns, SL_S_TO_NS(600));
    assert_false(config.agent.spot);
    assert_int_equal(config.daemon.farm.secret_bytes, 0);
}

static void test_shipped_example_is_the_defaults(void **state)
{
    (void)state;
    struct sl_buf buf = {0};
    assert_int_equal(config_file_read("config/examples/sluice.yaml", &buf, NULL), SL_OK);
    expect((const char *)buf.data, "");
    expect_defaults();
    sl_buf_fini(&buf);
}

static void test_every_key_is_read(void **state)
{
    (void)state;
    expect(
        "daemon:\n"
        "  http: \"[::1]:80\"\n"
        "  wire: ipc:///run/sluice.sock\n"
        "  store: file:///srv/media\n"
        "  policies: /etc/sluice/policies\n"
        "  lease: {timeout: 30s, renew: 5s}\n"
        "  retry: {base: 1s, max: 1m, attempts: 7}\n"
        "  aging: {low: 1s, normal: 2s, high: 3s, urgent: 4s}\n"
        "  upload_max: 5G\n"
        "  api: {tokens: /t, loopback_tokens: true, loopback_limits: true, connections: 99,\n"
        "    connections_per_address: 7, header_timeout: 2s, body_timeout: 3s, idle_timeout: 4s,\n"
        "    body_max: 64K, rate: 5, burst: 6}\n"
        "agent: {cpus: 3, memory: 4G, cache: 512M, objects: http, spot: true, give_up: 1m,\n"
        "  pools: {av1: 2, h265: 5},\n"
        "  devices: {nvenc: {sessions: 8, feed: never}, GPU-1: {disable: true, feed: measured}, "
        "/dev/dri/renderD128: }}\n",
        "");
    const struct config_daemon *daemon = &config.daemon;
    assert_string_equal(daemon->http_host, "::1");
    assert_int_equal(daemon->http_port, 80);
    assert_string_equal(daemon->wire_url, "ipc:///run/sluice.sock");
    assert_string_equal(daemon->store_url, "file:///srv/media");
    assert_string_equal(daemon->policy_dir, "/etc/sluice/policies");
    assert_int_equal(daemon->lease_timeout_ns, SL_S_TO_NS(30));
    assert_int_equal(daemon->renew_interval_ns, SL_S_TO_NS(5));
    assert_int_equal(daemon->retry_base_ns, SL_S_TO_NS(1));
    assert_int_equal(daemon->retry_max_ns, SL_S_TO_NS(60));
    assert_int_equal(daemon->attempts_max, 7);
    for (int i = 0; i < PRIORITY_COUNT; i++)
        assert_int_equal(daemon->aging_ns[i], SL_S_TO_NS(i + 1));
    assert_int_equal(daemon->upload_bytes_max, INT64_C(5) << 30);
    const struct config_api *api = &daemon->api;
    assert_string_equal(api->tokens_file, "/t");
    assert_true(api->tokens_on_loopback && api->limits_on_loopback);
    assert_int_equal(api->connections, 99);
    assert_int_equal(api->connections_per_address, 7);
    assert_int_equal(api->header_timeout_ns, SL_S_TO_NS(2));
    assert_int_equal(api->body_timeout_ns, SL_S_TO_NS(3));
    assert_int_equal(api->idle_timeout_ns, SL_S_TO_NS(4));
    assert_int_equal(api->body_bytes_max, 64 << 10);
    assert_int_equal(api->rate, 5);
    assert_int_equal(api->burst, 6);
    const struct config_agent *agent = &config.agent;
    assert_int_equal(agent->cpus, 3);
    assert_int_equal(agent->memory_bytes, INT64_C(4) << 30);
    assert_int_equal(agent->cache_bytes_max, INT64_C(512) << 20);
    assert_true(agent->objects_http);
    assert_true(agent->spot);
    assert_int_equal(agent->pools[CODEC_AV1], 2);
    assert_int_equal(agent->pools[CODEC_H265], 5);
    assert_int_equal(agent->pools[CODEC_H264], 0);
    assert_int_equal(agent->give_up_ns, SL_S_TO_NS(60));
    assert_int_equal(agent->device_count, 3);
    assert_string_equal(agent->devices[0].device, "nvenc");
    assert_int_equal(agent->devices[0].sessions, 8);
    assert_false(agent->devices[0].disable);
    assert_int_equal(agent->devices[0].feed, FEED_NEVER);
    assert_int_equal(agent->devices[1].feed, FEED_UNMEASURED);
    assert_int_equal(agent->devices[2].feed, FEED_NONE);
    assert_string_equal(agent->devices[1].device, "GPU-1");
    assert_int_equal(agent->devices[1].sessions, 0);
    assert_true(agent->devices[1].disable);
    assert_string_equal(agent->devices[2].device, "/dev/dri/renderD128");
}

static void test_settings_of_devices_are_explained(void **state)
{
    (void)state;
    expect("agent:\n  devices: [nvenc]\n",
           "s.yaml:2:12: agent.devices: expected a mapping of devices as sluice hw names them, or "
           "of nvenc or vaapi, like nvenc: {sessions: 8}\n");
    expect("agent:\n  devices:\n    cpu: {sessions: 2}\n    nvenc: {session: 0}\n"
           "    vaapi: {sessions: 0}\n",
           "s.yaml:3:10: agent.devices.cpu: the CPU serves every step and has no sessions; "
           "agent.cpus says how many CPUs are used\n"
           "s.yaml:4:13: agent.devices.nvenc.session: unknown key; did you mean sessions? valid "
           "keys are sessions, disable, feed\n"
           "s.yaml:5:23: agent.devices.vaapi.sessions: \"0\"; expected a whole number from 1 to "
           "1024\n");
    expect("agent:\n  devices:\n    nvenc: {feed: sometimes}\n    vaapi: {feed: always}\n"
           "    /dev/dri/renderD128: {feed: never}\n",
           "s.yaml:3:19: agent.devices.nvenc.feed: \"sometimes\"; expected one of measured, "
           "always, never\n"
           "s.yaml:4:19: agent.devices.vaapi.feed: only NVIDIA GPUs decode and scale for CPUs\n"
           "s.yaml:5:33: agent.devices./dev/dri/renderD128.feed: only NVIDIA GPUs decode and "
           "scale for CPUs\n");
}

static void test_limits_of_the_interface_are_held_to_their_ranges(void **state)
{
    (void)state;
    expect(
        "daemon:\n"
        "  api:\n"
        "    rate: -1\n"
        "    header_timeout: 1ms\n"
        "    tokens: here\n"
        "    loopback_tokens: true\n",
        "s.yaml:5:13: daemon.api.tokens: \"here\"; expected the absolute path of a file, or \"\" "
        "for "
        "none\n"
        "s.yaml:4:21: daemon.api.header_timeout: \"1ms\"; expected a duration from 500ms to 5m, "
        "like "
        "500ms, 6s, 2m or 1h\n"
        "s.yaml:3:11: daemon.api.rate: \"-1\"; expected a whole number from 0 to 1000000\n"
        "s.yaml:6:22: daemon.api.loopback_tokens: true, and there is no file of tokens; expected "
        "daemon.api.tokens beside it\n");
}

static void test_limits_are_read_and_held_to_their_ranges(void **state)
{
    (void)state;
    expect("limits:\n  pixels: 1000\n  duration: 90m\n  memory: 2G\n  probe_time: 5s\n", "");
    assert_int_equal(config.daemon.limits.pixels, 1000);
    assert_int_equal(config.daemon.limits.duration, SL_S_TO_NS(5400));
    assert_int_equal(config.daemon.limits.memory, INT64_C(2) << 30);
    assert_int_equal(config.daemon.limits.probe_time, SL_S_TO_NS(5));
    assert_int_equal(config.daemon.limits.width, 8192);
    expect("limits:\n  pixel: 1000\n  streams: 0\n  cpu: 1s\n  output_file: 1K\n",
           "s.yaml:2:3: limits.pixel: unknown key; did you mean pixels? valid keys are width, "
           "height, pixels, streams, packets, frames, duration, probe_time, probe_memory, memory, "
           "cpu, output_file, descriptors\n"
           "s.yaml:3:12: limits.streams: \"0\"; expected a whole number from 1 to 1000\n"
           "s.yaml:4:8: limits.cpu: \"1s\"; expected a duration from 10s to 30d, like 500ms, 6s, "
           "2m or "
           "1h\n"
           "s.yaml:5:16: limits.output_file: \"1K\"; expected a size from 1M to 1T, like 512M or "
           "100G\n");
}

static void test_mistakes_of_every_section_are_told_at_once(void **state)
{
    (void)state;
    expect(
        "deamon: {}\n"
        "daemon:\n"
        "  http: 8800\n"
        "  wire: http://x:1\n"
        "  store: s3://bucket\n"
        "  policies: here\n"
        "  upload_max: 12X\n"
        "agent:\n"
        "  spot: yes\n"
        "  objects: htp\n"
        "  cache: 1K\n"
        "  memory: 99999999999999999T\n",
        "s.yaml:1:1: deamon: unknown key; did you mean daemon? valid keys are farm, daemon, "
        "agent, limits\n"
        "s.yaml:3:9: daemon.http: \"8800\"; expected ADDRESS:PORT, like 127.0.0.1:8800 or "
        "[::1]:8800\n"
        "s.yaml:4:9: daemon.wire: \"http://x:1\"; expected tcp://ADDRESS:PORT or ipc:///PATH\n"
        "s.yaml:5:10: daemon.store: \"s3://bucket\"; expected file:///PATH, or \"\" for the data "
        "folder\n"
        "s.yaml:6:13: daemon.policies: \"here\"; expected the absolute path of a folder, or \"\" "
        "for none\n"
        "s.yaml:7:15: daemon.upload_max: \"12X\"; expected a size from 1M to 16T, like 512M or "
        "100G\n"
        "s.yaml:12:11: agent.memory: \"99999999999999999T\"; expected a size from 0 to 64T, like "
        "512M or 100G\n"
        "s.yaml:11:10: agent.cache: \"1K\"; expected a size from 64M to 64T, like 512M or 100G\n"
        "s.yaml:10:12: agent.objects: \"htp\"; did you mean http? expected one of auto, http\n"
        "s.yaml:9:9: agent.spot: \"yes\"; expected one of false, true\n");
}

static void test_addresses_are_held_to_their_form(void **state)
{
    (void)state;
    static const char *const bad[] = {":80",       "host:",       "host:65536", "host:8x",
                                      "[::1:80",   "[]:80",       "a b:80",     "host:-1",
                                      "[::1]x:80", "host:000080", "::1:80",     "[zz]:80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[128];
        snprintf(text, sizeof text, "daemon: {http: \"%s\"}\n", bad[i]);
        int rc = config_parse("s", text, strlen(text), &config, &mistakes);
        if (rc != SL_EINVAL)
            print_error("%s was taken\n", bad[i]);
        assert_int_equal(rc, SL_EINVAL);
    }
    expect("daemon: {http: \"farm-1.example.org:0\"}\n", "");
    assert_string_equal(config.daemon.http_host, "farm-1.example.org");
    assert_int_equal(config.daemon.http_port, 0);
}

static void test_values_that_contradict_each_other_are_mistakes(void **state)
{
    (void)state;
    expect("daemon: {lease: {timeout: 4s, renew: 3s}}\n",
           "s.yaml:1:38: daemon.lease.renew: renewing every 3 s keeps no lease of 4 s; renew at "
           "most half of timeout would be valid\n");
    expect("daemon: {lease: {timeout: 4s}}\n",
           "s.yaml:1:27: daemon.lease.timeout: renewing every 3 s keeps no lease of 4 s; renew at "
           "most half of timeout would be valid\n");
    expect("daemon: {retry: {base: 2m, max: 1m}}\n",
           "s.yaml:1:33: daemon.retry.max: max 60 s is below base 120 s; max of base or more would "
           "be valid\n");
    expect("daemon: {aging: {high: 1m}}\n",
           "s.yaml:1:24: daemon.aging.high: high has 60 s and normal has 600 s; a higher priority "
           "needs no shorter head start\n");
}

static void test_secret_is_read_for_both(void **state)
{
    (void)state;
    secret_write("0123456789abcdef\r\n", 18, 0600);
    expect_secret("");
    assert_int_equal(config.daemon.farm.secret_bytes, 16);
    assert_memory_equal(config.daemon.farm.secret, "0123456789abcdef", 16);
    assert_memory_equal(&config.daemon.farm, &config.agent.farm, sizeof config.agent.farm);
    char longest[66];
    memset(longest, 's', 64);
    longest[64] = '\n';
    secret_write(longest, 65, 0400);
    expect_secret("");
    assert_int_equal(config.agent.farm.secret_bytes, 64);
}

static void test_unsafe_secrets_are_refused(void **state)
{
    (void)state;
    unlink(secret_path);
    expect_secret(": No such file or directory; it must hold the farm's secret and be readable by "
                  "this user");
    secret_write("0123456789abcdef", 16, 0640);
    expect_secret(" may be read or written by others (mode 640); run chmod 600 on it");
    secret_write("0123456789abcdef", 16, 0602);
    expect_secret(" may be read or written by others (mode 602); run chmod 600 on it");
    secret_write("0123456789abcde\n", 16, 0600);
    expect_secret(
        " holds fewer bytes than a secret may have; 16 to 64 bytes and a newline are valid");
    char large[100];
    memset(large, 's', sizeof large);
    secret_write(large, 65, 0600);
    expect_secret(
        " holds more bytes than a secret may have; 16 to 64 bytes and a newline are valid");
    secret_write(large, 100, 0600);
    expect_secret(
        " holds more bytes than a secret may have; 16 to 64 bytes and a newline are valid");
    /* A pipe must not hold the daemon up. */
    unlink(secret_path);
    assert_int_equal(mkfifo(secret_path, 0600), 0);
    expect_secret(" is no regular file; it must hold the secret");
    expect("farm: {secret_file: farm.secret}\n",
           "s.yaml:1:21: farm.secret_file: \"farm.secret\"; expected an absolute path, or \"\" for "
           "none\n");
}

static void test_files_that_cannot_be_read_say_why(void **state)
{
    (void)state;
    struct sl_buf buf = {0};
    struct sl_failure why = {0};
    assert_int_equal(config_file_read("/nonexistent/x.yaml", &buf, &why), SL_ENOENT);
    assert_string_equal(why.message, "/nonexistent/x.yaml: No such file or directory");
    assert_int_equal(config_file_read(folder, &buf, &why), SL_EINVAL);
    assert_non_null(strstr(why.message, "no regular file"));
    char *large = calloc(1, CONFIG_BYTES_MAX + 1);
    assert_non_null(large);
    secret_write(large, CONFIG_BYTES_MAX + 1, 0600);
    assert_int_equal(config_file_read(secret_path, &buf, &why), SL_ETOOBIG);
    sl_buf_reset(&buf);
    secret_write(large, CONFIG_BYTES_MAX, 0600);
    assert_int_equal(config_file_read(secret_path, &buf, &why), SL_OK);
    assert_int_equal(buf.length, CONFIG_BYTES_MAX);
    free(large);
    sl_buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_file_is_the_defaults),
        cmocka_unit_test(test_shipped_example_is_the_defaults),
        cmocka_unit_test(test_settings_of_devices_are_explained),
        cmocka_unit_test(test_every_key_is_read),
        cmocka_unit_test(test_limits_of_the_interface_are_held_to_their_ranges),
        cmocka_unit_test(test_limits_are_read_and_held_to_their_ranges),
        cmocka_unit_test(test_mistakes_of_every_section_are_told_at_once),
        cmocka_unit_test(test_addresses_are_held_to_their_form),
        cmocka_unit_test(test_values_that_contradict_each_other_are_mistakes),
        cmocka_unit_test(test_secret_is_read_for_both),
        cmocka_unit_test(test_unsafe_secrets_are_refused),
        cmocka_unit_test(test_files_that_cannot_be_read_say_why),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
