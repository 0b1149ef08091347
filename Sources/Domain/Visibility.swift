// Which cameras a caller sees, as every query takes it.
// SPDX-License-Identifier: Apache-2.0

/// The cameras that somebody may know of. A query without one does not compile; a camera outside it
/// does not exist for the caller.
///
/// Only Identity makes one from a caller's grants; the program itself uses `everything` where it acts
/// for nobody. A test of the house holds that.
package struct Visibility: Hashable, Sendable {
    private let scopes: Set<CameraScope>

    /// For the program's own work, never for a request.
    package static let everything = Visibility(scopes: [.all])

    /// Of somebody who has not signed in.
    package static let nothing = Visibility(scopes: [])

    package init(scopes: Set<CameraScope>) { self.scopes = scopes }

    package var isEverything: Bool { scopes.contains(.all) }

    package func allows(_ source: Source, _ folder: FolderID?) -> Bool {
        scopes.contains { $0.covers(source, folder) }
    }

    package func allows(_ camera: Camera) -> Bool { allows(camera.source, camera.folderID) }

    /// The sources of which anything is visible, in order; `nil` for all. Coarser than `allows`, for
    /// lists of sources and for narrowing a query before each of its rows is asked.
    package var sources: [Source]? {
        guard !isEverything else { return nil }
        let sources = scopes.compactMap { scope in
            switch scope {
            case .all: nil as Source?
            case .source(let source), .folder(let source, _): source
            }
        }
        return Set(sources).sorted()
    }
}
