/* bench/gpu_check.h: what `make gpu-check` needs of NVIDIA's driver, declared by hand.
 *
 * The program runs where there is a GPU, a C compiler and nothing else: no CUDA toolkit, no libav, no headers of NVIDIA's. Only what
 * has been the same in every driver for a decade is used.
 *
 * Errors:  a call that fails ends the program with the call's name and the driver's number, except where the report wants it.
 * Threads: one.
 */
#ifndef SL_BENCH_GPU_CHECK_H
#define SL_BENCH_GPU_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef uint64_t device_address;

/* CUDA's interface of libcuda.so.1. */
struct check_cuda {
    int (*init)(unsigned flags);
    int (*driver_version)(int *version);
    int (*count)(int *count);
    int (*device)(int *device, int ordinal);
    int (*name)(char *name, int bytes, int device);
    int (*attribute)(int *value, int attribute, int device);
    int (*memory)(size_t *bytes, int device);
    int (*context)(void **context, unsigned flags, int device);
    int (*module)(void **module, const void *image);
    int (*function)(void **function, void *module, const char *name);
    int (*launch)(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                  unsigned bz, unsigned shared, void *stream, void **args, void **extra);
    int (*alloc)(device_address *out, size_t bytes);
    int (*release)(device_address at);
    int (*upload)(device_address to, const void *from, size_t bytes);
    int (*download)(void *to, device_address from, size_t bytes);
    int (*copy)(device_address to, device_address from, size_t bytes, void *stream);
    int (*fill)(device_address at, unsigned char value, size_t bytes);
    int (*event)(void **event, unsigned flags);
    int (*record)(void *event, void *stream);
    int (*wait)(void *event);
    int (*elapsed)(float *milliseconds, void *from, void *to);
    bool standin;
};

extern struct check_cuda cuda;

#define MUST(call) check_must((call), #call)
void check_must(int result, const char *call);

/* How many checks failed. */
extern int check_wrong;

double check_now_ms(void);
/* Words of 10 bits have them at their tops. */
void check_noise(uint8_t *bytes, size_t count, bool ten_bit, uint32_t seed);
void check_launch(const char *name, const unsigned grid[3], unsigned threads, unsigned shared,
                  void *args);
/* The median time of work(arg, turn), in milliseconds. */
double check_time(void (*work)(void *arg, int turn), void *arg);

/* Writes the members of "tones" and "deinterlaced". */
void check_filters(FILE *report, int32_t width, int32_t height);

/* Writes the members of "nvenc" (what the driver says of an encode engine) and of "nvdec" (time of a frame). context: CUDA's. */
void check_nvenc(FILE *report, void *context);
/* Returns milliseconds of a decoded 2160p frame; 0: not seen. */
double check_nvdec(FILE *report, void *context, int32_t width, int32_t height, int frames);

#endif
