/* tests/drivers/drive.h: encodes on a stand-in device through unmodified libavcodec, in a process of its own.
 *
 * A driver reads its script once and stays loaded, so each question is asked in a fork of a process that has not
 * loaded one.
 */
#ifndef SL_TESTS_DRIVERS_DRIVE_H
#define SL_TESTS_DRIVERS_DRIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <libavutil/pixfmt.h>

/* As `make standin` leaves them; the tests run at the root of the tree. */
#define STANDIN_FOLDER "build/standin"

struct drive_ask {
    const char *faults;     /* SLUICE_STANDIN_FAULTS */
    const char *state;      /* SLUICE_STANDIN_STATE; NULL: none */
    const char *codec_name; /* of libavcodec: "hevc_nvenc" */
    const char *options;    /* its own, as "key=value:key=value" */
    const char *visible;    /* CUDA_VISIBLE_DEVICES */
    const char
        *device; /* NULL: libavcodec finds one itself; else a device context of that number */
    const char *devices; /* SLUICE_STANDIN_NVENC */
    bool half;           /* libcuda without its encode library */
    bool surfaces;       /* pictures are uploaded to the device first */
    bool sandbox;        /* a worker's, entered when the device is open */
    enum AVPixelFormat format;
    int width, height, pictures;
    int key_every; /* forced; 0: none */
    int b_frames;
    int threads;      /* so many encodes of this at once */
    int64_t maxrate;  /* bits per second */
    int hold_picture; /* stays there until told to go on: drive_go */
};

struct drive_answer {
    int device_rc, open_rc, send_rc, drain_rc;
    int packets, keys, empty;
    int decoded;
    int other;     /* pictures that do not look like what was sent */
    int close;     /* sessions that could not be closed */
    int64_t bytes; /* of all packets */
    int status;    /* as waitpid tells: 0 */
};

struct drive {
    pid_t pid;
    int answer_fd, go_fd, held_fd;
};

/* Starts it; tells its answer (waits); waits until it is at its hold_picture, lets it go on. */
void drive_start(const struct drive_ask *ask, struct drive *out);
void drive_finish(struct drive *drive, struct drive_answer *out);
void drive_wait_held(struct drive *drive);
void drive_go(struct drive *drive);
struct drive_answer drive_run(const struct drive_ask *ask);

/* The number after "key": in what standin-stat prints for the whole farm (device -1) or for one device. */
int64_t drive_stat(const char *state, int device, const char *key);

#endif
