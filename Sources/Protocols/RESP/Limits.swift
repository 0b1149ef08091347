// Every limit of the decoder in one place.
// SPDX-License-Identifier: Apache-2.0

/// What one value may be. A server that is ours answers far less; one that is not must not take the
/// memory.
package struct RESPLimits: Sendable {
    package var depth = 16
    package var lineBytes = 64 * 1024
    package var bulkBytes = 16 << 20
    /// All elements of one value together, at every depth.
    package var elements = 1 << 20

    package init() {}
}
