// The list of cameras as JSON, written once for all who ask within a second.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Ingest
import NIOCore
import Primitives
import Synchronization

/// A list of 500 cameras takes longer to write than all else that a request costs; so each camera is
/// written once for each reading of the directory, beside the requests, and an answer is put together from
/// those pieces.
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

    /// All cameras as they were at one moment.
    struct Page: Sendable {
        let snapshot: CameraDirectory.Snapshot
        let entries: [Entry]
    }

    private struct State {
        var newest: Page?
        /// For all who ask while it is under way.
        var writing: (snapshot: CameraDirectory.Snapshot, task: Task<Page, any Error>)?
    }

    private enum Known {
        case written(Page)
        case being(Task<Page, any Error>)
    }

    private let state = Mutex(State())

    /// While a page is being written, the one before is given out, unless it is too old or this process has
    /// changed a camera since.
    func page(
        of snapshot: CameraDirectory.Snapshot, _ node: any CameraNode, at now: Instant
    ) async throws -> Page {
        let known: Known = state.withLock { state in
            if let newest = state.newest, newest.snapshot.isAsNew(as: snapshot) {
                return .written(newest)
            }
            let task: Task<Page, any Error>
            if let writing = state.writing, writing.snapshot.isAsNew(as: snapshot) {
                task = writing.task
            } else {
                // Not on the connection's thread, whose other requests would wait for it.
                task = Task { try await self.write(snapshot, node) }
                state.writing = (snapshot, task)
            }
            if let newest = state.newest, newest.snapshot.mayStand(for: snapshot, at: now) {
                return .written(newest)
            }
            return .being(task)
        }
        switch known {
        case .written(let page): return page
        case .being(let task): return try await task.value
        }
    }

    private func write(
        _ snapshot: CameraDirectory.Snapshot, _ node: any CameraNode
    ) async throws -> Page {
        defer {
            state.withLock { state in
                if state.writing?.snapshot.revision == snapshot.revision { state.writing = nil }
            }
        }
        let states = await node.states()
        let entries = try snapshot.cameras.map { try Entry($0, states[$0.id] ?? StreamState()) }
        let page = Page(snapshot: snapshot, entries: entries)
        state.withLock { state in
            if state.newest.map({ snapshot.isAsNew(as: $0.snapshot) }) ?? true {
                state.newest = page
            }
        }
        return page
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
