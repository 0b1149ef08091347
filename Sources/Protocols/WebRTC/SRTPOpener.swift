// Opens incoming RTP of one source: estimates the index, refuses replays and forgeries.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// The last 128 packet indices of a source (RFC 3711 §3.3.2).
struct ReplayWindow {
    private(set) var highest: UInt64?
    /// Bit n of the two words is the packet n before the highest.
    private var recent: (UInt64, UInt64) = (0, 0)

    static let size: UInt64 = 128

    /// False for an index that was accepted before or is too old to know.
    func accepts(_ index: UInt64) -> Bool {
        guard let highest, index <= highest else { return true }
        let age = highest - index
        guard age < Self.size else { return false }
        return age < 64 ? recent.0 >> age & 1 == 0 : recent.1 >> (age - 64) & 1 == 0
    }

    /// Remembers an index whose packet was authentic.
    mutating func insert(_ index: UInt64) {
        guard let highest else {
            self.highest = index
            recent = (1, 0)
            return
        }
        if index > highest {
            let step = index - highest
            // Swift's shifts give 0 beyond the width, so a leap clears the window.
            recent.1 =
                step < 64
                ? recent.1 << step | recent.0 >> (64 - step) : recent.0 << (step - 64)
            recent.0 = recent.0 << step | 1
            self.highest = index
        } else {
            let age = highest - index
            if age < 64 { recent.0 |= 1 << age } else { recent.1 |= 1 << (age &- 64) }
        }
    }
}

/// Opens SRTP packets of one source (RFC 3711 §3.3). Not Sendable: it belongs to one event loop.
package final class SRTPOpener {
    /// The source that is followed: that of the first authentic packet.
    package private(set) var ssrc: UInt32?
    /// How many packets were opened.
    package private(set) var opened: UInt64 = 0
    /// How many packets were refused, by reason.
    package private(set) var discarded: [SRTPError: UInt64] = [:]

    private let profile: SRTPProfile
    private let context: SRTPContext
    private var window = ReplayWindow()

    package convenience init(profile: SRTPProfile, keys: SRTPKeys) throws(SRTPError) {
        let session = try SRTPSessionKeys(deriving: profile, from: keys, for: .rtp)
        try self.init(profile: profile, sessionKeys: session)
    }

    package init(profile: SRTPProfile, sessionKeys: SRTPSessionKeys) throws(SRTPError) {
        context = try SRTPContext(profile: profile, keys: sessionKeys, encrypts: false)
        self.profile = profile
    }

    /// The plain RTP packet, its padding still in place.
    package func open(_ packet: ByteBuffer) throws(SRTPError) -> ByteBuffer {
        do {
            let plain = try authenticate(packet)
            opened &+= 1
            return plain
        } catch {
            discarded[error, default: 0] &+= 1
            throw error
        }
    }

    private func authenticate(_ packet: ByteBuffer) throws(SRTPError) -> ByteBuffer {
        let head = try Self.header(of: packet, tagBytes: profile.tagBytes)
        guard ssrc == nil || ssrc == head.ssrc else { throw .unknownSource }
        let index = try estimate(head.sequenceNumber)
        guard window.accepts(index) else { throw .replayed }
        let size = packet.readableBytes - profile.tagBytes
        var plain = ByteBufferAllocator().buffer(capacity: size)
        let isAuthentic = packet.withUnsafeReadableBytes { source in
            decrypt(source, headerBytes: head.bytes, ssrc: head.ssrc, index: index, into: &plain)
        }
        guard isAuthentic else { throw .forged }
        window.insert(index)
        ssrc = head.ssrc
        return plain
    }

    private func decrypt(
        _ source: UnsafeRawBufferPointer, headerBytes: Int, ssrc: UInt32, index: UInt64,
        into plain: inout ByteBuffer
    ) -> Bool {
        let size = source.count - profile.tagBytes
        guard let start = source.baseAddress, size >= headerBytes else { return false }
        let covered = UnsafeRawBufferPointer(start: start, count: size)
        if !context.isAEAD {
            let rollover = UInt32(truncatingIfNeeded: index >> 16)
            guard context.verifyMAC(of: covered, rollover: rollover, tag: start + size) else {
                return false
            }
        }
        guard context.begin(ssrc: ssrc, index: index) else { return false }
        if context.isAEAD {
            guard context.associate(start, headerBytes) else { return false }
        }
        var isAuthentic = false
        _ = plain.writeWithUnsafeMutableBytes(minimumWritableBytes: size) { target in
            guard let to = target.baseAddress else { return 0 }
            to.copyMemory(from: start, byteCount: headerBytes)
            let body = UnsafeRawBufferPointer(rebasing: covered[headerBytes...])
            isAuthentic =
                context.transform(body, into: to + headerBytes)
                && (!context.isAEAD || context.verifyTag(start + size))
            return isAuthentic ? size : 0
        }
        return isAuthentic
    }

    /// The index nearest to the highest one seen (RFC 3711 §3.3.1).
    private func estimate(_ sequenceNumber: UInt16) throws(SRTPError) -> UInt64 {
        guard let highest = window.highest else { return UInt64(sequenceNumber) }
        let last = UInt16(truncatingIfNeeded: highest)
        let step = Int16(bitPattern: sequenceNumber &- last)
        let index = Int64(bitPattern: highest) + Int64(step)
        // Before the first roll-over there is nothing older; after the last one the keys are spent.
        guard index >= 0, index < 1 << 48 else { throw .replayed }
        return UInt64(bitPattern: index)
    }

    private static func header(of packet: ByteBuffer, tagBytes: Int) throws(SRTPError)
        -> (bytes: Int, sequenceNumber: UInt16, ssrc: UInt32)
    {
        var bytes = packet
        guard packet.readableBytes <= 65_535,
            let (flags, _, sequenceNumber, _, ssrc) = bytes.readMultipleIntegers(
                as: (UInt8, UInt8, UInt16, UInt32, UInt32).self), flags >> 6 == 2
        else { throw .malformed }
        var size = 12 + Int(flags & 0x0F) * 4
        if flags & 0x10 != 0 {
            let at = packet.readerIndex + size + 2
            guard let words = packet.getInteger(at: at, as: UInt16.self) else { throw .malformed }
            size += 4 + Int(words) * 4
        }
        guard packet.readableBytes >= size + tagBytes else { throw .malformed }
        return (size, sequenceNumber, ssrc)
    }
}
