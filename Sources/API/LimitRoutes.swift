// The limits of live seats over HTTP.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird
import Ingest
import Primitives
import Quota

struct LimitsBody: Encodable {
    struct Agency: Encodable {
        var source: String
        /// Missing without a limit.
        var limit: Int?
        var nameEn: String?
        var nameAr: String?
    }

    /// 0 for limits of the configuration, which none were written over.
    var version: Int64
    var sources: [Agency]
    var total: Int?
    var updatedAt: String?
    var updatedBy: String?

    init(_ stored: StoredLimits) {
        version = stored.version
        sources = stored.limits.agencies.sorted { $0.key < $1.key }.map { source, agency in
            Agency(
                source: source.rawValue, limit: agency.limit, nameEn: agency.nameEnglish,
                nameAr: agency.nameArabic)
        }
        total = stored.limits.total
        updatedAt = stored.updatedAt?.description
        updatedBy = stored.updatedBy
    }
}

extension Routes {
    func limits(_ group: RouteGroup) {
        group.get("limits", .permission(.administerStorage), .getLimits) { _, _ in
            try jsonResponse(
                LimitsBody(try await services.limits.current()),
                headers: [.cacheControl: "no-store"])
        }
        group.put("limits", .permission(.administerStorage), .changeLimits) { request, context in
            let body = try await body(of: request, allowing: Schema.wantedLimits.keys)
            let version = try body.integer("version", in: 0...Int(Int32.max)).map { Int64($0) }
            let stored = try await services.limits.change(
                to: try wanted(body), from: version, by: context.caller)
            return try jsonResponse(LimitsBody(stored), headers: [.cacheControl: "no-store"])
        }
    }

    /// The whole of the limits: what is left out is without one.
    private func wanted(_ body: JSONObject) throws(MarsadError) -> SeatLimits {
        guard
            let objects = try body.objects(
                "sources", upTo: Bounds.limitedSources, allowing: LimitsBody.Agency.schema.keys)
        else { throw MarsadError(.invalidRequest, details: ["key": "sources"]) }
        var limits = SeatLimits(total: try body.integer("total", in: SeatLimits.range))
        for object in objects {
            guard let source = Source(try object.requiredText("source")) else {
                throw MarsadError(
                    .invalidRequest,
                    details: ["key": "source", "allowed": "A–Z, 0–9 and _, up to 32"])
            }
            guard limits.agencies[source] == nil else {
                throw MarsadError(
                    .unprocessable, details: ["key": "source", "reason": "each once"])
            }
            func name(_ key: String) throws(MarsadError) -> String? {
                guard let text = try object.text(key) else { return nil }
                return try CameraDefinition.name(text, key: key, from: 1)
            }
            limits.agencies[source] = SeatLimits.Agency(
                limit: try object.integer("limit", in: SeatLimits.range),
                nameEnglish: try name("name_en"), nameArabic: try name("name_ar"))
        }
        return limits
    }
}
