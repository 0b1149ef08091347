// All cameras of one server and who watches them: lives on one event loop, paced by one timer.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import Primitives
import RTP
import RTSP
import SDP

/// The simulated wall clock: the real one at the start, then as fast as the settings say.
struct SimulatedClock: Sendable {
    let start: WallTime
    let origin: NIODeadline
    let speed: Double

    func wallTime(at now: NIODeadline) -> WallTime {
        let elapsed = Double((now - origin).nanoseconds) * speed / 1000
        return WallTime(microseconds: start.microseconds + Int64(elapsed))
    }
}

/// Deliberately not Sendable: only its event loop touches it.
final class CameraHub {
    private let clock: SimulatedClock
    /// The main streams, then the sub-streams: each is a camera to its readers.
    private var cameras: [SimulatedCamera]
    private let mainStreams: Int
    /// The same for all cameras.
    private var sound: SimulatedSound?
    private var faults: [CameraServer.Fault]
    /// Who plays each camera, by the camera's index.
    private var readers: [[CameraConnection]]
    private var connections: [ObjectIdentifier: CameraConnection] = [:]
    /// Ticks over which a frame's packets are spread; `nil` sends a frame in one write.
    private let spread: Int?

    /// A camera this far behind (the process was suspended) goes on with the present.
    private static let maxLag = Duration.seconds(2)

    init(
        cameras mains: [SimulatedCamera], subStreams: [SimulatedCamera], clock: SimulatedClock,
        faults: [Int: CameraServer.Fault], spread: Int?, sound: SimulatedSound? = nil
    ) {
        self.sound = sound
        cameras = mains + subStreams
        mainStreams = mains.count
        self.clock = clock
        self.spread = spread
        self.faults = cameras.map { faults[$0.number] ?? .none }
        readers = cameras.map { _ in [] }
    }

    // MARK: Connections

    func opened(_ connection: CameraConnection) {
        connections[ObjectIdentifier(connection)] = connection
    }

    func closed(_ connection: CameraConnection) {
        connections[ObjectIdentifier(connection)] = nil
        for index in readers.indices { readers[index].removeAll { $0 === connection } }
    }

    func closeAll() {
        for connection in Array(connections.values) { connection.close() }
    }

    /// The stream's index in a path such as `/camera_7` or `/camera_7/sub`; `nil` where there is none.
    func index(path: String) -> Int? {
        let parts = path.split(whereSeparator: { $0 == "/" || $0 == "?" })
        guard let first = parts.first, first.hasPrefix("camera_"),
            let number = Int(first.dropFirst(7)), number >= 1, number <= mainStreams
        else { return nil }
        let index = parts.dropFirst().first == "sub" ? mainStreams + number - 1 : number - 1
        return cameras.indices.contains(index) ? index : nil
    }

    func isDown(_ index: Int) -> Bool { faults[index] == .down }

    func description(_ index: Int) -> SessionDescription {
        let sets = cameras[index].clip.parameterSets
        let audio = sound == nil || index >= mainStreams ? [] : [Self.audio]
        return SessionDescription(
            name: "camera_\(cameras[index].number)",
            media: [Self.media(sets)] + audio)
    }

    private static func media(_ sets: ParameterSets) -> SessionDescription.Media {
        let type = SimulatedCamera.payloadType
        guard let vps = sets.vps else {
            return .h264(payloadType: type, sps: sets.sps, pps: sets.pps)
        }
        return .h265(payloadType: type, vps: vps, sps: sets.sps, pps: sets.pps)
    }

    private static let audio = SessionDescription.Media(
        kind: "audio", payloadTypes: [SimulatedSound.payloadType], control: "trackID=1",
        rtpmap: [
            SimulatedSound.payloadType: .init(
                encoding: SimulatedSound.codec.encoding, clockRate: SimulatedSound.codec.clockRate)
        ])

    /// Lets a connection have the camera's frames, from the next IDR on.
    func play(_ connection: CameraConnection, _ index: Int) {
        if readers[index].isEmpty { cameras[index].skip(to: clock.wallTime(at: .now())) }
        cameras[index].hurryReport()
        connection.isWaitingForStart = true
        readers[index].append(connection)
    }

    func stopPlaying(_ connection: CameraConnection) {
        for index in readers.indices { readers[index].removeAll { $0 === connection } }
    }

    // MARK: Faults and time

    func setFault(camera: Int, _ fault: CameraServer.Fault) {
        for index in cameras.indices where cameras[index].number == camera {
            faults[index] = fault
            guard fault == .down else { continue }
            for connection in Array(connections.values) where connection.camera == index {
                connection.close()
            }
        }
    }

    /// Sends what is due.
    func tick() {
        let now = clock.wallTime(at: .now())
        for index in cameras.indices where !readers[index].isEmpty {
            let lag = Self.maxLag * max(1, clock.speed)
            if faults[index] != .none || now - cameras[index].nextWallTime > lag {
                cameras[index].skip(to: now)
                for reader in readers[index] { reader.isWaitingForStart = true }
            }
            while cameras[index].nextWallTime <= now { sendFrame(index) }
            if let spread {
                for reader in readers[index] { reader.sendWaiting(oneOf: spread) }
            }
        }
        sendSound(at: now)
    }

    private func sendSound(at now: WallTime) {
        guard var sound else { return }
        if now - sound.nextWallTime > Self.maxLag * max(1, clock.speed) { sound.skip(to: now) }
        while sound.nextWallTime <= now {
            let packet = sound.packet()
            for index in readers.indices where faults[index] == .none {
                for reader in readers[index] where reader.isWritable {
                    guard let channel = reader.audioChannelNumber else { continue }
                    reader.send(ServerSession.interleaved(channel: channel, packet))
                }
            }
        }
        self.sound = sound
    }

    private func sendFrame(_ index: Int) {
        let isRandomAccessPoint = cameras[index].nextIsRandomAccessPoint
        var takers: [CameraConnection] = []
        for reader in readers[index] {
            if !reader.isWritable {
                // A slow reader loses whole groups of pictures, as with a real camera.
                reader.isWaitingForStart = true
            } else if isRandomAccessPoint {
                reader.isWaitingForStart = false
            }
            if !reader.isWaitingForStart { takers.append(reader) }
        }
        guard let first = takers.first else { return cameras[index].skipFrame() }
        let frame = cameras[index].sendFrame(channel: first.channelNumber)
        for taker in takers {
            let own =
                taker.channelNumber == first.channelNumber
                ? frame : Self.moved(frame, from: first.channelNumber, to: taker.channelNumber)
            if spread == nil { taker.send(own) } else { taker.spread(own) }
        }
    }

    /// The same interleaved packets on another pair of channels.
    private static func moved(_ bytes: ByteBuffer, from: UInt8, to: UInt8) -> ByteBuffer {
        var out = bytes
        var at = out.readerIndex
        while let channel = out.getInteger(at: at + 1, as: UInt8.self),
            let length = out.getInteger(at: at + 2, as: UInt16.self)
        {
            out.setInteger(channel &- from &+ to, at: at + 1)
            at += 4 + Int(length)
        }
        return out
    }
}
