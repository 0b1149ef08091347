// Many cameras at once: each line for itself, and the same file twice changes nothing.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import Primitives
import Synchronization

/// What became of one line.
package struct ImportOutcome: Sendable, Equatable {
    package enum Status: String, CaseIterable, Sendable {
        case created
        case changed
        case unchanged
        case error
    }

    package var line: Int
    package var status: Status
    /// `nil` for an error, and for what a dry run would create.
    package var cameraID: CameraID?
    package var failure: MarsadError?
}

/// Imports cameras; one import at a time.
package final class CameraImport: Sendable {
    private let administration: CameraAdministration
    private let isRunning = Mutex(false)

    package init(_ administration: CameraAdministration) { self.administration = administration }

    /// What there is, by what a line may name it with.
    private struct Known {
        struct Key: Hashable {
            var source: Source
            var word: String
        }

        var cameras: [CameraID: Camera] = [:]
        var external: [Key: CameraID] = [:]
        /// Cameras without an external id, by where they are.
        var places: [Key: CameraID] = [:]
        var folders: Set<CameraScope> = []

        mutating func remember(_ camera: Camera) {
            if let before = cameras.updateValue(camera, forKey: camera.id) {
                if let word = before.externalID {
                    external[Key(source: before.source, word: word)] = nil
                } else if let place = CameraAddress.place(before.address) {
                    places[Key(source: before.source, word: place)] = nil
                }
            }
            if let word = camera.externalID {
                external[Key(source: camera.source, word: word)] = camera.id
            } else if let place = CameraAddress.place(camera.address) {
                places[Key(source: camera.source, word: place)] = camera.id
            }
        }
    }

    /// Answers one outcome a line, in their order. Cameras that a file does not name stay as they are.
    ///
    /// A line is its camera's by `id`, else by `source` and `external_id`, else by `source` and the
    /// address without credentials, which a camera without an external id has. What a line does not say
    /// stays as it is. Throws CONFLICT while another import runs.
    /// - Parameter isDryRun: whether nothing is to be changed.
    package func run(
        _ lines: [ImportLine], isDryRun: Bool, by caller: Caller
    ) async throws -> [ImportOutcome] {
        let isFree = isRunning.withLock { isRunning in
            defer { isRunning = true }
            return !isRunning
        }
        guard isFree else {
            throw MarsadError(.conflict, details: ["reason": "another import is running"])
        }
        defer { isRunning.withLock { $0 = false } }
        var known = Known()
        for camera in try await administration.cameras.all(caller.visibility) {
            known.remember(camera)
        }
        known.folders = Set(
            try await administration.folders.all(caller.visibility).map {
                .folder($0.source, $0.id)
            })
        var seen: [CameraID: Int] = [:]
        var outcomes: [ImportOutcome] = []
        for line in lines {
            var outcome = ImportOutcome(line: line.number, status: .error)
            do {
                let words = try line.words.get()
                let before = try Self.find(words, in: known)
                if let before, let other = seen[before.id] {
                    throw MarsadError(.alreadyExists, details: ["line": "\(other)"])
                }
                let wanted = try Self.definition(words, of: before, known, caller)
                let (camera, status) = try await apply(wanted, to: before, isDryRun, caller)
                known.remember(camera)
                seen[camera.id] = line.number
                outcome.status = status
                if status != .created || !isDryRun { outcome.cameraID = camera.id }
            } catch let error as MarsadError {
                outcome.failure = error
            } catch {
                outcome.failure = MarsadError(.storageUnavailable)
            }
            outcomes.append(outcome)
        }
        return outcomes
    }

    private static func find(
        _ words: ImportLine.Words, in known: Known
    ) throws(MarsadError) -> Camera? {
        if let text = words.id {
            guard let camera = CameraID(text).flatMap({ known.cameras[$0] }) else {
                throw MarsadError(.cameraNotFound)
            }
            return camera
        }
        guard let source = words.source.flatMap({ Source($0) }) else { return nil }
        if let word = words.externalID ?? nil,
            let id = known.external[Known.Key(source: source, word: word)]
        {
            return known.cameras[id]
        }
        guard let place = words.address.flatMap({ CameraAddress.place($0) }),
            let id = known.places[Known.Key(source: source, word: place)]
        else { return nil }
        return known.cameras[id]
    }

    private static func definition(
        _ words: ImportLine.Words, of before: Camera?, _ known: Known, _ caller: Caller
    ) throws(MarsadError) -> CameraDefinition {
        let fields = words.merged(
            with: before.map(CameraDefinition.Fields.init(of:)) ?? CameraDefinition.Fields())
        let wanted = try CameraDefinition(fields)
        guard (before?.origin ?? .rtsp) == .whip || wanted.address != nil else {
            throw MarsadError(
                .invalidRequest, details: ["key": "rtsp_url", "reason": "it is needed"])
        }
        guard caller.visibility.allows(wanted.source, wanted.folderID) else {
            throw MarsadError(.sourceForbidden, details: ["source": wanted.source.rawValue])
        }
        if let folder = wanted.folderID, !known.folders.contains(.folder(wanted.source, folder)) {
            throw CameraStore.missingFolder
        }
        return wanted
    }

    /// The camera as it is then, or would be.
    private func apply(
        _ wanted: CameraDefinition, to before: Camera?, _ isDryRun: Bool, _ caller: Caller
    ) async throws -> (Camera, ImportOutcome.Status) {
        guard let before else {
            guard !isDryRun else {
                guard let id = CameraID(administration.world.makeID()) else {
                    throw MarsadError(.internalError)
                }
                return (
                    wanted.camera(id, origin: .rtsp, at: administration.world.wallTime()), .created
                )
            }
            return (try await administration.add(wanted, by: caller), .created)
        }
        var after = before
        wanted.apply(to: &after)
        guard after != before else { return (before, .unchanged) }
        guard !isDryRun else { return (after, .changed) }
        return (try await administration.change(before, to: wanted, by: caller), .changed)
    }
}
