// CFaults: a call table for tests. It stands between a reactor and the kernel, counts each call,
// keeps a ledger of descriptors, and on demand fails calls, shortens reads and writes, says EAGAIN
// first, reports readiness that is not there, or runs a virtual clock.
//
// One struct cf_faults serves one reactor. Every function may be called from any thread.
#ifndef CFAULTS_H
#define CFAULTS_H

#include "CEpoll.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cf_faults;

// The entries of struct ce_system, in its order.
enum cf_call {
    CF_EPOLL_CREATE1,
    CF_EPOLL_CTL,
    CF_EPOLL_WAIT,
    CF_EPOLL_PWAIT2,
    CF_EVENTFD,
    CF_TIMERFD_CREATE,
    CF_TIMERFD_SETTIME,
    CF_SOCKET,
    CF_BIND,
    CF_LISTEN,
    CF_ACCEPT4,
    CF_CONNECT,
    CF_SHUTDOWN,
    CF_CLOSE,
    CF_FCNTL,
    CF_SETSOCKOPT,
    CF_GETSOCKOPT,
    CF_GETSOCKNAME,
    CF_GETPEERNAME,
    CF_UNSENT,
    CF_READ,
    CF_WRITE,
    CF_WRITEV,
    CF_RECV,
    CF_SENDMSG,
    CF_RECVMSG,
    CF_RECVMMSG,
    CF_SENDMMSG,
    CF_OPEN,
    CF_FLOCK,
    CF_FSTATAT,
    CF_FCHMOD,
    CF_FCHMODAT,
    CF_UNLINKAT,
    CF_SIGACTION,
    CF_SLEEP,
    CF_CLOCK,
    CF_CLOCK_COARSE,
    CF_CALLS,           // how many there are
    CF_ANY = CF_CALLS,  // for cf_fail: all of them together, but for close and the clocks
};

// "recv" for CF_RECV, and so on.
const char *cf_name(enum cf_call call);

// Makes a table that passes everything on to the kernel. Free it after its reactor is closed.
struct cf_faults *cf_create(void);
void cf_free(struct cf_faults *faults);

// What to give to ce_reactor_create. `faults` is its state.
struct ce_system cf_table(struct cf_faults *faults);

// ---- Counts -----------------------------------------------------------------------------------

struct cf_counts {
    uint64_t calls;        // all of them, also the injected failures
    uint64_t would_block;  // -EAGAIN
    uint64_t interrupted;  // -EINTR
    uint64_t failed;       // any other error
    uint64_t injected;     // how many of the errors above were ours
    uint64_t bytes;        // moved by read, write, writev, recv, sendmsg and recvmsg
};
struct cf_counts cf_counts(struct cf_faults *faults, enum cf_call call);  // CF_ANY: the sum of all
void cf_reset_counts(struct cf_faults *faults);

// ---- Failures ---------------------------------------------------------------------------------

// Lets the n-th call from now on (1 is the next one) and the `times` - 1 after it fail so.
// The kernel does not see them, except where Linux acts in spite of the error: any failing close
// closes, and an interrupted connect goes on. A second order for the same call replaces the first.
// After an EAGAIN the readiness is reported again, as the kernel would.
void cf_fail(struct cf_faults *faults, enum cf_call call, uint64_t n, int error, uint64_t times);

// Lets a share of these calls fail, in thousandths, chosen by the seed in the quirks.
void cf_fail_sometimes(struct cf_faults *faults, enum cf_call call, int error, uint32_t odds);

// Ends both.
void cf_fail_none(struct cf_faults *faults);

// ---- Quirks: what a kernel may do at any time --------------------------------------------------

// Zero switches one off. After each shortened or refused call the descriptor's readiness is
// reported once more, so that an edge-triggered reactor goes on; with a second attempt at the same
// direction before that, the call goes through (so 1 means: EAGAIN before every success). A stream
// is a stream socket, a pipe or a terminal: from elsewhere a short count would lose the rest.
struct cf_quirks {
    size_t read_bytes_max;        // recv and read on a stream give at most this
    size_t write_bytes_max;       // sendmsg and writev on a stream take at most this
    uint32_t would_block_every;   // each k-th read, writev, recv, recvmsg, sendmsg, accept4: EAGAIN
    uint32_t spurious_every;      // each k-th wait reports a descriptor that may not be ready
    uint64_t seed;                // of the choices below; odds are thousandths
    uint32_t would_block_odds;
    uint32_t interrupt_odds;      // EINTR from any call but the clocks, never twice in a row
    uint32_t short_read_odds;     // recv and read on a stream shortened to a random length
    uint32_t short_write_odds;    // sendmsg and writev likewise
    uint32_t spurious_odds;
};
void cf_set_quirks(struct cf_faults *faults, const struct cf_quirks *quirks);

// ---- The clock --------------------------------------------------------------------------------

// From now on both clocks show this, and move only here, in sleeps and in waits: one that finds
// nothing ready does not sleep but moves the clock by its timeout. A wait without end still waits
// for real, and timerfd_settime sets nothing: the kernel's timers know another time.
void cf_set_clock(struct cf_faults *faults, uint64_t nanoseconds);
void cf_advance(struct cf_faults *faults, uint64_t nanoseconds);

// ---- The ledger of descriptors ------------------------------------------------------------------

struct cf_ledger {
    uint64_t opened;           // by epoll_create1, eventfd, timerfd_create, socket, accept4,
                               // open
    uint64_t closed;           // of the opened ones
    uint64_t open;             // the difference, less what was released
    uint64_t double_closes;    // of numbers already closed here and opened nowhere since
    uint64_t bad_descriptors;  // calls that said EBADF
};
struct cf_ledger cf_ledger(struct cf_faults *faults);

// Tells the ledger of a descriptor made elsewhere that will be closed here (ce_adopt and adding it
// to the reactor say the same), and of one made here that will be closed elsewhere.
void cf_adopt(struct cf_faults *faults, int fd);
void cf_release(struct cf_faults *faults, int fd);

// ---- Allocations (cf_malloc.c; stands alone) ----------------------------------------------------

// Calls of malloc and its kin since the process, or the calling thread, began. Replaces the C
// library's symbols where it is linked; false and zeros under a sanitizer, which does that itself.
bool cf_malloc_counting(void);
uint64_t cf_malloc_count(void);
uint64_t cf_malloc_count_this_thread(void);

#ifdef __cplusplus
}
#endif
#endif
