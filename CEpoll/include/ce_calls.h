// The call table, which every system call of a reactor goes through.
#ifndef CE_CALLS_H
#define CE_CALLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct epoll_event;
struct itimerspec;
struct mmsghdr;
struct sigaction;
struct stat;

// Every system call of a reactor goes through its table. Each function gets `state` first, does one
// call as the man page of its name says, and returns its result or -errno (-EINTR included: the
// caller retries). The clocks cannot fail. The calls around it belong to no reactor: a write(2) in
// the handler of ce_signal_open, close(2) in ce_discard. A test gives a table of its own: it may
// fail a call, shorten a read or a write, say EAGAIN first, or run a virtual clock.
struct ce_system {
    void *state;
    int (*epoll_create1)(void *state, int flags);
    int (*epoll_ctl)(void *state, int epoll, int operation, int fd, struct epoll_event *event);
    int (*epoll_wait)(void *state, int epoll, struct epoll_event *events, int capacity,
                      int timeout_milliseconds);
    int (*epoll_pwait2)(void *state, int epoll, struct epoll_event *events, int capacity,
                        int64_t timeout_nanoseconds);
    int (*eventfd)(void *state, unsigned initial, int flags);
    int (*timerfd_create)(void *state, int clock, int flags);
    int (*timerfd_settime)(void *state, int fd, int flags, const struct itimerspec *value);
    int (*socket)(void *state, int domain, int type, int protocol);
    int (*bind)(void *state, int fd, const struct sockaddr *address, socklen_t length);
    int (*listen)(void *state, int fd, int backlog);
    int (*accept4)(void *state, int fd, struct sockaddr *address, socklen_t *length, int flags);
    int (*connect)(void *state, int fd, const struct sockaddr *address, socklen_t length);
    int (*shutdown)(void *state, int fd, int how);
    int (*close)(void *state, int fd);
    int (*fcntl)(void *state, int fd, int command, int argument);
    int (*setsockopt)(void *state, int fd, int level, int name, const void *value,
                      socklen_t length);
    int (*getsockopt)(void *state, int fd, int level, int name, void *value, socklen_t *length);
    int (*getsockname)(void *state, int fd, struct sockaddr *address, socklen_t *length);
    int (*getpeername)(void *state, int fd, struct sockaddr *address, socklen_t *length);
    int (*unsent)(void *state, int fd, int *bytes);  // ioctl SIOCOUTQ, tcp(7)
    ssize_t (*read)(void *state, int fd, void *buffer, size_t count);
    ssize_t (*write)(void *state, int fd, const void *buffer, size_t count);
    ssize_t (*writev)(void *state, int fd, const struct iovec *pieces, int count);
    ssize_t (*recv)(void *state, int fd, void *buffer, size_t count, int flags);
    ssize_t (*sendmsg)(void *state, int fd, const struct msghdr *message, int flags);
    ssize_t (*recvmsg)(void *state, int fd, struct msghdr *message, int flags);
    int (*recvmmsg)(void *state, int fd, struct mmsghdr *messages, unsigned count, int flags);
    int (*sendmmsg)(void *state, int fd, struct mmsghdr *messages, unsigned count, int flags);
    int (*open)(void *state, const char *path, int flags);
    int (*flock)(void *state, int fd, int operation);
    int (*fstatat)(void *state, int directory, const char *name, struct stat *status, int flags);
    int (*fchmod)(void *state, int fd, mode_t mode);
    int (*fchmodat)(void *state, int directory, const char *name, mode_t mode, int flags);
    int (*unlinkat)(void *state, int directory, const char *name, int flags);
    int (*sigaction)(void *state, int number, const struct sigaction *action,
                     struct sigaction *before);
    int (*sleep)(void *state, int64_t nanoseconds);  // clock_nanosleep(2), CLOCK_MONOTONIC
    uint64_t (*clock)(void *state);         // CLOCK_MONOTONIC, nanoseconds
    uint64_t (*clock_coarse)(void *state);  // CLOCK_MONOTONIC_COARSE: cheaper, some ms behind
};

// The real kernel's table. Never freed; copy it to replace single calls.
const struct ce_system *ce_system_kernel(void);

#ifdef __cplusplus
}
#endif
#endif
