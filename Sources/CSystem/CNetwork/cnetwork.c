// System calls that glibc's Swift overlay does not show: segmented sends of UDP.
// SPDX-License-Identifier: Apache-2.0
#include "cnetwork.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static int share_port(int fd) {
    int on = 1;
    return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 ? 0 : errno;
}

static int open_socket(int family, int buffer_bytes) {
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    int off = 0;
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    // A request: the kernel grants at most its limit, and a smaller buffer is no failure.
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
    return fd;
}

// A port that is to be any free one must not be shared yet: the kernel would choose among those that
// other programs share as well, and each would get some of the other's packets.
static int bind_shared(int fd, const struct sockaddr *local, socklen_t size, int is_any_port) {
    int error = is_any_port ? 0 : share_port(fd);
    if (error == 0 && bind(fd, local, size) != 0) error = errno;
    if (error == 0 && is_any_port) error = share_port(fd);
    return error;
}

int marsad_udp_open(uint16_t port, int buffer_bytes, int *is_dual, uint16_t *bound) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } local;
    int family = AF_INET6;
    int fd = open_socket(family, buffer_bytes);
    for (;;) {
        memset(&local, 0, sizeof local);
        local.any.sa_family = family;
        socklen_t size = family == AF_INET6 ? sizeof local.v6 : sizeof local.v4;
        if (family == AF_INET6)
            local.v6.sin6_port = htons(port);
        else
            local.v4.sin_port = htons(port);
        int error = fd < 0 ? -fd : bind_shared(fd, &local.any, size, port == 0);
        if (error == 0) {
            getsockname(fd, &local.any, &size);
            *bound = ntohs(family == AF_INET6 ? local.v6.sin6_port : local.v4.sin_port);
            *is_dual = family == AF_INET6;
            return fd;
        }
        if (fd >= 0) close(fd);
        if (family == AF_INET || error == EADDRINUSE || error == EACCES) return -error;
        family = AF_INET;
        fd = open_socket(family, buffer_bytes);
    }
}

int marsad_udp_probe(uint16_t port) {
    // Without SO_REUSEPORT a bind fails wherever the port is taken, shared or not.
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    int error = bind(fd, (struct sockaddr *)&local, sizeof local) == 0 ? 0 : errno;
    close(fd);
    return error;
}

int marsad_udp_send(int fd, int is_dual, const marsad_endpoint *to, const void *bytes,
                    size_t length, uint16_t segment) {
    struct sockaddr_in6 v6;
    struct sockaddr_in v4;
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(uint16_t))];
    } control;
    if (is_dual) {
        memset(&v6, 0, sizeof v6);
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(to->port);
        memcpy(&v6.sin6_addr, to->address, 16);
        message.msg_name = &v6;
        message.msg_namelen = sizeof v6;
    } else {
        memset(&v4, 0, sizeof v4);
        v4.sin_family = AF_INET;
        v4.sin_port = htons(to->port);
        memcpy(&v4.sin_addr, to->address + 12, 4);
        message.msg_name = &v4;
        message.msg_namelen = sizeof v4;
    }
    if (segment != 0 && length > segment) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.space;
        message.msg_controllen = sizeof control.space;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_UDP;
        header->cmsg_type = UDP_SEGMENT;
        header->cmsg_len = CMSG_LEN(sizeof(uint16_t));
        memcpy(CMSG_DATA(header), &segment, sizeof segment);
    }
    for (;;) {
        if (sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
        if (errno != EINTR) return errno;
    }
}
