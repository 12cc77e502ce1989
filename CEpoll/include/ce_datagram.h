// Datagrams, and the control messages that travel beside bytes of any socket.
#ifndef CE_DATAGRAM_H
#define CE_DATAGRAM_H

#include "ce_socket.h"

#ifdef __cplusplus
extern "C" {
#endif

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

// ---- Ancillary data (any thread, no reactor) ----------------------------------------------------
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

#ifdef __cplusplus
}
#endif
#endif
