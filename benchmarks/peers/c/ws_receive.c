/* Receives websocket frames in a plain loop: recv into one buffer, walk the frame headers, count.
 *
 *     ws_receive PORT PATH WARM FRAMES CPU
 *
 * The least that any client must do. Prints one JSON line: frames between number WARM and number
 * FRAMES, the CPU seconds of this thread for them, and the bytes of all payloads.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_BYTES = 256 << 10 };

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* Whole size of the frame at p, 0: its header is not here yet. A server's frames have no mask. */
static size_t frame_size(const uint8_t *p, size_t have, size_t *payload)
{
    if (have < 2) return 0;
    size_t n = p[1] & 0x7F, header = 2;
    if (n == 126) {
        if (have < 4) return 0;
        n = (size_t)p[2] << 8 | p[3];
        header = 4;
    } else if (n == 127) {
        if (have < 10) return 0;
        n = 0;
        for (int i = 2; i < 10; i++) n = n << 8 | p[i];
        header = 10;
    }
    *payload = n;
    return header + n;
}

int main(int argc, char **argv)
{
    if (argc != 6) return 2;
    const long warm = atol(argv[3]), total = atol(argv[4]);
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(atoi(argv[5]), &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) return perror("connect"), 1;
    dprintf(fd, "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", argv[2]);
    uint8_t *buffer = malloc(BUFFER_BYTES);
    size_t have = 0, pos = 0;
    while (!memmem(buffer, have, "\r\n\r\n", 4)) {
        ssize_t n = recv(fd, buffer + have, BUFFER_BYTES - have, 0);
        if (n <= 0) return 1;
        have += n;
    }
    pos = (uint8_t *)memmem(buffer, have, "\r\n\r\n", 4) + 4 - buffer;
    long frames = 0, bytes = 0;
    double start = 0;
    for (;;) {
        size_t payload, size;
        while ((size = frame_size(buffer + pos, have - pos, &payload)) && pos + size <= have) {
            pos += size;
            bytes += payload;
            if (++frames == warm) start = cpu_s();
            if (frames == total) {
                printf("{\"frames\": %ld, \"cpu_s\": %.9f, \"bytes\": %ld}\n", total - warm, cpu_s() - start, bytes);
                return 0;
            }
        }
        memmove(buffer, buffer + pos, have - pos);
        have -= pos;
        pos = 0;
        ssize_t n = recv(fd, buffer + have, BUFFER_BYTES - have, 0);
        if (n <= 0) return 1;
        have += n;
    }
}
