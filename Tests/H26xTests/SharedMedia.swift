// Finds the shared clips and transcripts that the tests read and the repository does not hold.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore

/// The shared media folder: `MARSAD_SHARED`, or `shared` beside the repository.
enum SharedMedia {
    static let folder: URL = {
        let environment = ProcessInfo.processInfo.environment["MARSAD_SHARED"]
        let repository = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let shared =
            environment.map { URL(fileURLWithPath: $0) }
            ?? repository.deletingLastPathComponent().appendingPathComponent("shared")
        return shared.appendingPathComponent("media")
    }()

    static var isPresent: Bool { FileManager.default.fileExists(atPath: folder.path) }

    static func bytes(_ name: String) throws -> ByteBuffer {
        ByteBuffer(bytes: try Data(contentsOf: folder.appendingPathComponent(name)))
    }

    /// The body of the first `avcC` or `hvcC` box of a clip, found by its name: these clips have one.
    static func decoderRecord(_ name: String, box: String = "avcC") throws -> ByteBuffer? {
        let data = try Data(contentsOf: folder.appendingPathComponent(name))
        guard let found = data.range(of: Data(box.utf8)) else { return nil }
        let size = data[(found.lowerBound - 4)..<found.lowerBound].reduce(0) { $0 << 8 | Int($1) }
        return ByteBuffer(bytes: data[found.upperBound..<(found.lowerBound + size - 4)])
    }

    /// The decoded parameter sets of a transcript (RFC 6184 §8.1, RFC 7798 §7.1).
    static func parameterSets(
        inTranscript name: String, keys: [String] = ["sprop-parameter-sets"]
    ) throws -> [ByteBuffer] {
        let url = folder.appendingPathComponent("rtsp-transcripts/\(name)")
        let text = try String(contentsOf: url, encoding: .utf8)
        return keys.flatMap { key -> [ByteBuffer] in
            guard let found = text.range(of: key + "=") else { return [] }
            let value = text[found.upperBound...].prefix { !"; \r\n".contains($0) }
            return value.split(separator: ",")
                .compactMap { Data(base64Encoded: String($0)) }.map { ByteBuffer(bytes: $0) }
        }
    }
}
