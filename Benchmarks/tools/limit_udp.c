// limit_udp: the least that a single-threaded epoll server can do for UDP echo.   limit_udp PORT
//   One recvmmsg and one sendmmsg for up to 64 datagrams of up to 2,048 bytes.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { BATCH = 64, ROOM = 2048 };

static char rooms[BATCH][ROOM];
static struct sockaddr_in peers[BATCH];
static struct iovec pieces[BATCH];
static struct mmsghdr messages[BATCH];

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), ep = epoll_create1(EPOLL_CLOEXEC);
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (struct sockaddr *)&own, sizeof own) < 0) { perror("bind"); return 1; }
    struct epoll_event e = {.events = EPOLLIN | EPOLLET};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    for (;;) {
        if (epoll_wait(ep, &e, 1, -1) <= 0) continue;
        for (int n = BATCH; n == BATCH;) {
            for (int i = 0; i < BATCH; i++) {
                pieces[i] = (struct iovec){rooms[i], ROOM};
                messages[i].msg_hdr = (struct msghdr){.msg_name = &peers[i], .msg_namelen = sizeof peers[i],
                                                      .msg_iov = &pieces[i], .msg_iovlen = 1};
            }
            n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
            for (int i = 0; i < n; i++) pieces[i].iov_len = messages[i].msg_len;
            // What does not fit the send buffer is lost, as datagrams are.
            for (int done = 0; done < n;) {
                int k = sendmmsg(fd, messages + done, (unsigned)(n - done), MSG_DONTWAIT);
                done += k > 0 ? k : 1;
            }
        }
    }
}
