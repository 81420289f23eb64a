#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <libavcodec/avcodec.h>
#include <libavutil/error.h>

#include "tests/drivers/drive.h"

/* Two pictures more than libavcodec holds back before it gives the first packet. */
#define PICTURES 10

static const struct drive_ask plain = {.codec_name = "hevc_nvenc",
                                       .device = "0",
                                       .format = AV_PIX_FMT_NV12,
                                       .width = 160,
                                       .height = 96,
                                       .pictures = PICTURES};

/* A folder for what processes share, new for each test. */
static const char *state_make(void)
{
    static char folder[64];
    mkdir("build/tmp", 0755);
    strcpy(folder, "build/tmp/standin-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static void state_remove(const char *folder)
{
    char path[128];
    snprintf(path, sizeof path, "%s/nvenc.state", folder);
    unlink(path);
    rmdir(folder);
}

static void assert_whole(const struct drive_answer *answer, int pictures)
{
    assert_int_equal(answer->status, 0);
    assert_int_equal(answer->device_rc, 0);
    assert_int_equal(answer->open_rc, 0);
    assert_int_equal(answer->send_rc, 0);
    assert_int_equal(answer->drain_rc, 0);
    assert_int_equal(answer->packets, pictures);
    assert_int_equal(answer->decoded, pictures);
    assert_int_equal(answer->empty, 0);
    assert_int_equal(answer->other, 0);
}

static void pictures_come_back(struct drive_ask ask)
{
    struct drive_answer answer = drive_run(&ask);
    print_message("%s %s %dx%d%s%s\n", ask.codec_name,
                  ask.format == AV_PIX_FMT_NV12 ? "8" : "10/planar", ask.width, ask.height,
                  ask.device ? "" : ", no context", ask.surfaces ? ", surfaces" : "");
    assert_whole(&answer, ask.pictures * (ask.threads ? ask.threads : 1));
}

static void test_what_was_sent_comes_back(void **state)
{
    (void)state;
    static const enum AVPixelFormat formats[] = {AV_PIX_FMT_NV12, AV_PIX_FMT_YUV420P,
                                                 AV_PIX_FMT_P010LE};
    static const char *const libraries[] = {"h264_nvenc", "hevc_nvenc", "av1_nvenc"};
    for (int l = 0; l < 3; l++) {
        if (!avcodec_find_encoder_by_name(libraries[l])) {
            print_message("this libavcodec has no %s\n", libraries[l]);
            continue;
        }
        for (int f = 0; f < 3; f++)
            for (int way = 0; way < 3; way++) {
                struct drive_ask ask = plain;
                ask.codec_name = libraries[l];
                ask.format = formats[f];
                ask.device = way ? "0" : NULL;
                ask.surfaces = way == 2;
                ask.b_frames = way;
                if (l == 0 && f == 2)
                    continue; /* H.264 of ten bits */
                if (l == 2 && f == 1)
                    continue;
                pictures_come_back(ask);
            }
    }
}

static void test_odd_sizes_and_threads(void **state)
{
    (void)state;
    struct drive_ask ask = plain;
    ask.width = 642;
    ask.height = 362;
    pictures_come_back(ask);
    ask.surfaces = true;
    ask.codec_name = "h264_nvenc";
    pictures_come_back(ask);
    ask = plain;
    ask.threads = 8;
    pictures_come_back(ask);
}

static void test_key_frames_come_where_they_are_forced(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct drive_ask ask = plain;
        ask.codec_name = i ? "h264_nvenc" : "hevc_nvenc";
        ask.key_every = 4;
        struct drive_answer answer = drive_run(&ask);
        assert_whole(&answer, PICTURES);
        assert_int_equal(answer.keys, 3);
    }
}

static void test_a_worker_can_use_it_in_its_sandbox(void **state)
{
    (void)state;
    const char *folder = state_make();
    struct drive_ask ask = plain;
    ask.sandbox = true;
    ask.state = folder;
    ask.surfaces = true;
    pictures_come_back(ask);
    assert_int_equal(drive_stat(folder, 0, "pictures"), PICTURES);
    assert_int_equal(drive_stat(folder, 0, "sessions"), 0);
    state_remove(folder);
}

/* What libavcodec answers to each fault; codes as in tests/standin/README.md. */
static void test_faults_read_as_the_vendor_s_do(void **state)
{
    (void)state;
    static const struct {
        const char *faults;
        bool half;
        int device_rc, with_context, without;
    } rows[] = {
        {"limit=0", false, 0, AVERROR(ENOMEM), AVERROR_EXTERNAL},
        {"limit=0,limit_code=21", false, 0, AVERROR(EINVAL), AVERROR_EXTERNAL},
        {"no_engine", false, 0, AVERROR(ENOSYS), AVERROR_EXTERNAL},
        {"no_h265", false, 0, AVERROR(ENOSYS), AVERROR_EXTERNAL},
        {"old_driver", false, 0, AVERROR(ENOSYS), AVERROR(ENOSYS)},
        {"cuinit=100", false, AVERROR_EXTERNAL, 0, AVERROR_UNKNOWN},
        {"nonsense", false, AVERROR_EXTERNAL, 0, AVERROR_UNKNOWN},
        {"", true, 0, AVERROR(EPERM), AVERROR(EPERM)},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct drive_ask ask = plain;
        ask.faults = rows[i].faults;
        ask.half = rows[i].half;
        struct drive_answer answer = drive_run(&ask);
        print_message("%s: %d %d\n", rows[i].faults, answer.device_rc, answer.open_rc);
        assert_int_equal(answer.status, 0);
        assert_int_equal(answer.device_rc, rows[i].device_rc);
        assert_int_equal(answer.open_rc, rows[i].with_context);
        ask.device = NULL;
        answer = drive_run(&ask);
        print_message("%s, no context: %d\n", rows[i].faults, answer.open_rc);
        assert_int_equal(answer.open_rc, rows[i].without);
    }
}

static void test_faults_hit_their_device_alone(void **state)
{
    (void)state;
    struct drive_ask ask = plain;
    ask.devices = "2";
    ask.faults = "no_engine@1";
    struct drive_answer answer = drive_run(&ask);
    assert_whole(&answer, PICTURES);
    ask.device = "1";
    assert_int_equal(drive_run(&ask).open_rc, AVERROR(ENOSYS));
    ask.device = "0";
    ask.visible = "1"; /* the only one that this process sees */
    assert_int_equal(drive_run(&ask).open_rc, AVERROR(ENOSYS));
    ask.device = "2";
    ask.visible = NULL;
    assert_int_equal(drive_run(&ask).device_rc, AVERROR_EXTERNAL);
}

static void test_a_lost_device_stays_lost_for_those_who_had_it(void **state)
{
    (void)state;
    const char *folder = state_make();
    struct drive_ask ask = plain, other = plain;
    struct drive drive;
    struct drive_answer answer;
    ask.state = other.state = folder;
    ask.faults = other.faults = "lost:15:1s";
    /* One that holds the device when another loses it. */
    ask.hold_picture = 6;
    drive_start(&ask, &drive);
    drive_wait_held(&drive);
    answer = drive_run(&other); /* its tenth picture is the device's fifteenth */
    assert_int_equal(answer.send_rc, AVERROR(EIO));
    assert_int_equal(answer.drain_rc, AVERROR(EIO));
    assert_int_equal(drive_stat(folder, 0, "lost"), 1);
    drive_go(&drive);
    drive_finish(&drive, &answer);
    assert_int_equal(answer.status, 0);
    assert_int_equal(answer.send_rc, AVERROR(EIO));
    /* Gone for a second, then as new. */
    answer = drive_run(&other);
    assert_int_equal(answer.device_rc, AVERROR_EXTERNAL);
    nanosleep(&(struct timespec){1, 50000000}, NULL);
    answer = drive_run(&other);
    assert_whole(&answer, PICTURES);
    assert_int_equal(drive_stat(folder, 0, "lost"), 1);
    assert_int_equal(drive_stat(folder, 0, "sessions"), 0);
    state_remove(folder);
}

static void test_a_hang_ends_with_its_process_and_frees_its_session(void **state)
{
    (void)state;
    const char *folder = state_make();
    struct drive_ask ask = plain;
    struct drive drive;
    struct drive_answer answer;
    ask.state = folder;
    ask.faults = "hang:5,limit=1";
    drive_start(&ask, &drive);
    for (int i = 0; i < 200 && drive_stat(folder, 0, "hung") != 1; i++)
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    assert_int_equal(drive_stat(folder, 0, "hung"), 1);
    assert_int_equal(drive_stat(folder, 0, "sessions"), 1);
    answer = drive_run(&ask);
    assert_int_equal(answer.open_rc, AVERROR(ENOMEM));
    assert_int_equal(drive_stat(folder, 0, "refused"), 1);
    kill(drive.pid, SIGKILL);
    drive_finish(&drive, &answer);
    assert_int_equal(answer.status, SIGKILL);
    assert_int_equal(drive_stat(folder, 0, "sessions"), 0);
    answer = drive_run(&ask);
    assert_whole(&answer, PICTURES);
    state_remove(folder);
}

static void test_sessions_are_counted_over_all_processes(void **state)
{
    (void)state;
    const char *folder = state_make();
    struct drive drives[4];
    struct drive_answer answer;
    struct drive_ask asks[4];
    for (int scope = 0; scope < 2; scope++) {
        for (int i = 0; i < 4; i++) {
            asks[i] = plain;
            asks[i].state = folder;
            asks[i].devices = "2";
            asks[i].device = i % 2 ? "1" : "0";
            asks[i].faults = scope ? "limit=1,limit_scope=device" : "limit=2";
            asks[i].hold_picture = 2;
        }
        /* Two take what there is, in one on each device; the others find it taken. */
        for (int i = 0; i < 2; i++) {
            drive_start(&asks[i], &drives[i]);
            drive_wait_held(&drives[i]);
        }
        for (int i = 2; i < 4; i++)
            assert_int_equal(drive_run(&asks[i]).open_rc, AVERROR(ENOMEM));
        for (int i = 0; i < 2; i++) {
            drive_go(&drives[i]);
            drive_finish(&drives[i], &answer);
            assert_whole(&answer, PICTURES);
        }
    }
    assert_int_equal(drive_stat(folder, -1, "sessions"), 0);
    assert_int_equal(drive_stat(folder, -1, "sessions_high"), 2);
    assert_int_equal(drive_stat(folder, 1, "sessions_high"), 1);
    assert_int_equal(drive_stat(folder, 1, "refused"), 2);
    state_remove(folder);
}

static void test_wrong_output_can_be_told_from_right(void **state)
{
    (void)state;
    struct drive_ask ask = plain;
    ask.faults = "wrong:3-5";
    struct drive_answer answer = drive_run(&ask);
    assert_int_equal(answer.packets, PICTURES);
    assert_true(answer.other >= 3);
    ask.faults = "wrong:3-5:drop";
    answer = drive_run(&ask);
    assert_int_equal(answer.empty, 3);
    ask.faults = "wrong:3:garbage";
    answer = drive_run(&ask);
    assert_int_equal(answer.packets, PICTURES);
    assert_true(answer.decoded - answer.other <= 3);
}

static void test_crashes_at_probe(void **state)
{
    (void)state;
    struct drive_ask ask = plain;
    ask.faults = "crash_at_init";
    assert_int_equal(drive_run(&ask).status & 0x7f, SIGSEGV);
    ask.faults = "crash_at_open";
    assert_int_equal(drive_run(&ask).status & 0x7f, SIGSEGV);
}

static void test_small_pictures_and_b_frames_are_refused_where_asked(void **state)
{
    (void)state;
    struct drive_ask ask = plain;
    ask.width = ask.height = 64;
    ask.faults = "real_sizes";
    assert_int_equal(drive_run(&ask).open_rc, AVERROR(EINVAL));
    ask = plain;
    ask.b_frames = 2;
    ask.faults = "no_b";
    assert_int_equal(drive_run(&ask).open_rc, AVERROR(ENOSYS));
    ask = plain;
    ask.format = AV_PIX_FMT_P010LE;
    ask.faults = "no_ten";
    assert_int_equal(drive_run(&ask).open_rc, AVERROR(ENOSYS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_sent_comes_back),
        cmocka_unit_test(test_odd_sizes_and_threads),
        cmocka_unit_test(test_key_frames_come_where_they_are_forced),
        cmocka_unit_test(test_a_worker_can_use_it_in_its_sandbox),
        cmocka_unit_test(test_faults_read_as_the_vendor_s_do),
        cmocka_unit_test(test_faults_hit_their_device_alone),
        cmocka_unit_test(test_a_lost_device_stays_lost_for_those_who_had_it),
        cmocka_unit_test(test_a_hang_ends_with_its_process_and_frees_its_session),
        cmocka_unit_test(test_sessions_are_counted_over_all_processes),
        cmocka_unit_test(test_wrong_output_can_be_told_from_right),
        cmocka_unit_test(test_crashes_at_probe),
        cmocka_unit_test(test_small_pictures_and_b_frames_are_refused_where_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
