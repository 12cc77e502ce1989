// The call table: each entry asks whether to fail, calls the kernel, and counts what it said.
#define _GNU_SOURCE
#include "cf_internal.h"

#include <errno.h>

// FORWARD for the calls that open a descriptor.
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

static int faulty_timerfd_create(void *state, int clock, int flags) {
    FORWARD_OPENING(CF_TIMERFD_CREATE, -1, 0, timerfd_create, clock, flags);
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

static int faulty_fcntl(void *state, int fd, int command, int argument) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_FCNTL, fd, 0);
    if (error != 0) return -error;
    const int result = faults->kernel.fcntl(faults->kernel.state, fd, command, argument);
    if (result >= 0) cf_reappeared(faults, fd);
    return (int)cf_end(faults, CF_FCNTL, result);
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

static int faulty_open(void *state, const char *path, int flags) {
    FORWARD_OPENING(CF_OPEN, -1, 0, open, path, flags);
}

static int faulty_flock(void *state, int fd, int operation) {
    FORWARD(int, CF_FLOCK, fd, 0, flock, fd, operation);
}

static int faulty_fstatat(void *state, int directory, const char *name, struct stat *status,
                          int flags) {
    FORWARD(int, CF_FSTATAT, directory, 0, fstatat, directory, name, status, flags);
}

static int faulty_fchmod(void *state, int fd, mode_t mode) {
    FORWARD(int, CF_FCHMOD, fd, 0, fchmod, fd, mode);
}

static int faulty_fchmodat(void *state, int directory, const char *name, mode_t mode, int flags) {
    FORWARD(int, CF_FCHMODAT, directory, 0, fchmodat, directory, name, mode, flags);
}

static int faulty_unlinkat(void *state, int directory, const char *name, int flags) {
    FORWARD(int, CF_UNLINKAT, directory, 0, unlinkat, directory, name, flags);
}

static int faulty_sigaction(void *state, int number, const struct sigaction *action,
                            struct sigaction *before) {
    FORWARD(int, CF_SIGACTION, -1, 0, sigaction, number, action, before);
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

static int faulty_timerfd_settime(void *state, int fd, int flags, const struct itimerspec *value) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_TIMERFD_SETTIME, fd, 0);
    if (error != 0) return -error;
    cf_lock(faults);
    const bool has_clock = faults->has_clock;
    cf_unlock(faults);
    const int result =
        has_clock ? 0 : faults->kernel.timerfd_settime(faults->kernel.state, fd, flags, value);
    return (int)cf_end(faults, CF_TIMERFD_SETTIME, result);
}

static int faulty_sleep(void *state, int64_t nanoseconds) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_SLEEP, -1, 0);
    if (error != 0) return -error;
    cf_lock(faults);
    const bool has_clock = faults->has_clock;
    if (has_clock) faults->now += (uint64_t)nanoseconds;
    cf_unlock(faults);
    const int result = has_clock ? 0 : faults->kernel.sleep(faults->kernel.state, nanoseconds);
    return (int)cf_end(faults, CF_SLEEP, result);
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
        .timerfd_create = faulty_timerfd_create,
        .timerfd_settime = faulty_timerfd_settime,
        .socket = faulty_socket,
        .bind = faulty_bind,
        .listen = faulty_listen,
        .accept4 = faulty_accept4,
        .connect = faulty_connect,
        .shutdown = faulty_shutdown,
        .close = faulty_close,
        .fcntl = faulty_fcntl,
        .setsockopt = faulty_setsockopt,
        .getsockopt = faulty_getsockopt,
        .getsockname = faulty_getsockname,
        .getpeername = faulty_getpeername,
        .unsent = faulty_unsent,
        .read = cf_read,
        .write = cf_write,
        .writev = cf_writev,
        .recv = cf_recv,
        .sendmsg = cf_sendmsg,
        .recvmsg = cf_recvmsg,
        .recvmmsg = cf_recvmmsg,
        .sendmmsg = cf_sendmmsg,
        .open = faulty_open,
        .flock = faulty_flock,
        .fstatat = faulty_fstatat,
        .fchmod = faulty_fchmod,
        .fchmodat = faulty_fchmodat,
        .unlinkat = faulty_unlinkat,
        .sigaction = faulty_sigaction,
        .sleep = faulty_sleep,
        .clock = faulty_clock,
        .clock_coarse = faulty_clock_coarse,
    };
}
