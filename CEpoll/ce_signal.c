// Signals as descriptors: one handler, and for each signal a row of eventfds it adds 1 to.
//
// The handler takes no lock. A watch that ends while the handler runs on another thread must not be
// written to afterwards, since its number may have a new owner: so the handler counts itself in
// before it looks at a watch, and who ends the watch empties it first and then waits until nobody
// is counted in. (Both in one total order, the default of C's atomics: either the handler sees the
// empty watch, or the other one sees the handler.)
#define _GNU_SOURCE
#include "ce_reactor.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { SIGNALS = 65 };  // 1 to 64 on Linux, signal(7)

_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "a signal handler uses them");

struct watch {
    _Atomic int fd_plus_one;  // 0: nobody's
    _Atomic int writers;      // handlers that may be about to write
};

// All zero at the start. `watches` is the handler's too; the rest is guarded by `mutex`.
static struct {
    pthread_mutex_t mutex;
    struct {
        struct watch watches[CE_SIGNAL_WATCHERS_MAX];
        int count;
        bool handled;             // by our handler
        struct sigaction before;  // what was there, if so
    } signals[SIGNALS];
} process = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void handle(int number) {
    const int errno_before = errno;
    const uint64_t one = 1;
    for (int i = 0; i < CE_SIGNAL_WATCHERS_MAX; i++) {
        struct watch *watch = &process.signals[number].watches[i];
        atomic_fetch_add(&watch->writers, 1);
        const int fd = atomic_load(&watch->fd_plus_one) - 1;
        if (fd >= 0) {
            // Fails only when 2^64 - 2 arrivals were not read: then one more does not matter.
            ssize_t result = write(fd, &one, sizeof one);
            (void)result;
        }
        atomic_fetch_sub(&watch->writers, 1);
    }
    errno = errno_before;
}

static void end_watch(struct watch *watch) {
    atomic_store(&watch->fd_plus_one, 0);
    while (atomic_load(&watch->writers) != 0) sched_yield();
}

// Finds the watch of a descriptor, or for -1 one that is nobody's.
static struct watch *find_watch(int number, int fd) {
    for (int i = 0; i < CE_SIGNAL_WATCHERS_MAX; i++) {
        struct watch *watch = &process.signals[number].watches[i];
        if (atomic_load(&watch->fd_plus_one) == fd + 1) return watch;
    }
    return NULL;
}

static int set_action(struct ce_reactor *reactor, int number, const struct sigaction *action,
                      struct sigaction *before) {
    int result;
    CE_RETRY(result, reactor->system.sigaction(reactor->system.state, number, action, before));
    return result;
}

static int install(struct ce_reactor *reactor, int number) {
    // On the alternate stack where a thread has one: a program's small stacks stay its own.
    struct sigaction ours = {.sa_handler = handle, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigemptyset(&ours.sa_mask);
    return set_action(reactor, number, &ours, &process.signals[number].before);
}

static int restore(struct ce_reactor *reactor, int number) {
    struct sigaction now;
    const int result = set_action(reactor, number, NULL, &now);
    if (result < 0) return result;
    if ((now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != handle) return 0;
    return set_action(reactor, number, &process.signals[number].before, NULL);
}

static int begin_watch(struct ce_reactor *reactor, int number, int fd) {
    struct watch *watch = find_watch(number, -1);
    if (watch == NULL) return -EUSERS;
    // Before the handler, which then misses none.
    atomic_store(&watch->fd_plus_one, fd + 1);
    if (!process.signals[number].handled) {
        const int result = install(reactor, number);
        if (result < 0) {
            end_watch(watch);
            return result;
        }
        process.signals[number].handled = true;
    }
    process.signals[number].count++;
    return 0;
}

static bool is_watchable(int number) {
    // After a fault the instruction is tried again: a handler that returns would run for ever.
    const bool is_fault =
        number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL;
    return number > 0 && number < SIGNALS && !is_fault;
}

int ce_signal_open(struct ce_reactor *reactor, int number) {
    if (!is_watchable(number)) return -EINVAL;
    int fd;
    CE_RETRY(fd, reactor->system.eventfd(reactor->system.state, 0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (fd < 0) return fd;
    pthread_mutex_lock(&process.mutex);
    const int result = begin_watch(reactor, number, fd);
    pthread_mutex_unlock(&process.mutex);
    if (result == 0) return fd;
    ce_close(reactor, fd);
    return result;
}

int ce_signal_close(struct ce_reactor *reactor, int number, int fd) {
    if (!is_watchable(number) || fd < 0) return -ENOENT;
    int result = 0;
    pthread_mutex_lock(&process.mutex);
    struct watch *watch = find_watch(number, fd);
    if (watch != NULL) {
        if (--process.signals[number].count == 0) {
            // If this fails the handler stays, for nobody; the next watch then finds it in place.
            result = restore(reactor, number);
            process.signals[number].handled = result < 0;
        }
        end_watch(watch);
    }
    pthread_mutex_unlock(&process.mutex);
    if (watch == NULL) return -ENOENT;
    const int closed = ce_close(reactor, fd);
    return result < 0 ? result : closed;
}

int64_t ce_signal_read(struct ce_reactor *reactor, int fd) {
    uint64_t count = 0;
    const ssize_t result = ce_read(reactor, fd, &count, sizeof count);
    if (result < 0) return result == -EAGAIN ? 0 : result;
    return count < INT64_MAX ? (int64_t)count : INT64_MAX;
}
