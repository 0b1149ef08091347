// Layouts behind one door: whose they are, who may change them, and which cameras are seen in them.
// SPDX-License-Identifier: Apache-2.0

package import Database
package import Domain
import Primitives

/// What somebody wants a layout to be.
package struct LayoutDefinition: Sendable {
    package var name: String
    package var isGlobal: Bool
    package var grid: GridType
    package var cameras: [Int: CameraID]

    package init(name: String, isGlobal: Bool, grid: GridType, cameras: [Int: CameraID]) {
        self.name = name
        self.isGlobal = isGlobal
        self.grid = grid
        self.cameras = cameras
    }
}

/// Reads and changes layouts for somebody: his own, and as an administrator of layouts those of
/// everybody. A camera that he may not know of is in none that he sees.
package struct LayoutService: Sendable {
    /// Commits statements with the event that tells of them, both or neither.
    package typealias Commit =
        @Sendable (AuditEvent, [Statement]) async throws(DatabaseError) -> Void
    /// The cameras that may be known of.
    package typealias VisibleCameras = @Sendable (Visibility) async throws -> Set<CameraID>

    /// Of one user.
    package static let layoutsAtMost = 200

    private let store: LayoutStore
    private let world: World
    private let visible: VisibleCameras
    private let commit: Commit

    package init(
        store: LayoutStore, world: World, visible: @escaping VisibleCameras,
        commit: @escaping Commit
    ) {
        self.store = store
        self.world = world
        self.visible = visible
        self.commit = commit
    }

    package func layouts(for caller: Caller) async throws -> [Layout] {
        let seen = try await visible(caller.visibility)
        return try await store.layouts(of: Self.owner(caller)).map { Self.shown($0, seen) }
    }

    package func layout(_ id: LayoutID, for caller: Caller) async throws -> Layout {
        Self.shown(try await known(id, to: caller), try await visible(caller.visibility))
    }

    /// Throws FORBIDDEN for one of everybody's without `layout:admin`, CAMERA_NOT_FOUND for a camera
    /// that may not be known of, UNPROCESSABLE for one too many.
    package func add(_ wanted: LayoutDefinition, by caller: Caller) async throws -> Layout {
        try Self.check(wanted, caller)
        _ = try await seen(wanted, caller)
        let owner = Self.owner(caller)
        let own = try await store.layouts(of: owner).count { $0.owner == owner }
        guard own < Self.layoutsAtMost else {
            throw MarsadError(
                .unprocessable, details: ["reason": "at most \(Self.layoutsAtMost) layouts"])
        }
        guard let id = LayoutID(world.makeID()) else { throw MarsadError(.internalError) }
        let layout = Layout(
            id: id, name: wanted.name, owner: owner, isGlobal: wanted.isGlobal, grid: wanted.grid,
            cameras: wanted.cameras, createdAt: world.wallTime())
        try await commit("CREATED", layout, LayoutStore.insertion(of: layout), caller)
        return layout
    }

    /// Cameras that the caller may not know of stay where they are, as far as there is room for them.
    package func change(
        _ id: LayoutID, to wanted: LayoutDefinition, by caller: Caller
    ) async throws -> Layout {
        var layout = try await changeable(id, by: caller)
        try Self.check(wanted, caller)
        let seen = try await seen(wanted, caller)
        let hidden = layout.cameras.filter { cell, camera in
            !seen.contains(camera) && cell < wanted.grid.cells
        }
        layout.name = wanted.name
        layout.isGlobal = wanted.isGlobal
        layout.grid = wanted.grid
        layout.cameras = wanted.cameras.merging(hidden) { mine, _ in mine }
        layout.updatedAt = world.wallTime()
        try await commit("CHANGED", layout, LayoutStore.update(layout), caller)
        return Self.shown(layout, seen)
    }

    package func remove(_ id: LayoutID, by caller: Caller) async throws {
        let layout = try await changeable(id, by: caller)
        try await commit("DELETED", layout, LayoutStore.removal(of: id), caller)
    }

    // MARK: Steps

    private func known(_ id: LayoutID, to caller: Caller) async throws -> Layout {
        guard let layout = try await store.layout(id),
            layout.isGlobal || layout.owner == Self.owner(caller)
        else { throw MarsadError(.notFound) }
        return layout
    }

    /// One of everybody's is an administrator's to change, whoever made it.
    private func changeable(_ id: LayoutID, by caller: Caller) async throws -> Layout {
        let layout = try await known(id, to: caller)
        guard !layout.isGlobal || caller.may(.administerLayouts) else {
            throw MarsadError(.forbidden, details: ["permission": "layout:admin"])
        }
        return layout
    }

    private static func check(
        _ wanted: LayoutDefinition, _ caller: Caller
    ) throws(MarsadError) {
        guard !wanted.isGlobal || caller.may(.administerLayouts) else {
            throw MarsadError(.forbidden, details: ["permission": "layout:admin"])
        }
        guard wanted.cameras.keys.allSatisfy((0..<wanted.grid.cells).contains) else {
            throw MarsadError(
                .invalidRequest, details: ["key": "cell", "allowed": "0…\(wanted.grid.cells - 1)"])
        }
    }

    /// What the caller sees, where all that he wants is among it.
    private func seen(
        _ wanted: LayoutDefinition, _ caller: Caller
    ) async throws -> Set<CameraID> {
        let seen = try await visible(caller.visibility)
        if let camera = wanted.cameras.values.sorted().first(where: { !seen.contains($0) }) {
            throw MarsadError(.cameraNotFound, details: ["camera_id": camera.rawValue])
        }
        return seen
    }

    private func commit(
        _ action: String, _ layout: Layout, _ statements: [Statement], _ caller: Caller
    ) async throws(MarsadError) {
        let details = [
            "layout_id": layout.id.rawValue, "name": layout.name, "action": action,
            "is_global": "\(layout.isGlobal)",
        ]
        do {
            try await commit(AuditEvent(.layoutChanged, by: caller, details: details), statements)
        } catch .expectationFailed {
            throw MarsadError(.notFound)
        } catch {
            throw MarsadError(.storageUnavailable)
        }
    }

    private static func owner(_ caller: Caller) -> String { caller.actor.description }

    private static func shown(_ layout: Layout, _ seen: Set<CameraID>) -> Layout {
        var layout = layout
        layout.cameras = layout.cameras.filter { seen.contains($0.value) }
        return layout
    }
}
