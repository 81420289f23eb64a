/* The yardstick of `make bench`: one rung encoded from raw video by libx264 alone, one thread.
 *
 *   bench_encode FILE.yuv WIDTH HEIGHT FPS_NUM FPS_DEN CRF MAXRATE_K BUFSIZE_K PRESET IDR_FRAMES OUT.h264
 *
 * IDR_FRAMES is a comma-separated list of frame numbers at which an IDR is forced: the same GOPs as the farm's.
 * Prints one JSON line: frames, bytes, cpu_ns of the process. The raw file is mapped, so that what is timed
 * is the encoder.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int64_t cpu_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "bench_encode: %s\n", what);
    exit(1);
}

static int64_t drain(AVCodecContext *encoder, AVPacket *packet, FILE *out)
{
    int64_t bytes = 0;
    while (avcodec_receive_packet(encoder, packet) == 0) {
        bytes += packet->size;
        if (fwrite(packet->data, 1, (size_t)packet->size, out) != (size_t)packet->size)
            die("cannot write the output");
        av_packet_unref(packet);
    }
    return bytes;
}

int main(int argc, char **argv)
{
    if (argc != 12)
        die("usage: FILE.yuv WIDTH HEIGHT FPS_NUM FPS_DEN CRF MAXRATE_K BUFSIZE_K PRESET "
            "IDR_FRAMES OUT");
    int width = atoi(argv[2]), height = atoi(argv[3]);
    int fd = open(argv[1], O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        die("cannot open the raw file");
    size_t frame_bytes = (size_t)width * (size_t)height * 3 / 2;
    int64_t frames = st.st_size / (int64_t)frame_bytes;
    uint8_t *raw = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (raw == MAP_FAILED)
        die("cannot map the raw file");
    FILE *out = fopen(argv[11], "wb");
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    AVCodecContext *encoder = codec ? avcodec_alloc_context3(codec) : NULL;
    AVFrame *frame = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    if (!out || !encoder || !frame || !packet)
        die("no libx264, no memory, or the output cannot be made");

    encoder->width = width;
    encoder->height = height;
    encoder->pix_fmt = AV_PIX_FMT_YUV420P;
    encoder->framerate = (AVRational){atoi(argv[4]), atoi(argv[5])};
    encoder->time_base = av_inv_q(encoder->framerate);
    encoder->thread_count = 1;
    encoder->rc_max_rate = INT64_C(1000) * atoi(argv[7]);
    encoder->rc_buffer_size = 1000 * atoi(argv[8]);
    encoder->flags |= AV_CODEC_FLAG_CLOSED_GOP;
    av_opt_set(encoder->priv_data, "preset", argv[9], 0);
    av_opt_set(encoder->priv_data, "crf", argv[6], 0);
    av_opt_set(encoder->priv_data, "forced-idr", "1", 0);
    av_opt_set(encoder->priv_data, "x264-params", "keyint=infinite:min-keyint=1000000", 0);
    if (avcodec_open2(encoder, codec, NULL) < 0)
        die("the encoder does not open");

    int64_t bytes = 0, cpu_start_ns = cpu_now_ns();
    char *next = argv[10];
    for (int64_t i = 0; i < frames; i++) {
        uint8_t *at = raw + (size_t)i * frame_bytes;
        frame->format = AV_PIX_FMT_YUV420P;
        frame->width = width;
        frame->height = height;
        frame->data[0] = at;
        frame->data[1] = at + (size_t)width * (size_t)height;
        frame->data[2] = frame->data[1] + (size_t)width * (size_t)height / 4;
        frame->linesize[0] = width;
        frame->linesize[1] = frame->linesize[2] = width / 2;
        frame->pts = i;
        frame->pict_type = AV_PICTURE_TYPE_NONE;
        if (next && *next && strtoll(next, NULL, 10) == i) {
            frame->pict_type = AV_PICTURE_TYPE_I;
            next = strchr(next, ',');
            next = next ? next + 1 : NULL;
        }
        if (avcodec_send_frame(encoder, frame) < 0)
            die("the encoder refused a frame");
        bytes += drain(encoder, packet, out);
    }
    avcodec_send_frame(encoder, NULL);
    bytes += drain(encoder, packet, out);
    fclose(out);
    printf("{\"frames\": %" PRId64 ", \"bytes\": %" PRId64 ", \"cpu_ns\": %" PRId64 "}\n", frames,
           bytes, cpu_now_ns() - cpu_start_ns);
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&encoder);
    munmap(raw, (size_t)st.st_size);
    close(fd);
    return 0;
}
