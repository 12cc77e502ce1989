// Paths, pipes and signals, as a C program uses them.
#define _GNU_SOURCE
#include "parts.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int use_path(struct ce_reactor *reactor, const struct ce_address *address) {
    const struct ce_listen_options options = {.backlog = 4};
    const char *call = NULL;
    struct ce_file_id file, second;
    int listener;
    CHECK(listener = ce_listen_unix(reactor, address, &options, 0600, &file, &call));
    EXPECT(ce_listen_unix(reactor, address, &options, 0600, &second, &call) == -EADDRINUSE);
    EXPECT(strcmp(call, "bind") == 0);
    CHECK(ce_close(reactor, listener));  // and its file stays, as after a crash
    CHECK(listener = ce_listen_unix(reactor, address, &options, 0600, &second, &call));
    CHECK(ce_unlink_file(reactor, address, second));
    return ce_close(reactor, listener);
}

int path_part(struct ce_reactor *reactor) {
    char directory[] = "/tmp/sluice-XXXXXX";
    char path[64];
    struct ce_address address;
    struct stat status;
    EXPECT(mkdtemp(directory) != NULL);
    const int length = snprintf(path, sizeof path, "%s/socket", directory);
    CHECK(ce_address_unix(&address, path, (size_t)length, false));
    const int result = use_path(reactor, &address);
    const bool is_gone = stat(path, &status) < 0;
    unlink(path);
    rmdir(directory);
    CHECK(result);
    EXPECT(is_gone);
    printf("ok path taken, kept, replaced and removed\n");
    return 0;
}

static int use_pipe(struct ce_reactor *reactor, const int ends[2]) {
    char bytes[16] = {0};
    const struct iovec pieces[] = {{"one ", 4}, {"line\n", 5}};
    CHECK(ce_adopt(reactor, ends[0]));
    CHECK(ce_adopt(reactor, ends[1]));
    EXPECT(ce_read(reactor, ends[0], bytes, sizeof bytes) == -EAGAIN);
    EXPECT(ce_write(reactor, ends[1], pieces, 2) == 9);
    EXPECT(ce_read(reactor, ends[0], bytes, sizeof bytes) == 9);
    return strcmp(bytes, "one line\n") == 0 ? 0 : -EPROTO;
}

int pipe_part(struct ce_reactor *reactor) {
    int ends[2];
    char byte;
    EXPECT(pipe(ends) == 0);
    const int result = use_pipe(reactor, ends);
    ce_close(reactor, ends[1]);
    const ssize_t end = ce_read(reactor, ends[0], &byte, 1);
    ce_close(reactor, ends[0]);
    CHECK(result);
    CHECK(end);
    EXPECT(end == 0);
    printf("ok pipe adopted, read and written\n");
    return 0;
}

int signal_part(struct ce_reactor *reactor) {
    int first, second;
    struct sigaction after;
    signal(SIGUSR1, SIG_IGN);
    CHECK(first = ce_signal_open(reactor, SIGUSR1));
    CHECK(second = ce_signal_open(reactor, SIGUSR1));
    for (int i = 0; i < 1000; i++) raise(SIGUSR1);
    const int64_t counted = ce_signal_read(reactor, first);
    CHECK(ce_signal_close(reactor, SIGUSR1, first));
    raise(SIGUSR1);
    const int64_t counted_too = ce_signal_read(reactor, second);
    CHECK(ce_signal_close(reactor, SIGUSR1, second));
    raise(SIGUSR1);
    EXPECT(counted == 1000 && counted_too == 1001);
    EXPECT(sigaction(SIGUSR1, NULL, &after) == 0 && after.sa_handler == SIG_IGN);
    printf("ok signals counted\n");
    return 0;
}
