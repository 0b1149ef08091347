// One row of the audit log, and the one text of it that is hashed.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Database
import Domain
import JSON
package import Primitives

/// An audit event with its place in the chain.
package struct AuditRow: Sendable, Equatable {
    package var id: Int64
    package var kind: String
    package var subject: String?
    package var actor: String
    package var time: WallTime
    /// A JSON object, exactly as it is stored.
    package var details: String
    package var address: String
    package var userAgent: String
    package var requestID: String
    package var previousHash: String
    package var hash: String

    /// What stands before the first row.
    static let noHash = String(repeating: "0", count: 64)

    init(_ event: AuditEvent, id: Int64, at time: WallTime, after previousHash: String) {
        self.id = id
        kind = event.kind.rawValue
        subject = event.subject?.rawValue
        actor = event.actor.description
        self.time = time
        details =
            JSONValue.object(
                event.details.mapValues {
                    .string($0.shortened(to: Limits.auditDetailCharacters))
                }
            ).serialized
        address = event.origin.address
        userAgent = event.origin.userAgent
        requestID = event.origin.requestID
        self.previousHash = previousHash
        hash = ""
        hash = computedHash(id: id)
    }

    init(_ row: Row) throws(DatabaseError) {
        id = try row.integer("id")
        kind = try row.text("event_type")
        subject = try row.optionalText("user_id")
        actor = try row.text("actor_id")
        time = WallTime(microseconds: try row.integer("timestamp"))
        details = try row.text("details")
        address = try row.text("ip_address")
        userAgent = try row.text("user_agent")
        requestID = try row.text("request_id")
        previousHash = try row.text("previous_hash")
        hash = try row.text("hash")
    }

    /// The hash that the row would have under a number: SHA-256 over the previous hash and each column
    /// with its length, so that no text can pass for two columns.
    func computedHash(id: Int64) -> String {
        var text: [UInt8] = []
        text.reserveCapacity(1024)
        func add(_ field: String) {
            text.append(decimal: field.utf8.count)
            text.append(UInt8(ascii: ":"))
            text.append(utf8: field)
        }
        text.append(utf8: previousHash)
        add(String(id))
        add(kind)
        if let subject { add(subject) } else { text.append(UInt8(ascii: "-")) }
        add(actor)
        add(String(time.microseconds))
        add(details)
        add(address)
        add(userAgent)
        add(requestID)
        return Array(SHA256.hash(data: text)).hex
    }

    var isIntact: Bool { hash == computedHash(id: id) }

    /// The members of `details`, for reports.
    package var detail: [String: String] {
        guard let members = (try? JSONValue(parsingEvent: Array(details.utf8)))?.members else {
            return [:]
        }
        return members.compactMapValues(\.text)
    }

    var insert: Statement {
        Statement(
            """
            INSERT INTO audit_log (id, event_type, user_id, actor_id, timestamp, details, ip_address,
                user_agent, request_id, previous_hash, hash)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .integer(id), .text(kind), DatabaseValue(subject), .text(actor),
                .integer(time.microseconds), .text(details), .text(address), .text(userAgent),
                .text(requestID), .text(previousHash), .text(hash),
            ])
    }
}
