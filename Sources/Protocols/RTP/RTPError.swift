// What can be wrong with an RTP or RTCP packet.
// SPDX-License-Identifier: Apache-2.0

/// A refused RTP or RTCP packet: what was wrong, and at which byte of it.
package struct RTPError: Error, Equatable, Sendable {
    package var reason: Reason
    /// Bytes from the start of the packet (of the compound, for RTCP).
    package var offset: Int

    /// The kinds of damage.
    package enum Reason: Equatable, Sendable {
        case truncated
        case unsupportedVersion(UInt8)
        case invalidPadding
        case lengthBeyondPacket
    }

    package init(_ reason: Reason, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }
}

extension RTPError: CustomStringConvertible {
    package var description: String { "\(reason) at byte \(offset)" }
}
