// Datagram sockets: opened, bound, and whole batches in one system call.
#define _GNU_SOURCE
#include "ce_reactor.h"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

_Static_assert(sizeof(struct ce_piece) == sizeof(struct iovec) &&
                   offsetof(struct ce_piece, start) == offsetof(struct iovec, iov_base) &&
                   offsetof(struct ce_piece, count) == offsetof(struct iovec, iov_len),
               "the kernel reads pieces as iovecs");

// Room for what the kernel says of each received datagram: SO_RXQ_OVFL and UDP_GRO, and a spare.
enum { NOTES_BYTES = 3 * CMSG_SPACE(sizeof(uint64_t)) };

struct option {
    bool wanted;
    bool optional;  // an older kernel may not know it
    int level, name, value;
};

static int set_options(struct ce_reactor *reactor, int fd, int family,
                       const struct ce_datagram_options *options) {
    const bool v4 = family == AF_INET, v6 = family == AF_INET6, internet = v4 || v6;
    const uint32_t flags = internet ? options->flags : 0;
    const bool credentials = family == AF_UNIX && (options->flags & CE_DATAGRAM_CREDENTIALS);
    const struct option list[] = {
        // One socket per family, whatever net.ipv6.bindv6only says.
        {v6, false, IPPROTO_IPV6, IPV6_V6ONLY, 1},
        {flags & CE_DATAGRAM_REUSE_PORT, false, SOL_SOCKET, SO_REUSEPORT, 1},
        {options->receive_buffer_bytes > 0, false, SOL_SOCKET, SO_RCVBUF,
         options->receive_buffer_bytes},
        {options->send_buffer_bytes > 0, false, SOL_SOCKET, SO_SNDBUF, options->send_buffer_bytes},
        {v4 && (flags & CE_DATAGRAM_ERRORS), false, IPPROTO_IP, IP_RECVERR, 1},
        {v6 && (flags & CE_DATAGRAM_ERRORS), false, IPPROTO_IPV6, IPV6_RECVERR, 1},
        {flags & CE_DATAGRAM_DROPS, true, SOL_SOCKET, SO_RXQ_OVFL, 1},
        {flags & CE_DATAGRAM_JOINED, true, IPPROTO_UDP, UDP_GRO, 1},
        {credentials, false, SOL_SOCKET, SO_PASSCRED, 1},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        if (!list[i].wanted) continue;
        int result = ce_set_option(reactor, fd, list[i].level, list[i].name, list[i].value);
        if (result < 0 && !list[i].optional) return result;
    }
    return 0;
}

int ce_open_datagram(struct ce_reactor *reactor, int family,
                     const struct ce_datagram_options *options, const char **call) {
    const char *step = "socket";
    int result, fd;
    CE_RETRY(fd, reactor->system.socket(reactor->system.state, family,
                                        SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if ((result = fd) < 0) goto fail;
    step = "setsockopt";
    if ((result = set_options(reactor, fd, family, options)) < 0) goto fail;
    return fd;

fail:
    if (fd >= 0) ce_close(reactor, fd);
    if (call != NULL) *call = step;
    return result;
}

int ce_bind_datagram(struct ce_reactor *reactor, int fd, const struct ce_address *address) {
    struct ce_address none = {.length = sizeof(sa_family_t)};
    none.storage.ss_family = AF_UNIX;
    return ce_bind_socket(reactor, fd, address != NULL ? address : &none);
}

int ce_connect_datagram(struct ce_reactor *reactor, int fd, const struct ce_address *remote) {
    int result;
    // Nothing is awaited, so an interrupted one may be called again.
    CE_RETRY(result, ce_connect_socket(reactor, fd, remote));
    return result;
}

// ---- Receiving

static void read_notes(struct msghdr *message, struct ce_datagram *datagram) {
    for (struct cmsghdr *note = CMSG_FIRSTHDR(message); note != NULL;
         note = CMSG_NXTHDR(message, note)) {
        if (note->cmsg_level == SOL_SOCKET && note->cmsg_type == SO_RXQ_OVFL &&
            note->cmsg_len >= CMSG_LEN(sizeof(uint32_t))) {
            memcpy(&datagram->drops, CMSG_DATA(note), sizeof(uint32_t));
            datagram->has_drops = true;
        } else if (note->cmsg_level == IPPROTO_UDP && note->cmsg_type == UDP_GRO &&
                   note->cmsg_len >= CMSG_LEN(sizeof(uint16_t))) {
            // An int since Linux 5.0, in the machine's order; its value has 16 bits.
            int size = 0;
            const size_t bytes = note->cmsg_len - CMSG_LEN(0);
            memcpy(&size, CMSG_DATA(note), bytes < sizeof size ? sizeof(uint16_t) : sizeof size);
            datagram->segment_bytes = size > 0 ? (uint32_t)size : 0;
        }
    }
}

static void describe(struct mmsghdr *message, struct ce_datagram *datagram, bool has_notes) {
    const struct msghdr *header = &message->msg_hdr;
    datagram->address.length = header->msg_namelen <= sizeof datagram->address.storage
                                   ? header->msg_namelen
                                   : sizeof datagram->address.storage;
    datagram->length = message->msg_len;
    datagram->is_cut = (header->msg_flags & MSG_TRUNC) != 0;
    datagram->is_control_cut = (header->msg_flags & MSG_CTRUNC) != 0;
    datagram->segment_bytes = 0;
    datagram->drops = 0;
    datagram->has_drops = false;
    if (has_notes)
        read_notes(&message->msg_hdr, datagram);
    else
        datagram->control_bytes = header->msg_controllen;
}

int ce_receive_datagrams(struct ce_reactor *reactor, int fd, struct ce_datagram *list,
                         size_t count, bool with_notes) {
    struct mmsghdr messages[CE_DATAGRAMS_MAX];
    _Alignas(struct cmsghdr) char notes[CE_DATAGRAMS_MAX][NOTES_BYTES];
    if (count > CE_DATAGRAMS_MAX) count = CE_DATAGRAMS_MAX;
    int result;
    do {
        for (size_t i = 0; i < count; i++) {
            struct ce_datagram *datagram = &list[i];
            const bool has_room = datagram->control != NULL;
            messages[i].msg_len = 0;
            messages[i].msg_hdr = (struct msghdr){
                .msg_name = &datagram->address.storage,
                .msg_namelen = sizeof datagram->address.storage,
                .msg_iov = (struct iovec *)datagram->pieces,
                .msg_iovlen = datagram->pieces_count,
                .msg_control = with_notes ? notes[i] : datagram->control,
                .msg_controllen = with_notes ? NOTES_BYTES : has_room ? datagram->control_bytes : 0,
            };
        }
        result = reactor->system.recvmmsg(reactor->system.state, fd, messages, (unsigned)count,
                                          MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
    } while (result == -EINTR);
    for (int i = 0; i < result; i++) describe(&messages[i], &list[i], with_notes);
    return result;
}

// ---- Sending

static void put_segment_bytes(struct msghdr *message, char *room, uint32_t bytes) {
    const uint16_t size = (uint16_t)bytes;
    message->msg_control = room;
    message->msg_controllen = CMSG_SPACE(sizeof size);
    struct cmsghdr *note = CMSG_FIRSTHDR(message);
    note->cmsg_level = IPPROTO_UDP;
    note->cmsg_type = UDP_SEGMENT;
    note->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(note), &size, sizeof size);
}

int ce_send_datagrams(struct ce_reactor *reactor, int fd, const struct ce_datagram *list,
                      size_t count) {
    struct mmsghdr messages[CE_DATAGRAMS_MAX];
    _Alignas(struct cmsghdr) char notes[CE_DATAGRAMS_MAX][CMSG_SPACE(sizeof(uint16_t))];
    if (count > CE_DATAGRAMS_MAX) count = CE_DATAGRAMS_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct ce_datagram *datagram = &list[i];
        messages[i].msg_len = 0;
        messages[i].msg_hdr = (struct msghdr){
            // sendmmsg(2) only reads all of these.
            .msg_name = datagram->address.length > 0 ? (void *)&datagram->address.storage : NULL,
            .msg_namelen = datagram->address.length,
            .msg_iov = (struct iovec *)datagram->pieces,
            .msg_iovlen = datagram->pieces_count,
            .msg_control = datagram->control,
            .msg_controllen = datagram->control != NULL ? datagram->control_bytes : 0,
        };
        if (datagram->segment_bytes != 0)
            put_segment_bytes(&messages[i].msg_hdr, notes[i], datagram->segment_bytes);
    }
    int result;
    CE_RETRY(result, reactor->system.sendmmsg(reactor->system.state, fd, messages, (unsigned)count,
                                              MSG_DONTWAIT | MSG_NOSIGNAL));
    return result;
}

// ---- Errors

// 0 for a message that carries none.
static int error_in(struct msghdr *message) {
    for (struct cmsghdr *note = CMSG_FIRSTHDR(message); note != NULL;
         note = CMSG_NXTHDR(message, note)) {
        const bool is_v4 = note->cmsg_level == IPPROTO_IP && note->cmsg_type == IP_RECVERR;
        const bool is_v6 = note->cmsg_level == IPPROTO_IPV6 && note->cmsg_type == IPV6_RECVERR;
        if ((!is_v4 && !is_v6) || note->cmsg_len < CMSG_LEN(sizeof(struct sock_extended_err)))
            continue;
        struct sock_extended_err error;
        memcpy(&error, CMSG_DATA(note), sizeof error);
        return (int)error.ee_errno;
    }
    return 0;
}

int ce_datagram_error(struct ce_reactor *reactor, int fd, struct ce_address *peer) {
    // sock_extended_err and the address of whoever said so.
    _Alignas(struct cmsghdr) char notes[CMSG_SPACE(sizeof(struct sock_extended_err) +
                                                   sizeof(struct sockaddr_in6))];
    for (;;) {
        *peer = (struct ce_address){0};
        struct msghdr message = {
            .msg_name = &peer->storage,
            .msg_namelen = sizeof peer->storage,
            .msg_control = notes,
            .msg_controllen = sizeof notes,
        };
        ssize_t result;
        CE_RETRY(result, reactor->system.recvmsg(reactor->system.state, fd, &message,
                                                 MSG_ERRQUEUE | MSG_DONTWAIT));
        if (result < 0) return 0;
        peer->length = message.msg_namelen;
        const int error = error_in(&message);
        if (error > 0) return error;
    }
}
