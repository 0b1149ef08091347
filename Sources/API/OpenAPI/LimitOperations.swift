// Limits of live seats in the document of the interface.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Quota

extension Operation {
    static let getLimits = Operation(
        "get_limits", .operations, "The limits of live seats", answers: [.json(LimitsBody.schema)])

    static let changeLimits = Operation(
        "change_limits", .operations, "Sets the limits of live seats, in force at once",
        notes:
            "The whole of them: what is left out has no limit. With a version, only where that is "
            + "still the present one.",
        body: .json(.wantedLimits), answers: [.json(LimitsBody.schema)],
        errors: [.conflict, .unprocessable])
}

extension Schema {
    static let wantedLimits = Schema.object(
        "WantedLimits",
        [
            "version": .count.optional,
            "sources": .list(LimitsBody.Agency.schema, upTo: Bounds.limitedSources),
            "total": .integer(SeatLimits.range).optional,
        ])
}

extension LimitsBody {
    static let schema = Schema.object(
        "Limits",
        [
            "version": .count, "sources": .list(Agency.schema),
            "total": .integer(SeatLimits.range).optional, "updated_at": .time.optional,
            "updated_by": .text().optional,
        ])
}

extension LimitsBody.Agency {
    static let schema = Schema.object(
        "AgencyLimit",
        [
            "source": .source, "limit": .integer(SeatLimits.range).optional,
            "name_en": .cameraName.optional, "name_ar": .cameraName.optional,
        ])
}
