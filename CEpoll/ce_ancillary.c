// Control messages of sendmsg(2) and recvmsg(2), cmsg(3): taken apart and put together by lengths
// that are compared before they are added, with no call and no state. What CMSG_NXTHDR leaves to
// the kernel's good faith is checked here, so that a buffer may hold anything.
#define _GNU_SOURCE
#include "ce_reactor.h"

#include <string.h>

_Static_assert(sizeof(struct ucred) == sizeof(struct ce_credentials), "the kernel's layout");
_Static_assert((int)SCM_RIGHTS == CE_RIGHTS, "the kernel's number");
_Static_assert((int)SCM_CREDENTIALS == CE_CREDENTIALS, "the kernel's number");

// CMSG_LEN and CMSG_SPACE of nothing: where an item's data begins.
enum { HEADER = CMSG_LEN(0) };

// What is to be added to a length until the next item can begin.
static size_t padding(size_t length) {
    return -length & (sizeof(size_t) - 1);
}

int ce_ancillary_next(const void *control, size_t length, size_t *offset,
                      struct ce_ancillary_item *item) {
    if (*offset >= length || length - *offset < HEADER) return 0;
    const size_t rest = length - *offset;
    const unsigned char *place = (const unsigned char *)control + *offset;
    struct cmsghdr header;
    memcpy(&header, place, sizeof header);
    if (header.cmsg_len < HEADER || header.cmsg_len > rest) return -EBADMSG;
    *item = (struct ce_ancillary_item){
        .level = header.cmsg_level,
        .type = header.cmsg_type,
        .data = place + HEADER,
        .length = header.cmsg_len - HEADER,
    };
    // The last item's padding need not be there.
    const size_t gap = padding(header.cmsg_len);
    *offset += gap < rest - header.cmsg_len ? header.cmsg_len + gap : rest;
    return 1;
}

int ce_ancillary_append(void *control, size_t capacity, size_t *length, int level, int type,
                        const void *data, size_t count) {
    const size_t start = *length;
    if (start > capacity || capacity - start < HEADER) return -ENOBUFS;
    if (capacity - start - HEADER < count) return -ENOBUFS;
    const size_t gap = padding(HEADER + count);
    if (capacity - start - HEADER - count < gap) return -ENOBUFS;
    unsigned char *place = (unsigned char *)control + start;
    const struct cmsghdr header = {
        .cmsg_len = HEADER + count, .cmsg_level = level, .cmsg_type = type};
    memcpy(place, &header, sizeof header);
    if (count > 0) memcpy(place + HEADER, data, count);
    // Zeroed, so that nothing of this program's memory stands between two items.
    memset(place + HEADER + count, 0, gap);
    *length = start + HEADER + count + gap;
    return 0;
}

size_t ce_ancillary_space(size_t count) {
    return CMSG_SPACE(count);
}

int ce_discard(int fd) {
    const struct ce_system *kernel = ce_system_kernel();
    return kernel->close(kernel->state, fd);
}
