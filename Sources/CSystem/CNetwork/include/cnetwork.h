// System calls that glibc's Swift overlay does not show: segmented sends of UDP.
// SPDX-License-Identifier: Apache-2.0
#ifndef MARSAD_CNETWORK_H
#define MARSAD_CNETWORK_H
#include <stddef.h>
#include <stdint.h>

/// The address of a peer, ready for the kernel: IPv4 and IPv6 in one shape (IPv4 mapped into IPv6).
typedef struct {
    uint8_t address[16];
    uint16_t port;
} marsad_endpoint;

/// Opens a non-blocking UDP socket on `port` (0: a free one) that shares it with the others of this
/// program; dual-stack, or IPv4 alone where there is no IPv6. Returns the descriptor, or -errno;
/// `*is_dual` says which kind it is, `*bound` which port it got.
int marsad_udp_open(uint16_t port, int buffer_bytes, int *is_dual, uint16_t *bound);

/// Whether nobody has the UDP port: 0, or errno. Sockets that share a port would take each other's datagrams
/// without a word, so a second program must find out before it opens one.
int marsad_udp_probe(uint16_t port);

/// Sends `length` bytes as datagrams of `segment` bytes each, the last one shorter (UDP_SEGMENT);
/// `segment` 0 sends one datagram. Returns 0 or errno, never blocks.
int marsad_udp_send(int fd, int is_dual, const marsad_endpoint *to, const void *bytes,
                    size_t length, uint16_t segment);
#endif
