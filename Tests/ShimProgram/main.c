// A C program that needs nothing but CEpoll: an echo server that talks to itself over TCP and over
// a Unix socket and checks each byte, a reactor woken by another thread, and the parts in parts.c.
// One "ok" line for each; the exit status is 0 if all went well and no descriptor was left open.
#define _GNU_SOURCE
#include "CEpoll.h"
#include "parts.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TOTAL = 1 << 20, PIECE = 16 * 1024 };
enum { LISTENER = 1, SERVER, CLIENT };  // tokens
static const int64_t deadline_nanoseconds = 20 * INT64_C(1000000000);

struct echo {
    struct ce_reactor *reactor;
    int listener, server, client;
    char held[PIECE];  // what the server received and has not sent back
    size_t held_from, held_to;
    size_t sent, received;  // by the client
    bool finished;          // the client said its end
    bool echoed_end;        // the server said its own
    bool done;              // the client saw it
};

static char pattern(size_t position) {
    return (char)(position * 31 + position / 251);
}

static int accept_one(struct echo *echo) {
    struct ce_address peer;
    const int fd = ce_accept(echo->reactor, echo->listener, &peer);
    if (fd == -EAGAIN) return 0;
    CHECK(fd);
    echo->server = fd;
    return ce_add(echo->reactor, fd, CE_WANT_IN | CE_WANT_OUT | CE_EDGE, SERVER);
}

static int serve(struct echo *echo) {
    while (!echo->echoed_end) {
        if (echo->held_from < echo->held_to) {
            const struct iovec piece = {echo->held + echo->held_from,
                                        echo->held_to - echo->held_from};
            const ssize_t count = ce_send(echo->reactor, echo->server, &piece, 1);
            if (count == -EAGAIN) return 0;
            CHECK(count);
            echo->held_from += (size_t)count;
            continue;
        }
        const ssize_t count = ce_receive(echo->reactor, echo->server, echo->held, PIECE);
        if (count == -EAGAIN) return 0;
        CHECK(count);
        echo->held_from = 0;
        echo->held_to = (size_t)count;
        if (count == 0) {
            CHECK(ce_finish(echo->reactor, echo->server));
            echo->echoed_end = true;
        }
    }
    return 0;
}

static int client_sends(struct echo *echo) {
    char bytes[PIECE];
    while (echo->sent < TOTAL) {
        size_t size = TOTAL - echo->sent < PIECE ? TOTAL - echo->sent : PIECE;
        for (size_t i = 0; i < size; i++) bytes[i] = pattern(echo->sent + i);
        // In two pieces, the first of odd length.
        const struct iovec pieces[] = {{bytes, size / 3}, {bytes + size / 3, size - size / 3}};
        const ssize_t count = ce_send(echo->reactor, echo->client, pieces, 2);
        if (count == -EAGAIN || count == -ENOTCONN) return 0;
        CHECK(count);
        echo->sent += (size_t)count;
    }
    if (echo->finished) return 0;
    echo->finished = true;
    return ce_finish(echo->reactor, echo->client);
}

static int client_receives(struct echo *echo) {
    char bytes[PIECE];
    for (;;) {
        const ssize_t count = ce_receive(echo->reactor, echo->client, bytes, PIECE);
        if (count == -EAGAIN || count == -ENOTCONN) return 0;
        CHECK(count);
        for (size_t i = 0; i < (size_t)count; i++)
            if (bytes[i] != pattern(echo->received + i)) CHECK(-EPROTO);
        echo->received += (size_t)count;
        if (count == 0) {
            echo->done = true;
            return 0;
        }
    }
}

static int dispatch(struct echo *echo, const struct ce_event *event) {
    if (event->token == LISTENER) return accept_one(echo);
    if (event->token == SERVER) return serve(echo);
    CHECK(-ce_socket_error(echo->reactor, echo->client));
    CHECK(client_sends(echo));
    return client_receives(echo);
}

static int run_echo(struct echo *echo) {
    const uint64_t start = ce_now(echo->reactor);
    while (!echo->done) {
        struct ce_event events[8];
        if (ce_now(echo->reactor) - start > (uint64_t)deadline_nanoseconds) CHECK(-ETIMEDOUT);
        const int count = ce_wait(echo->reactor, events, 8, deadline_nanoseconds);
        CHECK(count);
        for (int i = 0; i < count; i++) CHECK(dispatch(echo, &events[i]));
    }
    return echo->received == TOTAL ? 0 : -EPROTO;
}

static int open_echo(struct echo *echo, const struct ce_address *address) {
    const struct ce_listen_options options = {.backlog = 16, .socket.flags = CE_NO_DELAY};
    const char *call = NULL;
    struct ce_address bound;
    bool in_progress;
    CHECK(echo->listener = ce_listen(echo->reactor, address, &options, &call));
    CHECK(ce_local_address(echo->reactor, echo->listener, &bound));
    CHECK(ce_add(echo->reactor, echo->listener, CE_WANT_IN, LISTENER));
    CHECK(echo->client = ce_connect(echo->reactor, &bound, NULL, NULL, &in_progress, &call));
    return ce_add(echo->reactor, echo->client, CE_WANT_IN | CE_WANT_OUT | CE_EDGE, CLIENT);
}

static int echo_over(struct ce_reactor *reactor, const struct ce_address *address,
                     const char *name) {
    static struct echo echo;  // too large for the stack
    memset(&echo, 0, sizeof echo);
    echo.reactor = reactor;
    echo.listener = echo.server = echo.client = -1;
    int result = open_echo(&echo, address);
    if (result == 0) result = run_echo(&echo);
    const int all[] = {echo.client, echo.server, echo.listener};
    for (int i = 0; i < 3; i++) {
        if (all[i] < 0) continue;
        ce_remove(reactor, all[i]);
        ce_close(reactor, all[i]);
    }
    if (result == 0) printf("ok %s echo, %zu bytes\n", name, echo.received);
    return result;
}

static void *wake(void *reactor) {
    ce_wake(reactor);
    return NULL;
}

static int woken(struct ce_reactor *reactor) {
    struct ce_event event;
    pthread_t thread;
    const uint64_t start = ce_now(reactor);
    CHECK(-pthread_create(&thread, NULL, wake, reactor));
    const int count = ce_wait(reactor, &event, 1, deadline_nanoseconds);
    pthread_join(thread, NULL);
    CHECK(count);
    if (count != 0 || ce_now(reactor) - start >= (uint64_t)deadline_nanoseconds) return -ETIMEDOUT;
    printf("ok woken by a thread\n");
    return 0;
}

static int run_all(void) {
    const uint8_t loopback[4] = {127, 0, 0, 1};
    struct ce_reactor *reactor = NULL;
    struct ce_address tcp, local;
    char name[64];
    ce_address_v4(&tcp, loopback, 0);
    const int length = snprintf(name, sizeof name, "sluice-shim-program-%d", (int)getpid());
    int result = ce_address_unix(&local, name, (size_t)length, true);
    if (result == 0) result = ce_reactor_create(&reactor, NULL, NULL);
    if (result == 0) result = echo_over(reactor, &tcp, "TCP");
    if (result == 0) result = echo_over(reactor, &local, "Unix");
    if (result == 0) result = woken(reactor);
    if (result == 0) result = path_part(reactor);
    if (result == 0) result = pipe_part(reactor);
    if (result == 0) result = signal_part(reactor);
    ce_reactor_close(reactor);
    return result;
}

static int count_descriptors(void) {
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL) return -errno;
    while (readdir(directory) != NULL) count++;
    closedir(directory);
    return count;
}

int main(void) {
    const int before = count_descriptors();
    if (run_all() < 0) return 1;
    const int after = count_descriptors();
    if (before < 0 || before != after) return 1;
    printf("ok no descriptor left open\n");
    return 0;
}
