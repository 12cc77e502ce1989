// The call table: each entry asks whether to fail, calls the kernel, and counts what it said.
#define _GNU_SOURCE
#include "cf_internal.h"

#include <errno.h>

#define FORWARD(type, call, fd, direction, name, ...)                                             \
    struct cf_faults *faults = state;                                                             \
    const int error = cf_begin(faults, call, fd, direction);                                      \
    if (error != 0) return -error;                                                                \
    return (type)cf_end(faults, call, faults->kernel.name(faults->kernel.state, __VA_ARGS__))

// The same for the calls that open a descriptor.
#define FORWARD_OPENING(call, fd, direction, name, ...)                                           \
    struct cf_faults *faults = state;                                                             \
    const int error = cf_begin(faults, call, fd, direction);                                      \
    if (error != 0) return -error;                                                                \
    const int opened =                                                                            \
        (int)cf_end(faults, call, faults->kernel.name(faults->kernel.state, __VA_ARGS__));        \
    if (opened >= 0) cf_opened(faults, opened);                                                   \
    return opened

static int faulty_epoll_create1(void *state, int flags) {
    FORWARD_OPENING(CF_EPOLL_CREATE1, -1, 0, epoll_create1, flags);
}

static int faulty_eventfd(void *state, unsigned initial, int flags) {
    FORWARD_OPENING(CF_EVENTFD, -1, 0, eventfd, initial, flags);
}

static int faulty_socket(void *state, int domain, int type, int protocol) {
    FORWARD_OPENING(CF_SOCKET, -1, 0, socket, domain, type, protocol);
}

static int faulty_bind(void *state, int fd, const struct sockaddr *address, socklen_t length) {
    FORWARD(int, CF_BIND, fd, 0, bind, fd, address, length);
}

static int faulty_listen(void *state, int fd, int backlog) {
    FORWARD(int, CF_LISTEN, fd, 0, listen, fd, backlog);
}

static int faulty_accept4(void *state, int fd, struct sockaddr *address, socklen_t *length,
                          int flags) {
    FORWARD_OPENING(CF_ACCEPT4, fd, EPOLLIN, accept4, fd, address, length, flags);
}

static int faulty_connect(void *state, int fd, const struct sockaddr *address, socklen_t length) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_CONNECT, fd, 0);
    if (error != 0 && error != EINTR) return -error;
    int result = faults->kernel.connect(faults->kernel.state, fd, address, length);
    if (error == EINTR && (result == 0 || result == -EINPROGRESS)) return -EINTR;
    return (int)cf_end(faults, CF_CONNECT, result);
}

static int faulty_shutdown(void *state, int fd, int how) {
    FORWARD(int, CF_SHUTDOWN, fd, 0, shutdown, fd, how);
}

static int faulty_close(void *state, int fd) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_CLOSE, fd, 0);
    // Noted before the kernel may give the number to somebody else.
    cf_closed(faults, fd);
    int result = faults->kernel.close(faults->kernel.state, fd);
    return error != 0 ? -error : (int)cf_end(faults, CF_CLOSE, result);
}

static int faulty_setsockopt(void *state, int fd, int level, int name, const void *value,
                             socklen_t length) {
    FORWARD(int, CF_SETSOCKOPT, fd, 0, setsockopt, fd, level, name, value, length);
}

static int faulty_getsockopt(void *state, int fd, int level, int name, void *value,
                             socklen_t *length) {
    FORWARD(int, CF_GETSOCKOPT, fd, 0, getsockopt, fd, level, name, value, length);
}

static int faulty_getsockname(void *state, int fd, struct sockaddr *address, socklen_t *length) {
    FORWARD(int, CF_GETSOCKNAME, fd, 0, getsockname, fd, address, length);
}

static int faulty_getpeername(void *state, int fd, struct sockaddr *address, socklen_t *length) {
    FORWARD(int, CF_GETPEERNAME, fd, 0, getpeername, fd, address, length);
}

static int faulty_unsent(void *state, int fd, int *bytes) {
    FORWARD(int, CF_UNSENT, fd, 0, unsent, fd, bytes);
}

static ssize_t faulty_read(void *state, int fd, void *buffer, size_t count) {
    FORWARD(ssize_t, CF_READ, fd, 0, read, fd, buffer, count);
}

static ssize_t faulty_write(void *state, int fd, const void *buffer, size_t count) {
    FORWARD(ssize_t, CF_WRITE, fd, 0, write, fd, buffer, count);
}

static ssize_t faulty_recvmsg(void *state, int fd, struct msghdr *message, int flags) {
    FORWARD(ssize_t, CF_RECVMSG, fd, EPOLLIN, recvmsg, fd, message, flags);
}

// How much of `wanted` bytes a call may move. Only a stream's: a datagram would lose its rest.
static size_t shortened(struct cf_faults *faults, enum cf_call call, int fd, size_t wanted) {
    int type = 0;
    socklen_t size = sizeof type;
    cf_lock(faults);
    const struct cf_quirks quirks = faults->quirks;
    cf_unlock(faults);
    const bool reads = call == CF_RECV;
    const size_t max = reads ? quirks.read_bytes_max : quirks.write_bytes_max;
    const uint32_t odds = reads ? quirks.short_read_odds : quirks.short_write_odds;
    if (wanted == 0 || (max == 0 && odds == 0)) return wanted;
    if (faults->kernel.getsockopt(faults->kernel.state, fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
        return wanted;
    if (type != SOCK_STREAM) return wanted;
    if (max != 0 && wanted > max) wanted = max;
    cf_lock(faults);
    if (cf_chance(faults, odds)) wanted = (size_t)(cf_random(faults) % wanted) + 1;
    cf_unlock(faults);
    return wanted;
}

static void owe(struct cf_faults *faults, int fd, uint32_t direction) {
    cf_lock(faults);
    cf_owe(faults, fd, direction);
    cf_unlock(faults);
}

static ssize_t faulty_recv(void *state, int fd, void *buffer, size_t count, int flags) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_RECV, fd, EPOLLIN);
    if (error != 0) return -error;
    const size_t asked = shortened(faults, CF_RECV, fd, count);
    ssize_t got = faults->kernel.recv(faults->kernel.state, fd, buffer, asked, flags);
    if (asked < count && got == (ssize_t)asked) owe(faults, fd, EPOLLIN);
    return cf_end(faults, CF_RECV, got);
}

static ssize_t faulty_sendmsg(void *state, int fd, const struct msghdr *message, int flags) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_SENDMSG, fd, EPOLLOUT);
    if (error != 0) return -error;
    size_t whole = 0;
    for (size_t i = 0; i < (size_t)message->msg_iovlen; i++) whole += message->msg_iov[i].iov_len;
    const size_t asked = shortened(faults, CF_SENDMSG, fd, whole);
    if (asked == whole || (size_t)message->msg_iovlen > CE_IOVECS_MAX)
        return cf_end(faults, CF_SENDMSG,
                      faults->kernel.sendmsg(faults->kernel.state, fd, message, flags));

    struct iovec pieces[CE_IOVECS_MAX];
    struct msghdr part = *message;
    part.msg_iov = pieces;
    part.msg_iovlen = 0;
    for (size_t left = asked, i = 0; left > 0; i++) {
        pieces[i] = message->msg_iov[i];
        if (pieces[i].iov_len > left) pieces[i].iov_len = left;
        left -= pieces[i].iov_len;
        part.msg_iovlen++;
    }
    ssize_t took = faults->kernel.sendmsg(faults->kernel.state, fd, &part, flags);
    if (took == (ssize_t)asked) owe(faults, fd, EPOLLOUT);
    return cf_end(faults, CF_SENDMSG, took);
}

// ---- The clock

void cf_set_clock(struct cf_faults *faults, uint64_t nanoseconds) {
    cf_lock(faults);
    faults->has_clock = true;
    faults->now = nanoseconds;
    cf_unlock(faults);
}

void cf_advance(struct cf_faults *faults, uint64_t nanoseconds) {
    cf_lock(faults);
    faults->now += nanoseconds;
    cf_unlock(faults);
}

static uint64_t show_clock(struct cf_faults *faults, enum cf_call call,
                           uint64_t (*real)(void *state)) {
    cf_begin(faults, call, -1, 0);
    cf_lock(faults);
    const bool has_clock = faults->has_clock;
    const uint64_t now = faults->now;
    cf_unlock(faults);
    return has_clock ? now : real(faults->kernel.state);
}

static uint64_t faulty_clock(void *state) {
    struct cf_faults *faults = state;
    return show_clock(faults, CF_CLOCK, faults->kernel.clock);
}

static uint64_t faulty_clock_coarse(void *state) {
    struct cf_faults *faults = state;
    return show_clock(faults, CF_CLOCK_COARSE, faults->kernel.clock_coarse);
}

struct ce_system cf_table(struct cf_faults *faults) {
    return (struct ce_system){
        .state = faults,
        .epoll_create1 = faulty_epoll_create1,
        .epoll_ctl = cf_epoll_ctl,
        .epoll_wait = cf_epoll_wait,
        .epoll_pwait2 = cf_epoll_pwait2,
        .eventfd = faulty_eventfd,
        .socket = faulty_socket,
        .bind = faulty_bind,
        .listen = faulty_listen,
        .accept4 = faulty_accept4,
        .connect = faulty_connect,
        .shutdown = faulty_shutdown,
        .close = faulty_close,
        .setsockopt = faulty_setsockopt,
        .getsockopt = faulty_getsockopt,
        .getsockname = faulty_getsockname,
        .getpeername = faulty_getpeername,
        .unsent = faulty_unsent,
        .read = faulty_read,
        .write = faulty_write,
        .recv = faulty_recv,
        .sendmsg = faulty_sendmsg,
        .recvmsg = faulty_recvmsg,
        .clock = faulty_clock,
        .clock_coarse = faulty_clock_coarse,
    };
}
