// What a receiver asks of a sender: resends, keyframes, a bitrate.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Packets a receiver misses (RFC 4585 §6.2.1).
package struct GenericNACK: Equatable, Sendable {
    /// More than this in one packet is no repair but a storm; the rest is not read.
    package static let maxNumbers = 1024

    package var sender: SSRC
    package var media: SSRC
    /// The missing packets, in the order they were asked for.
    package var lost: [SequenceNumber]

    package init(sender: SSRC, media: SSRC, lost: [SequenceNumber]) {
        self.sender = sender
        self.media = media
        self.lost = lost
    }
}

/// A receiver that cannot decode until the next random access point (RFC 4585 §6.3.1).
package struct PictureLossIndication: Equatable, Sendable {
    package var sender: SSRC
    package var media: SSRC

    package init(sender: SSRC, media: SSRC) {
        self.sender = sender
        self.media = media
    }
}

/// A request for an instantaneous decoder refresh of each named source (RFC 5104 §4.3.1).
package struct FullIntraRequest: Equatable, Sendable {
    package var sender: SSRC
    package var entries: [Entry]

    /// One source; a repeated number is a repeated request.
    package struct Entry: Equatable, Sendable {
        package var media: SSRC
        package var number: UInt8

        package init(media: SSRC, number: UInt8) {
            self.media = media
            self.number = number
        }
    }

    package init(sender: SSRC, entries: [Entry]) {
        self.sender = sender
        self.entries = entries
    }
}

/// The bitrate a receiver believes its path carries (draft-alvestrand-rmcat-remb-03 §2.2).
package struct ReceiverBitrate: Equatable, Sendable {
    package var sender: SSRC
    /// Written with 18 significant bits.
    package var bitsPerSecond: UInt64
    package var sources: [SSRC]

    package init(sender: SSRC, bitsPerSecond: UInt64, sources: [SSRC]) {
        self.sender = sender
        self.bitsPerSecond = bitsPerSecond
        self.sources = sources
    }
}

extension GenericNACK {
    init?(body: ByteBuffer) {
        var body = body
        guard let (sender, media) = body.readMultipleIntegers(as: (UInt32, UInt32).self),
            body.readableBytes > 0, body.readableBytes % 4 == 0
        else { return nil }
        self.init(sender: SSRC(rawValue: sender), media: SSRC(rawValue: media), lost: [])
        while lost.count < Self.maxNumbers,
            let (first, following) = body.readMultipleIntegers(as: (UInt16, UInt16).self)
        {
            let number = SequenceNumber(rawValue: first)
            lost.append(number)
            for bit in 0..<16 where following & 1 << bit != 0 {
                lost.append(number.advanced(by: bit + 1))
            }
        }
        if lost.count > Self.maxNumbers { lost.removeLast(lost.count - Self.maxNumbers) }
    }

    /// Numbers that follow within 16 share a field; the order they were given in is kept.
    func write(to body: inout ByteBuffer) {
        body.writeMultipleIntegers(sender.rawValue, media.rawValue)
        var field: (first: SequenceNumber, following: UInt16)?
        for number in lost.prefix(Self.maxNumbers) {
            if let open = field {
                let step = number.distance(from: open.first)
                let isLast = step >= 1 && step <= 16 && open.following >> (step - 1) == 0
                if isLast {
                    field = (open.first, open.following | 1 << (step - 1))
                    continue
                }
                body.writeMultipleIntegers(open.first.rawValue, open.following)
            }
            field = (number, 0)
        }
        if let field { body.writeMultipleIntegers(field.first.rawValue, field.following) }
    }
}

extension PictureLossIndication {
    init?(body: ByteBuffer) {
        var body = body
        guard let (sender, media) = body.readMultipleIntegers(as: (UInt32, UInt32).self) else {
            return nil
        }
        self.init(sender: SSRC(rawValue: sender), media: SSRC(rawValue: media))
    }

    func write(to body: inout ByteBuffer) {
        body.writeMultipleIntegers(sender.rawValue, media.rawValue)
    }
}

extension FullIntraRequest {
    private static let maxEntries = 64

    init?(body: ByteBuffer) {
        var body = body
        // The common header's media source is unused here (RFC 5104 §4.3.1.2).
        guard let (sender, _) = body.readMultipleIntegers(as: (UInt32, UInt32).self),
            body.readableBytes >= 8
        else { return nil }
        self.init(sender: SSRC(rawValue: sender), entries: [])
        while entries.count < Self.maxEntries,
            let (media, tail) = body.readMultipleIntegers(as: (UInt32, UInt32).self)
        {
            entries.append(
                Entry(media: SSRC(rawValue: media), number: UInt8(truncatingIfNeeded: tail >> 24)))
        }
    }

    func write(to body: inout ByteBuffer) {
        body.writeMultipleIntegers(sender.rawValue, UInt32(0))
        for entry in entries.prefix(Self.maxEntries) {
            body.writeMultipleIntegers(entry.media.rawValue, UInt32(entry.number) << 24)
        }
    }
}

extension ReceiverBitrate {
    private static let name: UInt32 = 0x5245_4D42  // "REMB"
    private static let mantissaBits = 18

    /// `nil` when the application-layer feedback is another one or cut short.
    init?(body: ByteBuffer) {
        var body = body
        guard
            let (sender, _, name, packed) = body.readMultipleIntegers(
                as: (UInt32, UInt32, UInt32, UInt32).self),
            name == Self.name, body.readableBytes >= Int(packed >> 24) * 4
        else { return nil }
        let exponent = Int(packed >> 18 & 0x3F)
        let mantissa = UInt64(packed & 0x3_FFFF)
        let fits = mantissa.leadingZeroBitCount >= exponent
        self.init(
            sender: SSRC(rawValue: sender), bitsPerSecond: fits ? mantissa << exponent : .max,
            sources: [])
        for _ in 0..<packed >> 24 {
            guard let source = body.readInteger(as: UInt32.self) else { return nil }
            sources.append(SSRC(rawValue: source))
        }
    }

    func write(to body: inout ByteBuffer) {
        let bits = UInt64.bitWidth - bitsPerSecond.leadingZeroBitCount
        let exponent = max(0, bits - Self.mantissaBits)
        let mantissa = UInt32(truncatingIfNeeded: bitsPerSecond >> exponent)
        let listed = sources.prefix(255)
        let packed = UInt32(listed.count) << 24 | UInt32(exponent) << 18 | mantissa
        body.writeMultipleIntegers(sender.rawValue, UInt32(0), Self.name, packed)
        for source in listed { body.writeInteger(source.rawValue) }
    }
}
