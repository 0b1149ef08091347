// Logs as one JSON object a line.
// SPDX-License-Identifier: Apache-2.0
package import Logging
package import Primitives

/// A swift-log handler whose lines have `timestamp`, `level`, `message` and `module` first and the
/// metadata after them, in the order of their names. Every text passes `Scrubber`.
package struct JSONLogHandler: LogHandler {
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?

    private let sink: LogSink
    private let now: @Sendable () -> WallTime

    /// Keys of the line itself, which metadata cannot overwrite.
    private static let reserved: Set<String> = ["timestamp", "level", "message", "module"]
    /// How deep metadata may nest before the rest is left out.
    private static let maxDepth = 8

    package init(
        level: Logger.Level, sink: LogSink, now: @escaping @Sendable () -> WallTime,
        metadataProvider: Logger.MetadataProvider? = nil
    ) {
        logLevel = level
        self.sink = sink
        self.now = now
        self.metadataProvider = metadataProvider
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var line = "{\"timestamp\":\"\(now())\",\"level\":\"\(event.level.rawValue)\",\"message\":"
        Self.append(event.message.description, to: &line)
        line += ",\"module\":"
        Self.append(event.source, to: &line)
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { _, new in new } }
        if let own = event.metadata { all.merge(own) { _, new in new } }
        if let error = event.error, all["error"] == nil {
            all["error"] = .string(String(describing: error))
        }
        for (key, value) in all.sorted(by: { $0.key < $1.key }) {
            line += ","
            Self.append(Self.reserved.contains(key) ? "metadata_" + key : key, to: &line)
            line += ":"
            Self.append(value, depth: 0, to: &line)
        }
        line += "}\n"
        sink.write(line)
    }

    private static func append(
        _ value: Logger.Metadata.Value, depth: Int, to line: inout String
    ) {
        guard depth < maxDepth else {
            line += "null"
            return
        }
        switch value {
        case .string(let text): append(text, to: &line)
        case .stringConvertible(let value): appendConvertible(value, to: &line)
        case .array(let values):
            line += "["
            for (index, value) in values.enumerated() {
                if index > 0 { line += "," }
                append(value, depth: depth + 1, to: &line)
            }
            line += "]"
        case .dictionary(let values):
            line += "{"
            for (index, pair) in values.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { line += "," }
                append(pair.key, to: &line)
                line += ":"
                append(pair.value, depth: depth + 1, to: &line)
            }
            line += "}"
        }
    }

    /// Numbers and truth stay what they are, so that `duration_ms` can be compared where logs go.
    private static func appendConvertible(
        _ value: any CustomStringConvertible & Sendable, to line: inout String
    ) {
        switch value {
        case let value as any BinaryInteger & CustomStringConvertible: line += value.description
        case let value as Bool: line += value ? "true" : "false"
        case let value as Double where value.isFinite: line += value.description
        case let value as Float where value.isFinite: line += value.description
        default: append(value.description, to: &line)
        }
    }

    private static func append(_ text: String, to line: inout String) {
        JSONText.append(Scrubber.scrub(text), to: &line)
    }
}

/// JSON strings (RFC 8259 §7).
enum JSONText {
    private static let hex = Array("0123456789abcdef")

    /// Appends the quoted string. Control characters of both sets and the two separators that end a
    /// line for some readers are escaped: a camera's name cannot forge a second line.
    static func append(_ text: String, to line: inout String) {
        line += "\""
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x22: line += "\\\""
            case 0x5C: line += "\\\\"
            case 0x0A: line += "\\n"
            case 0x0D: line += "\\r"
            case 0x09: line += "\\t"
            case 0..<0x20, 0x7F...0x9F, 0x2028, 0x2029:
                line += "\\u"
                for shift in [12, 8, 4, 0] as [UInt32] {
                    line.append(hex[Int(scalar.value >> shift & 0xF)])
                }
            default: line.unicodeScalars.append(scalar)
            }
        }
        line += "\""
    }
}
