/* Leases of a node on its devices: who gets which, how many sessions, and what is learned of limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hal/hal_table.h"

#define SECOND INT64_C(1000000000)

static struct device_row gpu(const char *id, int32_t limit, enum session_scope scope)
{
    struct device_row row = {.kind = DEVICE_NVENC,
                             .encodes = 1u << CODEC_H264 | 1u << CODEC_H265,
                             .encodes_ten_bit = 1u << CODEC_H265,
                             .session_limit = limit,
                             .session_scope = scope,
                             .standin = true};
    snprintf(row.device_id, sizeof row.device_id, "%s", id);
    snprintf(row.driver, sizeof row.driver, "a driver");
    return row;
}

static struct hal_table table_of(const struct device_row *rows, int32_t count)
{
    struct hal_table table = {0};
    hal_table_fill(&table, rows, count, NULL, 0);
    return table;
}

static struct hal_claim claim_of(struct hal_table *table, int32_t wanted)
{
    struct hal_claim claim;
    struct sl_failure why = {0};
    if (hal_table_claim(table, 0, CODEC_H265, "nvenc", wanted, NULL, &claim, &why))
        fail_msg("%s", why.message);
    return claim;
}

static void test_rows_become_devices_with_the_encoders_of_their_kind(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("g", 0, SCOPE_NONE),
                                {.device_id = "cpu",
                                 .kind = DEVICE_CPU,
                                 .cpus = 4,
                                 .memory_bytes = 5,
                                 .encodes = 1u << CODEC_H264 | 1u << CODEC_AV1}};
    struct hal_table table = table_of(rows, 2);
    struct sl_failure why = {0};
    struct hal_claim claim;
    assert_int_equal(table.count, 2);
    assert_int_equal(hal_table_claim(&table, 0, CODEC_AV1, "svtav1", 3, NULL, &claim, &why), SL_OK);
    assert_string_equal(claim.device_id, "cpu");
    assert_int_equal(claim.sessions, 3);
    assert_int_equal(hal_table_claim(&table, 0, CODEC_AV1, "nvenc", 3, NULL, &claim, &why),
                     SL_ENOENCODER);
    assert_int_equal(hal_table_claim(&table, 0, CODEC_H265, "x265", 3, NULL, &claim, &why),
                     SL_ENOENCODER);
    struct device_row out[NODE_DEVICES_MAX];
    hal_table_rows(&table, out);
    assert_int_equal(out[0].encodes, rows[0].encodes);
    assert_int_equal(out[0].encodes_ten_bit, rows[0].encodes_ten_bit);
    assert_true(out[0].standin);
    assert_string_equal(out[0].driver, "a driver");
    assert_int_equal(out[1].sessions_in_use, 3);
    assert_int_equal(out[1].cpus, 4);
    assert_int_equal(out[1].memory_bytes, 5);
}

static void test_leases_share_two_devices_and_never_pass_a_limit(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("a", 3, SCOPE_DEVICE), gpu("b", 3, SCOPE_DEVICE)};
    struct hal_table table = table_of(rows, 2);
    struct hal_claim first = claim_of(&table, 4), second = claim_of(&table, 2);
    assert_string_equal(first.device_id, "a");
    assert_int_equal(first.sessions, 3); /* of the four rungs; the worker does them in passes */
    assert_string_equal(second.device_id, "b");
    struct hal_claim third = claim_of(&table, 4), none;
    assert_string_equal(third.device_id, "b");
    assert_int_equal(third.sessions, 1);
    struct sl_failure why = {0};
    assert_int_equal(hal_table_claim(&table, 0, CODEC_H265, "nvenc", 1, NULL, &none, &why),
                     SL_ESESSIONS);
    assert_int_equal(sl_error_class(why.code), SL_CLASS_CAPACITY);
    hal_table_release(&table, &first);
    hal_table_release(&table, &first); /* once is enough */
    assert_string_equal(claim_of(&table, 1).device_id, "a");
}

static void test_a_limit_of_the_system_counts_all_devices(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("a", 5, SCOPE_SYSTEM), gpu("b", 5, SCOPE_SYSTEM)};
    struct hal_table table = table_of(rows, 2);
    claim_of(&table, 3);
    struct hal_claim second = claim_of(&table, 3), none;
    assert_string_equal(second.device_id, "b");
    assert_int_equal(second.sessions, 2);
    assert_true(second.system_wide);
    assert_int_equal(hal_table_claim(&table, 0, CODEC_H265, "nvenc", 1, NULL, &none, NULL),
                     SL_ESESSIONS);
}

static void test_a_limit_is_learned_and_forgotten(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("a", 0, SCOPE_SYSTEM), gpu("b", 0, SCOPE_SYSTEM)};
    struct hal_table table = table_of(rows, 2);
    struct hal_claim first = claim_of(&table, 4), second = claim_of(&table, 4), third;
    hal_table_refused(&table, 0, &second, 1);
    assert_int_equal(table.devices[0].sessions.limit, 5);
    assert_int_equal(table.devices[1].sessions.limit, 5);
    assert_int_equal(table.devices[1].sessions.source, HAL_LIMIT_LEARNED);
    hal_table_release(&table, &second);
    second = claim_of(&table, 4);
    assert_int_equal(second.sessions, 1);
    hal_table_release(&table, &first);
    hal_table_release(&table, &second);
    /* Probed again, what was learned stays; after a while it is tried anew. */
    hal_table_fill(&table, rows, 2, NULL, 0);
    assert_int_equal(
        hal_table_claim(&table, HAL_LEARNED_NS - 1, CODEC_H265, "nvenc", 9, NULL, &third, NULL),
        SL_OK);
    assert_int_equal(third.sessions, 5);
    hal_table_release(&table, &third);
    hal_table_claim(&table, HAL_LEARNED_NS, CODEC_H265, "nvenc", 9, NULL, &third, NULL);
    assert_int_equal(third.sessions, 9);
    /* A refusal with nothing of ours open is about somebody else's sessions. */
    hal_table_refused(&table, 0, &third, 0);
    assert_int_equal(table.devices[0].sessions.limit, 0);
}

/* Two leases want four sessions each of a driver that has three in all; each gets what the other left. */
static void test_what_is_learned_comes_down_to_the_true_limit_and_not_below(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("a", 0, SCOPE_SYSTEM), gpu("b", 0, SCOPE_SYSTEM)};
    struct hal_table table = table_of(rows, 2);
    for (int round = 0; round < 4; round++) {
        struct hal_claim first = {0}, second = {0};
        hal_table_claim(&table, 0, CODEC_H265, "nvenc", 4, NULL, &first, NULL);
        int code = hal_table_claim(&table, 0, CODEC_H265, "nvenc", 4, NULL, &second, NULL);
        int32_t got = first.sessions < 2 ? first.sessions : 2, left = 3 - got;
        if (code == SL_OK && second.sessions < left)
            got += left - second.sessions;
        if (code != SL_OK)
            got = first.sessions < 3 ? first.sessions : 3;
        if (got < first.sessions)
            hal_table_refused(&table, 0, &first, got);
        hal_table_release(&table, &first);
        if (code == SL_OK && second.sessions > left)
            hal_table_refused(&table, 0, &second, left);
        hal_table_release(&table, &second);
        assert_true(table.devices[0].sessions.limit >= 3);
    }
    assert_int_equal(table.devices[0].sessions.limit, 3);
    assert_int_equal(table.devices[1].sessions.limit, 3);
}

static void test_a_proof_counts_beside_what_leases_open(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("g", 0, SCOPE_SYSTEM), gpu("ill", 0, SCOPE_SYSTEM)};
    struct hal_table table = table_of(rows, 2);
    struct hal_claim proof, none;
    struct hal_device *ill = hal_table_find(&table, "ill");
    hal_table_note(&table, ill, NULL, SL_EHANG, "no answer");
    hal_table_hold(&table, "ill", &proof);
    assert_string_equal(proof.device_id, "ill");
    struct hal_claim lease = claim_of(&table, 4);
    assert_string_equal(lease.device_id, "g");
    hal_table_refused(&table, 0, &lease, 2); /* of three that there are */
    assert_int_equal(hal_table_find(&table, "g")->sessions.limit, 3);
    hal_table_release(&table, &lease);
    hal_table_release(&table, &proof);
    assert_int_equal(ill->sessions.in_use, 0);
    hal_table_hold(&table, "gone", &none);
    assert_string_equal(none.device_id, "");
    hal_table_release(&table, &none);
}

static void test_a_later_probe_gives_encoders_to_a_device_that_had_none(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("a", 0, SCOPE_NONE), gpu("b", 0, SCOPE_NONE)};
    struct device_row later[] = {rows[0], rows[1], gpu("new", 0, SCOPE_NONE)};
    rows[1].encodes = rows[1].encodes_ten_bit = 0;
    rows[1].decodes = 1u << CODEC_H264;
    later[0].encodes = 1u << CODEC_H264; /* what is known stays */
    struct hal_table table = table_of(rows, 2);
    struct hal_claim held = claim_of(&table, 2);
    struct device_row out[NODE_DEVICES_MAX];
    hal_table_note(&table, hal_table_find(&table, "b"), NULL, SL_EDEVICELOST, "gone");
    assert_false(hal_table_encoders_take(&table, rows, 2));
    assert_true(hal_table_encoders_take(&table, later, 3));
    assert_false(hal_table_encoders_take(&table, later, 3));
    hal_table_rows(&table, out);
    assert_int_equal(table.count, 2);
    assert_int_equal(out[0].encodes, rows[0].encodes);
    assert_int_equal(out[0].sessions_in_use, 2);
    assert_int_equal(out[1].encodes, later[1].encodes);
    assert_int_equal(out[1].encodes_ten_bit, later[1].encodes_ten_bit);
    assert_int_equal(out[1].health, HEALTH_QUARANTINED);
    hal_table_release(&table, &held);
}

static void test_settings_limit_and_disable(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("a", 8, SCOPE_DEVICE), gpu("b", 0, SCOPE_NONE),
                                gpu("c", 0, SCOPE_NONE)};
    struct device_setting settings[] = {
        {.device = "b", .sessions = 2}, {.device = "c", .disable = true}, {"nvenc", 6, false}};
    struct hal_table table = {0};
    hal_table_fill(&table, rows, 3, settings, 3);
    assert_int_equal(table.count, 2);
    assert_int_equal(table.devices[0].sessions.limit, 6);
    assert_int_equal(table.devices[1].sessions.limit, 2);
    struct hal_claim first = claim_of(&table, 4), second = claim_of(&table, 4);
    assert_string_equal(second.device_id, "b");
    assert_int_equal(second.sessions, 2);
    hal_table_refused(&table, 0, &second, 1); /* what a person said holds */
    assert_int_equal(table.devices[1].sessions.limit, 2);
    assert_int_equal(first.sessions, 4);
}

static void test_a_device_that_knows_the_video_is_preferred_among_equals(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("a", 0, SCOPE_NONE), gpu("b", 0, SCOPE_NONE)};
    struct hal_table table = table_of(rows, 2);
    struct hal_claim claim, more;
    hal_table_claim(&table, 0, CODEC_H264, "nvenc", 1, "b", &claim, NULL);
    assert_string_equal(claim.device_id, "b");
    hal_table_claim(&table, 0, CODEC_H264, "nvenc", 1, "b", &more, NULL);
    assert_string_equal(more.device_id, "a");
    hal_table_release(&table, &claim);
    hal_table_release(&table, &more);
    hal_health_note(hal_table_find(&table, "b"), SL_EENCODE, "x");
    hal_table_claim(&table, 0, CODEC_H264, "nvenc", 1, "b", &claim, NULL);
    assert_string_equal(claim.device_id, "a");
}

static void test_health_outlives_a_probe_and_a_proving_device_gets_one_session(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("a", 8, SCOPE_DEVICE)};
    struct hal_table table = table_of(rows, 1);
    struct sl_failure why = {0};
    struct hal_claim claim;
    hal_health_note(&table.devices[0], SL_EDEVICELOST, "gone");
    hal_table_fill(&table, rows, 1, NULL, 0);
    assert_int_equal(hal_table_claim(&table, 0, CODEC_H264, "nvenc", 4, "a", &claim, &why),
                     SL_EDEVICELOST);
    assert_non_null(strstr(why.message, "quarantined"));
    hal_health_note(&table.devices[0], SL_OK, NULL);
    claim = claim_of(&table, 4);
    assert_int_equal(claim.sessions, 1);
    assert_int_equal(hal_table_claim(&table, 0, CODEC_H264, "nvenc", 4, "a", &claim, &why),
                     SL_ESESSIONS);
}

static void test_telemetry_is_of_the_device_named(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("a", 8, SCOPE_DEVICE), gpu("b", 8, SCOPE_DEVICE)};
    struct hal_table table = table_of(rows, 2);
    struct device_row told[] = {gpu("gone", 0, SCOPE_NONE), gpu("b", 0, SCOPE_NONE)};
    struct device_row out[NODE_DEVICES_MAX];
    told[1].telemetry = (struct device_telemetry){90, 80, -1, 70, 60, 50};
    hal_table_telemetry(&table, told, 2);
    hal_table_rows(&table, out);
    assert_memory_equal(&out[0].telemetry, &rows[0].telemetry, sizeof out[0].telemetry);
    assert_memory_equal(&out[1].telemetry, &told[1].telemetry, sizeof out[1].telemetry);
    assert_int_equal(out[1].session_limit, 8);
}

static void test_leases_from_before_a_fault_do_not_bring_a_device_back(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("g", 8, SCOPE_DEVICE)};
    struct hal_table table = table_of(rows, 1);
    struct hal_device *device = hal_table_find(&table, "g");
    struct hal_claim before[6];
    for (int i = 0; i < 6; i++)
        before[i] = claim_of(&table, 1);
    assert_int_equal(hal_table_note(&table, device, &before[0], SL_EMISMATCH, "grey"),
                     HEALTH_QUARANTINED);
    hal_table_release(&table, &before[0]);
    for (int i = 1; i < 6; i++) {
        assert_int_equal(hal_table_note(&table, device, &before[i], SL_OK, NULL),
                         HEALTH_QUARANTINED);
        hal_table_release(&table, &before[i]);
    }
    assert_int_equal(hal_table_note(&table, device, NULL, SL_OK, NULL), HEALTH_PROVING);
    for (int i = 0; i < 3; i++) {
        struct hal_claim after = claim_of(&table, 1);
        hal_table_note(&table, device, &after, SL_OK, NULL);
        hal_table_release(&table, &after);
    }
    assert_int_equal(device->health, HEALTH_HEALTHY);
}

static void test_a_claim_on_a_device_that_went_away_is_released_into_nothing(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("a", 8, SCOPE_DEVICE), gpu("b", 8, SCOPE_DEVICE)};
    struct hal_table table = table_of(rows, 2);
    struct hal_claim first = claim_of(&table, 4), second = claim_of(&table, 4);
    hal_table_fill(&table, rows + 1, 1, NULL, 0);
    hal_table_refused(&table, SECOND, &first, 1);
    hal_table_release(&table, &first);
    assert_int_equal(table.devices[0].sessions.in_use, 4);
    hal_table_release(&table, &second);
    assert_int_equal(table.devices[0].sessions.in_use, 0);
}

static struct device_row engineless(const char *id)
{
    struct device_row row = gpu(id, 0, SCOPE_NONE);
    row.encodes = row.encodes_ten_bit = 0;
    row.decodes = 1u << CODEC_H264;
    row.vram_bytes = 2 * HAL_FEED_BYTES;
    return row;
}

static enum device_feed feed_of(const struct hal_table *table, int32_t at)
{
    struct device_row rows[NODE_DEVICES_MAX];
    hal_table_rows(table, rows);
    return rows[at].feed;
}

static void speeds_tell(struct hal_table *table, const char *device_id, double ratio)
{
    struct hal_speed items[2] = {{.feed = HAL_SPEED_ALONE, .total_mpix_per_s = 100},
                                 {.feed = HAL_SPEED_FED, .total_mpix_per_s = 100 * ratio}};
    struct hal_speeds speeds = {items, 2};
    for (int i = 0; i < 2; i++) {
        snprintf(items[i].device_id, sizeof items[i].device_id, "%s", device_id);
        snprintf(items[i].driver, sizeof items[i].driver, "a driver");
    }
    hal_table_speeds(table, &speeds);
}

static void test_a_gpu_feeds_cpus_when_that_was_measured_to_be_faster(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("a", 0, SCOPE_NONE), engineless("b")};
    struct hal_table table = table_of(rows, 2);
    struct hal_claim claim;
    assert_int_equal(feed_of(&table, 0), FEED_NONE); /* it has work of its own */
    assert_int_equal(feed_of(&table, 1), FEED_UNMEASURED);
    assert_false(hal_table_feed(&table, NULL, &claim));
    speeds_tell(&table, "b", 1.04);
    assert_int_equal(feed_of(&table, 1), FEED_SLOWER);
    assert_false(hal_table_feed(&table, NULL, &claim));
    speeds_tell(&table, "b", 1.05);
    assert_int_equal(feed_of(&table, 1), FEED_FASTER);
    assert_true(hal_table_feed(&table, NULL, &claim));
    assert_string_equal(claim.device_id, "b");
    assert_true(claim.feeds);
    assert_int_equal(claim.sessions, 0);
    /* Ill, it feeds nobody, and nobody but its proof brings it back. */
    hal_table_note(&table, &table.devices[1], &claim, SL_EDEVICELOST, "gone");
    hal_table_release(&table, &claim);
    assert_false(hal_table_feed(&table, NULL, &claim));
    assert_false(claim.device_id[0]);
    /* One that turns out to encode has work of its own from then on. */
    struct device_row later = gpu("b", 0, SCOPE_NONE);
    assert_true(hal_table_encoders_take(&table, &later, 1));
    assert_int_equal(feed_of(&table, 1), FEED_NONE);
}

static void test_feeding_is_spread_and_bounded_by_memory(void **state)
{
    (void)state;
    struct device_setting settings[] = {{.device = "nvenc", .feed = FEED_ALWAYS},
                                        {.device = "c", .feed = FEED_NEVER}};
    struct device_row rows[] = {engineless("a"), engineless("b"), engineless("c")};
    struct hal_table table = {0};
    struct hal_claim claims[5];
    static const char *const order[] = {"b", "a", "a", "b"}; /* b is preferred among equals */
    hal_table_fill(&table, rows, 3, settings, 2);
    assert_int_equal(feed_of(&table, 0), FEED_ALWAYS);
    assert_int_equal(feed_of(&table, 2), FEED_NEVER);
    for (int i = 0; i < 4; i++) {
        assert_true(hal_table_feed(&table, i == 0 ? "b" : "", &claims[i]));
        assert_string_equal(claims[i].device_id, order[i]);
    }
    assert_false(hal_table_feed(&table, "a", &claims[4])); /* two contexts fit into each */
    hal_table_release(&table, &claims[1]);
    assert_true(hal_table_feed(&table, "b", &claims[4]));
    assert_string_equal(claims[4].device_id, "a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_become_devices_with_the_encoders_of_their_kind),
        cmocka_unit_test(test_leases_share_two_devices_and_never_pass_a_limit),
        cmocka_unit_test(test_a_limit_of_the_system_counts_all_devices),
        cmocka_unit_test(test_a_limit_is_learned_and_forgotten),
        cmocka_unit_test(test_what_is_learned_comes_down_to_the_true_limit_and_not_below),
        cmocka_unit_test(test_a_proof_counts_beside_what_leases_open),
        cmocka_unit_test(test_a_later_probe_gives_encoders_to_a_device_that_had_none),
        cmocka_unit_test(test_settings_limit_and_disable),
        cmocka_unit_test(test_a_device_that_knows_the_video_is_preferred_among_equals),
        cmocka_unit_test(test_health_outlives_a_probe_and_a_proving_device_gets_one_session),
        cmocka_unit_test(test_telemetry_is_of_the_device_named),
        cmocka_unit_test(test_leases_from_before_a_fault_do_not_bring_a_device_back),
        cmocka_unit_test(test_a_claim_on_a_device_that_went_away_is_released_into_nothing),
        cmocka_unit_test(test_a_gpu_feeds_cpus_when_that_was_measured_to_be_faster),
        cmocka_unit_test(test_feeding_is_spread_and_bounded_by_memory),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
