// The real kernel behind struct ce_system: one call each, -errno read right beside it.
#define _GNU_SOURCE
#include "CEpoll.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define STATE __attribute__((unused)) void *state

static int result_of(int result) {
    return result < 0 ? -errno : result;
}

static ssize_t count_of(ssize_t count) {
    return count < 0 ? -errno : count;
}

static int kernel_epoll_create1(STATE, int flags) {
    return result_of(epoll_create1(flags));
}

static int kernel_epoll_ctl(STATE, int epoll, int operation, int fd, struct epoll_event *event) {
    return result_of(epoll_ctl(epoll, operation, fd, event));
}

static int kernel_epoll_wait(STATE, int epoll, struct epoll_event *events, int capacity,
                             int timeout_milliseconds) {
    return result_of(epoll_wait(epoll, events, capacity, timeout_milliseconds));
}

// By number, since C libraries older than the kernel call (5.11) lack the function.
static int kernel_epoll_pwait2(STATE, int epoll, struct epoll_event *events, int capacity,
                               int64_t timeout_nanoseconds) {
#ifdef SYS_epoll_pwait2
    // struct __kernel_timespec, which is 64 bits wide everywhere.
    const struct {
        int64_t seconds, nanoseconds;
    } timeout = {timeout_nanoseconds / 1000000000, timeout_nanoseconds % 1000000000};
    return result_of((int)syscall(SYS_epoll_pwait2, epoll, events, capacity,
                                  timeout_nanoseconds < 0 ? NULL : &timeout, NULL, (size_t)0));
#else
    (void)epoll, (void)events, (void)capacity, (void)timeout_nanoseconds;
    return -ENOSYS;
#endif
}

static int kernel_eventfd(STATE, unsigned initial, int flags) {
    return result_of(eventfd(initial, flags));
}

static int kernel_timerfd_create(STATE, int clock, int flags) {
    return result_of(timerfd_create(clock, flags));
}

static int kernel_timerfd_settime(STATE, int fd, int flags, const struct itimerspec *value) {
    return result_of(timerfd_settime(fd, flags, value, NULL));
}

static int kernel_socket(STATE, int domain, int type, int protocol) {
    return result_of(socket(domain, type, protocol));
}

static int kernel_bind(STATE, int fd, const struct sockaddr *address, socklen_t length) {
    return result_of(bind(fd, address, length));
}

static int kernel_listen(STATE, int fd, int backlog) {
    return result_of(listen(fd, backlog));
}

static int kernel_accept4(STATE, int fd, struct sockaddr *address, socklen_t *length, int flags) {
    return result_of(accept4(fd, address, length, flags));
}

static int kernel_connect(STATE, int fd, const struct sockaddr *address, socklen_t length) {
    return result_of(connect(fd, address, length));
}

static int kernel_shutdown(STATE, int fd, int how) {
    return result_of(shutdown(fd, how));
}

static int kernel_close(STATE, int fd) {
    return result_of(close(fd));
}

static int kernel_fcntl(STATE, int fd, int command, int argument) {
    return result_of(fcntl(fd, command, argument));
}

static int kernel_setsockopt(STATE, int fd, int level, int name, const void *value,
                             socklen_t length) {
    return result_of(setsockopt(fd, level, name, value, length));
}

static int kernel_getsockopt(STATE, int fd, int level, int name, void *value, socklen_t *length) {
    return result_of(getsockopt(fd, level, name, value, length));
}

static int kernel_getsockname(STATE, int fd, struct sockaddr *address, socklen_t *length) {
    return result_of(getsockname(fd, address, length));
}

static int kernel_getpeername(STATE, int fd, struct sockaddr *address, socklen_t *length) {
    return result_of(getpeername(fd, address, length));
}

static int kernel_unsent(STATE, int fd, int *bytes) {
    return result_of(ioctl(fd, SIOCOUTQ, bytes));
}

static ssize_t kernel_read(STATE, int fd, void *buffer, size_t count) {
    return count_of(read(fd, buffer, count));
}

static ssize_t kernel_write(STATE, int fd, const void *buffer, size_t count) {
    return count_of(write(fd, buffer, count));
}

static ssize_t kernel_writev(STATE, int fd, const struct iovec *pieces, int count) {
    return count_of(writev(fd, pieces, count));
}

static ssize_t kernel_recv(STATE, int fd, void *buffer, size_t count, int flags) {
    return count_of(recv(fd, buffer, count, flags));
}

// One piece and nothing else is what send(2) is for: the kernel then has no message header and no
// vector to copy in, which is 2 % of a small reply.
static ssize_t kernel_sendmsg(STATE, int fd, const struct msghdr *message, int flags) {
    if (message->msg_iovlen == 1 && message->msg_controllen == 0 && message->msg_name == NULL) {
        return count_of(send(fd, message->msg_iov->iov_base, message->msg_iov->iov_len, flags));
    }
    return count_of(sendmsg(fd, message, flags));
}

static ssize_t kernel_recvmsg(STATE, int fd, struct msghdr *message, int flags) {
    return count_of(recvmsg(fd, message, flags));
}

static int kernel_recvmmsg(STATE, int fd, struct mmsghdr *messages, unsigned count, int flags) {
    return result_of(recvmmsg(fd, messages, count, flags, NULL));
}

static int kernel_sendmmsg(STATE, int fd, struct mmsghdr *messages, unsigned count, int flags) {
    return result_of(sendmmsg(fd, messages, count, flags));
}

static int kernel_open(STATE, const char *path, int flags) {
    return result_of(open(path, flags));
}

static int kernel_flock(STATE, int fd, int operation) {
    return result_of(flock(fd, operation));
}

static int kernel_fstatat(STATE, int directory, const char *name, struct stat *status, int flags) {
    return result_of(fstatat(directory, name, status, flags));
}

static int kernel_fchmod(STATE, int fd, mode_t mode) {
    return result_of(fchmod(fd, mode));
}

static int kernel_fchmodat(STATE, int directory, const char *name, mode_t mode, int flags) {
    return result_of(fchmodat(directory, name, mode, flags));
}

static int kernel_unlinkat(STATE, int directory, const char *name, int flags) {
    return result_of(unlinkat(directory, name, flags));
}

static int kernel_sigaction(STATE, int number, const struct sigaction *action,
                            struct sigaction *before) {
    return result_of(sigaction(number, action, before));
}

static int kernel_sleep(STATE, int64_t nanoseconds) {
    const struct timespec length = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    return -clock_nanosleep(CLOCK_MONOTONIC, 0, &length, NULL);  // it returns the errno
}

static uint64_t nanoseconds_of(clockid_t id) {
    struct timespec now;
    clock_gettime(id, &now);  // fails only for a bad id or pointer
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t kernel_clock(STATE) {
    return nanoseconds_of(CLOCK_MONOTONIC);
}

static uint64_t kernel_clock_coarse(STATE) {
    return nanoseconds_of(CLOCK_MONOTONIC_COARSE);
}

const struct ce_system *ce_system_kernel(void) {
    static const struct ce_system kernel = {
        .epoll_create1 = kernel_epoll_create1,
        .epoll_ctl = kernel_epoll_ctl,
        .epoll_wait = kernel_epoll_wait,
        .epoll_pwait2 = kernel_epoll_pwait2,
        .eventfd = kernel_eventfd,
        .timerfd_create = kernel_timerfd_create,
        .timerfd_settime = kernel_timerfd_settime,
        .socket = kernel_socket,
        .bind = kernel_bind,
        .listen = kernel_listen,
        .accept4 = kernel_accept4,
        .connect = kernel_connect,
        .shutdown = kernel_shutdown,
        .close = kernel_close,
        .fcntl = kernel_fcntl,
        .setsockopt = kernel_setsockopt,
        .getsockopt = kernel_getsockopt,
        .getsockname = kernel_getsockname,
        .getpeername = kernel_getpeername,
        .unsent = kernel_unsent,
        .read = kernel_read,
        .write = kernel_write,
        .writev = kernel_writev,
        .recv = kernel_recv,
        .sendmsg = kernel_sendmsg,
        .recvmsg = kernel_recvmsg,
        .recvmmsg = kernel_recvmmsg,
        .sendmmsg = kernel_sendmmsg,
        .open = kernel_open,
        .flock = kernel_flock,
        .fstatat = kernel_fstatat,
        .fchmod = kernel_fchmod,
        .fchmodat = kernel_fchmodat,
        .unlinkat = kernel_unlinkat,
        .sigaction = kernel_sigaction,
        .sleep = kernel_sleep,
        .clock = kernel_clock,
        .clock_coarse = kernel_clock_coarse,
    };
    return &kernel;
}
