// Readiness and time: epoll as the kernel does it, and on top what our own refusals owe.
//
// An edge-triggered reactor that was told EAGAIN, or got less than it asked for, waits for the next
// edge; the kernel has none to give, since it was ready all along. So each refusal is remembered
// with the token its descriptor was registered under, and reported by the next wait.
#define _GNU_SOURCE
#include "cf_internal.h"

void cf_owe(struct cf_faults *faults, int fd, uint32_t directions) {
    struct descriptor *descriptor = cf_descriptor(faults, fd, true);
    if (descriptor == NULL || !descriptor->registered) return;  // adding it reports what is ready
    if (descriptor->owed == 0) faults->owing++;
    descriptor->owed |= directions;
}

void cf_forget(struct cf_faults *faults, struct descriptor *descriptor) {
    if (descriptor->owed != 0) faults->owing--;
    descriptor->owed = 0;
    descriptor->refused = 0;
    descriptor->registered = false;
}

int cf_epoll_ctl(void *state, int epoll, int operation, int fd, struct epoll_event *event) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_EPOLL_CTL, fd, 0);
    if (error != 0) return -error;
    const int result = faults->kernel.epoll_ctl(faults->kernel.state, epoll, operation, fd, event);
    cf_end(faults, CF_EPOLL_CTL, result);
    if (result < 0) return result;
    cf_lock(faults);
    struct descriptor *descriptor = cf_descriptor(faults, fd, true);
    if (descriptor != NULL && operation == EPOLL_CTL_DEL) {
        cf_forget(faults, descriptor);
    } else if (descriptor != NULL) {
        if (descriptor->origin == ORIGIN_CLOSED) descriptor->origin = ORIGIN_ADOPTED;
        descriptor->registered = true;
        descriptor->interest = event->events;
        descriptor->data = event->data.u64;
    }
    cf_unlock(faults);
    return result;
}

static bool is_wake(const struct descriptor *descriptor) {
    return descriptor->data == CE_TOKEN_RESERVED;
}

// Every now and then some descriptor is said to be ready, whatever it is.
static void add_spurious(struct cf_faults *faults, enum cf_call call) {
    const struct cf_quirks *quirks = &faults->quirks;
    const bool due = quirks->spurious_every != 0 &&
                     faults->numbers[call] % quirks->spurious_every == 0;
    if (!due && !cf_chance(faults, quirks->spurious_odds)) return;
    const int size = faults->fd_max + 1;
    const int start = (int)(cf_random(faults) % (uint64_t)size);
    for (int i = 0; i < size; i++) {
        const int fd = (start + i) % size;
        const struct descriptor *descriptor = cf_descriptor(faults, fd, false);
        if (descriptor == NULL || !descriptor->registered || is_wake(descriptor)) continue;
        cf_owe(faults, fd, EPOLLIN | EPOLLOUT);
        return;
    }
}

// The owed bits that may be reported now: only what the registration asks for.
static uint32_t due_bits(const struct descriptor *descriptor) {
    return descriptor->registered ? descriptor->owed & descriptor->interest : 0;
}

static bool is_owing(struct cf_faults *faults) {
    if (faults->owing == 0) return false;
    for (int fd = 0; fd <= faults->fd_max; fd++) {
        const struct descriptor *descriptor = cf_descriptor(faults, fd, false);
        if (descriptor != NULL && due_bits(descriptor) != 0) return true;
    }
    return false;
}

// Stores one more event, into the one the kernel gave for the same token if there is one: it never
// reports a descriptor twice in a wait. False if there is no room.
static bool add_event(struct epoll_event *events, int *count, int capacity, uint64_t data,
                      uint32_t bits) {
    for (int i = 0; i < *count; i++) {
        if (events[i].data.u64 != data) continue;
        events[i].events |= bits;
        return true;
    }
    if (*count == capacity) return false;
    events[(*count)++] = (struct epoll_event){.events = bits, .data = {.u64 = data}};
    return true;
}

static int add_owed(struct cf_faults *faults, struct epoll_event *events, int count,
                    int capacity) {
    const int size = faults->fd_max + 1, start = faults->owed_next;
    for (int i = 0; i < size && faults->owing > 0; i++) {
        const int fd = (start + i) % size;
        struct descriptor *descriptor = cf_descriptor(faults, fd, false);
        if (descriptor == NULL || due_bits(descriptor) == 0) continue;
        if (!add_event(events, &count, capacity, descriptor->data, due_bits(descriptor))) {
            faults->owed_next = fd;
            break;
        }
        descriptor->owed &= ~due_bits(descriptor);
        if (descriptor->owed == 0) faults->owing--;
    }
    return count;
}

// Before the kernel is asked: may this wait sleep? Not if something is owed, nor with our clock.
static bool may_sleep(struct cf_faults *faults, enum cf_call call, int64_t nanoseconds) {
    cf_lock(faults);
    add_spurious(faults, call);
    const bool may = !is_owing(faults) && !(faults->has_clock && nanoseconds > 0);
    cf_unlock(faults);
    return may;
}

// After it: adds what is owed; moves our clock if nothing was ready.
static int finish_wait(struct cf_faults *faults, enum cf_call call, struct epoll_event *events,
                       int count, int capacity, int64_t nanoseconds) {
    cf_end(faults, call, count);
    if (count < 0) return count;
    cf_lock(faults);
    count = add_owed(faults, events, count, capacity);
    if (count == 0 && faults->has_clock && nanoseconds > 0) faults->now += (uint64_t)nanoseconds;
    cf_unlock(faults);
    return count;
}

int cf_epoll_wait(void *state, int epoll, struct epoll_event *events, int capacity,
                  int timeout_milliseconds) {
    struct cf_faults *faults = state;
    const int64_t nanoseconds = (int64_t)timeout_milliseconds * 1000000;
    const int error = cf_begin(faults, CF_EPOLL_WAIT, epoll, 0);
    if (error != 0) return -error;
    const int timeout = may_sleep(faults, CF_EPOLL_WAIT, nanoseconds) ? timeout_milliseconds : 0;
    const int count =
        faults->kernel.epoll_wait(faults->kernel.state, epoll, events, capacity, timeout);
    return finish_wait(faults, CF_EPOLL_WAIT, events, count, capacity, nanoseconds);
}

int cf_epoll_pwait2(void *state, int epoll, struct epoll_event *events, int capacity,
                    int64_t timeout_nanoseconds) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_EPOLL_PWAIT2, epoll, 0);
    if (error != 0) return -error;
    const bool sleeps = may_sleep(faults, CF_EPOLL_PWAIT2, timeout_nanoseconds);
    const int64_t timeout = sleeps ? timeout_nanoseconds : 0;
    const int count =
        faults->kernel.epoll_pwait2(faults->kernel.state, epoll, events, capacity, timeout);
    return finish_wait(faults, CF_EPOLL_PWAIT2, events, count, capacity, timeout_nanoseconds);
}
