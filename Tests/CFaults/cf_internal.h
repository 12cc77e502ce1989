// Private to CFaults: what is known of each descriptor and each kind of call. All of it is guarded
// by `lock`, which is never held during a system call.
#ifndef CF_INTERNAL_H
#define CF_INTERNAL_H

#include "CFaults.h"

#include <pthread.h>
#include <sys/epoll.h>

enum { CHUNK_DESCRIPTORS = 256, CHUNKS = 4096 };  // 1,048,576 numbers, allocated as they appear

enum origin { ORIGIN_UNKNOWN, ORIGIN_OPENED, ORIGIN_ADOPTED, ORIGIN_CLOSED };

struct descriptor {
    enum origin origin;
    bool registered;    // in the epoll set, with the two below
    uint32_t interest;  // epoll bits
    uint64_t data;
    uint32_t owed;      // EPOLLIN, EPOLLOUT: to be reported by the next wait that may
    uint32_t refused;   // the last attempt in this direction was answered with our EAGAIN
};

struct plan {
    uint64_t first, last;  // the failing calls, by number; none if first is 0
    int error;
    uint32_t odds;
    int odds_error;
    bool interrupted;  // the last call of this kind
};

struct cf_faults {
    pthread_mutex_t lock;
    struct ce_system kernel;
    struct cf_counts counts[CF_CALLS];
    struct plan plans[CF_CALLS + 1];
    uint64_t numbers[CF_CALLS + 1];  // calls ever made, for the plans; not reset
    struct cf_quirks quirks;
    uint64_t random;
    struct cf_ledger ledger;
    struct descriptor *chunks[CHUNKS];
    int fd_max;
    int owing;  // descriptors with something in `owed`
    int owed_next;  // where the next search begins, so that a full wait starves nobody
    bool has_clock;
    uint64_t now;
};

static inline void cf_lock(struct cf_faults *faults) {
    pthread_mutex_lock(&faults->lock);
}

static inline void cf_unlock(struct cf_faults *faults) {
    pthread_mutex_unlock(&faults->lock);
}

// ---- cf_faults.c; with the lock held unless said otherwise

// The record of a number; NULL for a bad one, or if there is none yet and `make` is false.
struct descriptor *cf_descriptor(struct cf_faults *faults, int fd, bool make);

uint64_t cf_random(struct cf_faults *faults);
bool cf_chance(struct cf_faults *faults, uint32_t odds);

// Takes the lock. Counts a call and returns the errno to fail it with, or 0. `direction` is EPOLLIN
// or EPOLLOUT for the calls that may say EAGAIN, else 0.
int cf_begin(struct cf_faults *faults, enum cf_call call, int fd, uint32_t direction);

// Takes the lock. Counts what the kernel said, and returns it.
ssize_t cf_end(struct cf_faults *faults, enum cf_call call, ssize_t result);

// Takes the lock. The ledger's entries for an opened and a closed number.
void cf_opened(struct cf_faults *faults, int fd);
void cf_closed(struct cf_faults *faults, int fd);

// Takes the lock. A number closed here was seen in use: it has been opened elsewhere since.
void cf_reappeared(struct cf_faults *faults, int fd);

// The body of a table's entry that only forwards.
#define FORWARD(type, call, fd, direction, name, ...)                                             \
    struct cf_faults *faults = state;                                                             \
    const int error = cf_begin(faults, call, fd, direction);                                      \
    if (error != 0) return -error;                                                                \
    return (type)cf_end(faults, call, faults->kernel.name(faults->kernel.state, __VA_ARGS__))

// ---- cf_readiness.c; with the lock held unless said otherwise

// Promises that a wait will report these directions of a descriptor; forgets such promises.
void cf_owe(struct cf_faults *faults, int fd, uint32_t directions);
void cf_forget(struct cf_faults *faults, struct descriptor *descriptor);

// The table's entries that know about readiness. They take the lock.
int cf_epoll_ctl(void *state, int epoll, int operation, int fd, struct epoll_event *event);
int cf_epoll_wait(void *state, int epoll, struct epoll_event *events, int capacity,
                  int timeout_milliseconds);
int cf_epoll_pwait2(void *state, int epoll, struct epoll_event *events, int capacity,
                    int64_t timeout_nanoseconds);

// ---- cf_stream.c: the table's entries that move bytes. They take the lock.
ssize_t cf_read(void *state, int fd, void *buffer, size_t count);
ssize_t cf_write(void *state, int fd, const void *buffer, size_t count);
ssize_t cf_writev(void *state, int fd, const struct iovec *pieces, int count);
ssize_t cf_recv(void *state, int fd, void *buffer, size_t count, int flags);
ssize_t cf_sendmsg(void *state, int fd, const struct msghdr *message, int flags);
ssize_t cf_recvmsg(void *state, int fd, struct msghdr *message, int flags);
int cf_recvmmsg(void *state, int fd, struct mmsghdr *messages, unsigned count, int flags);
int cf_sendmmsg(void *state, int fd, struct mmsghdr *messages, unsigned count, int flags);

#endif
