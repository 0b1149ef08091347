// A load client's UDP socket, and when the kernel took from the network what is read from it.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOCore
import Primitives

/// A bound socket whose descriptor is known: NIO reads it, the kernel's times are asked for beside it.
struct ViewerSocket {
    struct Failure: Error { var errorNumber: Int32 }

    let descriptor: Int32

    /// Binds any port of all addresses.
    init(usesIPv6: Bool) throws(Failure) {
        let family = usesIPv6 ? AF_INET6 : AF_INET
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        descriptor = socket(family, type, 0)
        guard descriptor >= 0 else { throw Failure(errorNumber: errno) }
        // Nothing but the family is set: the port is any, the address all.
        var storage = sockaddr_storage()
        storage.ss_family = sa_family_t(family)
        let length = socklen_t(
            usesIPv6 ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size)
        let result = withUnsafePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length)
            }
        }
        guard result == 0 else {
            let number = errno
            close(descriptor)
            throw Failure(errorNumber: number)
        }
    }

    /// When the datagram that was read last came to this machine: the time until a busy client reads it
    /// is the client's, not the server's. `nil` before the kernel notes times, which the first call
    /// asks for.
    func lastArrival() -> WallTime? {
        var time = timespec()
        // SIOCGSTAMPNS (linux/sockios.h); the importer leaves macros with casts out.
        guard ioctl(descriptor, 0x8907, &time) == 0 else { return nil }
        return WallTime(
            microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)
    }
}
