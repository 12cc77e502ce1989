// The socket verbs: each a system call or two through the reactor's table, EINTR retried.
#define _GNU_SOURCE
#include "ce_reactor.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

static bool is_internet(const struct ce_address *address) {
    int family = ce_address_family(address);
    return family == AF_INET || family == AF_INET6;
}

static const struct sockaddr *raw(const struct ce_address *address) {
    return (const struct sockaddr *)&address->storage;
}

int ce_open_socket(struct ce_reactor *reactor, const struct ce_address *address) {
    int fd;
    CE_RETRY(fd, reactor->system.socket(reactor->system.state, ce_address_family(address),
                                        SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    return fd;
}

int ce_bind_socket(struct ce_reactor *reactor, int fd, const struct ce_address *address) {
    int result;
    CE_RETRY(result, reactor->system.bind(reactor->system.state, fd, raw(address),
                                          address->length));
    return result;
}

struct option {
    bool wanted;
    int level, name, value;
};

static int set_wanted(struct ce_reactor *reactor, int fd, const struct option *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!list[i].wanted) continue;
        int result = ce_set_option(reactor, fd, list[i].level, list[i].name, list[i].value);
        if (result < 0) return result;
    }
    return 0;
}

static int set_socket_options(struct ce_reactor *reactor, int fd, bool internet,
                              const struct ce_socket_options *options) {
    const bool alive = internet && (options->flags & CE_KEEP_ALIVE) != 0;
    const struct option list[] = {
        {options->receive_buffer_bytes > 0, SOL_SOCKET, SO_RCVBUF, options->receive_buffer_bytes},
        {options->send_buffer_bytes > 0, SOL_SOCKET, SO_SNDBUF, options->send_buffer_bytes},
        {internet && (options->flags & CE_NO_DELAY) != 0, IPPROTO_TCP, TCP_NODELAY, 1},
        {alive, SOL_SOCKET, SO_KEEPALIVE, 1},
        {alive, IPPROTO_TCP, TCP_KEEPIDLE, options->keep_alive_idle_seconds},
        {alive, IPPROTO_TCP, TCP_KEEPINTVL, options->keep_alive_interval_seconds},
        {alive, IPPROTO_TCP, TCP_KEEPCNT, options->keep_alive_count},
        {internet && options->user_timeout_milliseconds > 0, IPPROTO_TCP, TCP_USER_TIMEOUT,
         options->user_timeout_milliseconds},
    };
    return set_wanted(reactor, fd, list, sizeof list / sizeof list[0]);
}

int ce_set_listen_options(struct ce_reactor *reactor, int fd, const struct ce_address *address,
                          const struct ce_listen_options *options) {
    const bool internet = is_internet(address);
    const struct option list[] = {
        {internet, SOL_SOCKET, SO_REUSEADDR, 1},
        // Not for Unix sockets: Linux 6.13 refuses it there.
        {internet && (options->socket.flags & CE_REUSE_PORT) != 0, SOL_SOCKET, SO_REUSEPORT, 1},
        // One socket per family, whatever net.ipv6.bindv6only says.
        {ce_address_family(address) == AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, 1},
    };
    int result = set_wanted(reactor, fd, list, sizeof list / sizeof list[0]);
    return result < 0 ? result : set_socket_options(reactor, fd, internet, &options->socket);
}

int ce_start_listening(struct ce_reactor *reactor, int fd, int backlog) {
    int result;
    CE_RETRY(result, reactor->system.listen(reactor->system.state, fd, backlog));
    return result;
}

int ce_listen(struct ce_reactor *reactor, const struct ce_address *address,
              const struct ce_listen_options *options, const char **call) {
    const char *step = "socket";
    int result, fd = ce_open_socket(reactor, address);
    if ((result = fd) < 0) goto fail;
    step = "setsockopt";
    if ((result = ce_set_listen_options(reactor, fd, address, options)) < 0) goto fail;
    step = "bind";
    if ((result = ce_bind_socket(reactor, fd, address)) < 0) goto fail;
    step = "listen";
    if ((result = ce_start_listening(reactor, fd, options->backlog)) < 0) goto fail;
    return fd;

fail:
    if (fd >= 0) ce_close(reactor, fd);
    if (call != NULL) *call = step;
    return result;
}

int ce_accept(struct ce_reactor *reactor, int listener, struct ce_address *peer) {
    const int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
    struct ce_address from = {0};
    int fd;
    do {
        from.length = sizeof from.storage;
        fd = reactor->system.accept4(reactor->system.state, listener,
                                     peer != NULL ? (struct sockaddr *)&from.storage : NULL,
                                     peer != NULL ? &from.length : NULL, flags);
    } while (fd == -EINTR);
    if (fd >= 0 && peer != NULL) *peer = from;
    return fd;
}

int ce_connect_socket(struct ce_reactor *reactor, int fd, const struct ce_address *address) {
    return reactor->system.connect(reactor->system.state, fd, raw(address), address->length);
}

int ce_connect(struct ce_reactor *reactor, const struct ce_address *remote,
               const struct ce_address *local, const struct ce_socket_options *options,
               bool *in_progress, const char **call) {
    const bool internet = is_internet(remote);
    const char *step = "socket";
    int result, fd = ce_open_socket(reactor, remote);
    *in_progress = false;
    if ((result = fd) < 0) goto fail;
    step = "setsockopt";
    if (options != NULL && (result = set_socket_options(reactor, fd, internet, options)) < 0)
        goto fail;
    if (local != NULL) {
        // The kernel then picks the port at connect, when it knows the remote end: many more fit.
        if (internet && ce_address_port(local) == 0 &&
            (result = ce_set_option(reactor, fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)) < 0)
            goto fail;
        step = "bind";
        if ((result = ce_bind_socket(reactor, fd, local)) < 0) goto fail;
    }
    step = "connect";
    result = ce_connect_socket(reactor, fd, remote);
    // connect(2): once interrupted it goes on by itself, and calling again would say EALREADY.
    if (result < 0 && result != -EINPROGRESS && result != -EINTR) goto fail;
    *in_progress = result < 0;
    return fd;

fail:
    if (fd >= 0) ce_close(reactor, fd);
    if (call != NULL) *call = step;
    return result;
}

ssize_t ce_receive(struct ce_reactor *reactor, int fd, void *buffer, size_t count) {
    ssize_t result;
    CE_RETRY(result, reactor->system.recv(reactor->system.state, fd, buffer, count, 0));
    return result;
}

ssize_t ce_send(struct ce_reactor *reactor, int fd, const struct iovec *pieces, size_t count) {
    struct msghdr message = {0};
    message.msg_iov = (struct iovec *)pieces;  // sendmsg(2) only reads them
    message.msg_iovlen = count < CE_IOVECS_MAX ? count : CE_IOVECS_MAX;
    ssize_t result;
    CE_RETRY(result, reactor->system.sendmsg(reactor->system.state, fd, &message, MSG_NOSIGNAL));
    return result;
}

ssize_t ce_receive_message(struct ce_reactor *reactor, int fd, struct msghdr *message, int flags) {
    ssize_t result;
    CE_RETRY(result, reactor->system.recvmsg(reactor->system.state, fd, message,
                                             flags | MSG_CMSG_CLOEXEC));
    return result;
}

ssize_t ce_send_message(struct ce_reactor *reactor, int fd, const struct msghdr *message,
                        int flags) {
    ssize_t result;
    CE_RETRY(result, reactor->system.sendmsg(reactor->system.state, fd, message,
                                             flags | MSG_NOSIGNAL));
    return result;
}

static int shut(struct ce_reactor *reactor, int fd, int how) {
    int result;
    CE_RETRY(result, reactor->system.shutdown(reactor->system.state, fd, how));
    return result;
}

int ce_finish(struct ce_reactor *reactor, int fd) {
    return shut(reactor, fd, SHUT_WR);
}

int ce_shutdown(struct ce_reactor *reactor, int fd) {
    return shut(reactor, fd, SHUT_RDWR);
}

int ce_close(struct ce_reactor *reactor, int fd) {
    int result = reactor->system.close(reactor->system.state, fd);
    return result == -EINTR ? 0 : result;
}

int ce_close_reset(struct ce_reactor *reactor, int fd) {
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    int result;
    CE_RETRY(result, reactor->system.setsockopt(reactor->system.state, fd, SOL_SOCKET, SO_LINGER,
                                                &now, sizeof now));
    int closed = ce_close(reactor, fd);
    return result < 0 ? result : closed;
}

int ce_socket_error(struct ce_reactor *reactor, int fd) {
    int value = 0;
    int result = ce_get_option(reactor, fd, SOL_SOCKET, SO_ERROR, &value);
    return result < 0 ? result : value;
}

int ce_unsent(struct ce_reactor *reactor, int fd) {
    int bytes = 0, result;
    CE_RETRY(result, reactor->system.unsent(reactor->system.state, fd, &bytes));
    return result < 0 ? result : bytes;
}

int ce_set_option(struct ce_reactor *reactor, int fd, int level, int name, int value) {
    int result;
    CE_RETRY(result, reactor->system.setsockopt(reactor->system.state, fd, level, name, &value,
                                                sizeof value));
    return result;
}

static int get_option(struct ce_reactor *reactor, int fd, int level, int name, void *value,
                      socklen_t size) {
    socklen_t length = size;
    int result;
    CE_RETRY(result, reactor->system.getsockopt(reactor->system.state, fd, level, name, value,
                                                &length));
    return result;
}

int ce_get_option(struct ce_reactor *reactor, int fd, int level, int name, int *value) {
    return get_option(reactor, fd, level, name, value, sizeof *value);
}

int ce_peer_credentials(struct ce_reactor *reactor, int fd, struct ce_credentials *credentials) {
    struct ucred peer = {0};
    int result = get_option(reactor, fd, SOL_SOCKET, SO_PEERCRED, &peer, sizeof peer);
    if (result == 0) *credentials = (struct ce_credentials){peer.pid, peer.uid, peer.gid};
    return result;
}

int ce_local_address(struct ce_reactor *reactor, int fd, struct ce_address *address) {
    int result;
    do {
        *address = (struct ce_address){.length = sizeof address->storage};
        result = reactor->system.getsockname(reactor->system.state, fd,
                                             (struct sockaddr *)&address->storage,
                                             &address->length);
    } while (result == -EINTR);
    return result;
}

int ce_remote_address(struct ce_reactor *reactor, int fd, struct ce_address *address) {
    int result;
    do {
        *address = (struct ce_address){.length = sizeof address->storage};
        result = reactor->system.getpeername(reactor->system.state, fd,
                                             (struct sockaddr *)&address->storage,
                                             &address->length);
    } while (result == -EINTR);
    return result;
}
