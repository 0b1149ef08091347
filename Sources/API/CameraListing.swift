// The list of cameras as JSON, written once for all who ask within a second.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Ingest
import NIOCore
import Synchronization

/// A list of 500 cameras takes longer to write than all else that a request costs; so each camera is
/// written once for each reading of the directory, and an answer is put together from those pieces.
final class CameraListing: Sendable {
    /// One camera, with what a list is searched by.
    struct Entry: Sendable {
        let camera: Camera
        let status: String
        let words: String
        let json: ByteBuffer

        init(_ camera: Camera, _ state: StreamState) throws {
            let body = CameraBody(camera, state)
            self.camera = camera
            status = body.status
            words = camera.name.lowercased() + "\n" + camera.nameArabic
            json = try jsonBytes(body)
        }
    }

    private struct Written {
        var revision: Int
        var entries: [Entry]
    }

    private let written = Mutex<Written?>(nil)

    func entries(
        of snapshot: CameraDirectory.Snapshot, _ node: any CameraNode
    ) async throws -> [Entry] {
        if let known = written.withLock({ $0 }), known.revision == snapshot.revision {
            return known.entries
        }
        let states = await node.states()
        let entries = try snapshot.cameras.map { try Entry($0, states[$0.id] ?? StreamState()) }
        written.withLock { $0 = Written(revision: snapshot.revision, entries: entries) }
        return entries
    }

    /// The contract's answer, of these entries.
    static func body(_ entries: some Collection<Entry>, total: Int, at time: String) -> ByteBuffer {
        var body = ByteBuffer()
        body.reserveCapacity(entries.reduce(80) { $0 + $1.json.readableBytes + 1 })
        body.writeStaticString("{\"cameras\":[")
        var isFirst = true
        for entry in entries {
            if !isFirst { body.writeStaticString(",") }
            body.writeImmutableBuffer(entry.json)
            isFirst = false
        }
        body.writeString("],\"last_updated\":\"\(time)\",\"total\":\(total)}")
        return body
    }
}
