// Stream sockets: listening, accepting, connecting, bytes both ways, the end. Options and addresses
// of any socket; Unix sockets with a path; descriptors from elsewhere.
#ifndef CE_SOCKET_H
#define CE_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ce_reactor;

// ---- Sockets ------------------------------------------------------------------------------------

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

// ---- Addresses (any thread, no reactor) ---------------------------------------------------------

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

#ifdef __cplusplus
}
#endif
#endif
