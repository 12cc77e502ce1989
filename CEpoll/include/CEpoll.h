// CEpoll: the kernel side of the reactor. Floor 0; a C program can use it alone.
//
// Results are 0 or a count, and -errno on failure. EINTR never leaves this floor. Every descriptor
// made here is close-on-exec and nonblocking from birth (an epoll descriptor knows only the first).
// Pointers stay the caller's; nothing is kept but the call table, which is copied. No callbacks.
// (Over 400 lines, since it is the whole contract in one place.)
// One thread at a time uses a reactor; the one exception is ce_wake, which any thread may call
// until ce_reactor_close begins.
//
// The whole contract stands in one header, hence more than 400 lines.
#ifndef CEPOLL_H
#define CEPOLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct epoll_event;
struct itimerspec;
struct mmsghdr;
struct sigaction;
struct stat;
struct ce_reactor;

// ---- The call table ---------------------------------------------------------------------------
//
// Every system call of a reactor goes through its table. Each function gets `state` first, does one
// call as the man page of its name says, and returns its result or -errno (-EINTR included: the
// caller retries). The clocks cannot fail. The calls around it belong to no reactor: a write(2) in
// the handler of ce_signal_open, close(2) in ce_discard. A test gives a table of its own: it may
// fail a call, shorten a read or a write, say EAGAIN first, or run a virtual clock.
struct ce_system {
    void *state;
    int (*epoll_create1)(void *state, int flags);
    int (*epoll_ctl)(void *state, int epoll, int operation, int fd, struct epoll_event *event);
    int (*epoll_wait)(void *state, int epoll, struct epoll_event *events, int capacity,
                      int timeout_milliseconds);
    int (*epoll_pwait2)(void *state, int epoll, struct epoll_event *events, int capacity,
                        int64_t timeout_nanoseconds);
    int (*eventfd)(void *state, unsigned initial, int flags);
    int (*timerfd_create)(void *state, int clock, int flags);
    int (*timerfd_settime)(void *state, int fd, int flags, const struct itimerspec *value);
    int (*socket)(void *state, int domain, int type, int protocol);
    int (*bind)(void *state, int fd, const struct sockaddr *address, socklen_t length);
    int (*listen)(void *state, int fd, int backlog);
    int (*accept4)(void *state, int fd, struct sockaddr *address, socklen_t *length, int flags);
    int (*connect)(void *state, int fd, const struct sockaddr *address, socklen_t length);
    int (*shutdown)(void *state, int fd, int how);
    int (*close)(void *state, int fd);
    int (*fcntl)(void *state, int fd, int command, int argument);
    int (*setsockopt)(void *state, int fd, int level, int name, const void *value,
                      socklen_t length);
    int (*getsockopt)(void *state, int fd, int level, int name, void *value, socklen_t *length);
    int (*getsockname)(void *state, int fd, struct sockaddr *address, socklen_t *length);
    int (*getpeername)(void *state, int fd, struct sockaddr *address, socklen_t *length);
    int (*unsent)(void *state, int fd, int *bytes);  // ioctl SIOCOUTQ, tcp(7)
    ssize_t (*read)(void *state, int fd, void *buffer, size_t count);
    ssize_t (*write)(void *state, int fd, const void *buffer, size_t count);
    ssize_t (*writev)(void *state, int fd, const struct iovec *pieces, int count);
    ssize_t (*recv)(void *state, int fd, void *buffer, size_t count, int flags);
    ssize_t (*sendmsg)(void *state, int fd, const struct msghdr *message, int flags);
    ssize_t (*recvmsg)(void *state, int fd, struct msghdr *message, int flags);
    int (*recvmmsg)(void *state, int fd, struct mmsghdr *messages, unsigned count, int flags);
    int (*sendmmsg)(void *state, int fd, struct mmsghdr *messages, unsigned count, int flags);
    int (*open)(void *state, const char *path, int flags);
    int (*flock)(void *state, int fd, int operation);
    int (*fstatat)(void *state, int directory, const char *name, struct stat *status, int flags);
    int (*fchmod)(void *state, int fd, mode_t mode);
    int (*fchmodat)(void *state, int directory, const char *name, mode_t mode, int flags);
    int (*unlinkat)(void *state, int directory, const char *name, int flags);
    int (*sigaction)(void *state, int number, const struct sigaction *action,
                     struct sigaction *before);
    int (*sleep)(void *state, int64_t nanoseconds);  // clock_nanosleep(2), CLOCK_MONOTONIC
    uint64_t (*clock)(void *state);         // CLOCK_MONOTONIC, nanoseconds
    uint64_t (*clock_coarse)(void *state);  // CLOCK_MONOTONIC_COARSE: cheaper, some ms behind
};

// The real kernel's table. Never freed; copy it to replace single calls.
const struct ce_system *ce_system_kernel(void);

// ---- The reactor ------------------------------------------------------------------------------

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

// ---- Which thread -----------------------------------------------------------------------------

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

// ---- Sockets ----------------------------------------------------------------------------------

// A socket address with its length, large enough for every family.
struct ce_address {
    socklen_t length;
    struct sockaddr_storage storage;
};

enum ce_socket_flags {
    CE_REUSE_PORT = 1u << 0,  // SO_REUSEPORT, socket(7); for listeners
    CE_NO_DELAY = 1u << 1,    // TCP_NODELAY
    CE_KEEP_ALIVE = 1u << 2,  // SO_KEEPALIVE with the three times below
};

// What a stream socket is set to before it listens or connects; accepted ones inherit all of it.
// TCP options are left out for Unix addresses.
struct ce_socket_options {
    uint32_t flags;
    int keep_alive_idle_seconds;      // TCP_KEEPIDLE
    int keep_alive_interval_seconds;  // TCP_KEEPINTVL
    int keep_alive_count;             // TCP_KEEPCNT
    int user_timeout_milliseconds;    // TCP_USER_TIMEOUT; 0 leaves the kernel's
    int receive_buffer_bytes;         // SO_RCVBUF; 0 leaves the kernel's
    int send_buffer_bytes;            // SO_SNDBUF; 0 leaves the kernel's
};

struct ce_listen_options {
    int backlog;  // 1 or more; the kernel clips it at net.core.somaxconn
    struct ce_socket_options socket;
};

// A listening stream socket: socket, SO_REUSEADDR (not for Unix), IPV6_V6ONLY for IPv6, options,
// bind, listen. Returns the descriptor. After a failure nothing stays open and *call names the
// system call that failed (call may be NULL).
int ce_listen(struct ce_reactor *reactor, const struct ce_address *address,
              const struct ce_listen_options *options, const char **call);

// accept4(2), with the peer's address unless `peer` is NULL. ECONNABORTED and its kin are returned.
int ce_accept(struct ce_reactor *reactor, int listener, struct ce_address *peer);

// socket(2), options (may be NULL), optionally bind(2) to `local` (may be NULL;
// IP_BIND_ADDRESS_NO_PORT if its port is 0), then connect(2). Returns the descriptor; *in_progress
// says that it becomes writable later and ce_socket_error then gives the result. An interrupted
// connect counts as in progress. Failures as in ce_listen; -EAGAIN means that a Unix listener's
// backlog is full.
int ce_connect(struct ce_reactor *reactor, const struct ce_address *remote,
               const struct ce_address *local, const struct ce_socket_options *options,
               bool *in_progress, const char **call);

// recv(2) without flags: the count, 0 at the end of the stream, -EAGAIN when there is nothing now.
ssize_t ce_receive(struct ce_reactor *reactor, int fd, void *buffer, size_t count);

// Gathers up to CE_IOVECS_MAX pieces in one sendmsg(2) with MSG_NOSIGNAL. Returns how many bytes
// the kernel took, which may be less than all.
ssize_t ce_send(struct ce_reactor *reactor, int fd, const struct iovec *pieces, size_t count);

// recvmsg(2); MSG_CMSG_CLOEXEC is added, so that received descriptors are close-on-exec.
ssize_t ce_receive_message(struct ce_reactor *reactor, int fd, struct msghdr *message, int flags);

// sendmsg(2); MSG_NOSIGNAL is added.
ssize_t ce_send_message(struct ce_reactor *reactor, int fd, const struct msghdr *message,
                        int flags);

// shutdown(2) of the sending half; of both halves.
int ce_finish(struct ce_reactor *reactor, int fd);
int ce_shutdown(struct ce_reactor *reactor, int fd);

// close(2). Not retried after EINTR: Linux has closed the descriptor by then.
int ce_close(struct ce_reactor *reactor, int fd);

// SO_LINGER with time 0 and then close: the peer gets a reset and unsent bytes are dropped.
int ce_close_reset(struct ce_reactor *reactor, int fd);

// SO_ERROR: the pending error as a positive errno, 0 for none; negative if it cannot be asked.
int ce_socket_error(struct ce_reactor *reactor, int fd);

// Bytes the peer has not acknowledged yet (SIOCOUTQ, tcp(7)), or -errno.
int ce_unsent(struct ce_reactor *reactor, int fd);

// Integer socket options, socket(7) and tcp(7). `level` and `name` are the system's.
int ce_set_option(struct ce_reactor *reactor, int fd, int level, int name, int value);
int ce_get_option(struct ce_reactor *reactor, int fd, int level, int name, int *value);

// Credentials of a Unix peer (SO_PEERCRED, unix(7)), as they were at connect.
struct ce_credentials {
    int32_t process;
    uint32_t user;
    uint32_t group;
};
int ce_peer_credentials(struct ce_reactor *reactor, int fd, struct ce_credentials *credentials);

// getsockname(2) and getpeername(2).
int ce_local_address(struct ce_reactor *reactor, int fd, struct ce_address *address);
int ce_remote_address(struct ce_reactor *reactor, int fd, struct ce_address *address);

// ---- Ancillary data (any thread, no reactor) ---------------------------------------------------
//
// The control messages of ce_send_message and ce_receive_message, cmsg(3): a buffer of items, each
// with level, type and data. Neither function reads or writes outside the bytes it is given.

enum {
    CE_RIGHTS = 1,             // SCM_RIGHTS, unix(7), of SOL_SOCKET: an array of int
    CE_CREDENTIALS = 2,        // SCM_CREDENTIALS, likewise: one struct ce_credentials
    CE_PROCESS = 4,            // SCM_PIDFD, likewise: one int, a descriptor too; Linux 6.5
    CE_DESCRIPTORS_MAX = 253,  // SCM_MAX_FD: of one message; sendmsg(2) says EINVAL to more
};

struct ce_ancillary_item {
    int level;
    int type;
    const void *data;  // inside the buffer, perhaps unaligned; NULL never
    size_t length;     // bytes of data; the padding behind them is no part of it
};

// Takes the next item out of the `length` bytes of `control`. *offset is 0 at first and moved
// behind the item. Returns 1 with *item filled, 0 at the end (also if what is left is no whole
// header), -EBADMSG for an item shorter than its header or longer than what is left; *offset stays
// where it is then, so that every later call says the same.
//
// A received SCM_RIGHTS item may hold more descriptors than room was made for, since the kernel
// fills the padding too: all of them are open and the receiver's.
int ce_ancillary_next(const void *control, size_t length, size_t *offset,
                      struct ce_ancillary_item *item);

// Appends an item of `count` bytes at *length of the buffer, pads it with zeros and moves *length
// behind it; -ENOBUFS if it does not fit, and nothing is changed then. The buffer is aligned as
// malloc(3) does it if the kernel is to take it.
int ce_ancillary_append(void *control, size_t capacity, size_t *length, int level, int type,
                        const void *data, size_t count);

// Bytes that an item with so much data takes, its padding included: CMSG_SPACE of cmsg(3).
size_t ce_ancillary_space(size_t count);

// close(2) without a reactor, of a descriptor that no reactor has seen, such as one that came by
// recvmsg(2): its owner may be on any thread, and may outlive them all.
int ce_discard(int fd);

// ---- Unix sockets with a path -------------------------------------------------------------------
//
// Both functions hold flock(2) on the path's directory meanwhile, so that two starters cannot take
// each other's path. The lock is held for some system calls only, and a call waits for it up to
// CE_DIRECTORY_LOCK_MILLISECONDS_MAX (the thread sleeps), then says -ETIMEDOUT for "flock". The
// directory has to be readable. A program that does not take the lock is not kept out by it.

// Which file it is, whatever its path: st_dev and st_ino of stat(2).
struct ce_file_id {
    uint64_t device;
    uint64_t inode;
};

// A listening Unix socket at a path; -EINVAL for any other address (abstract ones: ce_listen).
// What exists at the path is replaced only if it is a socket that refuses a connection, that is, if
// its server is gone. A live server (it sees a connection that ends at once), a full backlog, a
// socket of another type, a file of another kind or a symbolic link is left alone: -EADDRINUSE for
// "bind". The file has exactly the permission bits of `mode` (the umask does not count) before the
// socket listens, so nobody connects by others. Returns the descriptor and fills *bound. After a
// failure nothing stays open, a file made here is removed, and *call names the system call that
// failed (call may be NULL).
int ce_listen_unix(struct ce_reactor *reactor, const struct ce_address *address,
                   const struct ce_listen_options *options, uint32_t mode,
                   struct ce_file_id *bound, const char **call);

// Removes the socket's file: unlinks the path if that is still the file that ce_listen_unix made.
// 0 also if there is none or another's. Call it before the listener is closed: as long as that is
// open no other file can have its inode number, and no successor finds a stale file.
int ce_unlink_file(struct ce_reactor *reactor, const struct ce_address *address,
                   struct ce_file_id file);

// ---- Datagrams ----------------------------------------------------------------------------------
//
// udp(7), and Unix sockets of type SOCK_DGRAM.

enum ce_datagram_flags {
    CE_DATAGRAM_REUSE_PORT = 1u << 0,  // SO_REUSEPORT: several sockets share the load of one port
    // IP_RECVERR, IPV6_RECVERR: what ICMP says of a peer is kept for ce_datagram_error, with the
    // peer's address, also for a socket that is not connected.
    CE_DATAGRAM_ERRORS = 1u << 1,
    // SO_RXQ_OVFL: datagrams come with the count of those dropped. Left out where it is unknown.
    CE_DATAGRAM_DROPS = 1u << 2,
    // UDP_GRO: datagrams of one size and sender may come joined, with their size in segment_bytes.
    // Left out where it is unknown.
    CE_DATAGRAM_JOINED = 1u << 3,
    // SO_PASSCRED, for Unix sockets alone: each datagram says who sent it; unix(7).
    CE_DATAGRAM_CREDENTIALS = 1u << 4,
};

struct ce_datagram_options {
    uint32_t flags;            // those that its family does not know are left out
    int receive_buffer_bytes;  // SO_RCVBUF; 0 leaves the kernel's
    int send_buffer_bytes;     // SO_SNDBUF; 0 leaves the kernel's
};

// A datagram socket of an address family: socket, IPV6_V6ONLY for IPv6, options. Returns the
// descriptor. After a failure nothing stays open and *call names the system call that failed (call
// may be NULL).
int ce_open_datagram(struct ce_reactor *reactor, int family,
                     const struct ce_datagram_options *options, const char **call);

// bind(2). NULL, for a Unix socket alone: the kernel chooses an abstract name, unix(7), autobind.
int ce_bind_datagram(struct ce_reactor *reactor, int fd, const struct ce_address *address);

// bind(2) to a Unix path, with the manners of ce_listen_unix. The file has no more permission bits
// than `mode` at any time, and in the end exactly these. After a failure a file made here is
// removed and the descriptor stays the caller's.
int ce_bind_datagram_unix(struct ce_reactor *reactor, int fd, const struct ce_address *address,
                          uint32_t mode, struct ce_file_id *bound, const char **call);

// connect(2): only datagrams of that peer come in, and sends go there. Never in progress.
int ce_connect_datagram(struct ce_reactor *reactor, int fd, const struct ce_address *remote);

// A run of bytes: struct iovec under a name of our own, because Swift lets one module alone define
// a type and takes the first it meets.
struct ce_piece {
    const void *start;  // written to when it is room for a received datagram
    size_t count;
};

// A datagram to be sent, or room for one to be received.
struct ce_datagram {
    struct ce_address address;   // where it goes, or came from; length 0: connected, or unnamed
    const struct ce_piece *pieces;  // its bytes, or the room for them
    size_t pieces_count;
    size_t length;           // received: its real length, more than the room if it was cut
    uint32_t segment_bytes;  // other than 0: it is several of this size, the last one may be less
    uint32_t drops;          // received: dropped so far for want of room, modulo 2^32
    bool has_drops;          // received: whether the kernel said so
    bool is_cut;             // received: MSG_TRUNC
    bool is_control_cut;     // received: MSG_CTRUNC
    void *control;           // Unix: room for control messages, or NULL; cmsg(3)
    size_t control_bytes;    // its size; received: what is used of it
};

// recvmmsg(2), of min(count, CE_DATAGRAMS_MAX). Returns how many came, 1 or more, or -errno:
// -EAGAIN when there is none now, also the errors that ICMP reported (ce_datagram_error tells
// whose). `with_notes`, for UDP alone: fills `drops` and `segment_bytes`; else `control` is used.
// Descriptors that come there are close-on-exec; without room the kernel drops them.
int ce_receive_datagrams(struct ce_reactor *reactor, int fd, struct ce_datagram *list,
                         size_t count, bool with_notes);

// sendmmsg(2) with MSG_NOSIGNAL, likewise. Returns how many of them were taken, 1 or more, or why
// the first one was not; a pending error of the socket is said here too and takes none.
int ce_send_datagrams(struct ce_reactor *reactor, int fd, const struct ce_datagram *list,
                      size_t count);

// The next error kept by CE_DATAGRAM_ERRORS, as a positive errno, and the peer that the datagram
// had been sent to; 0 for none. recvmsg(2) with MSG_ERRQUEUE, ip(7).
int ce_datagram_error(struct ce_reactor *reactor, int fd, struct ce_address *peer);

// ---- Descriptors from elsewhere -----------------------------------------------------------------

// Makes a descriptor close-on-exec and nonblocking, fcntl(2). The second belongs to the open file:
// whoever shares it sees it too. Nothing is changed that is so already.
int ce_adopt(struct ce_reactor *reactor, int fd);

// Another descriptor of the same open file, close-on-exec: fcntl(2), F_DUPFD_CLOEXEC. It is no
// business of the reactor: ce_discard closes it.
int ce_duplicate(struct ce_reactor *reactor, int fd);

// Check that a descriptor is a stream socket that listens (SO_ACCEPTCONN), or is connected (an end
// of a socketpair(2) too), fill the addresses, and adopt it. -ENOTSOCK if it is no socket, -EINVAL
// if it is of another type or does not listen, -ENOTCONN if it is not connected. A refused
// descriptor is left as it was, and the caller's in any case.
int ce_listening(struct ce_reactor *reactor, int fd, struct ce_address *local);
int ce_connected(struct ce_reactor *reactor, int fd, struct ce_address *local,
                 struct ce_address *remote);

// read(2), for pipes, terminals and whatever else is no socket: the count, 0 at the end, -EAGAIN
// when there is nothing now.
ssize_t ce_read(struct ce_reactor *reactor, int fd, void *buffer, size_t count);

// Gathers up to CE_IOVECS_MAX pieces in one writev(2). Returns how many bytes the kernel took,
// which may be less than all. -EPIPE if nobody reads any more; that raises SIGPIPE as well, which
// no flag prevents here: the program has to ignore it.
ssize_t ce_write(struct ce_reactor *reactor, int fd, const struct iovec *pieces, size_t count);

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

// ---- Addresses (any thread, no reactor) --------------------------------------------------------

// Fill *address. Octets are in network order, ports in host order. ce_address_unix takes up to 108
// bytes of path without a NUL (none would be autobind), or with `abstract` up to 107 bytes of any
// kind; else -ENAMETOOLONG or -EINVAL, and *address is as it was.
void ce_address_v4(struct ce_address *address, const uint8_t octets[4], uint16_t port);
void ce_address_v6(struct ce_address *address, const uint8_t octets[16], uint16_t port,
                   uint32_t scope);
int ce_address_unix(struct ce_address *address, const char *path, size_t length, bool abstract);

// Parse a numeric host ("192.0.2.1", "2001:db8::1", also with "%eth0" or "%3"); -EINVAL for others.
// Only an interface's name costs system calls here: if_nametoindex(3).
int ce_address_parse(struct ce_address *address, const char *host, uint16_t port);

// What an address holds. Family is AF_INET, AF_INET6, AF_UNIX or another; the rest is valid for the
// families named. ce_address_path stores up to `capacity` bytes and returns the whole length; an
// abstract name comes without its leading NUL and sets *abstract.
int ce_address_family(const struct ce_address *address);
uint16_t ce_address_port(const struct ce_address *address);                      // v4, v6
uint32_t ce_address_scope(const struct ce_address *address);                     // v6
size_t ce_address_octets(const struct ce_address *address, uint8_t octets[16]);  // v4: 4, v6: 16
size_t ce_address_path(const struct ce_address *address, char *path, size_t capacity,
                       bool *abstract);  // Unix

// ---- Words and memory (no call table, any thread) ----------------------------------------------

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
