// A name from outside as it may be said back.
// SPDX-License-Identifier: Apache-2.0

/// What was given where a name is expected. It is said back where it can be one: of a password in the
/// wrong place nothing is shown.
package struct ShownName: Hashable, Sendable, CustomStringConvertible {
    private static let longest = 48

    package let description: String

    package init(_ given: some StringProtocol) {
        let isName =
            !given.isEmpty && given.utf8.count <= Self.longest
            && given.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                    || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                    || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".")
                    || byte == UInt8(ascii: "-")
            }
        description = isName ? String(given) : "•••"
    }
}
