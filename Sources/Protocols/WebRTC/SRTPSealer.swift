// Seals outgoing RTP: the one call that every packet of every viewer goes through.
// SPDX-License-Identifier: Apache-2.0

/// Writes SRTP packets of one direction (RFC 3711 §3.3, RFC 7714 §8). Not Sendable: it belongs to
/// the event loop of its viewer.
///
/// The contexts of OpenSSL are kept, so that a packet costs no key schedule and no allocation.
/// Sealing the same index and payload twice gives the identical bytes; sealing different payloads
/// under one index and SSRC would reveal both, so the caller never does.
package final class SRTPSealer {
    package let profile: SRTPProfile
    /// What sealing adds after the payload.
    package let tagBytes: Int

    private let context: SRTPContext

    /// The size of the header that is written.
    package static let headerBytes = 12
    /// More than any UDP datagram holds.
    private static let maxPayloadBytes = 65_535

    package convenience init(profile: SRTPProfile, keys: SRTPKeys) throws(SRTPError) {
        let session = try SRTPSessionKeys(deriving: profile, from: keys, for: .rtp)
        try self.init(profile: profile, sessionKeys: session)
    }

    package init(profile: SRTPProfile, sessionKeys: SRTPSessionKeys) throws(SRTPError) {
        context = try SRTPContext(profile: profile, keys: sessionKeys, encrypts: true)
        self.profile = profile
        tagBytes = profile.tagBytes
    }

    /// Writes header, ciphertext and tag to `destination` and returns their size; 0 when OpenSSL
    /// refuses. `destination` has room for 12 + (2 with a prefix) + the payload + `tagBytes`.
    ///
    /// - Parameters:
    ///   - index: the 48-bit packet index: roll-over counter and sequence number.
    ///   - prefix: the original sequence number in front of a resent payload (RFC 4588 §4).
    package func seal(
        marker: Bool, payloadType: UInt8, index: UInt64, timestamp: UInt32, ssrc: UInt32,
        prefix: UInt16? = nil, payload: UnsafeRawBufferPointer,
        into destination: UnsafeMutableRawPointer
    ) -> Int {
        guard payload.count <= Self.maxPayloadBytes else { return 0 }
        let flags = UInt64(0x8000 | (marker ? 0x80 : 0) | UInt16(payloadType & 0x7F))
        let head = flags << 48 | (index & 0xFFFF) << 32 | UInt64(timestamp)
        destination.storeBytes(of: head.bigEndian, as: UInt64.self)
        destination.storeBytes(of: ssrc.bigEndian, toByteOffset: 8, as: UInt32.self)
        guard context.begin(ssrc: ssrc, index: index & 0xFFFF_FFFF_FFFF) else { return 0 }
        if context.isAEAD {
            guard context.associate(destination, Self.headerBytes) else { return 0 }
        }
        var end = Self.headerBytes
        if var prefix = prefix?.bigEndian {
            let isWritten = withUnsafeBytes(of: &prefix) {
                context.transform($0, into: destination + end)
            }
            guard isWritten else { return 0 }
            end += 2
        }
        guard context.transform(payload, into: destination + end) else { return 0 }
        end += payload.count
        let isSealed =
            context.isAEAD
            ? context.writeTag(destination + end)
            : context.writeMAC(
                of: UnsafeRawBufferPointer(start: destination, count: end),
                rollover: UInt32(truncatingIfNeeded: index >> 16), into: destination + end)
        return isSealed ? end + tagBytes : 0
    }
}
