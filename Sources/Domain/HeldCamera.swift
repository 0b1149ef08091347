// What somebody has open of a camera: a reservation, a playback session.
// SPDX-License-Identifier: Apache-2.0

/// Asked about when rights change.
package struct HeldCamera: Sendable {
    /// Of the reservation or the session.
    package let id: String
    package let cameraID: CameraID
    /// With the rights that he had when it was opened.
    package let holder: Caller

    package init(id: String, cameraID: CameraID, holder: Caller) {
        self.id = id
        self.cameraID = cameraID
        self.holder = holder
    }
}
