#include "tests/gpu/emulate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cmocka.h>

#define STACK_BYTES (64 * 1024)
#define THREADS_MAX 1024
#define RANGES_MAX  256

struct emulated_place emulated;

static struct {
    uint64_t first, end;
    bool writable;
} ranges[RANGES_MAX];
static int range_count;

static ucontext_t back, fibers[THREADS_MAX];
static bool ended[THREADS_MAX];
static emulated_kernel kernel;
static const void *kernel_args;

/* Where no C++ compiler is, emulated.cc is left out. */
__attribute__((weak)) emulated_kernel emulated_find(const char *name)
{
    (void)name;
    return NULL;
}

void emulated_range(const void *first, gpu_u64 bytes, int writable)
{
    assert_true(range_count < RANGES_MAX);
    ranges[range_count].first = (uintptr_t)first;
    ranges[range_count].end = (uintptr_t)first + bytes;
    ranges[range_count++].writable = writable;
}

void emulated_ranges_forget(void)
{
    range_count = 0;
}

static void *reach(gpu_u64 address, gpu_u64 bytes, bool write)
{
    if (address % bytes)
        fail_msg("an access of %llu bytes at an odd address", bytes);
    for (int i = 0; i < range_count; i++)
        if (address >= ranges[i].first && address + bytes <= ranges[i].end &&
            (!write || ranges[i].writable))
            return (void *)(uintptr_t)address;
    fail_msg("thread %d of block %d,%d,%d %s %llu bytes outside of what it was given",
             emulated.thread, emulated.block[0], emulated.block[1], emulated.block[2],
             write ? "writes" : "reads", bytes);
    return NULL;
}

void *emulated_reach(gpu_u64 address, gpu_u64 bytes)
{
    return reach(address, bytes, false);
}

void *emulated_reach_to_write(gpu_u64 address, gpu_u64 bytes)
{
    return reach(address, bytes, true);
}

void emulated_sync(void)
{
    int self = emulated.thread;
    swapcontext(&fibers[self], &back);
}

static void fiber(void)
{
    kernel(kernel_args);
    ended[emulated.thread] = true;
    swapcontext(&fibers[emulated.thread], &back);
}

/* getcontext may return twice, as the compiler sees it: no loop around it keeps its counter in a register. */
static void fiber_make(int t, char *stack)
{
    getcontext(&fibers[t]);
    fibers[t].uc_stack.ss_sp = stack;
    fibers[t].uc_stack.ss_size = STACK_BYTES;
    fibers[t].uc_link = NULL;
    makecontext(&fibers[t], fiber, 0);
    ended[t] = false;
}

static void block_run(int threads, char *stacks)
{
    for (int t = 0; t < threads; t++)
        fiber_make(t, stacks + (size_t)t * STACK_BYTES);
    for (int left = threads; left > 0;) {
        left = 0;
        for (int t = 0; t < threads; t++) {
            if (ended[t])
                continue;
            emulated.thread = t;
            swapcontext(&back, &fibers[t]);
            left += !ended[t];
        }
        /* A barrier that some threads never reach would hang a GPU. */
        if (left != 0 && left != threads)
            fail_msg("%d of %d threads wait at a barrier that the others passed by", left, threads);
    }
}

int emulated_launch(const char *by_name, const unsigned grid[3], const unsigned block[3],
                    unsigned shared_bytes, const void *args)
{
    kernel = emulated_find(by_name);
    if (!kernel)
        return 0;
    kernel_args = args;
    int threads = (int)(block[0] * block[1] * block[2]);
    assert_in_range(threads, 1, THREADS_MAX);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t whole = (shared_bytes + page - 1) / page * page;
    char *shared =
        mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *stacks = malloc((size_t)threads * STACK_BYTES);
    assert_true(shared != MAP_FAILED && stacks);
    assert_int_equal(mprotect(shared + whole, page, PROT_NONE), 0);
    emulated = (struct emulated_place){
        .threads = threads,
        .blocks = {(int)grid[0], (int)grid[1], (int)grid[2]},
        .shared = shared + whole - (shared_bytes + 15) / 16 * 16,
    };
    for (int z = 0; z < emulated.blocks[2]; z++)
        for (int y = 0; y < emulated.blocks[1]; y++)
            for (int x = 0; x < emulated.blocks[0]; x++) {
                emulated.block[0] = x;
                emulated.block[1] = y;
                emulated.block[2] = z;
                memset(shared, 0xa5, whole);
                block_run(threads, stacks);
            }
    munmap(shared, whole + page);
    free(stacks);
    return 1;
}
