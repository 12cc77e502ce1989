// Socket addresses: filled, parsed and read. Bytes are copied in and out of the storage, since a
// pointer of another type to it would break C's aliasing rules.
#define _GNU_SOURCE
#include "CEpoll.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

static const size_t unix_head = offsetof(struct sockaddr_un, sun_path);

static void store(struct ce_address *address, const void *bytes, size_t length) {
    memset(address, 0, sizeof *address);
    memcpy(&address->storage, bytes, length);
    address->length = (socklen_t)length;
}

static struct sockaddr_in as_v4(const struct ce_address *address) {
    struct sockaddr_in v4;
    memcpy(&v4, &address->storage, sizeof v4);
    return v4;
}

static struct sockaddr_in6 as_v6(const struct ce_address *address) {
    struct sockaddr_in6 v6;
    memcpy(&v6, &address->storage, sizeof v6);
    return v6;
}

void ce_address_v4(struct ce_address *address, const uint8_t octets[4], uint16_t port) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&v4.sin_addr, octets, 4);
    store(address, &v4, sizeof v4);
}

void ce_address_v6(struct ce_address *address, const uint8_t octets[16], uint16_t port,
                   uint32_t scope) {
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_scope_id = scope};
    memcpy(&v6.sin6_addr, octets, 16);
    store(address, &v6, sizeof v6);
}

int ce_address_unix(struct ce_address *address, const char *path, size_t length, bool abstract) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    // One byte for the NUL: before an abstract name. Behind a path it may be missing, unix(7): so
    // whoever is bound to the longest of all can be answered.
    if (length + (abstract ? 1 : 0) > sizeof un.sun_path) return -ENAMETOOLONG;
    // An empty path would make bind(2) choose a name: unix(7), autobind.
    if (!abstract && (length == 0 || memchr(path, 0, length) != NULL)) return -EINVAL;
    if (length > 0) memcpy(un.sun_path + (abstract ? 1 : 0), path, length);
    const bool has_nul = length < sizeof un.sun_path;
    store(address, &un, unix_head + length + (has_nul ? 1 : 0));
    return 0;
}

// The zone of "fe80::1%zone": a number, or the name of an interface.
static int parse_scope(const char *zone, uint32_t *scope) {
    uint64_t number = 0;
    const char *c = zone;
    while (*c >= '0' && *c <= '9' && number <= UINT32_MAX)
        number = number * 10 + (uint64_t)(*c++ - '0');
    if (c != zone && *c == 0 && number <= UINT32_MAX) {
        *scope = (uint32_t)number;
        return 0;
    }
    *scope = if_nametoindex(zone);
    return *scope == 0 ? -EINVAL : 0;
}

int ce_address_parse(struct ce_address *address, const char *host, uint16_t port) {
    uint8_t octets[16];
    if (inet_pton(AF_INET, host, octets) == 1) {
        ce_address_v4(address, octets, port);
        return 0;
    }
    char digits[INET6_ADDRSTRLEN];
    uint32_t scope = 0;
    const size_t length = strcspn(host, "%");
    if (length >= sizeof digits) return -EINVAL;
    memcpy(digits, host, length);
    digits[length] = 0;
    if (inet_pton(AF_INET6, digits, octets) != 1) return -EINVAL;
    if (host[length] == '%' && parse_scope(host + length + 1, &scope) < 0) return -EINVAL;
    ce_address_v6(address, octets, port, scope);
    return 0;
}

int ce_address_family(const struct ce_address *address) {
    return address->length < sizeof(sa_family_t) ? AF_UNSPEC : address->storage.ss_family;
}

uint16_t ce_address_port(const struct ce_address *address) {
    switch (ce_address_family(address)) {
        case AF_INET: return ntohs(as_v4(address).sin_port);
        case AF_INET6: return ntohs(as_v6(address).sin6_port);
        default: return 0;
    }
}

uint32_t ce_address_scope(const struct ce_address *address) {
    return ce_address_family(address) == AF_INET6 ? as_v6(address).sin6_scope_id : 0;
}

size_t ce_address_octets(const struct ce_address *address, uint8_t octets[16]) {
    switch (ce_address_family(address)) {
        case AF_INET: {
            struct sockaddr_in v4 = as_v4(address);
            memcpy(octets, &v4.sin_addr, 4);
            return 4;
        }
        case AF_INET6: {
            struct sockaddr_in6 v6 = as_v6(address);
            memcpy(octets, &v6.sin6_addr, 16);
            return 16;
        }
        default: return 0;
    }
}

size_t ce_address_path(const struct ce_address *address, char *path, size_t capacity,
                       bool *abstract) {
    *abstract = false;
    if (ce_address_family(address) != AF_UNIX || address->length <= unix_head) return 0;
    const char *name = (const char *)&address->storage + unix_head;
    size_t length = address->length - unix_head;
    *abstract = name[0] == 0;
    if (*abstract) {
        name++;
        length--;
    } else {
        length = strnlen(name, length);  // the length may count the NUL, unix(7)
    }
    memcpy(path, name, length < capacity ? length : capacity);
    return length;
}
