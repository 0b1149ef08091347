// Whether the audit log is what was written: the first row that is not, and what was done to it.
// SPDX-License-Identifier: Apache-2.0

import Crypto
package import Database
import Foundation

/// What was found to be wrong, first.
package struct AuditFinding: Sendable, Equatable, CustomStringConvertible {
    package enum Kind: String, Sendable {
        /// A row's content is not what its hash says.
        case changed
        case removed
        case inserted
        /// Rows stand in each other's place.
        case swapped
        /// Signed rows at the end are gone.
        case cutTail = "cut_tail"
        /// The chain fits, and is another than the one that was signed.
        case recomputed
        /// A line of the heads' file is not ours.
        case headForged = "head_forged"
        /// A line was taken out of the heads' file.
        case headRemoved = "head_removed"
        /// There are rows, and nothing signed to hold them against.
        case noHeads = "no_heads"
    }

    package let kind: Kind
    /// Row numbers; for findings about heads, line numbers.
    package let first: Int64
    package let last: Int64

    init(_ kind: Kind, _ first: Int64, _ last: Int64? = nil) {
        self.kind = kind
        self.first = first
        self.last = last ?? first
    }

    package var description: String {
        let rows = first == last ? "row \(first)" : "rows \(first) to \(last)"
        return switch kind {
        case .changed: "\(rows): changed"
        case .removed: "\(rows): removed"
        case .inserted: "\(rows): inserted"
        case .swapped: "\(rows): in each other's place"
        case .cutTail: "\(rows): signed, and gone from the end"
        case .recomputed: "\(rows): recomputed; not what was signed"
        case .headForged: "line \(first) of the heads: not signed by this installation"
        case .headRemoved: "line \(first) of the heads: the line before it is missing"
        case .noHeads: "no signed heads: nothing to hold the rows against"
        }
    }
}

/// The outcome of a verification.
package struct AuditVerification: Sendable, Equatable {
    package var rows: Int64 = 0
    package var heads = 0
    /// Rows after the newest head: written since the last minute, or since a crash.
    package var unsignedRows: Int64 = 0
    package var finding: AuditFinding?

    package init(rows: Int64 = 0, heads: Int = 0) {
        self.rows = rows
        self.heads = heads
    }
}

/// Walks the whole chain and holds it against the signed heads.
package struct AuditVerifier: Sendable {
    private static let page = 1000
    /// How far rows may have been moved up and still be recognised as moved.
    private static let shifts: ClosedRange<Int64> = 1...64

    private let database: any DatabaseEngine
    private let key: Curve25519.Signing.PublicKey

    /// - Parameter publicKey: the installation's, 32 bytes in hexadecimal; `nil` where it is none.
    package init?(database: any DatabaseEngine, publicKey: String) {
        let digits = publicKey.utf8.compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
        guard digits.count == 64, publicKey.utf8.count == 64 else { return nil }
        let bytes = stride(from: 0, to: 64, by: 2).map {
            UInt8(digits[$0] << 4 | digits[$0 + 1])
        }
        guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: bytes) else {
            return nil
        }
        self.database = database
        self.key = key
    }

    /// - Parameter heads: the text of the heads' file, best of a copy that nobody here can write.
    package func verify(heads text: String) async throws(DatabaseError) -> AuditVerification {
        var result = AuditVerification()
        let (heads, forgery) = check(text)
        result.heads = heads.count
        var walk = Walk(heads: heads)
        var waiting: [AuditRow] = []
        var after = Int64.min
        while walk.finding == nil {
            let rows = try await database.query(
                Statement(
                    "SELECT * FROM audit_log WHERE id > ? ORDER BY id LIMIT \(Self.page)",
                    [.integer(after)]))
            for row in rows { waiting.append(try AuditRow(row)) }
            after = waiting.last?.id ?? after
            let isLast = rows.count < Self.page
            // The last one waits: its successor may say what was done to it.
            walk.take(waiting, through: isLast ? waiting.count : waiting.count - 1)
            if isLast { break }
            waiting = Array(waiting.suffix(1))
        }
        walk.end()
        result.rows = walk.count
        let newest = heads.map(\.id).max() ?? 0
        result.unsignedRows = max(0, walk.lastID - newest)
        result.finding =
            walk.finding ?? forgery
            ?? (heads.isEmpty && walk.count > 0 ? AuditFinding(.noHeads, 0) : nil)
        return result
    }

    /// The heads that are authentic, and the first line that is not as it was written. A line that a
    /// power cut left unfinished holds no head and is passed over.
    private func check(_ text: String) -> ([AuditHead], AuditFinding?) {
        var heads: [AuditHead] = []
        var finding: AuditFinding?
        var previous = ""
        for (index, line) in text.split(separator: "\n").enumerated() {
            guard let head = AuditHead(line: line) else { continue }
            let number = Int64(index + 1)
            guard head.isSigned(by: key) else {
                finding = finding ?? AuditFinding(.headForged, number)
                continue
            }
            if head.previous != previous { finding = finding ?? AuditFinding(.headRemoved, number) }
            previous = AuditHead.digest(of: line)
            heads.append(head)
        }
        return (heads, finding)
    }

    /// The state of a walk along the chain.
    private struct Walk {
        let hashes: [Int64: Set<String>]
        let newestHead: Int64
        var finding: AuditFinding?
        var count: Int64 = 0
        var lastID: Int64 = 0
        private var lastHash = AuditRow.noHash
        private var hashBefore: String?
        private var lastGoodHead: Int64 = 0

        init(heads: [AuditHead]) {
            var hashes: [Int64: Set<String>] = [:]
            for head in heads { hashes[head.id, default: []].insert(head.hash) }
            self.hashes = hashes
            newestHead = heads.map(\.id).max() ?? 0
        }

        mutating func take(_ rows: [AuditRow], through end: Int) {
            for index in 0..<end where finding == nil {
                let next = index + 1 < rows.count ? rows[index + 1] : nil
                finding = judge(rows[index], next)
                guard finding == nil else { return }
                let row = rows[index]
                if let signed = hashes[row.id] {
                    guard signed == [row.hash] else {
                        finding = AuditFinding(.recomputed, lastGoodHead + 1, row.id)
                        return
                    }
                    lastGoodHead = row.id
                }
                count += 1
                hashBefore = lastHash
                (lastID, lastHash) = (row.id, row.hash)
            }
        }

        mutating func end() {
            guard finding == nil, lastID < newestHead else { return }
            finding = AuditFinding(.cutTail, lastID + 1, newestHead)
        }

        private func judge(_ row: AuditRow, _ next: AuditRow?) -> AuditFinding? {
            let expected = lastID + 1
            if row.id < expected { return AuditFinding(.inserted, row.id) }
            if row.id > expected { return AuditFinding(.removed, expected, row.id - 1) }
            let isLinked = row.previousHash == lastHash
            if isLinked { return row.isIntact ? nil : AuditFinding(.changed, row.id) }
            // It follows the row before the last: the last one came between them.
            if row.previousHash == hashBefore { return AuditFinding(.inserted, lastID) }
            if let next, row.previousHash == next.hash {
                return AuditFinding(.swapped, row.id, next.id)
            }
            if let shift = shift(of: row) {
                // After a removal all rows moved up; after an exchange only this one did.
                let isRemoval = next.map { self.shift(of: $0) == shift } ?? true
                return isRemoval
                    ? AuditFinding(.removed, row.id, row.id + shift - 1)
                    : AuditFinding(.swapped, row.id, row.id + shift)
            }
            // A good row after another hash: the row before was given a new one.
            return AuditFinding(.changed, row.isIntact && lastID > 0 ? lastID : row.id)
        }

        /// By how much a row's number is too small for its hash.
        private func shift(of row: AuditRow) -> Int64? {
            guard !row.isIntact else { return nil }
            return AuditVerifier.shifts.first { row.hash == row.computedHash(id: row.id + $0) }
        }
    }
}
