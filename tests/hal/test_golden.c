/* The golden pictures are the same everywhere, and move. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hal/hal_golden.h"

static uint32_t sum_of(struct hal_golden *golden, int32_t number)
{
    const struct hal_frame *f = hal_golden_frame(golden, number);
    size_t wide = f->layout == HAL_I420_10 || f->layout == HAL_P010 ? 2 : 1;
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < (size_t)f->width * (size_t)f->height * 3 / 2 * wide; i++)
        hash = (hash ^ f->planes[0][i]) * 16777619u;
    return hash;
}

/* Another compiler, another machine, another year: the same pictures, since stored speeds and verdicts rest on them. */
static void test_pictures_are_the_same_everywhere(void **state)
{
    (void)state;
    struct hal_golden *golden;
    assert_int_equal(hal_golden_open(HAL_I420, 320, 180, &golden), SL_OK);
    assert_int_equal(sum_of(golden, 0), 0x6adefa7c);
    assert_int_equal(sum_of(golden, 25), 0xf01aa2ab);
    hal_golden_close(&golden);
    assert_null(golden);
}

static void test_layouts_hold_the_same_picture(void **state)
{
    (void)state;
    struct hal_golden *planar, *semi, *deep, *p010;
    assert_int_equal(hal_golden_open(HAL_I420, 160, 90, &planar), SL_OK);
    assert_int_equal(hal_golden_open(HAL_NV12, 160, 90, &semi), SL_OK);
    assert_int_equal(hal_golden_open(HAL_I420_10, 160, 90, &deep), SL_OK);
    assert_int_equal(hal_golden_open(HAL_P010, 160, 90, &p010), SL_OK);
    const struct hal_frame *a = hal_golden_frame(planar, 7), *b = hal_golden_frame(semi, 7);
    const struct hal_frame *c = hal_golden_frame(deep, 7), *d = hal_golden_frame(p010, 7);
    for (int32_t y = 0; y < 90; y++)
        for (int32_t x = 0; x < 160; x++) {
            unsigned value = a->planes[0][(size_t)y * a->stride_bytes[0] + (size_t)x];
            const uint16_t *ten = (const void *)(c->planes[0] + (size_t)y * c->stride_bytes[0]);
            const uint16_t *high = (const void *)(d->planes[0] + (size_t)y * d->stride_bytes[0]);
            assert_int_equal(b->planes[0][(size_t)y * b->stride_bytes[0] + (size_t)x], value);
            assert_int_equal(ten[x] >> 2, value);
            assert_int_equal(high[x], ten[x] << 6);
        }
    for (int32_t y = 0; y < 45; y++)
        for (int32_t x = 0; x < 80; x++)
            for (int plane = 1; plane < 3; plane++)
                assert_int_equal(a->planes[plane][(size_t)y * a->stride_bytes[plane] + (size_t)x],
                                 b->planes[1][(size_t)y * b->stride_bytes[1] + (size_t)x * 2 +
                                              (size_t)(plane - 1)]);
    assert_true(hal_golden_psnr(planar, 7, b) == 100);
    hal_golden_close(&planar);
    hal_golden_close(&semi);
    hal_golden_close(&deep);
    hal_golden_close(&p010);
}

static void test_another_picture_is_told_from_the_right_one(void **state)
{
    (void)state;
    struct hal_golden *golden, *other;
    assert_int_equal(hal_golden_open(HAL_I420, 320, 180, &golden), SL_OK);
    assert_int_equal(hal_golden_open(HAL_I420, 320, 180, &other), SL_OK);
    for (int32_t n = 0; n < 30; n++) {
        assert_true(hal_golden_psnr(golden, n, hal_golden_frame(other, n)) == 100);
        /* The next picture is far from good enough to be taken for this one. */
        assert_true(hal_golden_psnr(golden, n, hal_golden_frame(other, n + 1)) < 29);
    }
    struct hal_frame wrong = *hal_golden_frame(other, 0);
    wrong.width = 318;
    assert_true(hal_golden_psnr(golden, 0, &wrong) == 0);
    hal_golden_close(&golden);
    hal_golden_close(&other);
}

static void test_impossible_sizes_are_refused(void **state)
{
    (void)state;
    struct hal_golden *golden = NULL;
    assert_int_equal(hal_golden_open(HAL_I420, 15, 16, &golden), SL_EINVAL);
    assert_int_equal(hal_golden_open(HAL_I420, 17, 16, &golden), SL_EINVAL);
    assert_int_equal(hal_golden_open(HAL_I420, 16, 8194, &golden), SL_EINVAL);
    assert_int_equal(hal_golden_open(HAL_LAYOUT_COUNT, 16, 16, &golden), SL_EINVAL);
    assert_null(golden);
    /* As small as a patch, and smaller. */
    assert_int_equal(hal_golden_open(HAL_I420, 16, 16, &golden), SL_OK);
    hal_golden_frame(golden, 3);
    hal_golden_close(&golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures_are_the_same_everywhere),
        cmocka_unit_test(test_layouts_hold_the_same_picture),
        cmocka_unit_test(test_another_picture_is_told_from_the_right_one),
        cmocka_unit_test(test_impossible_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
