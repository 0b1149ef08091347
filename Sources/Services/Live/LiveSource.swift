// What a group of viewers has in common: one stream of one camera.
// SPDX-License-Identifier: Apache-2.0

package import Domain

/// One stream of one camera.
package struct LiveSource: Hashable, Sendable {
    package var camera: CameraID
    package var stream: CameraStream

    package init(_ camera: CameraID, _ stream: CameraStream = .main) {
        self.camera = camera
        self.stream = stream
    }
}
