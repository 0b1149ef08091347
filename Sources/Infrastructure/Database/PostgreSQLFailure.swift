// One table from PostgreSQL's codes to the few that a caller acts on.
// SPDX-License-Identifier: Apache-2.0
import CPQ

/// What the server refused, in the parts of its report that never hold a value.
struct PostgreSQLReport {
    /// Five characters (PostgreSQL's manual, "Error Codes").
    var state: String
    var table = ""
    /// The column, or else the rule of the schema.
    var rule = ""
    /// Taken of those kinds of errors only whose text names nothing but the schema.
    var message = ""

    init(state: String) { self.state = state }

    /// The report of a failed result.
    init(_ result: OpaquePointer) {
        func field(_ code: Character) -> String? {
            let code = Int32(code.asciiValue ?? 0)
            return PQresultErrorField(result, code).map { String(cString: $0) }
        }
        state = field("C") ?? "XX000"
        table = field("t") ?? ""
        rule = field("c") ?? field("n") ?? ""
        message = field("M") ?? ""
    }

    /// The caller's error. A value that a statement was given may stand in the server's message and in
    /// its detail (`Key (login_id)=(…) already exists`), so neither is passed on where it might.
    var error: DatabaseError {
        let place = [table, rule].filter { !$0.isEmpty }.joined(separator: ".")
        switch state {
        case "23505": return .constraint(.unique, detail: place)
        case "23503": return .constraint(.foreignKey, detail: place)
        case "23502": return .constraint(.notNull, detail: place)
        case "23514": return .constraint(.check, detail: place)
        case "42804": return .constraint(.dataType, detail: message)
        case "53100": return .full
        case "0A000" where message.contains("cached plan"):
            return .unavailable("the schema was changed meanwhile")
        case "XX001", "XX002": return .corrupt
        default: break
        }
        switch state.prefix(2) {
        case "22": return .constraint(.dataType, detail: "SQLSTATE \(state)")
        case "23": return .constraint(.other, detail: place)
        // Connection, resources, locks and deadlocks, an administrator's stop, the system below.
        case "08", "40", "53", "55", "57", "58":
            return .unavailable("SQLSTATE \(state)")
        // Wrong names, missing rights: the schema's words and the statement's own.
        case "42": return .other(code: code, reason: "SQLSTATE \(state): \(message)")
        case "25" where state == "25P03": return .unavailable("SQLSTATE \(state)")
        default: return .other(code: code, reason: "SQLSTATE \(state)")
        }
    }

    /// The code as a number of base 36.
    private var code: Int { Int(state, radix: 36) ?? -1 }
}

/// Why a round of statements failed.
struct PostgreSQLFailure: Error {
    var error: DatabaseError
    /// The outcomes of the statements before the one that failed.
    var outcomes: [StatementOutcome] = []
    /// The connection broke after the round was sent: what became of it is not known.
    var isLost = false
}
