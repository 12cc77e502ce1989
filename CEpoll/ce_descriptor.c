// Descriptors from elsewhere: adopted, checked, and read and written where they are no sockets.
#define _GNU_SOURCE
#include "ce_reactor.h"

#include <fcntl.h>

static int control(struct ce_reactor *reactor, int fd, int command, int argument) {
    int result;
    CE_RETRY(result, reactor->system.fcntl(reactor->system.state, fd, command, argument));
    return result;
}

// Sets a flag unless it is set.
static int set_flag(struct ce_reactor *reactor, int fd, int get, int set, int flag) {
    const int flags = control(reactor, fd, get, 0);
    if (flags < 0) return flags;
    return (flags & flag) != 0 ? 0 : control(reactor, fd, set, flags | flag);
}

int ce_adopt(struct ce_reactor *reactor, int fd) {
    const int result = set_flag(reactor, fd, F_GETFD, F_SETFD, FD_CLOEXEC);
    return result < 0 ? result : set_flag(reactor, fd, F_GETFL, F_SETFL, O_NONBLOCK);
}

int ce_duplicate(struct ce_reactor *reactor, int fd) {
    return control(reactor, fd, F_DUPFD_CLOEXEC, 0);
}

static int check_stream(struct ce_reactor *reactor, int fd) {
    int type = 0;
    const int result = ce_get_option(reactor, fd, SOL_SOCKET, SO_TYPE, &type);
    if (result < 0) return result;
    return type == SOCK_STREAM ? 0 : -EINVAL;
}

int ce_listening(struct ce_reactor *reactor, int fd, struct ce_address *local) {
    int listens = 0;
    int result = check_stream(reactor, fd);
    if (result < 0) return result;
    result = ce_get_option(reactor, fd, SOL_SOCKET, SO_ACCEPTCONN, &listens);
    if (result < 0) return result;
    if (!listens) return -EINVAL;
    if ((result = ce_local_address(reactor, fd, local)) < 0) return result;
    return ce_adopt(reactor, fd);
}

int ce_connected(struct ce_reactor *reactor, int fd, struct ce_address *local,
                 struct ce_address *remote) {
    int result = check_stream(reactor, fd);
    if (result < 0) return result;
    if ((result = ce_remote_address(reactor, fd, remote)) < 0) return result;
    if ((result = ce_local_address(reactor, fd, local)) < 0) return result;
    return ce_adopt(reactor, fd);
}

ssize_t ce_read(struct ce_reactor *reactor, int fd, void *buffer, size_t count) {
    ssize_t result;
    CE_RETRY(result, reactor->system.read(reactor->system.state, fd, buffer, count));
    return result;
}

ssize_t ce_write(struct ce_reactor *reactor, int fd, const struct iovec *pieces, size_t count) {
    const int most = count < CE_IOVECS_MAX ? (int)count : CE_IOVECS_MAX;
    ssize_t result;
    CE_RETRY(result, reactor->system.writev(reactor->system.state, fd, pieces, most));
    return result;
}
