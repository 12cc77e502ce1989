// EmbedInC: a C program with a poll(2) loop of its own hosts a service written in Swift.
//
//     swift run EmbedInC [port [milliseconds]]
//
// prints `listening on 127.0.0.1:8891`, then `tick 1`, `tick 2`, ... each second (or as told). From
// another terminal, `nc 127.0.0.1 8891`: each line comes back with its number, from the same thread
// that ticks. SIGTERM or ctrl-C ends it: clients that are being answered get 5 s, then, or after a
// second signal, they are cut off. The last line is `stopped after N ticks`.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sluice.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

void register_lines(void);  // ../service/Lines.swift

enum { TURN, TICK, SIGNAL, WATCHED };

static int failed(const char *what) {
    fprintf(stderr, "EmbedInC: %s: %s\n", what, sluice_error());
    return 1;
}

// SIGTERM and SIGINT as a descriptor.
static int open_signals(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0) return -1;
    return signalfd(-1, &signals, SFD_CLOEXEC);
}

static int open_timer(int milliseconds) {
    const struct timespec length = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    const struct itimerspec value = {.it_interval = length, .it_value = length};
    const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    return timer >= 0 && timerfd_settime(timer, 0, &value, NULL) < 0 ? -1 : timer;
}

// The program's own loop. Returns the ticks once the service has stopped, or -1.
static long serve(struct sluice_loop *loop, int service, struct pollfd watched[WATCHED]) {
    long ticks = 0;
    int grace = -1;  // milliseconds; negative until a signal came
    while (grace < 0 || sluice_stop(loop, service, grace) > 0) {
        if (poll(watched, WATCHED, -1) < 0) {
            if (errno == EINTR) continue;
            return -1;
        }
        if (watched[TURN].revents != 0 && sluice_turn(loop, 0) < 0) return -1;
        if (watched[TICK].revents != 0) {
            uint64_t count;
            if (read(watched[TICK].fd, &count, sizeof count) != sizeof count) return -1;
            printf("tick %ld\n", ++ticks);
        }
        if (watched[SIGNAL].revents != 0) {
            struct signalfd_siginfo signal;
            if (read(watched[SIGNAL].fd, &signal, sizeof signal) != sizeof signal) return -1;
            grace = grace < 0 ? 5000 : 0;
        }
    }
    return ticks;
}

int main(int count, char **arguments) {
    const int port = count > 1 ? atoi(arguments[1]) : 8891;
    const int milliseconds = count > 2 ? atoi(arguments[2]) : 1000;
    setvbuf(stdout, NULL, _IOLBF, 0);  // standard output may be a pipe

    register_lines();
    struct sluice_loop *loop = sluice_create();
    if (loop == NULL) return failed("no loop");
    const int service = sluice_start(loop, "lines", "127.0.0.1", port);
    if (service < 0) return failed("no service");

    struct pollfd watched[WATCHED] = {
        [TURN] = {.fd = sluice_descriptor(loop), .events = POLLIN},
        [TICK] = {.fd = open_timer(milliseconds), .events = POLLIN},
        [SIGNAL] = {.fd = open_signals(), .events = POLLIN},
    };
    if (watched[TICK].fd < 0 || watched[SIGNAL].fd < 0) return failed("no timer or no signals");
    printf("listening on 127.0.0.1:%d\n", sluice_port(loop, service));

    const long ticks = serve(loop, service, watched);
    if (ticks < 0) return failed("the loop ended");
    sluice_destroy(loop);
    printf("stopped after %ld ticks\n", ticks);
    return 0;
}
