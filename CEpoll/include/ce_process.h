// What is a thread's or the process's own: who runs a reactor, signals, words, memory.
#ifndef CE_PROCESS_H
#define CE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ce_reactor;

// ---- Which thread -------------------------------------------------------------------------------

struct ce_thread {
    const struct ce_reactor *reactor;
    void *owner;
};
extern __thread struct ce_thread ce_this_thread;

// Says that the calling thread now runs this reactor. `owner` is the caller's: ce_current_owner.
// Returns what was current before, to be given back to ce_leave.
struct ce_thread ce_enter(const struct ce_reactor *reactor, void *owner);
void ce_leave(struct ce_thread before);

// True on the thread between ce_enter and ce_leave of this reactor.
static inline bool ce_is_current(const struct ce_reactor *reactor) {
    return ce_this_thread.reactor == reactor;
}

// The owner given to ce_enter on this thread, or NULL.
static inline void *ce_current_owner(void) {
    return ce_this_thread.owner;
}

// ---- Signals ------------------------------------------------------------------------------------
//
// A signal's disposition is the process's, so there is one table of watchers for all reactors and
// threads; a reactor gives only its call table. A mutex guards opening and closing, the handler
// takes no lock. A signal that every thread blocks does not arrive. After a fork(2) without an exec
// both processes count into the same descriptors.

// Returns an eventfd(2), nonblocking, that becomes readable when the signal arrives: a handler
// (sigaction(2), SA_RESTART) adds 1 to it. A signal may have several watchers and each sees all of
// it. -EINVAL for a number that is none, for SIGKILL and SIGSTOP, and for SIGSEGV, SIGBUS, SIGFPE
// and SIGILL, which would only come again; -EUSERS if it has CE_SIGNAL_WATCHERS_MAX watchers.
// Close it with ce_signal_close only: the handler would write to the number's next owner.
int ce_signal_open(struct ce_reactor *reactor, int number);

// Ends a watch and closes its descriptor, which has to be out of the reactor by then. With the
// last watcher goes the handler: the disposition from before the first one comes back, unless
// somebody else has set another since. -ENOENT if there is no such watch. After another failure the
// watch has ended and the descriptor is closed all the same.
int ce_signal_close(struct ce_reactor *reactor, int number, int fd);

// How often the signal arrived since the last call, 0 for not at all. The kernel joins arrivals of
// the same standard signal while it is pending, signal(7).
int64_t ce_signal_read(struct ce_reactor *reactor, int fd);

// ---- Words and memory (no call table, any thread) -----------------------------------------------

// The system's text for a positive errno, always terminated; strerror_r(3).
void ce_error_text(int error, char *text, size_t capacity);

// Names the calling thread for debuggers, at most 15 bytes of it; pthread_setname_np(3).
void ce_name_thread(const char *name);

// Gives free memory of the allocator back to the system, which takes milliseconds; malloc_trim(3).
void ce_return_memory(void);

#ifdef __cplusplus
}
#endif
#endif
