// The reactor itself: registration, waiting, wake-ups, the timer, the clocks.
#ifndef CE_WAIT_H
#define CE_WAIT_H

#include "ce_calls.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ce_reactor;

enum ce_readiness {
    CE_IN = 1u << 0,       // EPOLLIN: a read would not block (data, a connection, or the end)
    CE_OUT = 1u << 1,      // EPOLLOUT: a write would not block
    CE_HANG_UP = 1u << 2,  // EPOLLRDHUP or EPOLLHUP: the peer sent its end, or both ends are done
    CE_ERROR = 1u << 3,    // EPOLLERR: ce_socket_error tells
    CE_URGENT = 1u << 4,   // EPOLLPRI: TCP urgent data; recv(2) stops before and after its mark, so
                           // that a short read does not mean that nothing is left
};

enum ce_interest {
    CE_WANT_IN = 1u << 0,
    CE_WANT_OUT = 1u << 1,
    CE_EDGE = 1u << 2,  // EPOLLET. Hang-up (EPOLLRDHUP) is always asked for, unless nothing is.
};

struct ce_event {
    uint64_t token;
    uint32_t ready;  // of enum ce_readiness
};

enum {
    CE_EVENTS_MAX = 256,   // events fetched by one ce_wait at most: bounds a turn's first phase
    CE_IOVECS_MAX = 1024,  // pieces of one ce_send or ce_write at most: IOV_MAX of writev(2)
    CE_DATAGRAMS_MAX = 64,   // of one ce_receive_datagrams or ce_send_datagrams at most
    CE_SIGNAL_WATCHERS_MAX = 8,  // of one signal: bounds the work of its handler
    CE_DIRECTORY_LOCK_MILLISECONDS_MAX = 5000,  // a wait for ce_listen_unix and ce_unlink_file
};

// This token belongs to the reactor's own descriptors; ce_add refuses it with -EINVAL.
#define CE_TOKEN_RESERVED UINT64_MAX

// Creates a reactor: epoll_create1(2) and eventfd(2). `system` is copied; NULL means the kernel's.
// After a failure *reactor is NULL, everything opened before is closed again, and *call names the
// system call that failed (call may be NULL).
int ce_reactor_create(struct ce_reactor **reactor, const struct ce_system *system,
                      const char **call);

// Closes its own descriptors and frees the reactor. Registered ones stay open and the caller's.
void ce_reactor_close(struct ce_reactor *reactor);

// epoll_ctl(2). The token comes back in each ce_event. A descriptor is added once; ce_remove has to
// come before its close, since a duplicate elsewhere would keep the registration alive.
int ce_add(struct ce_reactor *reactor, int fd, uint32_t interest, uint64_t token);
int ce_modify(struct ce_reactor *reactor, int fd, uint32_t interest, uint64_t token);
int ce_remove(struct ce_reactor *reactor, int fd);

// Waits with epoll_pwait2(2), or epoll_wait(2) where that does not exist (the timeout is then
// rounded up to milliseconds) or is not needed. timeout_nanoseconds: 0 polls, negative waits for
// ever. Returns how many events were stored, at most min(capacity, CE_EVENTS_MAX); 0 also after a
// signal, a ce_wake or the timer's end. These are never stored.
int ce_wait(struct ce_reactor *reactor, struct ce_event *events, int capacity,
            int64_t timeout_nanoseconds);

// Makes a present or the next ce_wait return. Any thread, also a signal handler. Calls made before
// that wait returns cost one write(2) together.
int ce_wake(struct ce_reactor *reactor);

// The epoll descriptor: it polls readable when ce_wait has something to fetch, be it a wake-up or
// the timer's end. Stays the reactor's.
int ce_descriptor(const struct ce_reactor *reactor);

// One timer, for a reactor whose ce_descriptor is watched by another loop, which knows nothing of
// deadlines: timerfd_create(2), registered. Once per reactor, -EEXIST for more. After a failure
// nothing stays open and *call names the system call that failed (call may be NULL).
int ce_timer_open(struct ce_reactor *reactor, const char **call);

// Lets ce_descriptor become readable once ce_now has reached the deadline, at once if it has;
// replaces the deadline before. timerfd_settime(2). UINT64_MAX stands for never, -EBADF for a
// reactor without a timer.
int ce_timer_set(struct ce_reactor *reactor, uint64_t deadline);

// Nanoseconds of the monotonic clock; the coarse one lags by up to a kernel tick (1 to 10 ms).
uint64_t ce_now(const struct ce_reactor *reactor);
uint64_t ce_now_coarse(const struct ce_reactor *reactor);

#ifdef __cplusplus
}
#endif
#endif
