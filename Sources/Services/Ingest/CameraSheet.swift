// A file of cameras as a spreadsheet writes it: the header's names, and each record's cells as fields.
// SPDX-License-Identifier: Apache-2.0

import CSV
package import Domain
package import Primitives

/// One line of an import, before it is compared with the cameras that there are.
package struct ImportLine: Sendable {
    /// What was said of a camera; a value of `nil` inside says that the camera has none.
    package struct Words: Sendable {
        package var id: String?
        package var name: String?
        package var nameArabic: String?
        package var source: String?
        package var folderID: String??
        package var externalID: String??
        package var address: Redacted<String>?
        package var subAddress: Redacted<String>??
        package var hasAudio: Bool?
        package var isRecorded: Bool?
        package var retentionDays: Int??

        package init() {}

        /// A camera's fields with what was said here.
        func merged(with known: CameraDefinition.Fields) -> CameraDefinition.Fields {
            var fields = known
            fields.name = name ?? fields.name
            fields.nameArabic = nameArabic ?? fields.nameArabic
            fields.source = source ?? fields.source
            if let folderID { fields.folderID = folderID }
            if let externalID { fields.externalID = externalID }
            fields.address = address ?? fields.address
            if let subAddress { fields.subAddress = subAddress }
            fields.hasAudio = hasAudio ?? fields.hasAudio
            fields.isRecorded = isRecorded ?? fields.isRecorded
            if let retentionDays { fields.retentionDays = retentionDays }
            return fields
        }
    }

    /// From 1 on: the line of a text, or the place in an array.
    package var number: Int
    package var words: Result<Words, MarsadError>

    package init(number: Int, words: Result<Words, MarsadError>) {
        self.number = number
        self.words = words
    }
}

/// Reads lines of CSV. An empty cell says that the camera has none of it; a missing column says
/// nothing.
package enum CameraSheet {
    /// The columns, which are also the keys of the same in JSON.
    package enum Column: String, CaseIterable, Sendable {
        case id
        case name
        case nameArabic = "name_ar"
        case source
        case folderID = "folder_id"
        case externalID = "external_id"
        case address = "rtsp_url"
        case subAddress = "sub_rtsp_url"
        case hasAudio = "has_audio"
        case isRecorded = "recording"
        case retentionDays = "retention_days"
    }

    /// Throws INVALID_REQUEST for a header that cannot be used, PAYLOAD_TOO_LARGE for too many lines;
    /// what is wrong with one line is that line's.
    package static func lines(csv bytes: [UInt8]) throws(MarsadError) -> [ImportLine] {
        var reader = CSVReader(bytes)
        let columns = try columns(&reader)
        var lines: [ImportLine] = []
        while true {
            do throws(CSVError) {
                guard let record = try reader.next() else { return lines }
                lines.append(
                    ImportLine(number: record.line, words: words(record.fields, columns)))
            } catch {
                lines.append(
                    ImportLine(number: error.line, words: .failure(refusal(error.reason.rawValue))))
            }
            guard lines.count <= Limits.importLines else { throw tooLong }
        }
    }

    package static let tooLong = MarsadError(
        .payloadTooLarge, details: ["allowed": "\(Limits.importLines) cameras"])

    private static func columns(_ reader: inout CSVReader) throws(MarsadError) -> [Column] {
        let names: [String]
        do throws(CSVError) {
            names = try reader.next()?.fields ?? []
        } catch {
            throw refusal("the header: " + error.reason.rawValue)
        }
        var columns: [Column] = []
        for name in names {
            let word = name.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            guard let column = Column(rawValue: word.lowercased()), !columns.contains(column) else {
                throw MarsadError(
                    .invalidRequest,
                    details: [
                        "column": "\(ShownName(word))",
                        "allowed": Column.allCases.map(\.rawValue).joined(separator: ", "),
                    ])
            }
            columns.append(column)
        }
        guard !columns.isEmpty else { throw refusal("there is no header") }
        return columns
    }

    private static func words(
        _ cells: [String], _ columns: [Column]
    ) -> Result<ImportLine.Words, MarsadError> {
        guard cells.count == columns.count else {
            return .failure(
                refusal("it has \(cells.count) fields, and the header has \(columns.count)"))
        }
        var words = ImportLine.Words()
        do throws(MarsadError) {
            for (column, cell) in zip(columns, cells) { try set(column, cell, &words) }
        } catch {
            return .failure(error)
        }
        return .success(words)
    }

    private static func set(
        _ column: Column, _ cell: String, _ words: inout ImportLine.Words
    ) throws(MarsadError) {
        let text = cell.trimmingBlanks()
        let given = text.isEmpty ? nil : text
        switch column {
        case .id: words.id = given
        case .name: words.name = text
        case .nameArabic: words.nameArabic = text
        case .source: words.source = text
        case .folderID: words.folderID = .some(given)
        case .externalID: words.externalID = .some(given)
        case .address: words.address = given.map { Redacted($0) }
        case .subAddress: words.subAddress = .some(given.map { Redacted($0) })
        case .hasAudio: words.hasAudio = try flag(given, column) ?? false
        case .isRecorded: words.isRecorded = try flag(given, column) ?? true
        case .retentionDays:
            guard let given else {
                words.retentionDays = .some(nil)
                return
            }
            guard let days = Int(given) else {
                throw MarsadError(
                    .invalidRequest,
                    details: ["key": column.rawValue, "allowed": "a whole number"])
            }
            words.retentionDays = days
        }
    }

    private static func flag(_ text: String?, _ column: Column) throws(MarsadError) -> Bool? {
        guard let text else { return nil }
        switch text.lowercased() {
        case "true", "yes", "1": return true
        case "false", "no", "0": return false
        default:
            throw MarsadError(
                .invalidRequest, details: ["key": column.rawValue, "allowed": "true or false"])
        }
    }

    private static func refusal(_ reason: String) -> MarsadError {
        MarsadError(.invalidRequest, details: ["reason": reason])
    }
}

extension String {
    fileprivate func trimmingBlanks() -> String {
        let start = drop { $0.isWhitespace }
        guard let last = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(start[...last])
    }
}
