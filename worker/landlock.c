#include "worker/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As linux/landlock.h has it since ABI 6; kernels that know less take the longer form as long as what they do not
 * know is zero. */
struct landlock_rules {
    uint64_t files;
    uint64_t network;
    uint64_t scoped;
};

struct landlock_beneath {
    uint64_t files;
    int32_t fd;
} __attribute__((packed));

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif
#define LANDLOCK_ASK_VERSION  1u
#define LANDLOCK_RULE_BENEATH 1

#define FILE_EXECUTE          (UINT64_C(1) << 0)
#define FILE_WRITE            (UINT64_C(1) << 1)
#define FILE_READ             (UINT64_C(1) << 2)
#define FOLDER_READ           (UINT64_C(1) << 3)
#define FILE_REMOVE           (UINT64_C(1) << 5)
#define FILE_MAKE             (UINT64_C(1) << 8)
#define FILE_TRIM             (UINT64_C(1) << 14)
#define FILE_IOCTL            (UINT64_C(1) << 15)

/* How many kinds of access to files each ABI knows, from 1 on. */
static const unsigned char landlock_files[] = {13, 14, 15, 15, 16};

static void path_allow(int rules, uint64_t known, const struct landlock_path *path)
{
    struct stat st;
    struct landlock_beneath beneath = {.fd = open(path->path, O_PATH | O_CLOEXEC)};
    if (beneath.fd < 0)
        return;
    beneath.files = FILE_READ | FILE_EXECUTE;
    if (path->write)
        beneath.files = FILE_READ | FILE_WRITE | FILE_TRIM | FILE_IOCTL;
    if (fstat(beneath.fd, &st) == 0 && S_ISDIR(st.st_mode))
        beneath.files |= FOLDER_READ | (path->write ? FILE_MAKE | FILE_REMOVE : 0);
    beneath.files &= known;
    syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_BENEATH, &beneath, 0);
    close(beneath.fd);
}

int landlock_enter(const struct landlock_path *paths, int count)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_ASK_VERSION);
    if (abi < 0)
        return errno;
    size_t row = (size_t)abi < sizeof landlock_files ? (size_t)abi : sizeof landlock_files;
    struct landlock_rules rules = {
        .files = (UINT64_C(1) << landlock_files[row - 1]) - 1,
        .network = abi >= 4 ? 3 : 0, /* bind and connect over TCP */
        .scoped = abi >= 6 ? 3 : 0,  /* abstract sockets and signals */
    };
    long fd = syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0);
    if (fd < 0)
        return errno;
    for (int i = 0; i < count; i++)
        path_allow((int)fd, rules.files, &paths[i]);
    int error = syscall(SYS_landlock_restrict_self, fd, 0) < 0 ? errno : 0;
    close((int)fd);
    return error;
}
