// The sending half of a loop's UDP socket: one call for many datagrams, and never a blocked loop.
// SPDX-License-Identifier: Apache-2.0

import CNetwork
import Glibc
import Primitives
package import WebRTC

/// Sends from an event loop, straight to the kernel. NIO reads the same socket; it is not used for
/// sending because it closes a channel on any error of a send, and here one viewer's unreachable
/// network must not end all others (docs/decisions/0006-sending-past-nio.md).
package final class LiveSocket {
    private let descriptor: Int32
    private let isDual: Bool
    /// Cleared for good when the kernel or the network card refuses segmentation.
    package private(set) var canSegment = true

    /// - Parameter descriptor: of this object's own: closed with it.
    package init(descriptor: Int32, isDual: Bool) {
        self.descriptor = descriptor
        self.isDual = isDual
    }

    deinit { close(descriptor) }

    /// Sends bytes as datagrams of `segment` bytes, the last one shorter; 0 for a single datagram.
    package func send(
        _ bytes: UnsafeRawBufferPointer, segment: Int, to address: TransportAddress
    ) -> SendOutcome {
        var endpoint = address.endpoint
        if canSegment || segment == 0 || bytes.count <= segment {
            let error = marsad_udp_send(
                descriptor, isDual ? 1 : 0, &endpoint, bytes.baseAddress, bytes.count,
                UInt16(truncatingIfNeeded: segment))
            let isRefusal =
                segment > 0 && bytes.count > segment
                && [EIO, EINVAL, EOPNOTSUPP, ENOPROTOOPT].contains(error)
            guard isRefusal else { return SendOutcome(errorNumber: error) }
            canSegment = false
        }
        return sendOneByOne(bytes, segment: segment, to: &endpoint)
    }

    private func sendOneByOne(
        _ bytes: UnsafeRawBufferPointer, segment: Int, to endpoint: inout marsad_endpoint
    ) -> SendOutcome {
        var start = 0
        while start < bytes.count {
            let part = UnsafeRawBufferPointer(
                rebasing: bytes[start..<min(start + segment, bytes.count)])
            let error = marsad_udp_send(
                descriptor, isDual ? 1 : 0, &endpoint, part.baseAddress, part.count, 0)
            guard error == 0 else { return SendOutcome(errorNumber: error) }
            start += part.count
        }
        return .sent
    }
}

extension SendOutcome {
    fileprivate init(errorNumber: Int32) {
        switch errorNumber {
        case 0: self = .sent
        case EAGAIN, ENOBUFS: self = .congested
        default: self = .failed(errorNumber: errorNumber)
        }
    }
}

extension TransportAddress {
    /// As the kernel takes it.
    fileprivate var endpoint: marsad_endpoint {
        var endpoint = marsad_endpoint()
        endpoint.port = port
        let halves = ipv6 ?? (0, 0x0000_FFFF_0000_0000 | UInt64(ipv4 ?? 0))
        withUnsafeMutableBytes(of: &endpoint.address) {
            $0.storeBytes(of: halves.0.bigEndian, as: UInt64.self)
            $0.storeBytes(of: halves.1.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
        return endpoint
    }
}
