// A wall as somebody arranged it: which camera is in which cell.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// A layout's identity: a lower-case UUID string.
package struct LayoutID: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: String

    package init?(_ text: some StringProtocol) {
        guard let text = canonicalUUID(text) else { return nil }
        rawValue = text
    }

    package var description: String { rawValue }
}

/// How a wall is divided.
package enum GridType: String, Sendable, CaseIterable {
    case twoByTwo = "2x2"
    case threeByThree = "3x3"
    case fourByFour = "4x4"
    /// One large cell, the first, among small ones.
    case hotspot16 = "16-hotspot"
    case hotspot64 = "64-hotspot"
    case eightByEight = "8x8"

    package var cells: Int {
        switch self {
        case .twoByTwo: 4
        case .threeByThree: 9
        case .fourByFour, .hotspot16: 16
        case .hotspot64, .eightByEight: 64
        }
    }
}

/// A layout's row.
package struct Layout: Sendable, Equatable {
    package let id: LayoutID
    package var name: String
    /// Whose it is: a user's id, or a part of the program where nobody signs in.
    package let owner: String
    /// Whether everybody has it.
    package var isGlobal: Bool
    package var grid: GridType
    /// By cell, from 0 on.
    package var cameras: [Int: CameraID]
    package let createdAt: WallTime
    package var updatedAt: WallTime

    package init(
        id: LayoutID, name: String, owner: String, isGlobal: Bool, grid: GridType,
        cameras: [Int: CameraID], createdAt: WallTime
    ) {
        self.id = id
        self.name = name
        self.owner = owner
        self.isGlobal = isGlobal
        self.grid = grid
        self.cameras = cameras
        self.createdAt = createdAt
        updatedAt = createdAt
    }
}
