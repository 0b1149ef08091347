// STUN messages as ICE uses them: checked when read, strict when written.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Primitives

/// A refused STUN message: what was wrong, and at which byte of it.
package struct STUNError: Error, Equatable, Sendable, CustomStringConvertible {
    package var reason: Reason
    /// Bytes from the start of the message.
    package var offset: Int

    /// The kinds of damage.
    package enum Reason: Equatable, Sendable {
        case truncated
        case notSTUN
        case lengthMismatch
        case attributeBeyondMessage
        case tooManyAttributes
        case malformedAttribute(UInt16)
        case fingerprintNotLast
        case wrongFingerprint
    }

    package init(_ reason: Reason, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }

    package var description: String { "\(reason) at byte \(offset)" }
}

/// The 96 bits that pair a response with its request (RFC 8489 §5).
package struct STUNTransactionID: Hashable, Sendable {
    package let upper: UInt32
    package let lower: UInt64

    package init(upper: UInt32, lower: UInt64) {
        self.upper = upper
        self.lower = lower
    }

    /// A fresh one; the source must be unpredictable, as the id is what proves an answer.
    package init(random: () -> UInt64) {
        self.init(upper: UInt32(truncatingIfNeeded: random()), lower: random())
    }
}

/// A STUN message (RFC 8489) with the attributes that ICE uses (RFC 8445 §16).
///
/// ```
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// |0 0|     STUN message type     |         message length        |
/// |                  magic cookie = 0x2112A442                    |
/// |                  transaction id (96 bits)                     |
/// ```
package struct STUNMessage: Sendable {
    package var messageClass: Class
    package var method: UInt16
    package var transactionID: STUNTransactionID
    /// USERNAME: the receiver's fragment, a colon, the sender's fragment (RFC 8445 §7.2.2).
    package var username: String?
    /// XOR-MAPPED-ADDRESS: where the server saw the request come from.
    package var mappedAddress: TransportAddress?
    /// PRIORITY (RFC 8445 §7.1.1).
    package var priority: UInt32?
    /// USE-CANDIDATE: the controlling agent nominates this pair (RFC 8445 §7.1.2).
    package var isNomination = false
    /// ICE-CONTROLLING or ICE-CONTROLLED with its tie-breaker (RFC 8445 §7.1.3).
    package var role: Role?
    /// ERROR-CODE: 300…699.
    package var errorCode: UInt16?
    /// UNKNOWN-ATTRIBUTES of an answer with code 420.
    package var unknownAttributes: [UInt16] = []
    /// Attributes of a read message that must be understood and are not (RFC 8489 §14).
    package private(set) var notUnderstood: [UInt16] = []
    /// Whether a read message carried a FINGERPRINT; a wrong one is an error of reading.
    package private(set) var hasFingerprint = false
    /// Everything before MESSAGE-INTEGRITY, and its value.
    private var integrity: (front: ByteBuffer, code: ByteBuffer)?

    /// Request, indication or one of two answers (RFC 8489 §5).
    package enum Class: UInt16, Sendable {
        case request
        case indication
        case success
        case failure
    }

    /// Which side of ICE sent the request, with its tie-breaker.
    package enum Role: Equatable, Sendable {
        case controlling(UInt64)
        case controlled(UInt64)
    }

    private enum Attribute {
        static let mappedAddress: UInt16 = 0x0001
        static let username: UInt16 = 0x0006
        static let messageIntegrity: UInt16 = 0x0008
        static let errorCode: UInt16 = 0x0009
        static let unknownAttributes: UInt16 = 0x000A
        static let messageIntegritySHA256: UInt16 = 0x001C
        static let xorMappedAddress: UInt16 = 0x0020
        static let priority: UInt16 = 0x0024
        static let useCandidate: UInt16 = 0x0025
        static let fingerprint: UInt16 = 0x8028
        static let iceControlled: UInt16 = 0x8029
        static let iceControlling: UInt16 = 0x802A
    }

    /// The method that ICE uses (RFC 8489 §3).
    package static let binding: UInt16 = 1
    static let headerLength = 20
    private static let cookie: UInt32 = 0x2112_A442
    /// ICE needs nine; a message with more than this is not worth its time.
    private static let maximumAttributes = 32
    /// USERNAME has less than 509 bytes (RFC 8489 §14.3).
    private static let maximumUsername = 508

    /// A message to be written.
    package init(
        _ messageClass: Class, method: UInt16 = STUNMessage.binding,
        transactionID: STUNTransactionID
    ) {
        self.messageClass = messageClass
        self.method = method
        self.transactionID = transactionID
    }

    /// Whether a datagram of a multiplexed port is for STUN (RFC 7983 §7) and has a whole header.
    package static func isSTUN(_ datagram: ByteBuffer) -> Bool {
        guard datagram.readableBytes >= headerLength,
            let first = datagram.getInteger(at: datagram.readerIndex, as: UInt8.self), first < 4
        else { return false }
        return datagram.getInteger(at: datagram.readerIndex + 4, as: UInt32.self) == cookie
    }

    /// The fragment of the agent that a datagram is for: the first part of USERNAME, to find the
    /// session of a request from an address not seen before. Nothing else is checked.
    package static func recipient(of datagram: ByteBuffer) -> String? {
        guard isSTUN(datagram) else { return nil }
        var bytes = datagram
        bytes.moveReaderIndex(forwardBy: headerLength)
        for _ in 0..<maximumAttributes {
            guard let (type, length) = bytes.readMultipleIntegers(as: (UInt16, UInt16).self),
                let value = bytes.readSlice(length: Int(length))
            else { return nil }
            if type == Attribute.username, value.readableBytes <= maximumUsername {
                let view = value.readableBytesView
                guard let colon = view.firstIndex(of: UInt8(ascii: ":")) else { return nil }
                return String(decoding: view[..<colon], as: UTF8.self)
            }
            _ = bytes.readSlice(length: -Int(length) & 3)
        }
        return nil
    }

    /// Checks a received message; the password is checked apart, by `isAuthentic(password:)`.
    package init(validating datagram: ByteBuffer) throws(STUNError) {
        var bytes = datagram
        guard
            let (type, length, cookie, upper, lower) = bytes.readMultipleIntegers(
                as: (UInt16, UInt16, UInt32, UInt32, UInt64).self)
        else { throw STUNError(.truncated, at: datagram.readableBytes) }
        guard type & 0xC000 == 0, cookie == Self.cookie,
            let messageClass = Class(rawValue: (type >> 4 & 1) | (type >> 7 & 2))
        else { throw STUNError(.notSTUN, at: 0) }
        guard length & 3 == 0, Int(length) == bytes.readableBytes else {
            throw STUNError(.lengthMismatch, at: 2)
        }
        self.init(
            messageClass, method: type & 0xF | type >> 1 & 0x70 | type >> 2 & 0xF80,
            transactionID: STUNTransactionID(upper: upper, lower: lower))
        var seen: Set<UInt16> = []
        for _ in 0..<Self.maximumAttributes where bytes.readableBytes > 0 {
            let offset = datagram.readableBytes - bytes.readableBytes
            guard let (type, length) = bytes.readMultipleIntegers(as: (UInt16, UInt16).self),
                let value = bytes.readSlice(length: Int(length)),
                bytes.readSlice(length: -Int(length) & 3) != nil,
                let front = datagram.getSlice(at: datagram.readerIndex, length: offset)
            else { throw STUNError(.attributeBeyondMessage, at: offset) }
            // The first of a kind counts (RFC 8489 §14).
            guard seen.insert(type).inserted else { continue }
            if type == Attribute.fingerprint {
                guard bytes.readableBytes == 0 else {
                    throw STUNError(.fingerprintNotLast, at: offset)
                }
                try readFingerprint(value, front: front, at: offset)
            } else if integrity == nil {
                try read(type, value, front: front, at: offset)
            }
        }
        guard bytes.readableBytes == 0 else {
            throw STUNError(.tooManyAttributes, at: datagram.readableBytes - bytes.readableBytes)
        }
    }

    /// Whether MESSAGE-INTEGRITY is there and was made with this password (RFC 8489 §9.1.3).
    package func isAuthentic(password: Redacted<String>) -> Bool {
        guard let integrity,
            let code = STUNIntegrity.code(of: integrity.front, password: password)
        else { return false }
        return STUNIntegrity.areEqual(integrity.code.readableBytesView, code)
    }

    /// The bytes, with FINGERPRINT at the end and MESSAGE-INTEGRITY before it when there is a
    /// password.
    package func serialize(password: Redacted<String>?) -> ByteBuffer {
        var bytes = ByteBufferAllocator().buffer(capacity: 160)
        let kind = messageClass.rawValue
        let type =
            (method & 0xF) | (method & 0x70) << 1 | (method & 0xF80) << 2 | (kind & 1) << 4
            | (kind & 2) << 7
        bytes.writeMultipleIntegers(
            type, UInt16(0), Self.cookie, transactionID.upper, transactionID.lower)
        writeAttributes(into: &bytes)
        if let password {
            let code = STUNIntegrity.code(of: bytes, password: password)
            Self.write(
                Attribute.messageIntegrity,
                code ?? [UInt8](repeating: 0, count: STUNIntegrity.count), into: &bytes)
        }
        // The length that FINGERPRINT covers counts FINGERPRINT itself (RFC 8489 §14.7).
        let length = bytes.readableBytes - Self.headerLength + 8
        bytes.setInteger(UInt16(truncatingIfNeeded: length), at: bytes.readerIndex + 2)
        let fingerprint = STUNIntegrity.fingerprint(of: bytes)
        bytes.writeMultipleIntegers(Attribute.fingerprint, UInt16(4), fingerprint)
        return bytes
    }
}

// MARK: - Attributes

extension STUNMessage {
    private mutating func read(
        _ type: UInt16, _ value: ByteBuffer, front: ByteBuffer, at offset: Int
    ) throws(STUNError) {
        var value = value
        func checked<T>(_ part: T?) throws(STUNError) -> T {
            guard let part else { throw STUNError(.malformedAttribute(type), at: offset) }
            return part
        }
        switch type {
        case Attribute.username:
            let isShort = value.readableBytes <= Self.maximumUsername
            username = try checked(isShort ? value.readString(length: value.readableBytes) : nil)
        case Attribute.xorMappedAddress:
            mappedAddress = try checked(readAddress(value))
        case Attribute.priority:
            priority = try checked(Self.whole(value))
        case Attribute.useCandidate:
            isNomination = true
        case Attribute.iceControlling:
            role = .controlling(try checked(Self.whole(value)))
        case Attribute.iceControlled:
            role = .controlled(try checked(Self.whole(value)))
        case Attribute.errorCode:
            let word: UInt32 = try checked(value.readInteger())
            errorCode = UInt16(truncatingIfNeeded: (word >> 8 & 7) * 100 + (word & 0xFF))
        case Attribute.unknownAttributes:
            while unknownAttributes.count < Self.maximumAttributes,
                let unknown: UInt16 = value.readInteger()
            { unknownAttributes.append(unknown) }
        case Attribute.messageIntegrity:
            integrity = try checked(
                value.readableBytes == STUNIntegrity.count ? (front, value) : nil)
        case Attribute.mappedAddress, Attribute.messageIntegritySHA256, 0x8000...:
            break
        default:
            notUnderstood.append(type)
        }
    }

    private mutating func readFingerprint(
        _ value: ByteBuffer, front: ByteBuffer, at offset: Int
    ) throws(STUNError) {
        guard let fingerprint: UInt32 = Self.whole(value) else {
            throw STUNError(.malformedAttribute(Attribute.fingerprint), at: offset)
        }
        guard fingerprint == STUNIntegrity.fingerprint(of: front) else {
            throw STUNError(.wrongFingerprint, at: offset)
        }
        hasFingerprint = true
    }

    /// The one integer that the value is; `nil` when it is longer or shorter.
    private static func whole<T: FixedWidthInteger>(_ value: ByteBuffer) -> T? {
        guard value.readableBytes == T.bitWidth / 8 else { return nil }
        return value.getInteger(at: value.readerIndex)
    }

    private func readAddress(_ value: ByteBuffer) -> TransportAddress? {
        var value = value
        guard let (_, family, port) = value.readMultipleIntegers(as: (UInt8, UInt8, UInt16).self)
        else { return nil }
        let clear = port ^ UInt16(truncatingIfNeeded: Self.cookie >> 16)
        if family == 1, let address: UInt32 = Self.whole(value) {
            return TransportAddress(ipv4: address ^ Self.cookie, port: clear)
        }
        guard family == 2, value.readableBytes == 16,
            let (upper, lower) = value.readMultipleIntegers(as: (UInt64, UInt64).self)
        else { return nil }
        return TransportAddress(ipv6: (upper ^ upperMask, lower ^ transactionID.lower), port: clear)
    }

    /// The cookie and the front of the transaction id, which hide an IPv6 address (RFC 8489 §14.2).
    private var upperMask: UInt64 { UInt64(Self.cookie) << 32 | UInt64(transactionID.upper) }

    private func writeAttributes(into bytes: inout ByteBuffer) {
        if let username {
            Self.write(Attribute.username, username.utf8.prefix(Self.maximumUsername), into: &bytes)
        }
        if let mappedAddress { write(mappedAddress, into: &bytes) }
        if let priority {
            bytes.writeMultipleIntegers(Attribute.priority, UInt16(4), priority)
        }
        switch role {
        case .controlling(let value):
            bytes.writeMultipleIntegers(Attribute.iceControlling, UInt16(8), value)
        case .controlled(let value):
            bytes.writeMultipleIntegers(Attribute.iceControlled, UInt16(8), value)
        case nil:
            break
        }
        if isNomination { bytes.writeMultipleIntegers(Attribute.useCandidate, UInt16(0)) }
        if let errorCode {
            bytes.writeMultipleIntegers(
                Attribute.errorCode, UInt16(4),
                UInt32(errorCode / 100 & 7) << 8 | UInt32(errorCode % 100))
        }
        if !unknownAttributes.isEmpty {
            let values = unknownAttributes.prefix(Self.maximumAttributes).flatMap {
                [UInt8(truncatingIfNeeded: $0 >> 8), UInt8(truncatingIfNeeded: $0)]
            }
            Self.write(Attribute.unknownAttributes, values, into: &bytes)
        }
    }

    private func write(_ address: TransportAddress, into bytes: inout ByteBuffer) {
        let port = address.port ^ UInt16(truncatingIfNeeded: Self.cookie >> 16)
        if let (upper, lower) = address.ipv6 {
            bytes.writeMultipleIntegers(
                Attribute.xorMappedAddress, UInt16(20), UInt16(2), port, upper ^ upperMask,
                lower ^ transactionID.lower)
        } else if let ipv4 = address.ipv4 {
            bytes.writeMultipleIntegers(
                Attribute.xorMappedAddress, UInt16(8), UInt16(1), port, ipv4 ^ Self.cookie)
        }
    }

    /// Type, length, value, and zeros up to a multiple of four.
    private static func write(
        _ type: UInt16, _ value: some Collection<UInt8>, into bytes: inout ByteBuffer
    ) {
        bytes.writeMultipleIntegers(type, UInt16(truncatingIfNeeded: value.count))
        bytes.writeBytes(value)
        bytes.writeRepeatingByte(0, count: -value.count & 3)
    }
}
