// load_udp: a single-threaded epoll load generator for UDP echo on loopback.
//
//   load_udp -p PORT -P SERVER_PID [-c SOCKETS] [-m BYTES] [-q DEPTH] [-d SECS] [-w WARMUP]
//
// Each socket keeps DEPTH datagrams of BYTES bytes in flight; every echo is compared with what was
// sent. A socket that hears nothing for 50 ms takes its datagrams for lost and begins anew. One JSON
// line on stdout: packets answered, lost, and the server's processor time for each.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, ROOM = 65536 };

typedef struct { int fd; int flying; uint64_t next, heard; } peer_t;

static int port, sockets = 50, depth = 1;
static size_t size = 64;
static double secs = 2, warm = 0.5;
static pid_t server;
static clockid_t server_clock;
static char out[BATCH][ROOM], in[BATCH][ROOM];
static struct iovec out_pieces[BATCH], in_pieces[BATCH];
static struct mmsghdr out_messages[BATCH], in_messages[BATCH];
static uint64_t answered, lost;

static void die(const char *what) {
    printf("{\"error\": \"%s\"}\n", what);
    exit(1);
}

static uint64_t ns(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t) < 0) die("the server has gone");
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void say(peer_t *peer, int count) {
    for (int i = 0; i < count; i++) {
        uint64_t number = peer->next + (uint64_t)i;
        memcpy(out[i], &number, sizeof number);
        out_pieces[i] = (struct iovec){out[i], size};
        out_messages[i].msg_hdr = (struct msghdr){.msg_iov = &out_pieces[i], .msg_iovlen = 1};
    }
    int sent = sendmmsg(peer->fd, out_messages, (unsigned)count, 0);
    if (sent < 0) die(strerror(errno));
    peer->next += (uint64_t)sent;
    peer->flying += sent;
}

static void hear(peer_t *peer, uint64_t now) {
    for (int i = 0; i < BATCH; i++) {
        in_pieces[i] = (struct iovec){in[i], ROOM};
        in_messages[i].msg_hdr = (struct msghdr){.msg_iov = &in_pieces[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(peer->fd, in_messages, BATCH, MSG_DONTWAIT, NULL);
    if (count < 0 && errno != EAGAIN) die(strerror(errno));
    for (int i = 0; i < count; i++) {
        uint64_t number;
        if (in_messages[i].msg_len != size) die("an echo of another size");
        memcpy(&number, in[i], sizeof number);
        if (number >= peer->next || memcmp(in[i] + 8, out[0] + 8, size - 8)) die("a wrong echo");
        if (peer->flying > 0) peer->flying--;
        answered++;
    }
    if (count > 0) peer->heard = now;
    if (peer->flying == 0) say(peer, depth);
}

static void run(peer_t *peers, int ep) {
    struct epoll_event events[256];
    uint64_t start = ns(CLOCK_MONOTONIC), measured = 0, cpu = 0, looked = start;
    for (;;) {
        int count = epoll_wait(ep, events, 256, 10);
        uint64_t now = ns(CLOCK_MONOTONIC);
        for (int i = 0; i < count; i++) hear(&peers[events[i].data.u32], now);
        for (int i = 0; now - looked > 10000000 && i < sockets; i++) {
            if (now - peers[i].heard < 50000000) continue;
            lost += (uint64_t)peers[i].flying;
            peers[i].flying = 0;
            peers[i].heard = now;
            say(&peers[i], depth);
        }
        if (now - looked > 10000000) looked = now;
        if (measured == 0 && (double)(now - start) > warm * 1e9) {
            measured = now;
            answered = lost = 0;
            cpu = ns(server_clock);
        } else if (measured != 0 && (double)(now - measured) > secs * 1e9) {
            double seconds = (double)(now - measured) / 1e9;
            if (answered == 0) die("nothing came back");
            printf("{\"packets_per_s\": %.0f, \"server_cpu_us_per_packet\": %.4f, \"lost\": %lu}\n",
                   (double)answered / seconds, (double)(ns(server_clock) - cpu) / 1e3 / (double)answered,
                   (unsigned long)lost);
            return;
        }
    }
}

int main(int argc, char **argv) {
    for (int o; (o = getopt(argc, argv, "p:P:c:m:q:d:w:")) != -1;) switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'P': server = atoi(optarg); break;
        case 'c': sockets = atoi(optarg); break;
        case 'm': size = (size_t)atol(optarg); break;
        case 'q': depth = atoi(optarg); break;
        case 'd': secs = atof(optarg); break;
        case 'w': warm = atof(optarg); break;
        default: return 2;
    }
    if (sockets < 1 || depth < 1 || depth > BATCH || size < 8 || size > 65507 || secs > 60) die("bad option");
    if (clock_getcpuclockid(server, &server_clock) != 0) die("no such server");
    for (int i = 0; i < BATCH; i++) memset(out[i], 'x', size);
    peer_t *peers = calloc((size_t)sockets, sizeof *peers);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < sockets; i++) {
        peers[i].fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(peers[i].fd, (struct sockaddr *)&to, sizeof to) < 0) die(strerror(errno));
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        epoll_ctl(ep, EPOLL_CTL_ADD, peers[i].fd, &e);
        peers[i].heard = ns(CLOCK_MONOTONIC);
        say(&peers[i], depth);
    }
    run(peers, ep);
    return 0;
}
