// Importing cameras over HTTP: a file of CSV or JSON in, what became of each line out.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import HTTPTypes
import Hummingbird
package import Ingest
package import NIOCore
import Primitives

/// What became of an import, for the API and for the command line.
package struct ImportBody: Encodable {
    struct Line: Encodable {
        var line: Int
        var status: String
        var cameraId: String?
        var code: String?
        var messageEn: String?
        var messageAr: String?
        var details: [String: String]?

        init(_ outcome: ImportOutcome) {
            line = outcome.line
            status = outcome.status.rawValue
            cameraId = outcome.cameraID?.rawValue
            guard let failure = outcome.failure else { return }
            let text = failure.code.text.filled(failure.details)
            code = failure.code.rawValue
            messageEn = text.english
            messageAr = text.arabic
            details = failure.details
        }
    }

    var dryRun: Bool
    var total: Int
    var created: Int
    var changed: Int
    var unchanged: Int
    var errors: Int
    var lines: [Line]

    package init(_ outcomes: [ImportOutcome], isDryRun: Bool) {
        dryRun = isDryRun
        total = outcomes.count
        created = outcomes.count { $0.status == .created }
        changed = outcomes.count { $0.status == .changed }
        unchanged = outcomes.count { $0.status == .unchanged }
        errors = outcomes.count { $0.status == .error }
        lines = outcomes.map(Line.init)
    }
}

extension CameraSheet {
    /// Reads an array of objects, whose keys are the columns of CSV; a key that is missing says
    /// nothing, and an empty text that the camera has none of it.
    package static func lines(json body: ByteBuffer) throws(MarsadError) -> [ImportLine] {
        let objects = try JSONObject.array(
            parsing: body, upTo: Limits.importLines, else: tooLong,
            allowing: Set(Column.allCases.map(\.rawValue)))
        return objects.enumerated().map { index, object in
            ImportLine(
                number: index + 1,
                words: Result { () throws(MarsadError) in try ImportLine.Words(object.get()) })
        }
    }
}

extension ImportLine.Words {
    init(_ object: JSONObject) throws(MarsadError) {
        typealias Column = CameraSheet.Column
        func text(_ column: Column) throws(MarsadError) -> String? {
            try object.text(column.rawValue)
        }
        /// Inside `nil`: an empty text.
        func choice(_ column: Column) throws(MarsadError) -> String?? {
            try text(column).map { $0.isEmpty ? nil : $0 }
        }
        self.init()
        id = try text(.id)
        name = try text(.name)
        nameArabic = try text(.nameArabic)
        source = try text(.source)
        folderID = try choice(.folderID)
        externalID = try choice(.externalID)
        address = try text(.address).map { Redacted($0) }
        subAddress = try choice(.subAddress).map { $0.map { Redacted($0) } }
        hasAudio = try object.flag(Column.hasAudio.rawValue)
        isRecorded = try object.flag(Column.isRecorded.rawValue)
        if let days = try object.integer(
            Column.retentionDays.rawValue, in: Bounds.retentionDays)
        {
            retentionDays = days
        }
    }
}

extension Routes {
    func cameraImport(_ group: RouteGroup) {
        group.post("import", .permission(.administerCameras), .importCameras) {
            request, context in
            let isDryRun = Query(request).flag("dry_run") ?? false
            let isSheet = request.isOf("text/csv")
            guard isSheet || request.isOf("application/json") else {
                throw MarsadError(
                    .unsupportedMediaType, details: ["allowed": "text/csv, application/json"])
            }
            var request = request
            let body = try await request.collectBody(upTo: GatewaySettings.bodyBytes)
            let lines =
                isSheet
                ? try CameraSheet.lines(csv: Array(body.readableBytesView))
                : try CameraSheet.lines(json: body)
            let outcomes = try await services.cameraImport.run(
                lines, isDryRun: isDryRun, by: context.caller)
            if !isDryRun {
                let changed = outcomes.filter { $0.status == .changed }.compactMap(\.cameraID)
                if !changed.isEmpty { await reviewRights(on: Set(changed)) }
            }
            return try jsonResponse(
                ImportBody(outcomes, isDryRun: isDryRun), headers: [.cacheControl: "no-store"])
        }
    }
}
