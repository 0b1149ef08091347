// What the loops of live viewing share: where sessions and cameras are, and what was counted.
// SPDX-License-Identifier: Apache-2.0

import Domain
import NIOCore
import Primitives
import Synchronization
import WebRTC

/// Read from every thread. The packet path does not come here.
final class LiveShared: Sendable {
    /// The same for all viewers: it names the program, not them (RFC 7022 §4.2 wants a name that
    /// tells nothing).
    static let canonicalName = "marsad"

    /// Which way a session's media goes.
    enum Role: Sendable {
        case viewer
        case publisher
    }

    /// Where a session lives.
    struct Place: Sendable {
        var loop: LiveLoop.Handle
        var cameraID: CameraID
        var role = Role.viewer
        var isConnected = false
    }

    private struct State: Sendable {
        var cameras: [LiveSource: LiveCamera.Handle] = [:]
        /// The session that has a camera to publish.
        var publishers: [CameraID: String] = [:]
        var sessions: [String: Place] = [:]
        var handshakes = 0
        /// Streams that are transcoded at present.
        var transcodes = 0
        /// Viewers' sessions of a camera on each loop, connected or not.
        var loads: [CameraID: [Int: Int]] = [:]

        mutating func count(_ place: Place, _ change: Int) {
            guard place.role == .viewer else { return }
            let left = loads[place.cameraID, default: [:]][place.loop.index, default: 0] + change
            loads[place.cameraID]?[place.loop.index] = left > 0 ? left : nil
            if loads[place.cameraID]?.isEmpty ?? false { loads[place.cameraID] = nil }
        }
    }

    let world: World
    let metrics: LiveMetrics
    private let maxTranscodes: Int
    private let state = Mutex(State())

    init(world: World, metrics: LiveMetrics, maxTranscodes: Int) {
        self.world = world
        self.metrics = metrics
        self.maxTranscodes = maxTranscodes
    }

    /// The loop that a fragment's session lives on.
    static func loopIndex(ofFragment fragment: String) -> Int? {
        fragment.utf8.first.map { Int($0) - Int(UInt8(ascii: "a")) }
    }

    /// Credentials whose fragment says which loop they belong to.
    static func credentials(loop index: Int, random: () -> UInt64) -> ICECredentials {
        let random = ICECredentials(random: random)
        let letter = Character(Unicode.Scalar(UInt8(ascii: "a") &+ UInt8(clamping: index)))
        return ICECredentials(ufrag: String(letter) + random.ufrag, password: random.password)
    }

    // MARK: Cameras

    func camera(_ source: LiveSource) -> LiveCamera.Handle? {
        state.withLock { $0.cameras[source] }
    }

    func setCamera(_ handle: LiveCamera.Handle, _ source: LiveSource) {
        state.withLock { $0.cameras[source] = handle }
    }

    /// A camera that was given up; not the one that took its place meanwhile.
    func removeCamera(_ source: LiveSource, serial: UInt64) {
        state.withLock { if $0.cameras[source]?.serial == serial { $0.cameras[source] = nil } }
    }

    // MARK: Transcodes

    /// Takes a place for a stream that is to be transcoded; not when there are too many already.
    func beginTranscode() throws(MarsadError) {
        let count = state.withLock { state -> Int? in
            guard state.transcodes < maxTranscodes else { return nil }
            state.transcodes += 1
            return state.transcodes
        }
        guard let count else {
            throw MarsadError(
                .overloaded, details: ["reason": "TRANSCODES", "retry_after": "10"])
        }
        metrics.transcodes(count)
    }

    func endTranscode() {
        metrics.transcodes(
            state.withLock { state in
                state.transcodes -= 1
                return state.transcodes
            })
    }

    // MARK: Sessions

    /// Takes a place for a session that begins; not when there are too many already, in all or in
    /// their handshakes, nor for a second publisher of a camera.
    func admit(_ id: String, _ place: Place) throws(MarsadError) {
        let result = state.withLock { state -> Result<(Int, Int), MarsadError> in
            guard state.sessions.count < Limits.sessions, state.handshakes < Limits.handshakes
            else { return .failure(MarsadError(.overloaded, details: ["retry_after": "1"])) }
            if place.role == .publisher {
                guard state.publishers[place.cameraID] == nil else {
                    return .failure(.hasPublisher(place.cameraID))
                }
                state.publishers[place.cameraID] = id
            }
            state.sessions[id] = place
            state.count(place, 1)
            state.handshakes += 1
            return .success((state.sessions.count, state.handshakes))
        }
        let (sessions, handshakes) = try result.get()
        metrics.sessions(total: sessions, handshakes: handshakes)
    }

    func connected(_ id: String) {
        let counts = state.withLock { state in
            if state.sessions[id]?.isConnected == false { state.handshakes -= 1 }
            state.sessions[id]?.isConnected = true
            return (state.sessions.count, state.handshakes)
        }
        metrics.sessions(total: counts.0, handshakes: counts.1)
    }

    func ended(_ id: String, _ reason: PeerEnd) {
        let counts = state.withLock { state in
            if state.sessions[id]?.isConnected == false { state.handshakes -= 1 }
            if let gone = state.sessions.removeValue(forKey: id) {
                state.count(gone, -1)
                if state.publishers[gone.cameraID] == id { state.publishers[gone.cameraID] = nil }
            }
            return (state.sessions.count, state.handshakes)
        }
        metrics.sessions(total: counts.0, handshakes: counts.1)
        metrics.ended(reason)
    }

    func place(_ id: String) -> Place? { state.withLock { $0.sessions[id] } }

    /// The session that publishes a camera.
    func publisher(of id: CameraID) -> String? { state.withLock { $0.publishers[id] } }

    /// Connected viewers by camera.
    func viewers() -> [CameraID: Int] {
        state.withLock { state in
            var counts: [CameraID: Int] = [:]
            for place in state.sessions.values where place.isConnected && place.role == .viewer {
                counts[place.cameraID, default: 0] += 1
            }
            return counts
        }
    }

    /// Viewers' sessions of a camera on each loop, connected or not.
    func load(of id: CameraID) -> [Int: Int] { state.withLock { $0.loads[id] ?? [:] } }
}
