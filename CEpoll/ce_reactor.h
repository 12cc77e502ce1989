// Private to floor 0: what a reactor holds, and how a call is retried.
#ifndef CE_REACTOR_H
#define CE_REACTOR_H

#include "CEpoll.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/epoll.h>

struct ce_reactor {
    struct ce_system system;
    int epoll;
    int wake;  // an eventfd, edge-triggered: each write to it is a new edge, so nobody reads it
    int timer;  // a timerfd, likewise; -1 until ce_timer_open
    bool has_pwait2;           // until the kernel denies it once
    _Atomic bool wake_pending;  // a write to `wake` is under way or not seen by ce_wait yet
    struct epoll_event events[CE_EVENTS_MAX];
};

// Calls again while a signal interrupts. Not for close(2) and connect(2), which went on regardless.
#define CE_RETRY(result, call)     \
    do {                           \
        (result) = (call);         \
    } while ((result) == -EINTR)

// The parts of ce_listen, for ce_listen_unix too.
int ce_open_socket(struct ce_reactor *reactor, const struct ce_address *address);
int ce_bind_socket(struct ce_reactor *reactor, int fd, const struct ce_address *address);
int ce_set_listen_options(struct ce_reactor *reactor, int fd, const struct ce_address *address,
                          const struct ce_listen_options *options);
int ce_start_listening(struct ce_reactor *reactor, int fd, int backlog);

// connect(2), once: whether an interrupted one goes on depends on the address.
int ce_connect_socket(struct ce_reactor *reactor, int fd, const struct ce_address *address);

#endif
