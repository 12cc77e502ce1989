// The request/response protocols, as the C servers see them: bytes in, replies appended to out.
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

typedef enum { M_ECHO, M_LINES, M_FRAMES, M_REQUESTS, M_SINK, M_SOURCE } mode_e;

static inline mode_e parse_mode(const char *s) {
    static const char *names[] = {"echo", "lines", "frames", "requests", "sink", "source"};
    for (int i = 0; i < 6; i++)
        if (!strcmp(s, names[i])) return (mode_e)i;
    fprintf(stderr, "unknown mode %s\n", s);
    exit(2);
}

typedef struct { char *p; size_t n, cap; } bytes_t;

static inline void bytes_add(bytes_t *b, const void *p, size_t n) {
    if (b->n + n > b->cap) {
        while (b->n + n > b->cap) b->cap = b->cap ? b->cap * 2 : 512;
        b->p = realloc(b->p, b->cap);
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static inline void bytes_free(bytes_t *b) { free(b->p); *b = (bytes_t){0}; }

// ---- requests: base128 is big-endian in groups of seven bits, the high bit says that more follow ----

static inline bool base128(const char *in, size_t n, size_t *at, uint64_t *value) {
    *value = 0;
    for (size_t i = *at; i < n && i < *at + 10; i++) {
        *value = *value << 7 | ((uint8_t)in[i] & 0x7f);
        if (!(in[i] & 0x80)) { *at = i + 1; return true; }
    }
    return false;
}

static inline size_t put_base128(char *out, uint64_t value) {
    size_t n = 1, i;
    for (uint64_t rest = value >> 7; rest; rest >>= 7) n++;
    for (i = n; i-- > 0; value >>= 7) out[i] = (char)((value & 0x7f) | (i + 1 < n ? 0x80 : 0));
    return n;
}

// Answers one request in in[0..n) with its own payload, and the end of requests with the same.
static inline void answer_request(const char *in, size_t n, bytes_t *out) {
    static const char ends[] = {3, 1, 2, 0, 3, 0, 2, 0};
    size_t at = 0, tag_end;
    uint64_t tag, flags, channel = 0, type = 0;
    if (!base128(in, n, &at, &tag)) return;
    tag_end = at;
    if (!base128(in, n, &at, &flags) || !(flags & 2)) return;
    if ((flags & 1 && !base128(in, n, &at, &channel)) || !base128(in, n, &at, &type)) return;
    if (type == 0) {
        if (tag == 0) bytes_add(out, ends, sizeof ends);
        return;
    }
    char head[32];
    size_t size = tag_end + 1 + (n - at), h;
    char on[10];
    size_t on_size = flags & 1 ? put_base128(on, channel) : 0;
    h = put_base128(head, size + on_size);
    memcpy(head + h, in, tag_end);
    h += tag_end;
    head[h++] = flags & 1 ? 5 : 4; // an answer, and good
    memcpy(head + h, on, on_size);
    bytes_add(out, head, h + on_size);
    bytes_add(out, in + at, n - at);
}

// Answers every complete message in in[0..n); returns how many bytes were used up.
static inline size_t answer(mode_e mode, const char *in, size_t n, bytes_t *out) {
    size_t at = 0;
    if (mode == M_ECHO) { bytes_add(out, in, n); return n; }
    if (mode == M_LINES) {
        const char *nl;
        while ((nl = memchr(in + at, '\n', n - at))) {
            size_t len = (size_t)(nl - (in + at)) + 1;
            bytes_add(out, in + at, len);
            at += len;
        }
    } else if (mode == M_REQUESTS) {
        uint64_t len;
        for (size_t end = 0; base128(in, n, &end, &len) && n - end >= len; at = end) {
            answer_request(in + end, (size_t)len, out);
            end += (size_t)len;
        }
    } else {
        while (n - at >= 4) {
            uint32_t len;
            memcpy(&len, in + at, 4);
            len = ntohl(len);
            if (n - at - 4 < len) break;
            bytes_add(out, in + at, len + 4);
            at += len + 4;
        }
    }
    return at;
}

static inline int listen_on(int port, bool nonblock) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (nonblock ? SOCK_NONBLOCK : 0), 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); // accepted sockets inherit it
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4096) < 0) { perror("listen"); exit(1); }
    return fd;
}

static inline void common_setup(void) {
    struct rlimit rl;
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
}
