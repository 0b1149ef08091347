// The audit log over HTTP: pages of it, newest first.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Hummingbird
import Identity
import Primitives

struct AuditRowBody: Encodable {
    var id: Int64
    var eventType: String
    var userId: String?
    var actorId: String
    var timestamp: String
    var details: [String: String]
    var ipAddress: String
    var userAgent: String
    var requestId: String
    var previousHash: String
    var hash: String

    init(_ row: AuditRow) {
        id = row.id
        eventType = row.kind
        userId = row.subject
        actorId = row.actor
        timestamp = row.time.description
        details = row.detail
        ipAddress = row.address
        userAgent = row.userAgent
        requestId = row.requestID
        previousHash = row.previousHash
        hash = row.hash
    }
}

struct AuditListBody: Encodable {
    var rows: [AuditRowBody]
    /// For `before` of the next page; missing on the last one.
    var nextBefore: Int64?
}

extension Routes {
    func audit(_ table: RouteTable) {
        table.on(.get, "api/v1/audit", .permission(.readAudit), .listAudit) { request, context in
            try await listAudit(request, context.caller)
        }
    }

    private func listAudit(_ request: Request, _ caller: Caller) async throws -> Response {
        let query = Query(request)
        var question = AuditQuestion()
        question.limit = query.integer("limit") ?? 100
        question.before = query.integer("before").map { Int64($0) }
        if query["start_time"] != nil { question.from = try query.time("start_time") }
        if query["end_time"] != nil { question.to = try query.time("end_time") }
        if let text = query["event_type"] {
            guard let kind = AuditEvent.Kind(rawValue: text) else {
                throw MarsadError(.invalidRequest, details: ["parameter": "event_type"])
            }
            question.kind = kind
        }
        if let text = query["user_id"] {
            guard let user = UserID(text) else {
                throw MarsadError(.invalidRequest, details: ["parameter": "user_id"])
            }
            question.user = user
        }
        let rows = try await services.identity.auditRows(question, for: caller)
        return try jsonResponse(
            AuditListBody(
                rows: rows.map(AuditRowBody.init),
                nextBefore: rows.count == question.limit ? rows.last?.id : nil),
            headers: [.cacheControl: "no-store"])
    }
}
