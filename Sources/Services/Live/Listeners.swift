// Who hears which camera on one loop.
// SPDX-License-Identifier: Apache-2.0

import Domain
import RTPFormats

/// The audio streams of a loop's viewers. They are apart from the groups that share video: a viewer who
/// is moved to the sub-stream goes on hearing.
final class Listeners {
    private var streams: [CameraID: [AudioStream]] = [:]

    /// True for the camera's first one here.
    func add(_ stream: AudioStream, to camera: CameraID) -> Bool {
        streams[camera, default: []].append(stream)
        return streams[camera]?.count == 1
    }

    /// True for the camera's last one here.
    func remove(_ stream: AudioStream, from camera: CameraID) -> Bool {
        guard let left = streams[camera]?.filter({ $0 !== stream }) else { return false }
        streams[camera] = left.isEmpty ? nil : left
        return left.isEmpty
    }

    func receive(_ packet: AudioPacket, of camera: CameraID) {
        for stream in streams[camera] ?? [] { stream.send(packet) }
    }
}
