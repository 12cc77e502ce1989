// The calls that move bytes: refused or shortened on streams, as the quirks say.
#define _GNU_SOURCE
#include "cf_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

// Stream sockets, pipes and terminals. A datagram or an eventfd would lose its rest.
static bool is_stream(struct cf_faults *faults, int fd) {
    const struct ce_system *kernel = &faults->kernel;
    struct stat status;
    int type = 0;
    socklen_t size = sizeof type;
    if (kernel->fstatat(kernel->state, fd, "", &status, AT_EMPTY_PATH) < 0) return false;
    if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) return true;
    if (!S_ISSOCK(status.st_mode)) return false;
    if (kernel->getsockopt(kernel->state, fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0) return false;
    return type == SOCK_STREAM;
}

// How much of `wanted` bytes a call may move.
static size_t shortened(struct cf_faults *faults, uint32_t direction, int fd, size_t wanted) {
    cf_lock(faults);
    const struct cf_quirks quirks = faults->quirks;
    cf_unlock(faults);
    const bool reads = direction == EPOLLIN;
    const size_t max = reads ? quirks.read_bytes_max : quirks.write_bytes_max;
    const uint32_t odds = reads ? quirks.short_read_odds : quirks.short_write_odds;
    if (wanted == 0 || (max == 0 && odds == 0) || !is_stream(faults, fd)) return wanted;
    if (max != 0 && wanted > max) wanted = max;
    cf_lock(faults);
    if (cf_chance(faults, odds)) wanted = (size_t)(cf_random(faults) % wanted) + 1;
    cf_unlock(faults);
    return wanted;
}

// After a call: one that was shortened and moved all it might is owed its readiness.
static ssize_t finish(struct cf_faults *faults, enum cf_call call, int fd, uint32_t direction,
                      bool was_shortened, size_t asked, ssize_t result) {
    if (was_shortened && result == (ssize_t)asked) {
        cf_lock(faults);
        cf_owe(faults, fd, direction);
        cf_unlock(faults);
    }
    return cf_end(faults, call, result);
}

static size_t total(const struct iovec *pieces, size_t count) {
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) bytes += pieces[i].iov_len;
    return bytes;
}

// Stores the pieces that hold the first so many bytes, and returns how many these are.
static size_t take_first(struct iovec first[CE_IOVECS_MAX], const struct iovec *pieces,
                         size_t bytes) {
    size_t count = 0;
    for (; bytes > 0; count++) {
        first[count] = pieces[count];
        if (first[count].iov_len > bytes) first[count].iov_len = bytes;
        bytes -= first[count].iov_len;
    }
    return count;
}

ssize_t cf_read(void *state, int fd, void *buffer, size_t count) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_READ, fd, EPOLLIN);
    if (error != 0) return -error;
    const size_t asked = shortened(faults, EPOLLIN, fd, count);
    const ssize_t got = faults->kernel.read(faults->kernel.state, fd, buffer, asked);
    return finish(faults, CF_READ, fd, EPOLLIN, asked < count, asked, got);
}

// What a reactor writes so is a wake-up: whole or not at all.
ssize_t cf_write(void *state, int fd, const void *buffer, size_t count) {
    FORWARD(ssize_t, CF_WRITE, fd, 0, write, fd, buffer, count);
}

ssize_t cf_writev(void *state, int fd, const struct iovec *pieces, int count) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_WRITEV, fd, EPOLLOUT);
    if (error != 0) return -error;
    const bool is_valid = count >= 0 && count <= CE_IOVECS_MAX;
    const size_t whole = is_valid ? total(pieces, (size_t)count) : 0;
    const size_t asked = shortened(faults, EPOLLOUT, fd, whole);
    struct iovec first[CE_IOVECS_MAX];
    if (asked < whole) {
        count = (int)take_first(first, pieces, asked);
        pieces = first;
    }
    const ssize_t took = faults->kernel.writev(faults->kernel.state, fd, pieces, count);
    return finish(faults, CF_WRITEV, fd, EPOLLOUT, asked < whole, asked, took);
}

ssize_t cf_recv(void *state, int fd, void *buffer, size_t count, int flags) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_RECV, fd, EPOLLIN);
    if (error != 0) return -error;
    const size_t asked = shortened(faults, EPOLLIN, fd, count);
    const ssize_t got = faults->kernel.recv(faults->kernel.state, fd, buffer, asked, flags);
    return finish(faults, CF_RECV, fd, EPOLLIN, asked < count, asked, got);
}

ssize_t cf_sendmsg(void *state, int fd, const struct msghdr *message, int flags) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_SENDMSG, fd, EPOLLOUT);
    if (error != 0) return -error;
    const bool is_valid = (size_t)message->msg_iovlen <= CE_IOVECS_MAX;
    const size_t whole = is_valid ? total(message->msg_iov, (size_t)message->msg_iovlen) : 0;
    const size_t asked = shortened(faults, EPOLLOUT, fd, whole);
    struct iovec first[CE_IOVECS_MAX];
    struct msghdr part = *message;
    if (asked < whole) {
        part.msg_iovlen = take_first(first, message->msg_iov, asked);
        part.msg_iov = first;
    }
    const ssize_t took = faults->kernel.sendmsg(faults->kernel.state, fd, &part, flags);
    return finish(faults, CF_SENDMSG, fd, EPOLLOUT, asked < whole, asked, took);
}

ssize_t cf_recvmsg(void *state, int fd, struct msghdr *message, int flags) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_RECVMSG, fd, EPOLLIN);
    if (error != 0) return -error;
    // What is only looked at is not taken, so nothing of it would be owed.
    const bool is_whole = message->msg_iovlen != 1 || (flags & MSG_PEEK) != 0;
    const size_t whole = is_whole ? 0 : message->msg_iov->iov_len;
    const size_t asked = shortened(faults, EPOLLIN, fd, whole);
    if (asked < whole) message->msg_iov->iov_len = asked;
    const ssize_t got = faults->kernel.recvmsg(faults->kernel.state, fd, message, flags);
    if (asked < whole) message->msg_iov->iov_len = whole;
    return finish(faults, CF_RECVMSG, fd, EPOLLIN, asked < whole, asked, got);
}

// How many datagrams of a batch a call may move: one at least, if the quirks shorten anything.
static unsigned shortened_batch(struct cf_faults *faults, uint32_t direction, unsigned count) {
    cf_lock(faults);
    const bool reads = direction == EPOLLIN;
    const struct cf_quirks *quirks = &faults->quirks;
    if (count > 1 && (reads ? quirks->read_bytes_max : quirks->write_bytes_max) != 0) count = 1;
    if (count > 1 && cf_chance(faults, reads ? quirks->short_read_odds : quirks->short_write_odds))
        count = (unsigned)(cf_random(faults) % count) + 1;
    cf_unlock(faults);
    return count;
}

int cf_recvmmsg(void *state, int fd, struct mmsghdr *messages, unsigned count, int flags) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_RECVMMSG, fd, EPOLLIN);
    if (error != 0) return -error;
    const unsigned asked = shortened_batch(faults, EPOLLIN, count);
    const int got = faults->kernel.recvmmsg(faults->kernel.state, fd, messages, asked, flags);
    return (int)finish(faults, CF_RECVMMSG, fd, EPOLLIN, asked < count, asked, got);
}

int cf_sendmmsg(void *state, int fd, struct mmsghdr *messages, unsigned count, int flags) {
    struct cf_faults *faults = state;
    const int error = cf_begin(faults, CF_SENDMMSG, fd, EPOLLOUT);
    if (error != 0) return -error;
    const unsigned asked = shortened_batch(faults, EPOLLOUT, count);
    const int took = faults->kernel.sendmmsg(faults->kernel.state, fd, messages, asked, flags);
    return (int)finish(faults, CF_SENDMMSG, fd, EPOLLOUT, asked < count, asked, took);
}
