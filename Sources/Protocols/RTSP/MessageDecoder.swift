// Cuts the byte stream of an RTSP connection into messages.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// Decodes RTSP messages and interleaved data from received chunks.
///
/// Interleaved payloads are slices of the received chunk; only a message that straddles two chunks is
/// put together in a buffer of its own.
package struct MessageDecoder: Sendable {
    /// Bytes passed over to find the next `$` or message.
    package var skippedBytes: Int { scanner.skippedBytes }

    /// The beginning of a message whose rest is still to come.
    private var carry = ByteBuffer()
    private var chunk = ByteBuffer()
    private var scanner = MessageScanner()
    private var failure: RTSPError?

    package init() {}

    /// Takes received bytes; call `next()` until it returns `nil`.
    package mutating func receive(_ bytes: ByteBuffer) {
        if chunk.readableBytes == 0 {
            chunk = bytes
        } else {
            chunk.writeImmutableBuffer(bytes)
        }
    }

    /// The next whole message. After an error the stream is lost, and every call throws it again.
    package mutating func next() throws(RTSPError) -> Message? {
        if let failure { throw failure }
        do throws(RTSPError) {
            return try decode()
        } catch {
            failure = error
            throw error
        }
    }

    private mutating func decode() throws(RTSPError) -> Message? {
        if carry.readableBytes == 0 {
            scanner.searched = 0
            guard chunk.readableBytes > 0 else { return nil }
            if case .message(let message) = try scanner.step(&chunk) { return message }
            // What is left begins a message; a copy lets the chunk go.
            carry = ByteBuffer(bytes: chunk.readableBytesView)
            chunk.clear()
            return nil
        }
        while true {
            switch try scanner.step(&carry) {
            case .message(let message):
                // Text may have been taken beyond the message's end; it belongs before the chunk.
                if carry.readableBytes > 0 {
                    var rest = ByteBuffer(bytes: carry.readableBytesView)
                    rest.writeBuffer(&chunk)
                    chunk = rest
                }
                carry = ByteBuffer()
                scanner.searched = 0
                return message
            case .more(let count):
                let count = min(count ?? chunk.readableBytes, chunk.readableBytes)
                guard count > 0, var bytes = chunk.readSlice(length: count) else { return nil }
                carry.writeBuffer(&bytes)
            }
        }
    }

}

/// Finds the first message of a buffer, and remembers how far it looked.
private struct MessageScanner: Sendable {
    var skippedBytes = 0
    /// Of the skipped bytes, those since the last message: some cameras pad each of theirs.
    private var noiseBytes = 0
    /// How much of the buffer was already searched for the end of the head.
    var searched = 0

    private static let maxHead = 64 * 1024
    private static let maxBody = 256 * 1024

    enum Step {
        case message(Message)
        /// At least this many more bytes, or an unknown number.
        case more(Int?)
    }

    mutating func step(_ bytes: inout ByteBuffer) throws(RTSPError) -> Step {
        let step = try read(&bytes)
        if case .message = step { noiseBytes = 0 }
        return step
    }

    private mutating func read(_ bytes: inout ByteBuffer) throws(RTSPError) -> Step {
        try skipNoise(&bytes)
        guard let first = bytes.getInteger(at: bytes.readerIndex, as: UInt8.self) else {
            return .more(nil)
        }
        guard first == UInt8(ascii: "$") else { return try text(&bytes) }
        guard
            let channel = bytes.getInteger(at: bytes.readerIndex + 1, as: UInt8.self),
            let length = bytes.getInteger(at: bytes.readerIndex + 2, as: UInt16.self)
        else { return .more(4 - bytes.readableBytes) }
        guard let frame = bytes.readSlice(length: 4 + Int(length)) else {
            return .more(4 + Int(length) - bytes.readableBytes)
        }
        var payload = frame
        payload.moveReaderIndex(forwardBy: 4)
        return .message(.interleaved(channel: channel, payload))
    }

    /// Passes over what begins neither data nor a message: blank lines after a body, or the rest of a
    /// frame whose length the camera got wrong.
    private mutating func skipNoise(_ bytes: inout ByteBuffer) throws(RTSPError) {
        let noise = bytes.readableBytesView.prefix { byte in
            byte != UInt8(ascii: "$") && !(UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
        }
        guard !noise.isEmpty else { return }
        skippedBytes &+= noise.count
        noiseBytes += noise.count
        bytes.moveReaderIndex(forwardBy: noise.count)
        searched = 0
        if noiseBytes > Self.maxHead { throw RTSPError(.notRTSP, at: skippedBytes) }
    }

    private mutating func text(_ bytes: inout ByteBuffer) throws(RTSPError) -> Step {
        guard let length = headLength(bytes) else {
            guard bytes.readableBytes <= Self.maxHead else {
                throw RTSPError(.headerTooLarge, at: bytes.readableBytes)
            }
            searched = bytes.readableBytes
            return .more(nil)
        }
        guard length <= Self.maxHead,
            let head = bytes.getSlice(at: bytes.readerIndex, length: length)
        else { throw RTSPError(.headerTooLarge, at: length) }
        let (startLine, headers) = Headers.parse(head: head)
        var bodyLength = 0
        if let text = headers["Content-Length"] {
            guard let value = Int(text), value >= 0 else {
                throw RTSPError(.invalidContentLength, at: length)
            }
            guard value <= Self.maxBody else { throw RTSPError(.bodyTooLarge, at: length) }
            bodyLength = value
        }
        guard bytes.readableBytes >= length + bodyLength else {
            return .more(length + bodyLength - bytes.readableBytes)
        }
        bytes.moveReaderIndex(forwardBy: length)
        guard let body = bytes.readSlice(length: bodyLength) else { return .more(nil) }
        searched = 0
        return .message(
            try Self.message(startLine, headers, ByteBuffer(bytes: body.readableBytesView)))
    }

    /// The length of the head with its blank line; bare line feeds are taken too.
    private func headLength(_ bytes: ByteBuffer) -> Int? {
        let view = bytes.readableBytesView
        // An end found late begins up to two bytes before what was searched.
        var rest = view.dropFirst(max(searched - 3, 0))
        while let feed = rest.firstIndex(of: 0x0A) {
            let after = view[(feed + 1)...].prefix(2)
            if after.first == 0x0A { return feed + 2 - view.startIndex }
            if after.elementsEqual([0x0D, 0x0A]) { return feed + 3 - view.startIndex }
            rest = view[(feed + 1)...]
        }
        return nil
    }

    private static func message(
        _ startLine: String, _ headers: Headers, _ body: ByteBuffer
    ) throws(RTSPError) -> Message {
        let parts = startLine.utf8.split(separator: 0x20, maxSplits: 2)
            .map { String(decoding: $0, as: UTF8.self) }
        if parts.count >= 2, parts[0].hasPrefix("RTSP/") {
            guard parts[1].utf8.count == 3, let status = UInt16(parts[1]), status >= 100 else {
                throw RTSPError(.invalidStartLine, at: 0)
            }
            let reason = parts.count > 2 ? parts[2] : ""
            return .response(
                Response(status: Int(status), reason: reason, headers: headers, body: body))
        }
        guard parts.count == 3, parts[2].hasPrefix("RTSP/") else {
            throw RTSPError(.invalidStartLine, at: 0)
        }
        return .request(Request(method: parts[0], uri: parts[1], headers: headers, body: body))
    }
}
