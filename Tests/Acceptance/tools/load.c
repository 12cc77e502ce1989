// load: clients that come in masses or at exact times. Every reply is compared.
//
//   load churn PORT COUNT           connect, send a line, get it back, close: half by FIN, half by
//                                   RST; 20 at a time
//   load vanish PORT COUNT AT_ONCE  processes that hold AT_ONCE connections, each with a line
//                                   begun, and are killed
//   load ping PORT SECONDS FLOOD    50 clients, each a line every 5 ms or so; with FLOOD 1 beside
//                                   another one that sends lines as fast as they are taken
//
// `ping` prints the round trips' count, median and 99th percentile in microseconds, and the number
// of lines that the flooding client got back.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE = 20, PINGERS = 50, FLOOD_LINE = 64, FLOOD_BYTES = 64 * 1024 };

static int port;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t next_random(void) {
    static uint32_t state = 2463534242u;
    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
}

/// From many addresses, so that ports in TIME_WAIT do not run out.
static int opened(uint32_t number) {
    struct sockaddr_in here = {.sin_family = AF_INET};
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    here.sin_addr.s_addr = htonl(0x7f000101u + number % 200);
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct timeval limit = {.tv_sec = 60};
    if (fd < 0) fail("socket");
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (bind(fd, (struct sockaddr *)&here, sizeof here) < 0) fail("bind");
    if (connect(fd, (struct sockaddr *)&there, sizeof there) < 0) fail("connect");
    return fd;
}

static void send_all(int fd, const char *bytes, size_t count) {
    if (send(fd, bytes, count, MSG_NOSIGNAL) != (ssize_t)count) fail("send");
}

static void expect_line(int fd, const char *line, size_t count) {
    char reply[256];
    if (recv(fd, reply, count, MSG_WAITALL) != (ssize_t)count) fail("recv");
    if (memcmp(reply, line, count)) {
        fprintf(stderr, "another line came back\n");
        exit(1);
    }
}

// MARK: churn

static void churn(uint32_t count) {
    struct linger reset = {.l_onoff = 1};
    for (uint32_t done = 0; done < count;) {
        uint32_t some = count - done < AT_ONCE ? count - done : AT_ONCE;
        int fds[AT_ONCE];
        char lines[AT_ONCE][32];
        for (uint32_t i = 0; i < some; i++) {
            fds[i] = opened(done + i);
            snprintf(lines[i], sizeof lines[i], "request %u\n", done + i);
            send_all(fds[i], lines[i], strlen(lines[i]));
        }
        for (uint32_t i = 0; i < some; i++) {
            expect_line(fds[i], lines[i], strlen(lines[i]));
            if (i % 2) setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            close(fds[i]);
        }
        done += some;
    }
}

// MARK: vanish

/// The life of a client process: it tells when it is ready to die.
static void hold(uint32_t first, uint32_t count, int ready) {
    static const char line[] = "a line that is never finished because its client has vanished";
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (uint32_t i = 0; i < count; i++) {
        int fd = opened(first + i);
        send_all(fd, line, 1 + (first + i) % (sizeof line - 1));
    }
    if (write(ready, "", 1) != 1) fail("write");
    for (;;) pause();
}

static void vanish(uint32_t count, uint32_t at_once) {
    for (uint32_t done = 0; done < count;) {
        uint32_t some = count - done < at_once ? count - done : at_once;
        int ready[2];
        if (pipe2(ready, O_CLOEXEC) < 0) fail("pipe2");
        pid_t child = fork();
        if (child < 0) fail("fork");
        if (child == 0) {
            close(ready[0]);
            hold(done, some, ready[1]);
        }
        close(ready[1]);
        char byte;
        if (read(ready[0], &byte, 1) != 1) {
            fprintf(stderr, "a client ended before it was killed\n");
            exit(1);
        }
        close(ready[0]);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        done += some;
    }
}

// MARK: ping

static volatile uint64_t *flooded;

/// Sends lines as fast as they are taken, and takes what comes back.
static void flood(void) {
    static char out[FLOOD_BYTES], in[4 * FLOOD_BYTES];
    int fd = opened(0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpriority(PRIO_PROCESS, 0, 19);  // the pingers are in nobody's way but the server's
    fcntl(fd, F_SETFL, O_NONBLOCK);
    memset(out, 'f', sizeof out);
    for (size_t i = FLOOD_LINE - 1; i < sizeof out; i += FLOOD_LINE) out[i] = '\n';
    size_t sent = 0;
    uint64_t received = 0;
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN | POLLOUT};
        if (poll(&wait, 1, -1) < 0) fail("poll");
        if (wait.revents & POLLOUT) {
            ssize_t count = send(fd, out + sent, sizeof out - sent, MSG_NOSIGNAL);
            if (count < 0 && errno != EAGAIN) fail("send");
            if (count > 0) sent = (sent + (size_t)count) % sizeof out;
        }
        if (wait.revents & (POLLIN | POLLHUP | POLLERR)) {
            ssize_t count = recv(fd, in, sizeof in, 0);
            if (count == 0 || (count < 0 && errno != EAGAIN)) fail("recv");
            if (count > 0) *flooded = (received += (uint64_t)count) / FLOOD_LINE;
        }
    }
}

struct pinger {
    int fd;
    uint64_t due, sent;  // one of both is 0
};

static uint64_t pause_ns(void) { return 4000000u + next_random() % 2000000u; }

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/// Sends what is due and returns when the next one is.
static uint64_t send_due(struct pinger *pingers) {
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < PINGERS; i++) {
        struct pinger *pinger = &pingers[i];
        if (pinger->due == 0) continue;
        uint64_t now = now_ns();
        if (pinger->due <= now) {
            pinger->due = 0;
            pinger->sent = now;
            send_all(pinger->fd, "ping\n", 5);
        } else if (pinger->due < next) {
            next = pinger->due;
        }
    }
    return next;
}

static size_t ping(uint64_t end, uint32_t *samples, size_t capacity) {
    struct pinger pingers[PINGERS];
    size_t count = 0;
    int set = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; i < PINGERS; i++) {
        pingers[i] = (struct pinger){.fd = opened(i + 1), .due = now_ns() + pause_ns()};
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        if (epoll_ctl(set, EPOLL_CTL_ADD, pingers[i].fd, &event) < 0) fail("epoll_ctl");
    }
    while (now_ns() < end && count < capacity) {
        uint64_t next = send_due(pingers), now = now_ns();
        uint64_t rest = next > now ? next - now : 0;
        if (rest > 100000000u) rest = 100000000u;
        struct timespec limit = {.tv_nsec = (long)rest};
        struct epoll_event events[PINGERS];
        int ready = epoll_pwait2(set, events, PINGERS, &limit, NULL);
        for (int i = 0; i < ready && count < capacity; i++) {
            struct pinger *pinger = &pingers[events[i].data.u32];
            expect_line(pinger->fd, "ping\n", 5);
            uint64_t then = now_ns();
            samples[count++] = (uint32_t)(then - pinger->sent);
            pinger->due = then + pause_ns();
        }
    }
    for (int i = 0; i < PINGERS; i++) close(pingers[i].fd);
    close(set);
    return count;
}

static void pings(double seconds, int with_flood) {
    enum { CAPACITY = 4 << 20 };
    uint32_t *samples = malloc(CAPACITY * sizeof *samples);
    pid_t child = 0;
    flooded = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!samples || flooded == MAP_FAILED) fail("mmap");
    if (with_flood) {
        child = fork();
        if (child < 0) fail("fork");
        if (child == 0) flood();
        uint64_t end = now_ns() + 60000000000u;
        while (*flooded < 10000) {  // until it flows
            if (waitpid(child, NULL, WNOHANG) != 0 || now_ns() > end) fail("no flood");
            poll(NULL, 0, 1);
        }
    }
    uint64_t before = *flooded;
    size_t count = ping(now_ns() + (uint64_t)(seconds * 1e9), samples, CAPACITY);
    uint64_t lines = *flooded - before;
    if (child) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    if (count == 0) fail("no ping");
    qsort(samples, count, sizeof *samples, by_size);
    printf("%zu %.1f %.1f %llu\n", count, samples[count / 2] / 1e3, samples[count * 99 / 100] / 1e3,
           (unsigned long long)lines);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc >= 4) port = atoi(argv[2]);
    if (argc == 4 && !strcmp(argv[1], "churn")) {
        churn((uint32_t)atoi(argv[3]));
    } else if (argc == 5 && !strcmp(argv[1], "vanish")) {
        vanish((uint32_t)atoi(argv[3]), (uint32_t)atoi(argv[4]));
    } else if (argc == 5 && !strcmp(argv[1], "ping")) {
        pings(atof(argv[3]), atoi(argv[4]));
    } else {
        fprintf(stderr, "usage: see the head of load.c\n");
        return 2;
    }
    return 0;
}
