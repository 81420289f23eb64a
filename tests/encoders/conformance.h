/* tests/encoders/conformance.h: what every encoder back end has to do, whoever made it.
 *
 * A test program probes a device, puts a struct conformance into cmocka's state and lists CONFORMANCE_TESTS.
 */
#ifndef SL_TESTS_ENCODERS_CONFORMANCE_H
#define SL_TESTS_ENCODERS_CONFORMANCE_H

#include "hal/hal.h"

struct conformance {
    const struct hal_backends *backends;
    struct hal_device device;
    const char *encoder;
    enum codec codec;
    /* How much of a decoder's buffer may be missing over noise; 0: 10, as the suite wants it. */
    int buffer_missing_percent;
    bool no_parameter_sets; /* VP9: every key frame tells all */
    const char *preset;     /* NULL: the encoder's own choice */
    bool labels; /* packets are hal_sim's labels: nothing to decode, rates mean nothing */
};

/* Fills device with the first one that has the encoder; false when there is none. */
bool conformance_find(struct conformance *c);

void test_every_frame_comes_back_once_with_its_time(void **state);
void test_variable_frame_rate_keeps_every_pts(void **state);
void test_key_frames_are_where_forced_and_nowhere_else(void **state);
void test_each_gop_decodes_alone(void **state);
void test_decode_times_rise_and_never_pass_presentation(void **state);
void test_reorder_depth_is_four_frames_at_most(void **state);
void test_parameter_sets_are_equal_in_two_sessions(void **state);
void test_a_single_frame_makes_a_single_packet(void **state);
void test_flush_without_frames_gives_nothing(void **state);
void test_flush_twice_is_flush_once_and_ends_the_input(void **state);
void test_a_failed_open_gives_the_session_back(void **state);
void test_impossible_parameters_are_refused(void **state);
void test_wrong_frames_are_refused(void **state);
void test_maxrate_holds_over_noise(void **state);
void test_two_sessions_run_in_parallel(void **state);
void test_pictures_look_like_what_went_in(void **state);
void test_ten_bit_pictures_look_like_what_went_in(void **state);
void test_a_hundred_sessions_leave_no_memory_behind(void **state);
void test_close_with_frames_inside_is_clean(void **state);

/* clang-format off */
#define CONFORMANCE_TESTS                                                       \
    cmocka_unit_test(test_every_frame_comes_back_once_with_its_time),           \
    cmocka_unit_test(test_variable_frame_rate_keeps_every_pts),                 \
    cmocka_unit_test(test_key_frames_are_where_forced_and_nowhere_else),        \
    cmocka_unit_test(test_each_gop_decodes_alone),                              \
    cmocka_unit_test(test_decode_times_rise_and_never_pass_presentation),       \
    cmocka_unit_test(test_reorder_depth_is_four_frames_at_most),                \
    cmocka_unit_test(test_parameter_sets_are_equal_in_two_sessions),            \
    cmocka_unit_test(test_a_single_frame_makes_a_single_packet),                \
    cmocka_unit_test(test_flush_without_frames_gives_nothing),                  \
    cmocka_unit_test(test_flush_twice_is_flush_once_and_ends_the_input),        \
    cmocka_unit_test(test_a_failed_open_gives_the_session_back),                \
    cmocka_unit_test(test_impossible_parameters_are_refused),                   \
    cmocka_unit_test(test_wrong_frames_are_refused),                            \
    cmocka_unit_test(test_maxrate_holds_over_noise),                            \
    cmocka_unit_test(test_two_sessions_run_in_parallel),                        \
    cmocka_unit_test(test_pictures_look_like_what_went_in),                     \
    cmocka_unit_test(test_ten_bit_pictures_look_like_what_went_in),             \
    cmocka_unit_test(test_a_hundred_sessions_leave_no_memory_behind),           \
    cmocka_unit_test(test_close_with_frames_inside_is_clean)
/* clang-format on */

#endif
