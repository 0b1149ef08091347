// Protects RTCP both ways: reports and feedback of a session.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// The top bit of SRTCP's last word: the packet is encrypted (RFC 3711 §3.4).
private let encryptedFlag: UInt32 = 0x8000_0000

/// Seals RTCP compounds of one direction (RFC 3711 §3.4, RFC 7714 §9). One counter serves all of
/// our sources: an index is never used twice, which is all that the ciphers ask for.
package final class SRTCPSealer {
    private let profile: SRTPProfile
    private let context: SRTPContext
    private var index: UInt32

    package convenience init(profile: SRTPProfile, keys: SRTPKeys) throws(SRTPError) {
        let session = try SRTPSessionKeys(deriving: profile, from: keys, for: .rtcp)
        try self.init(profile: profile, sessionKeys: session)
    }

    package init(profile: SRTPProfile, sessionKeys: SRTPSessionKeys, firstIndex: UInt32 = 0)
        throws(SRTPError)
    {
        context = try SRTPContext(profile: profile, keys: sessionKeys, encrypts: true)
        self.profile = profile
        index = firstIndex
    }

    /// The SRTCP packet; nil for what is no RTCP, and after 2³¹ packets, when the keys are spent.
    package func seal(_ compound: ByteBuffer) -> ByteBuffer? {
        let size = compound.readableBytes
        guard size >= 8, size <= 65_000, index < encryptedFlag,
            let ssrc = compound.getInteger(at: compound.readerIndex + 4, as: UInt32.self)
        else { return nil }
        let trailer = encryptedFlag | index
        guard context.begin(ssrc: ssrc, index: UInt64(index)) else { return nil }
        // Used up even when OpenSSL then fails: an index is never taken twice.
        index += 1
        let total = size + 4 + profile.tagBytes
        var sealed = ByteBufferAllocator().buffer(capacity: total)
        let written = sealed.writeWithUnsafeMutableBytes(minimumWritableBytes: total) { target in
            compound.withUnsafeReadableBytes { source in
                write(source, trailer: trailer, into: target) ? total : 0
            }
        }
        return written == total ? sealed : nil
    }

    private func write(
        _ source: UnsafeRawBufferPointer, trailer: UInt32,
        into target: UnsafeMutableRawBufferPointer
    ) -> Bool {
        guard let start = source.baseAddress, let to = target.baseAddress else { return false }
        to.copyMemory(from: start, byteCount: 8)
        let body = UnsafeRawBufferPointer(rebasing: source[8...])
        let end = to + source.count
        if context.isAEAD {
            // Header, ciphertext, tag, index; the index is associated data (RFC 7714 §9.2).
            (end + 16).storeBytes(of: trailer.bigEndian, as: UInt32.self)
            return context.associate(start, 8) && context.associate(end + 16, 4)
                && context.transform(body, into: to + 8) && context.writeTag(end)
        }
        // Header, ciphertext, index, tag (RFC 3711 §3.4).
        end.storeBytes(of: trailer.bigEndian, as: UInt32.self)
        return context.transform(body, into: to + 8)
            && context.writeMAC(
                of: UnsafeRawBufferPointer(start: to, count: source.count + 4), rollover: nil,
                into: end + 4)
    }
}

/// Opens SRTCP packets of one direction. Each source has an index and a replay window of its own.
package final class SRTCPOpener {
    /// How many packets were opened.
    package private(set) var opened: UInt64 = 0
    /// How many packets were refused, by reason.
    package private(set) var discarded: [SRTPError: UInt64] = [:]

    private let profile: SRTPProfile
    private let context: SRTPContext
    private var windows: [UInt32: ReplayWindow] = [:]

    /// A viewer reports from one or two sources; more than this is a peer that wastes memory.
    package static let maxSources = 16

    package convenience init(profile: SRTPProfile, keys: SRTPKeys) throws(SRTPError) {
        let session = try SRTPSessionKeys(deriving: profile, from: keys, for: .rtcp)
        try self.init(profile: profile, sessionKeys: session)
    }

    package init(profile: SRTPProfile, sessionKeys: SRTPSessionKeys) throws(SRTPError) {
        context = try SRTPContext(profile: profile, keys: sessionKeys, encrypts: false)
        self.profile = profile
    }

    /// The plain RTCP compound.
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
        let size = packet.readableBytes - 4 - profile.tagBytes
        let start = packet.readerIndex
        guard size >= 8, packet.readableBytes <= 65_535,
            let flags = packet.getInteger(at: start, as: UInt8.self), flags >> 6 == 2,
            let ssrc = packet.getInteger(at: start + 4, as: UInt32.self),
            let trailer = packet.getInteger(
                at: start + size + (context.isAEAD ? profile.tagBytes : 0), as: UInt32.self)
        else { throw .malformed }
        guard trailer & encryptedFlag != 0 else { throw .unencrypted }
        let index = UInt64(trailer & ~encryptedFlag)
        var window = windows[ssrc] ?? ReplayWindow()
        guard window.accepts(index) else { throw .replayed }
        guard windows[ssrc] != nil || windows.count < Self.maxSources else { throw .unknownSource }
        var plain = ByteBufferAllocator().buffer(capacity: size)
        let written = plain.writeWithUnsafeMutableBytes(minimumWritableBytes: size) { target in
            packet.withUnsafeReadableBytes { source in
                decrypt(source, size: size, ssrc: ssrc, index: index, into: target) ? size : 0
            }
        }
        guard written == size else { throw .forged }
        window.insert(index)
        windows[ssrc] = window
        return plain
    }

    private func decrypt(
        _ source: UnsafeRawBufferPointer, size: Int, ssrc: UInt32, index: UInt64,
        into target: UnsafeMutableRawBufferPointer
    ) -> Bool {
        guard let start = source.baseAddress, let to = target.baseAddress else { return false }
        if !context.isAEAD {
            let covered = UnsafeRawBufferPointer(start: start, count: size + 4)
            guard context.verifyMAC(of: covered, rollover: nil, tag: start + size + 4) else {
                return false
            }
        }
        guard context.begin(ssrc: ssrc, index: index) else { return false }
        if context.isAEAD {
            guard context.associate(start, 8),
                context.associate(start + size + profile.tagBytes, 4)
            else { return false }
        }
        to.copyMemory(from: start, byteCount: 8)
        let body = UnsafeRawBufferPointer(rebasing: source[8..<size])
        return context.transform(body, into: to + 8)
            && (!context.isAEAD || context.verifyTag(start + size))
    }
}
