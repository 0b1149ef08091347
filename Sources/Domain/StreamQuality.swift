// What a viewer may ask of a camera's picture.
// SPDX-License-Identifier: Apache-2.0

/// The `quality` of a reservation. A camera without a sub-stream has one quality, whatever is asked.
package enum StreamQuality: String, Sendable, CaseIterable {
    /// The main stream while the viewer's network carries it, else the sub-stream.
    case auto = "AUTO"
    /// The main stream, come what may.
    case high = "HIGH"
    /// The sub-stream; the main one until it comes, and while it is lost.
    case medium = "MEDIUM"
    /// The sub-stream and nothing else.
    case low = "LOW"
}
