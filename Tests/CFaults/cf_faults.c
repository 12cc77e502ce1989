// Which calls fail, what was counted, and the ledger of descriptors.
#define _GNU_SOURCE
#include "cf_internal.h"

#include <errno.h>
#include <stdlib.h>

const char *cf_name(enum cf_call call) {
    static const char *const names[] = {
        "epoll_create1", "epoll_ctl",  "epoll_wait",  "epoll_pwait2", "eventfd",
        "timerfd_create", "timerfd_settime", "socket",
        "bind",          "listen",     "accept4",     "connect",      "shutdown", "close",
        "fcntl",         "setsockopt", "getsockopt",  "getsockname",  "getpeername", "unsent",
        "read",          "write",      "writev",      "recv",         "sendmsg",  "recvmsg",
        "recvmmsg",      "sendmmsg",
        "open",          "flock",      "fstatat",     "fchmod",       "fchmodat", "unlinkat",
        "sigaction",
        "sleep",         "clock",      "clock_coarse", "any"};
    _Static_assert(sizeof names / sizeof names[0] == CF_ANY + 1, "a name for each call");
    return names[call];
}

struct cf_faults *cf_create(void) {
    struct cf_faults *faults = calloc(1, sizeof *faults);
    if (faults == NULL) abort();  // a test has nothing better to do
    pthread_mutex_init(&faults->lock, NULL);
    faults->kernel = *ce_system_kernel();
    return faults;
}

void cf_free(struct cf_faults *faults) {
    for (int i = 0; i < CHUNKS; i++) free(faults->chunks[i]);
    pthread_mutex_destroy(&faults->lock);
    free(faults);
}

struct descriptor *cf_descriptor(struct cf_faults *faults, int fd, bool make) {
    if (fd < 0 || fd >= CHUNKS * CHUNK_DESCRIPTORS) return NULL;
    struct descriptor **chunk = &faults->chunks[fd / CHUNK_DESCRIPTORS];
    if (*chunk == NULL) {
        if (!make) return NULL;
        *chunk = calloc(CHUNK_DESCRIPTORS, sizeof **chunk);
        if (*chunk == NULL) abort();
    }
    if (fd > faults->fd_max) faults->fd_max = fd;
    return &(*chunk)[fd % CHUNK_DESCRIPTORS];
}

// splitmix64
uint64_t cf_random(struct cf_faults *faults) {
    uint64_t z = faults->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

bool cf_chance(struct cf_faults *faults, uint32_t odds) {
    return odds != 0 && cf_random(faults) % 1000 < odds;
}

// ---- Failures

void cf_fail(struct cf_faults *faults, enum cf_call call, uint64_t n, int error, uint64_t times) {
    cf_lock(faults);
    struct plan *plan = &faults->plans[call];
    plan->first = faults->numbers[call] + n;
    plan->last = times > UINT64_MAX - plan->first ? UINT64_MAX : plan->first + times - 1;
    plan->error = error;
    cf_unlock(faults);
}

void cf_fail_sometimes(struct cf_faults *faults, enum cf_call call, int error, uint32_t odds) {
    cf_lock(faults);
    faults->plans[call].odds = odds;
    faults->plans[call].odds_error = error;
    cf_unlock(faults);
}

void cf_fail_none(struct cf_faults *faults) {
    cf_lock(faults);
    for (int i = 0; i <= CF_ANY; i++) faults->plans[i] = (struct plan){0};
    cf_unlock(faults);
}

void cf_set_quirks(struct cf_faults *faults, const struct cf_quirks *quirks) {
    cf_lock(faults);
    faults->quirks = *quirks;
    faults->random = quirks->seed;
    cf_unlock(faults);
}

static bool can_fail(enum cf_call call) {
    return call != CF_CLOCK && call != CF_CLOCK_COARSE;
}

static int planned(struct cf_faults *faults, enum cf_call call) {
    const struct plan *plan = &faults->plans[call];
    const uint64_t number = ++faults->numbers[call];
    if (plan->first != 0 && number >= plan->first && number <= plan->last) return plan->error;
    return cf_chance(faults, plan->odds) ? plan->odds_error : 0;
}

static bool refuses(struct cf_faults *faults, enum cf_call call, int fd, uint32_t direction) {
    if (direction == 0) return false;
    const struct cf_quirks *quirks = &faults->quirks;
    if (quirks->would_block_every == 0 && quirks->would_block_odds == 0) return false;
    const struct descriptor *descriptor = cf_descriptor(faults, fd, true);
    if (descriptor == NULL || (descriptor->refused & direction)) return false;
    if (quirks->would_block_every != 0 && faults->numbers[call] % quirks->would_block_every == 0)
        return true;
    return cf_chance(faults, quirks->would_block_odds);
}

static int choose(struct cf_faults *faults, enum cf_call call, int fd, uint32_t direction) {
    struct plan *plan = &faults->plans[call];
    int error = planned(faults, call);
    if (!can_fail(call)) return 0;
    if (call != CF_CLOSE) {
        int any = planned(faults, CF_ANY);
        if (error == 0) error = any;
    }
    if (error == 0 && !plan->interrupted && cf_chance(faults, faults->quirks.interrupt_odds))
        error = EINTR;
    plan->interrupted = error == EINTR;
    if (error == 0 && refuses(faults, call, fd, direction)) error = EAGAIN;
    return error;
}

// ---- Counts

static void count(struct cf_faults *faults, enum cf_call call, ssize_t result) {
    struct cf_counts *counts = &faults->counts[call];
    if (result == -EAGAIN) {
        counts->would_block++;
    } else if (result == -EINTR) {
        counts->interrupted++;
    } else if (result < 0) {
        counts->failed++;
    } else if (call >= CF_READ && call <= CF_RECVMSG) {
        counts->bytes += (uint64_t)result;
    }
    if (result == -EBADF) faults->ledger.bad_descriptors++;
}

int cf_begin(struct cf_faults *faults, enum cf_call call, int fd, uint32_t direction) {
    cf_lock(faults);
    faults->counts[call].calls++;
    const int error = choose(faults, call, fd, direction);
    if (error != 0) {
        faults->counts[call].injected++;
        count(faults, call, -error);
    }
    struct descriptor *descriptor = direction != 0 ? cf_descriptor(faults, fd, true) : NULL;
    if (descriptor != NULL && error == EAGAIN) {
        descriptor->refused |= direction;
        cf_owe(faults, fd, direction);
    } else if (descriptor != NULL && error != EINTR) {
        descriptor->refused &= ~direction;
    }
    cf_unlock(faults);
    return error;
}

ssize_t cf_end(struct cf_faults *faults, enum cf_call call, ssize_t result) {
    cf_lock(faults);
    count(faults, call, result);
    cf_unlock(faults);
    return result;
}

struct cf_counts cf_counts(struct cf_faults *faults, enum cf_call call) {
    cf_lock(faults);
    struct cf_counts sum = {0};
    for (int i = 0; i < CF_CALLS; i++) {
        if (call != CF_ANY && (int)call != i) continue;
        const struct cf_counts *counts = &faults->counts[i];
        sum.calls += counts->calls;
        sum.would_block += counts->would_block;
        sum.interrupted += counts->interrupted;
        sum.failed += counts->failed;
        sum.injected += counts->injected;
        sum.bytes += counts->bytes;
    }
    cf_unlock(faults);
    return sum;
}

void cf_reset_counts(struct cf_faults *faults) {
    cf_lock(faults);
    for (int i = 0; i < CF_CALLS; i++) faults->counts[i] = (struct cf_counts){0};
    cf_unlock(faults);
}

// ---- The ledger

void cf_opened(struct cf_faults *faults, int fd) {
    cf_lock(faults);
    struct descriptor *descriptor = cf_descriptor(faults, fd, true);
    if (descriptor != NULL) {
        cf_forget(faults, descriptor);
        if (descriptor->origin != ORIGIN_OPENED) faults->ledger.open++;
        *descriptor = (struct descriptor){.origin = ORIGIN_OPENED};
        faults->ledger.opened++;
    }
    cf_unlock(faults);
}

void cf_closed(struct cf_faults *faults, int fd) {
    cf_lock(faults);
    struct descriptor *descriptor = cf_descriptor(faults, fd, true);
    if (descriptor != NULL) {
        cf_forget(faults, descriptor);
        if (descriptor->origin == ORIGIN_OPENED) {
            faults->ledger.closed++;
            faults->ledger.open--;
        } else if (descriptor->origin == ORIGIN_CLOSED) {
            faults->ledger.double_closes++;
        }
        *descriptor = (struct descriptor){.origin = ORIGIN_CLOSED};
    }
    cf_unlock(faults);
}

void cf_reappeared(struct cf_faults *faults, int fd) {
    cf_lock(faults);
    struct descriptor *descriptor = cf_descriptor(faults, fd, false);
    if (descriptor != NULL && descriptor->origin == ORIGIN_CLOSED)
        descriptor->origin = ORIGIN_ADOPTED;
    cf_unlock(faults);
}

static void set_origin(struct cf_faults *faults, int fd, enum origin origin) {
    cf_lock(faults);
    struct descriptor *descriptor = cf_descriptor(faults, fd, true);
    if (descriptor != NULL) {
        if (descriptor->origin == ORIGIN_OPENED) faults->ledger.open--;
        descriptor->origin = origin;
    }
    cf_unlock(faults);
}

void cf_adopt(struct cf_faults *faults, int fd) {
    set_origin(faults, fd, ORIGIN_ADOPTED);
}

void cf_release(struct cf_faults *faults, int fd) {
    set_origin(faults, fd, ORIGIN_UNKNOWN);
}

struct cf_ledger cf_ledger(struct cf_faults *faults) {
    cf_lock(faults);
    struct cf_ledger ledger = faults->ledger;
    cf_unlock(faults);
    return ledger;
}
