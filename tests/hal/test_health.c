#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "hal/hal.h"

static struct hal_device fresh(void)
{
    return (struct hal_device){.device_id = "gpu0"};
}

static void test_a_fault_makes_a_healthy_device_suspect(void **state)
{
    (void)state;
    struct hal_device d = fresh();
    assert_int_equal(hal_health_note(&d, SL_EENCODE, "bad frame"), HEALTH_SUSPECT);
    assert_string_equal(d.health_reason, "encode_failed: bad frame");
}

static void test_three_faults_quarantine(void **state)
{
    (void)state;
    struct hal_device d = fresh();
    assert_int_equal(hal_health_note(&d, SL_EENCODE, NULL), HEALTH_SUSPECT);
    assert_int_equal(hal_health_note(&d, SL_EENCODE, NULL), HEALTH_SUSPECT);
    assert_int_equal(hal_health_note(&d, SL_EENCODE, NULL), HEALTH_QUARANTINED);
    /* Whatever still fails on it changes the reason alone. */
    assert_int_equal(hal_health_note(&d, SL_EHANG, "again"), HEALTH_QUARANTINED);
    assert_string_equal(d.health_reason, "hang: again");
}

static void test_a_lost_device_is_quarantined_at_once(void **state)
{
    (void)state;
    struct hal_device d = fresh();
    assert_int_equal(hal_health_note(&d, SL_EHANG, NULL), HEALTH_QUARANTINED);
    d = fresh();
    assert_int_equal(hal_health_note(&d, SL_EMISMATCH, "another picture"), HEALTH_QUARANTINED);
    d = fresh();
    assert_int_equal(hal_health_note(&d, SL_EDEVICELOST, "Xid 79"), HEALTH_QUARANTINED);
    assert_non_null(strstr(d.health_reason, "Xid 79"));
}

static void test_successes_in_a_row_clear_a_suspect(void **state)
{
    (void)state;
    struct hal_device d = fresh();
    hal_health_note(&d, SL_EENCODE, NULL);
    assert_int_equal(hal_health_note(&d, SL_OK, NULL), HEALTH_SUSPECT);
    assert_int_equal(hal_health_note(&d, SL_OK, NULL), HEALTH_SUSPECT);
    assert_int_equal(hal_health_note(&d, SL_EENCODE, NULL), HEALTH_SUSPECT); /* starts over */
    assert_int_equal(hal_health_note(&d, SL_OK, NULL), HEALTH_SUSPECT);
    assert_int_equal(hal_health_note(&d, SL_OK, NULL), HEALTH_SUSPECT);
    assert_int_equal(hal_health_note(&d, SL_OK, NULL), HEALTH_HEALTHY);
    assert_string_equal(d.health_reason, "");
    assert_int_equal(d.health_faults, 0);
}

static void test_quarantine_ends_through_proving(void **state)
{
    (void)state;
    struct hal_device d = fresh();
    hal_health_note(&d, SL_EDEVICELOST, NULL);
    assert_int_equal(hal_health_note(&d, SL_OK, NULL), HEALTH_PROVING);
    assert_int_equal(hal_health_note(&d, SL_OK, NULL), HEALTH_PROVING);
    assert_int_equal(hal_health_note(&d, SL_EENCODE, NULL), HEALTH_QUARANTINED);
    assert_int_equal(hal_health_note(&d, SL_OK, NULL), HEALTH_PROVING);
    for (int i = 0; i < 2; i++)
        assert_int_equal(hal_health_note(&d, SL_OK, NULL), HEALTH_PROVING);
    assert_int_equal(hal_health_note(&d, SL_OK, NULL), HEALTH_HEALTHY);
}

static void test_limits_parameters_and_input_say_nothing_about_a_device(void **state)
{
    (void)state;
    struct hal_device d = fresh();
    static const int codes[] = {SL_ESESSIONS, SL_ENOMEM,     SL_EINVAL,     SL_EDECODE, SL_ECRASH,
                                SL_EIO,       SL_ECANCELLED, SL_ENOENCODER, SL_ELOST,   SL_EFORMAT};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        assert_int_equal(hal_health_note(&d, codes[i], "x"), HEALTH_HEALTHY);
    assert_string_equal(d.health_reason, "");
}

/* Any order of outcomes keeps the invariants that hal_health.c asserts, and none is a dead end. */
static void test_random_outcomes_keep_the_invariants_and_heal(void **state)
{
    (void)state;
    const char *text = getenv("SLUICE_SEED");
    unsigned seed = text ? (unsigned)strtoul(text, NULL, 0) : (unsigned)time(NULL);
    print_message("SLUICE_SEED=%u\n", seed);
    static const int codes[] = {SL_OK,    SL_OK,          SL_OK,     SL_EENCODE,
                                SL_EHANG, SL_EDEVICELOST, SL_ENOMEM, SL_EVERIFY};
    for (int run = 0; run < 200; run++) {
        struct hal_device d = fresh();
        for (int i = 0; i < 200; i++)
            hal_health_note(&d, codes[(unsigned)rand_r(&seed) % 8], "detail");
        for (int i = 0; i < 5; i++)
            hal_health_note(&d, SL_OK, NULL);
        assert_int_equal(d.health, HEALTH_HEALTHY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fault_makes_a_healthy_device_suspect),
        cmocka_unit_test(test_three_faults_quarantine),
        cmocka_unit_test(test_a_lost_device_is_quarantined_at_once),
        cmocka_unit_test(test_successes_in_a_row_clear_a_suspect),
        cmocka_unit_test(test_quarantine_ends_through_proving),
        cmocka_unit_test(test_limits_parameters_and_input_say_nothing_about_a_device),
        cmocka_unit_test(test_random_outcomes_keep_the_invariants_and_heal),
    };
    return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
