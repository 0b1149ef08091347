// Cuts the byte stream of a Valkey connection into values.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// Decodes RESP3 and RESP2 from received chunks. An aggregate whose end is still to come is kept open on
/// a stack, so that nothing is read twice, however it is torn.
package struct RESPDecoder: Sendable {
    private enum Aggregate {
        case array
        case set
        case push
        case map
        /// Data about the value that follows; passed over (RESP3, attribute type).
        case attribute
    }

    private struct OpenAggregate {
        var kind: Aggregate
        /// Values still to come; two for each entry of a map.
        var missing: Int
        var values: [RESPValue] = []
    }

    private enum Token {
        case value(RESPValue)
        case open(Aggregate, count: Int)
    }

    private static let types = Set("+-:$*_#,(!=~%>|".utf8)

    private let limits: RESPLimits
    private var bytes = ByteBuffer()
    private var unfinished: [OpenAggregate] = []
    /// Elements of the present value so far.
    private var elements = 0
    /// How much of `bytes` was already searched for the end of a line.
    private var searched = 0
    private var failure: RESPError?

    package init(limits: RESPLimits = RESPLimits()) { self.limits = limits }

    /// Takes received bytes; call `next()` until it returns `nil`.
    package mutating func receive(_ chunk: ByteBuffer) {
        guard failure == nil else { return }
        if bytes.readableBytes == 0 {
            bytes = chunk
        } else {
            bytes.discardReadBytes()
            bytes.writeImmutableBuffer(chunk)
        }
    }

    /// The next whole value. After an error the stream is lost, and every call throws it again.
    package mutating func next() throws(RESPError) -> RESPValue? {
        if let failure { throw failure }
        do throws(RESPError) {
            return try decode()
        } catch {
            failure = error
            bytes = ByteBuffer()
            unfinished = []
            throw error
        }
    }

    private mutating func decode() throws(RESPError) -> RESPValue? {
        while let token = try token() {
            switch token {
            case .open(let kind, let count) where count > 0:
                guard unfinished.count < limits.depth else { throw .tooDeep }
                unfinished.append(OpenAggregate(kind: kind, missing: count))
            case .open(let kind, _):
                if let whole = add(Self.close(OpenAggregate(kind: kind, missing: 0))) {
                    return whole
                }
            case .value(let value):
                if let whole = add(value) { return whole }
            }
        }
        return nil
    }

    /// Puts a finished value where it belongs; answers it when it belongs nowhere. `nil` stands for an
    /// attribute, which is finished and is no value.
    private mutating func add(_ finished: RESPValue?) -> RESPValue? {
        var finished = finished
        while let value = finished {
            guard let last = unfinished.indices.last else {
                elements = 0
                return value
            }
            unfinished[last].values.append(value)
            unfinished[last].missing -= 1
            guard unfinished[last].missing == 0 else { return nil }
            finished = Self.close(unfinished.removeLast())
        }
        return nil
    }

    private static func close(_ aggregate: OpenAggregate) -> RESPValue? {
        switch aggregate.kind {
        case .array: .array(aggregate.values)
        case .set: .set(aggregate.values)
        case .push: .push(aggregate.values)
        case .map:
            .map(
                stride(from: 0, to: aggregate.values.count, by: 2).map {
                    RESPEntry(key: aggregate.values[$0], value: aggregate.values[$0 + 1])
                })
        case .attribute: nil
        }
    }

    // MARK: Tokens

    /// The next scalar or the head of an aggregate; `nil` and nothing taken when bytes are missing.
    private mutating func token() throws(RESPError) -> Token? {
        let start = bytes
        guard let type = bytes.readInteger(as: UInt8.self) else { return nil }
        guard Self.types.contains(type) else { throw .unknownType(type) }
        guard let line = try readLine() else {
            bytes = start
            return nil
        }
        searched = 0
        switch type {
        case UInt8(ascii: "*"):
            guard let count = try count(line, mayBeNull: true) else { return .value(.null) }
            return .open(.array, count: count)
        case UInt8(ascii: "~"): return .open(.set, count: try count(line) ?? 0)
        case UInt8(ascii: ">"): return .open(.push, count: try count(line) ?? 0)
        case UInt8(ascii: "%"): return .open(.map, count: try count(line, of: 2) ?? 0)
        case UInt8(ascii: "|"): return .open(.attribute, count: try count(line, of: 2) ?? 0)
        case UInt8(ascii: "$"), UInt8(ascii: "="), UInt8(ascii: "!"):
            guard let length = try length(line, mayBeNull: type == UInt8(ascii: "$")) else {
                return .value(.null)
            }
            guard let body = try readBody(length) else {
                bytes = start
                return nil
            }
            return .value(try Self.string(type, body))
        default: return .value(try Self.scalar(type, line))
        }
    }

    private static func string(
        _ type: UInt8, _ body: ByteBuffer
    ) throws(RESPError) -> RESPValue {
        var body = body
        switch type {
        case UInt8(ascii: "!"): return .failure(RESPFailure(parsing: String(buffer: body)))
        case UInt8(ascii: "="):
            guard let form = body.readString(length: 3),
                body.readInteger(as: UInt8.self) == UInt8(ascii: ":")
            else { throw .invalidLength }
            return .verbatimString(form: form, body)
        default: return .bulkString(body)
        }
    }

    private static func scalar(
        _ type: UInt8, _ line: ByteBuffer
    ) throws(RESPError) -> RESPValue {
        switch type {
        case UInt8(ascii: "+"): return .simpleString(String(buffer: line))
        case UInt8(ascii: "-"): return .failure(RESPFailure(parsing: String(buffer: line)))
        case UInt8(ascii: ":"): return .integer(try integer(line))
        case UInt8(ascii: "("):
            let digits = line.readableBytesView.drop { $0 == 43 || $0 == 45 }
            guard line.readableBytes - digits.count <= 1, !digits.isEmpty,
                digits.allSatisfy({ (48...57).contains($0) })
            else { throw .invalidNumber }
            return .bigNumber(String(buffer: line))
        case UInt8(ascii: ","):
            // Also `inf`, `-inf` and `nan`.
            guard let number = Double(String(buffer: line)) else { throw .invalidNumber }
            return .double(number)
        case UInt8(ascii: "#"):
            switch line.readableBytesView.first {
            case UInt8(ascii: "t") where line.readableBytes == 1: return .boolean(true)
            case UInt8(ascii: "f") where line.readableBytes == 1: return .boolean(false)
            default: throw .invalidNumber
            }
        case UInt8(ascii: "_"): return .null
        default: throw .unknownType(type)
        }
    }

    // MARK: Lines and lengths

    /// The rest of the line without its end; `nil` where the end is still to come.
    private mutating func readLine() throws(RESPError) -> ByteBuffer? {
        let view = bytes.readableBytesView
        // The end found late begins a byte before what was searched.
        let rest = view.dropFirst(max(searched - 1, 0))
        guard let feed = rest.firstIndex(of: 0x0A) else {
            guard view.count <= limits.lineBytes else { throw .lineTooLong }
            searched = view.count
            return nil
        }
        let length = feed - view.startIndex
        guard length <= limits.lineBytes else { throw .lineTooLong }
        guard length > 0, view[feed - 1] == 0x0D, let line = bytes.readSlice(length: length - 1)
        else { throw .missingEnd }
        bytes.moveReaderIndex(forwardBy: 2)
        return line
    }

    private mutating func readBody(_ length: Int) throws(RESPError) -> ByteBuffer? {
        guard bytes.readableBytes >= length + 2, let body = bytes.readSlice(length: length),
            let end = bytes.readInteger(as: UInt16.self)
        else { return nil }
        guard end == 0x0D0A else { throw .missingEnd }
        return body
    }

    /// How many values follow; `nil` for RESP2's null array.
    private mutating func count(
        _ line: ByteBuffer, of perEntry: Int = 1, mayBeNull: Bool = false
    ) throws(RESPError) -> Int? {
        let number = try Self.integer(line)
        if number == -1, mayBeNull { return nil }
        guard number >= 0 else { throw .invalidLength }
        guard number <= limits.elements else { throw .tooManyElements }
        let count = Int(number) * perEntry
        elements += count
        guard elements <= limits.elements else { throw .tooManyElements }
        return count
    }

    private func length(_ line: ByteBuffer, mayBeNull: Bool) throws(RESPError) -> Int? {
        let number = try Self.integer(line)
        if number == -1, mayBeNull { return nil }
        guard number >= 0 else { throw .invalidLength }
        guard number <= limits.bulkBytes else { throw .bulkTooLarge }
        return Int(number)
    }

    private static func integer(_ line: ByteBuffer) throws(RESPError) -> Int64 {
        let number: Int64? = line.withUnsafeReadableBytes { bytes in
            let isNegative = bytes.first == UInt8(ascii: "-")
            let digits = bytes.dropFirst(isNegative || bytes.first == UInt8(ascii: "+") ? 1 : 0)
            guard !digits.isEmpty else { return nil }
            var number: Int64 = 0
            for byte in digits {
                guard (48...57).contains(byte) else { return nil }
                let (tens, overflow) = number.multipliedReportingOverflow(by: 10)
                let digit = Int64(byte - 48)
                let (sum, carried) = tens.addingReportingOverflow(isNegative ? -digit : digit)
                guard !overflow, !carried else { return nil }
                number = sum
            }
            return number
        }
        guard let number else { throw .invalidNumber }
        return number
    }
}
