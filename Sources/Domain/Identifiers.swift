// The one form of identifiers, and those of people and groups.
// SPDX-License-Identifier: Apache-2.0

/// A text that is a lower-case UUID, the one form of identifiers: safe in paths, labels and SQL.
func canonicalUUID(_ text: some StringProtocol) -> String? {
    var text = String(text)
    let isCanonical = text.withUTF8 { bytes in
        bytes.count == 36
            && bytes.indices.allSatisfy { index in
                switch index {
                case 8, 13, 18, 23: bytes[index] == UInt8(ascii: "-")
                default:
                    (48...57).contains(bytes[index]) || (97...102).contains(bytes[index])
                }
            }
    }
    return isCanonical ? text : nil
}

/// A user's identity: a lower-case UUID string.
package struct UserID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: String

    package init?(_ text: some StringProtocol) {
        guard let text = canonicalUUID(text) else { return nil }
        rawValue = text
    }

    package static func < (a: UserID, b: UserID) -> Bool { a.rawValue < b.rawValue }
    package var description: String { rawValue }
}

/// A group's identity: a lower-case UUID string.
package struct GroupID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: String

    package init?(_ text: some StringProtocol) {
        guard let text = canonicalUUID(text) else { return nil }
        rawValue = text
    }

    package static func < (a: GroupID, b: GroupID) -> Bool { a.rawValue < b.rawValue }
    package var description: String { rawValue }
}

/// A group of cameras within a source; a camera that is put into it later belongs to it as well.
package struct FolderID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: String

    /// Lower-case letters, digits and hyphens, 1 to 64 of them.
    package init?(_ text: some StringProtocol) {
        let isAllowed = text.utf8.prefix(65).allSatisfy {
            (97...122).contains($0) || (48...57).contains($0) || $0 == UInt8(ascii: "-")
        }
        guard (1...64).contains(text.utf8.count), isAllowed else { return nil }
        rawValue = String(text)
    }

    package static func < (a: FolderID, b: FolderID) -> Bool { a.rawValue < b.rawValue }
    package var description: String { rawValue }
}
