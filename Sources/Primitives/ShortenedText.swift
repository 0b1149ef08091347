// Texts from outside, cut to what is kept of them.
// SPDX-License-Identifier: Apache-2.0

extension String {
    /// The first characters; the text itself, uncopied and uncounted, where it has no more.
    package func shortened(to characters: Int) -> String {
        utf8.count <= characters ? self : String(prefix(characters))
    }
}
