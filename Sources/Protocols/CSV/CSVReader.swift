// Comma-separated values (RFC 4180), as spreadsheets write them.
// SPDX-License-Identifier: Apache-2.0

/// One record of a file.
package struct CSVRecord: Sendable, Equatable {
    /// Where it begins, from 1 on; a quoted field may go over several lines.
    package var line: Int
    package var fields: [String]

    package init(line: Int, fields: [String]) {
        self.line = line
        self.fields = fields
    }
}

/// What makes a record unreadable. Reading goes on with the line after it.
package struct CSVError: Error, Sendable, Equatable {
    package enum Reason: String, Sendable {
        case unendedQuote = "a quoted field does not end"
        case textAfterQuote = "text follows a quoted field"
        case notUTF8 = "a field is not UTF-8"
        case fieldTooLong = "a field is too long"
        case tooManyFields = "too many fields"
    }

    package var reason: Reason
    package var line: Int

    package init(_ reason: Reason, line: Int) {
        self.reason = reason
        self.line = line
    }
}

/// Reads records one after the other. Lines end with CR LF, LF or CR; lines without anything are left
/// out. A quote inside a field that does not begin with one stands for itself: Excel takes that, too.
package struct CSVReader {
    package static let fieldBytes = 8192
    package static let fields = 64

    private let bytes: [UInt8]
    private let separator: UInt8
    private var position = 0
    private var line = 1

    /// A byte order mark is skipped. The separator is what the first line has most of: a comma, a
    /// semicolon (Excel, where the comma is a decimal sign) or a tab.
    package init(_ bytes: [UInt8]) {
        self.bytes = bytes
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
        let candidates = [UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "\t")]
        let head = bytes.dropFirst(position).prefix { !Self.isLineEnd($0) }
        separator =
            candidates.max { a, b in
                head.count { $0 == a } < head.count { $0 == b }
            } ?? candidates[0]
    }

    /// The next record; `nil` at the end.
    package mutating func next() throws(CSVError) -> CSVRecord? {
        while position < bytes.count, Self.isLineEnd(bytes[position]) { skipLineEnd() }
        guard position < bytes.count else { return nil }
        let begin = line
        var fields: [String] = []
        while true {
            do throws(CSVError) {
                guard fields.count < Self.fields else {
                    throw CSVError(.tooManyFields, line: begin)
                }
                fields.append(try field(begin))
            } catch {
                skipLine()
                throw error
            }
            guard position < bytes.count else { break }
            if Self.isLineEnd(bytes[position]) {
                skipLineEnd()
                break
            }
            position += 1
        }
        return CSVRecord(line: begin, fields: fields)
    }

    /// Ends before a separator, a line's end or the end.
    private mutating func field(_ begin: Int) throws(CSVError) -> String {
        var content: [UInt8] = []
        if position < bytes.count, bytes[position] == Self.quote {
            try quoted(&content, begin)
            guard position == bytes.count || isEnd(bytes[position]) else {
                throw CSVError(.textAfterQuote, line: begin)
            }
        } else {
            while position < bytes.count, !isEnd(bytes[position]) {
                content.append(bytes[position])
                position += 1
                guard content.count <= Self.fieldBytes else {
                    throw CSVError(.fieldTooLong, line: begin)
                }
            }
        }
        guard let text = String(validating: content, as: UTF8.self) else {
            throw CSVError(.notUTF8, line: begin)
        }
        return text
    }

    private mutating func quoted(_ content: inout [UInt8], _ begin: Int) throws(CSVError) {
        position += 1
        while position < bytes.count {
            let byte = bytes[position]
            if byte == Self.quote {
                position += 1
                guard position < bytes.count, bytes[position] == Self.quote else { return }
                position += 1
                content.append(byte)
            } else if Self.isLineEnd(byte) {
                skipLineEnd()
                content.append(UInt8(ascii: "\n"))
            } else {
                content.append(byte)
                position += 1
            }
            guard content.count <= Self.fieldBytes else {
                throw CSVError(.fieldTooLong, line: begin)
            }
        }
        throw CSVError(.unendedQuote, line: begin)
    }

    private mutating func skipLine() {
        while position < bytes.count, !Self.isLineEnd(bytes[position]) { position += 1 }
    }

    private mutating func skipLineEnd() {
        let isPair =
            bytes[position] == UInt8(ascii: "\r") && position + 1 < bytes.count
            && bytes[position + 1] == UInt8(ascii: "\n")
        position += isPair ? 2 : 1
        line += 1
    }

    private func isEnd(_ byte: UInt8) -> Bool { byte == separator || Self.isLineEnd(byte) }

    private static let quote = UInt8(ascii: "\"")

    private static func isLineEnd(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r")
    }
}
