// Unix sockets with a path: who may take it, and who may remove its file.
//
// Looking at a file and acting on what was seen are two steps, and between bind(2) and listen(2) a
// server looks as dead as one that is gone. So all of it happens under a lock of the directory.
#define _GNU_SOURCE
#include "ce_reactor.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

// A file as its directory, locked, and its name therein.
struct place {
    int directory;
    char name[sizeof(struct sockaddr_storage)];
};

static int lock(struct ce_reactor *reactor, int directory) {
    const struct ce_system *system = &reactor->system;
    const uint64_t start = ce_now(reactor);
    for (;;) {
        int result;
        // A lock of somebody else's that never ends must not stop this thread for ever.
        CE_RETRY(result, system->flock(system->state, directory, LOCK_EX | LOCK_NB));
        if (result != -EWOULDBLOCK) return result;
        const uint64_t waited = ce_now(reactor) - start;
        if (waited / 1000000 >= CE_DIRECTORY_LOCK_MILLISECONDS_MAX) return -ETIMEDOUT;
        system->sleep(system->state, 1000000);  // if it is interrupted, the next try comes early
    }
}

static int enter_place(struct ce_reactor *reactor, const struct ce_address *address,
                       struct place *place, const char **step) {
    const struct ce_system *system = &reactor->system;
    char path[sizeof place->name];
    bool abstract;
    *step = "bind";
    const size_t length = ce_address_path(address, path, sizeof path - 1, &abstract);
    if (length == 0 || abstract) return -EINVAL;
    path[length] = 0;
    char *name = strrchr(path, '/');
    name = name == NULL ? path : name + 1;
    strcpy(place->name, name);
    *name = 0;

    *step = "open";
    int result;
    CE_RETRY(place->directory, system->open(system->state, path[0] != 0 ? path : ".",
                                            O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (place->directory < 0) return place->directory;
    *step = "flock";
    if ((result = lock(reactor, place->directory)) < 0) ce_close(reactor, place->directory);
    return result;
}

static void leave_place(struct ce_reactor *reactor, const struct place *place) {
    int result;
    // Unlocked by name: a child forked meanwhile has the open file too and would keep the lock.
    CE_RETRY(result,
             reactor->system.flock(reactor->system.state, place->directory, LOCK_UN));
    ce_close(reactor, place->directory);
}

static int look(struct ce_reactor *reactor, const struct place *place, struct stat *status) {
    int result;
    CE_RETRY(result, reactor->system.fstatat(reactor->system.state, place->directory, place->name,
                                             status, AT_SYMLINK_NOFOLLOW));
    return result;
}

static int set_mode(struct ce_reactor *reactor, const struct place *place, uint32_t mode) {
    int result;
    CE_RETRY(result, reactor->system.fchmodat(reactor->system.state, place->directory, place->name,
                                              mode & 07777, AT_SYMLINK_NOFOLLOW));
    return result;
}

static int remove_file(struct ce_reactor *reactor, const struct place *place) {
    int result;
    CE_RETRY(result, reactor->system.unlinkat(reactor->system.state, place->directory, place->name,
                                              0));
    return result == -ENOENT ? 0 : result;
}

// 0 if nobody is behind the socket at this address.
static int check_stale(struct ce_reactor *reactor, const struct ce_address *address,
                       const char **step) {
    *step = "socket";
    const int fd = ce_open_socket(reactor, address);
    if (fd < 0) return fd;
    *step = "connect";
    const int result = ce_connect_socket(reactor, fd, address);
    ce_close(reactor, fd);
    switch (result) {
        case -ECONNREFUSED:
        case -ENOENT: return 0;
        case 0:
        case -EAGAIN:  // the backlog is full
        case -EINPROGRESS:
        case -EINTR:
        case -EPROTOTYPE:  // alive, but no stream socket: that of a datagram service too
            *step = "bind";
            return -EADDRINUSE;
        default: return result;
    }
}

static int make_room(struct ce_reactor *reactor, const struct ce_address *address,
                     const struct place *place, const char **step) {
    struct stat status;
    *step = "fstatat";
    int result = look(reactor, place, &status);
    if (result < 0) return result == -ENOENT ? 0 : result;
    if (!S_ISSOCK(status.st_mode)) {
        *step = "bind";
        return -EADDRINUSE;
    }
    if ((result = check_stale(reactor, address, step)) < 0) return result;
    *step = "unlinkat";
    return remove_file(reactor, place);
}

// Socket, file, mode, and only then the listening.
static int take_place(struct ce_reactor *reactor, const struct ce_address *address,
                      const struct ce_listen_options *options, uint32_t mode,
                      const struct place *place, struct ce_file_id *bound, const char **step) {
    struct stat status;
    bool has_file = false;
    *step = "socket";
    int result, fd = ce_open_socket(reactor, address);
    if ((result = fd) < 0) goto fail;
    *step = "setsockopt";
    if ((result = ce_set_listen_options(reactor, fd, address, options)) < 0) goto fail;
    *step = "bind";
    if ((result = ce_bind_socket(reactor, fd, address)) < 0) goto fail;
    has_file = true;
    *step = "fstatat";
    if ((result = look(reactor, place, &status)) < 0) goto fail;
    *step = "fchmodat";
    if ((result = set_mode(reactor, place, mode)) < 0) goto fail;
    *step = "listen";
    if ((result = ce_start_listening(reactor, fd, options->backlog)) < 0) goto fail;
    *bound = (struct ce_file_id){status.st_dev, status.st_ino};
    return fd;

fail:
    if (has_file) remove_file(reactor, place);
    if (fd >= 0) ce_close(reactor, fd);
    return result;
}

// File and mode, for a socket that needs no listening.
static int take_place_as_datagram(struct ce_reactor *reactor, int fd,
                                  const struct ce_address *address, uint32_t mode,
                                  const struct place *place, struct ce_file_id *bound,
                                  const char **step) {
    struct stat status;
    int result;
    // The file gets what the socket has, less the umask: nobody can send in between.
    *step = "fchmod";
    CE_RETRY(result, reactor->system.fchmod(reactor->system.state, fd, mode & 07777));
    if (result < 0) return result;
    *step = "bind";
    if ((result = ce_bind_socket(reactor, fd, address)) < 0) return result;
    *step = "fstatat";
    if ((result = look(reactor, place, &status)) < 0) goto fail;
    *step = "fchmodat";
    if ((result = set_mode(reactor, place, mode)) < 0) goto fail;
    *bound = (struct ce_file_id){status.st_dev, status.st_ino};
    return 0;

fail:
    remove_file(reactor, place);
    return result;
}

// Takes the address's place: with options for a new listener, else for `fd`, a datagram socket.
static int settle(struct ce_reactor *reactor, int fd, const struct ce_address *address,
                  const struct ce_listen_options *options, uint32_t mode,
                  struct ce_file_id *bound, const char **call) {
    const char *step;
    struct place place;
    int result = enter_place(reactor, address, &place, &step);
    if (result == 0) {
        result = make_room(reactor, address, &place, &step);
        if (result == 0)
            result = options != NULL
                ? take_place(reactor, address, options, mode, &place, bound, &step)
                : take_place_as_datagram(reactor, fd, address, mode, &place, bound, &step);
        leave_place(reactor, &place);
    }
    if (result < 0 && call != NULL) *call = step;
    return result;
}

int ce_listen_unix(struct ce_reactor *reactor, const struct ce_address *address,
                   const struct ce_listen_options *options, uint32_t mode,
                   struct ce_file_id *bound, const char **call) {
    return settle(reactor, -1, address, options, mode, bound, call);
}

int ce_bind_datagram_unix(struct ce_reactor *reactor, int fd, const struct ce_address *address,
                          uint32_t mode, struct ce_file_id *bound, const char **call) {
    return settle(reactor, fd, address, NULL, mode, bound, call);
}

int ce_unlink_file(struct ce_reactor *reactor, const struct ce_address *address,
                   struct ce_file_id file) {
    const char *step;
    struct place place;
    struct stat status;
    int result = enter_place(reactor, address, &place, &step);
    if (result == -ENOENT) return 0;  // the directory is gone too
    if (result < 0) return result;
    result = look(reactor, &place, &status);
    if (result == -ENOENT)
        result = 0;
    else if (result == 0 && status.st_dev == file.device && status.st_ino == file.inode)
        result = remove_file(reactor, &place);
    leave_place(reactor, &place);
    return result;
}
