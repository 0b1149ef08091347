// A camera group: the folder within its source that cameras are put into.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// A group of cameras of one source, with its names. Who may do something in it may do so with every
/// camera that is put there, also later.
package struct CameraFolder: Sendable, Equatable {
    package let source: Source
    package let id: FolderID
    package var name: String
    package var nameArabic: String
    package let createdAt: WallTime
    package var updatedAt: WallTime

    package init(
        source: Source, id: FolderID, name: String, nameArabic: String = "", createdAt: WallTime
    ) {
        self.source = source
        self.id = id
        self.name = name
        self.nameArabic = nameArabic
        self.createdAt = createdAt
        updatedAt = createdAt
    }
}
