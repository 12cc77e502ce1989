// The reactor: an epoll set, the eventfd that wakes it, perhaps a timer, and the thread that runs
// it. All of it belongs to one thread at a time, except ce_wake and the `wake_pending` it sets.
#define _GNU_SOURCE
#include "ce_reactor.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>

__thread struct ce_thread ce_this_thread;

static int control(struct ce_reactor *reactor, int operation, int fd, uint32_t events,
                   uint64_t token) {
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    int result;
    CE_RETRY(result, reactor->system.epoll_ctl(reactor->system.state, reactor->epoll, operation, fd,
                                               &event));
    return result;
}

int ce_reactor_create(struct ce_reactor **reactor, const struct ce_system *system,
                      const char **call) {
    const char *failing = "calloc";
    int result = -ENOMEM;
    *reactor = NULL;
    struct ce_reactor *made = calloc(1, sizeof *made);
    if (made == NULL) goto fail;
    made->system = system != NULL ? *system : *ce_system_kernel();
    made->has_pwait2 = true;
    made->wake = -1;
    made->timer = -1;
    atomic_init(&made->wake_pending, false);

    made->epoll = -1;
    void *state = made->system.state;
    failing = "epoll_create1";
    CE_RETRY(made->epoll, made->system.epoll_create1(state, EPOLL_CLOEXEC));
    if ((result = made->epoll) < 0) goto fail;
    failing = "eventfd";
    CE_RETRY(made->wake, made->system.eventfd(state, 0, EFD_CLOEXEC | EFD_NONBLOCK));
    if ((result = made->wake) < 0) goto fail;
    failing = "epoll_ctl";
    result = control(made, EPOLL_CTL_ADD, made->wake, EPOLLIN | EPOLLET, CE_TOKEN_RESERVED);
    if (result < 0) goto fail;
    *reactor = made;
    return 0;

fail:
    if (call != NULL) *call = failing;
    ce_reactor_close(made);
    return result;
}

void ce_reactor_close(struct ce_reactor *reactor) {
    if (reactor == NULL) return;
    if (reactor->timer >= 0) ce_close(reactor, reactor->timer);
    if (reactor->wake >= 0) ce_close(reactor, reactor->wake);
    if (reactor->epoll >= 0) ce_close(reactor, reactor->epoll);
    free(reactor);
}

static uint32_t epoll_bits(uint32_t interest) {
    uint32_t bits = 0;
    if (interest & CE_WANT_IN) bits |= EPOLLIN | EPOLLPRI;
    if (interest & CE_WANT_OUT) bits |= EPOLLOUT;
    if (bits != 0) bits |= EPOLLRDHUP;
    if (interest & CE_EDGE) bits |= (uint32_t)EPOLLET;
    return bits;
}

int ce_add(struct ce_reactor *reactor, int fd, uint32_t interest, uint64_t token) {
    if (token == CE_TOKEN_RESERVED) return -EINVAL;
    return control(reactor, EPOLL_CTL_ADD, fd, epoll_bits(interest), token);
}

int ce_modify(struct ce_reactor *reactor, int fd, uint32_t interest, uint64_t token) {
    if (token == CE_TOKEN_RESERVED) return -EINVAL;
    return control(reactor, EPOLL_CTL_MOD, fd, epoll_bits(interest), token);
}

int ce_remove(struct ce_reactor *reactor, int fd) {
    return control(reactor, EPOLL_CTL_DEL, fd, 0, 0);
}

static uint32_t ready_bits(uint32_t events) {
    uint32_t bits = 0;
    if (events & EPOLLIN) bits |= CE_IN;
    if (events & EPOLLOUT) bits |= CE_OUT;
    if (events & (EPOLLRDHUP | EPOLLHUP)) bits |= CE_HANG_UP;
    if (events & EPOLLERR) bits |= CE_ERROR;
    if (events & EPOLLPRI) bits |= CE_URGENT;
    return bits;
}

static int wait_milliseconds(struct ce_reactor *reactor, int capacity, int64_t nanoseconds) {
    int milliseconds = -1;
    if (nanoseconds >= 0) {
        // Rounded up: a deadline may be met late, never early.
        int64_t whole = nanoseconds / 1000000 + (nanoseconds % 1000000 != 0);
        milliseconds = whole > INT_MAX ? INT_MAX : (int)whole;
    }
    return reactor->system.epoll_wait(reactor->system.state, reactor->epoll, reactor->events,
                                      capacity, milliseconds);
}

static int wait_kernel(struct ce_reactor *reactor, int capacity, int64_t nanoseconds) {
    if (reactor->has_pwait2 && nanoseconds > 0 && nanoseconds % 1000000 != 0) {
        int count = reactor->system.epoll_pwait2(reactor->system.state, reactor->epoll,
                                                 reactor->events, capacity, nanoseconds);
        // Linux before 5.11 does not know the call; a seccomp filter that does not says EPERM.
        if (count != -ENOSYS && count != -EPERM) return count;
        reactor->has_pwait2 = false;
    }
    return wait_milliseconds(reactor, capacity, nanoseconds);
}

int ce_wait(struct ce_reactor *reactor, struct ce_event *events, int capacity,
            int64_t timeout_nanoseconds) {
    if (capacity < 1) return -EINVAL;
    if (capacity > CE_EVENTS_MAX) capacity = CE_EVENTS_MAX;
    int count = wait_kernel(reactor, capacity, timeout_nanoseconds);
    if (count < 0) return count == -EINTR ? 0 : count;

    int stored = 0;
    for (int i = 0; i < count; i++) {
        const struct epoll_event *event = &reactor->events[i];
        if (event->data.u64 == CE_TOKEN_RESERVED) {
            // The timer's end comes by here too: then the next wake writes once too often.
            // An exchange, not a store: it makes visible what a waker did before it found the flag
            // set. A wake from here on writes again, and its edge stays for the next wait.
            atomic_exchange(&reactor->wake_pending, false);
            continue;
        }
        events[stored++] = (struct ce_event){event->data.u64, ready_bits(event->events)};
    }
    return stored;
}

int ce_wake(struct ce_reactor *reactor) {
    if (atomic_exchange(&reactor->wake_pending, true)) return 0;
    const struct ce_system *system = &reactor->system;
    const int errno_before = errno;  // a signal handler must leave it as it was
    const uint64_t one = 1;
    ssize_t result;
    CE_RETRY(result, system->write(system->state, reactor->wake, &one, sizeof one));
    if (result == -EAGAIN) {
        // The counter is full, which takes 2^64 wake-ups: empty it, the edge comes with the write.
        uint64_t counted;
        CE_RETRY(result, system->read(system->state, reactor->wake, &counted, sizeof counted));
        CE_RETRY(result, system->write(system->state, reactor->wake, &one, sizeof one));
    }
    if (result < 0) atomic_store(&reactor->wake_pending, false);  // the next wake tries again
    errno = errno_before;
    return result < 0 ? (int)result : 0;
}

int ce_descriptor(const struct ce_reactor *reactor) {
    return reactor->epoll;
}

int ce_timer_open(struct ce_reactor *reactor, const char **call) {
    const struct ce_system *system = &reactor->system;
    const char *failing = "timerfd_create";
    int result = -EEXIST, fd = -1;
    if (reactor->timer >= 0) goto fail;
    CE_RETRY(fd, system->timerfd_create(system->state, CLOCK_MONOTONIC,
                                        TFD_CLOEXEC | TFD_NONBLOCK));
    if ((result = fd) < 0) goto fail;
    failing = "epoll_ctl";
    result = control(reactor, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, CE_TOKEN_RESERVED);
    if (result < 0) goto fail;
    reactor->timer = fd;
    return 0;

fail:
    if (call != NULL) *call = failing;
    if (fd >= 0) ce_close(reactor, fd);
    return result;
}

int ce_timer_set(struct ce_reactor *reactor, uint64_t deadline) {
    if (reactor->timer < 0) return -EBADF;
    struct itimerspec value = {0};  // which disarms
    if (deadline != UINT64_MAX) {
        if (deadline == 0) deadline = 1;
        value.it_value.tv_sec = (time_t)(deadline / 1000000000u);
        value.it_value.tv_nsec = (long)(deadline % 1000000000u);
    }
    // Setting it forgets an end that nobody fetched, so nobody has to read the descriptor.
    const struct ce_system *system = &reactor->system;
    int result;
    CE_RETRY(result, system->timerfd_settime(system->state, reactor->timer, TFD_TIMER_ABSTIME,
                                             &value));
    return result;
}

uint64_t ce_now(const struct ce_reactor *reactor) {
    return reactor->system.clock(reactor->system.state);
}

uint64_t ce_now_coarse(const struct ce_reactor *reactor) {
    return reactor->system.clock_coarse(reactor->system.state);
}

struct ce_thread ce_enter(const struct ce_reactor *reactor, void *owner) {
    struct ce_thread before = ce_this_thread;
    ce_this_thread = (struct ce_thread){reactor, owner};
    return before;
}

void ce_leave(struct ce_thread before) {
    ce_this_thread = before;
}
