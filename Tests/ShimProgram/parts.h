// The parts of the program beside main.c: each prints its "ok" line and returns 0, or -errno.
#ifndef PARTS_H
#define PARTS_H

#include "CEpoll.h"

#include <stdio.h>
#include <string.h>

// 0 or -errno; a mistake of ours is -EPROTO.
#define CHECK(call)                                                                \
    do {                                                                           \
        const long check = (long)(call);                                           \
        if (check < 0) {                                                           \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,          \
                    strerror((int)-check));                                        \
            return (int)check;                                                     \
        }                                                                          \
    } while (0)

// As CHECK, for what has to be true.
#define EXPECT(condition) CHECK((condition) ? 0 : -EPROTO)

// A path is taken, refused to a second server, taken from a dead one, and removed.
int path_part(struct ce_reactor *reactor);

// A pipe is adopted, carries a line, and ends.
int pipe_part(struct ce_reactor *reactor);

// A signal is counted by two watchers, and its disposition comes back.
int signal_part(struct ce_reactor *reactor);

#endif
