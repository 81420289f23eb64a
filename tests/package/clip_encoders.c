/* The made-up pictures of tests/encoders, for these tests as well. */
#include "tests/encoders/clip.c"
