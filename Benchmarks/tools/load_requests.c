// load_requests: a single-threaded epoll client that keeps requests in flight on one connection.
//
//   load_requests FORM -p PORT [-P SERVER_PID] [-m BYTES] [-q DEPTH] [-d SECS] [-w WARMUP]
//
//   requests  the wire format of request connections: type 0, which is answered with its payload
//   frames    a 4-byte big-endian length and the payload, which comes back the same
//
// An answer frees its place at once, in whatever order answers come; the places that one read has
// freed are filled with one write. Every answer is compared with what was asked. One JSON line on
// stdout: requests answered, and the processor time of the server and of this client for each.
#define _GNU_SOURCE
#include "proto.h"
#include <getopt.h>
#include <sys/epoll.h>
#include <time.h>

enum { ROOM = 1 << 20, STAMP = 12 };

typedef struct { uint64_t tag; bool is_out; } place_t;

static bool has_tags;
static int port, fd, ep;
static uint32_t depth = 64, idle;
static size_t size = 64;
static double secs = 2, warm = 0.5;
static char in[ROOM], pattern[ROOM];
static size_t have, out_at;
static bytes_t out;
static bool is_waiting; // for room in the socket
static place_t *places;
static uint64_t next_tag = 2, answered;

static void die(const char *what) {
    printf("{\"error\": \"%s\"}\n", what);
    exit(1);
}

static uint64_t ns(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t) < 0) die("the server has gone");
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// What is asked: the place, the tag, and a pattern.
static void ask(uint32_t place) {
    char head[32], body[STAMP];
    size_t h;
    uint64_t tag = next_tag++;
    places[place] = (place_t){tag, true};
    memcpy(body, &place, 4);
    memcpy(body + 4, &tag, 8);
    if (has_tags) {
        char name[12];
        size_t n = put_base128(name, tag);
        name[n++] = 2; // a request
        name[n++] = 1; // of type 0
        h = put_base128(head, n + size);
        memcpy(head + h, name, n);
        h += n;
    } else {
        uint32_t length = htonl((uint32_t)size);
        memcpy(head, &length, 4);
        h = 4;
    }
    bytes_add(&out, head, h);
    bytes_add(&out, body, STAMP);
    bytes_add(&out, pattern, size - STAMP);
}

static void hear(const char *payload, size_t n, const uint64_t *tag) {
    uint32_t place;
    uint64_t asked;
    if (n != size) die("an answer of another size");
    memcpy(&place, payload, 4);
    memcpy(&asked, payload + 4, 8);
    if (place >= depth || !places[place].is_out || places[place].tag != asked) die("an answer to nothing");
    if ((tag && *tag != asked) || memcmp(payload + STAMP, pattern, n - STAMP)) die("a wrong answer");
    places[place].is_out = false;
    idle++;
    answered++;
}

static size_t take_frames(void) {
    size_t at = 0;
    for (uint32_t length; have - at >= 4; at += 4 + length) {
        memcpy(&length, in + at, 4);
        length = ntohl(length);
        if (have - at - 4 < length) break;
        hear(in + at + 4, length, NULL);
    }
    return at;
}

static size_t take_answers(void) {
    size_t at = 0;
    uint64_t length, tag;
    for (size_t end = 0; base128(in, have, &end, &length) && have - end >= length; at = end) {
        const char *body = in + end;
        size_t from = 0;
        if (!base128(body, (size_t)length, &from, &tag) || from == length) die("not an answer");
        if (body[from] != 4) die("a refusal");
        hear(body + from + 1, (size_t)length - from - 1, &tag);
        end += (size_t)length;
    }
    return at;
}

static void receive(void) {
    ssize_t n = recv(fd, in + have, ROOM - have, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) die(n ? strerror(errno) : "end of stream");
    have += (size_t)n;
    size_t used = has_tags ? take_answers() : take_frames();
    have -= used;
    if (have) memmove(in, in + used, have);
}

static void transmit(void) {
    for (uint32_t i = 0; idle > 0 && i < depth; i++) {
        if (places[i].is_out) continue;
        ask(i);
        idle--;
    }
    if (out_at == out.n) return;
    ssize_t n = send(fd, out.p + out_at, out.n - out_at, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) die(strerror(errno));
    if (n > 0) out_at += (size_t)n;
    bool is_done = out_at == out.n;
    if (is_done) out.n = out_at = 0;
    if (is_done == !is_waiting) return;
    is_waiting = !is_done;
    struct epoll_event e = {.events = is_waiting ? EPOLLIN | EPOLLOUT : EPOLLIN};
    epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
}

static void print_result(double count, uint64_t wall, uint64_t there, uint64_t here) {
    printf("{\"requests\": %.0f, \"requests_per_s\": %.0f, \"server_cpu_us_per_request\": %.4f, "
           "\"client_cpu_us_per_request\": %.4f}\n",
           count, count * 1e9 / (double)wall, (double)there / 1e3 / count, (double)here / 1e3 / count);
}

static void run(clockid_t server) {
    struct epoll_event event;
    uint64_t start = ns(CLOCK_MONOTONIC), measured = 0, there = 0, here = 0;
    for (;;) {
        transmit();
        if (epoll_wait(ep, &event, 1, 5000) == 0) die("no answer for 5 s");
        if (event.events & ~(uint32_t)EPOLLOUT) receive();
        uint64_t now = ns(CLOCK_MONOTONIC);
        if (measured == 0 && (double)(now - start) > warm * 1e9) {
            measured = now;
            answered = 0;
            there = ns(server);
            here = ns(CLOCK_PROCESS_CPUTIME_ID);
        } else if (measured != 0 && (double)(now - measured) > secs * 1e9) {
            if (answered == 0) die("no answer came");
            print_result((double)answered, now - measured, ns(server) - there,
                         ns(CLOCK_PROCESS_CPUTIME_ID) - here);
            return;
        }
    }
}

static void open_connection(void) {
    int one = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event e = {.events = EPOLLIN};
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) die(strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    ep = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

int main(int argc, char **argv) {
    clockid_t server = CLOCK_PROCESS_CPUTIME_ID;
    if (argc < 2) return 2;
    has_tags = !strcmp(argv[1], "requests");
    if (!has_tags && strcmp(argv[1], "frames")) return 2;
    optind = 2;
    for (int o; (o = getopt(argc, argv, "p:P:m:q:d:w:")) != -1;) switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'P': if (clock_getcpuclockid(atoi(optarg), &server)) die("no such server"); break;
        case 'm': size = (size_t)atol(optarg); break;
        case 'q': depth = (uint32_t)atoi(optarg); break;
        case 'd': secs = atof(optarg); break;
        case 'w': warm = atof(optarg); break;
        default: return 2;
    }
    if (depth < 1 || depth > 65536 || size < STAMP || size > ROOM / 2 || secs > 60) die("bad option");
    for (size_t i = 0; i < size; i++) pattern[i] = (char)('!' + i % 90);
    places = calloc(depth, sizeof *places);
    idle = depth;
    open_connection();
    run(server);
    return 0;
}
