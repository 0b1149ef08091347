// The server's end of a live session, without sockets: the peer of the load client's viewers.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import Primitives
import RTP
import RTPFormats
import Simulation
import Testing
import WebRTC

/// One viewer's session as a server keeps it, sending made-up stamped frames.
final class LiveServerDouble {
    static let ssrc: UInt32 = 0x1234_5678
    static let rtxSSRC: UInt32 = 0x1234_5679
    static let address = TransportAddress(ipv4: 0x7F00_0001, port: 40_000)

    let answer: ByteBuffer
    private(set) var keys: KeyingMaterial?
    private(set) var hasEnded = false
    /// What the viewer asked for, and its receiver reports.
    private(set) var requested: [UInt16] = []
    private(set) var reports: [ReportBlock] = []
    var answersRequests = true
    /// Numbers of media packets that are not sent at first.
    var withheld: (Int) -> Bool = { _ in false }
    var outputs: [ByteBuffer] = []

    private var ice: ICELiteAgent
    private let dtls: DTLSEndpoint
    private let negotiated: Answer
    private var sealer: SRTPSealer?
    private var reportOpener: SRTCPOpener?
    private var nextIndex: UInt64
    private var nextResend: UInt64 = 100
    private var sent: [UInt16: (marker: Bool, timestamp: UInt32, payload: ByteBuffer)] = [:]
    private var packetCount = 0
    private let packetizer = Packetizer(codec: .h264, maxPayload: 1100)

    init(
        offer: ByteBuffer, identity: DTLSIdentity, address: TransportAddress = address,
        firstSequence: UInt16 = 65_500, at now: Instant, random: @escaping () -> UInt64
    ) throws {
        let parsed = try Offer(parsing: offer)
        let credentials = ICECredentials(random: random)
        negotiated = try Answer.viewing(
            parsed,
            video: VideoDescription(
                profileLevelID: 0x64_0028, ssrc: SSRC(rawValue: Self.ssrc),
                rtxSSRC: SSRC(rawValue: Self.rtxSSRC), cname: "double", streamID: "double"),
            ice: credentials, fingerprint: identity.fingerprint,
            candidates: [Candidate(address)])
        answer = negotiated.serialize()
        ice = ICELiteAgent(
            local: credentials, remote: negotiated.remoteICE, at: now, random: random)
        dtls = try DTLSEndpoint(
            identity: identity, role: .server, expects: negotiated.remoteFingerprint, at: now)
        nextIndex = UInt64(firstSequence)
    }

    func receive(_ datagram: ByteBuffer, from address: TransportAddress, at now: Instant) throws {
        switch datagram.getInteger(at: datagram.readerIndex, as: UInt8.self) ?? 255 {
        case 0...3: ice.receive(datagram, from: address, at: now)
        case 20...63: dtls.receive(datagram, at: now)
        default:
            let compound = try #require(try reportOpener?.open(datagram))
            for packet in try RTCPPacket.parse(compound: compound) { take(packet) }
        }
        try drain()
    }

    func advance(to now: Instant) throws {
        ice.advance(to: now)
        dtls.advance(to: now)
        try drain()
    }

    /// Sends a frame of one IDR or other slice behind its stamp.
    func send(
        frame number: UInt64, isRandomAccessPoint: Bool, sliceBytes: Int = 3000, wallTime: WallTime,
        camera: UInt16 = 7, isTorn: Bool = false, parameterSets: Bool = false
    ) {
        var random = SeededRandom(seed: number)
        var slice: [UInt8] = [isRandomAccessPoint ? 0x65 : 0x41, 0x88]
        while slice.count < sliceBytes { slice.append(UInt8(random.next() >> 56) | 1) }
        let nalUnit = ByteBuffer(bytes: slice)
        let stamp = FrameStamp(
            camera: camera, number: number, wallTime: wallTime,
            checksum: FrameStamp.checksum(of: [nalUnit]) &+ (isTorn ? 1 : 0))
        var nalUnits = [stamp.nalUnit(.h264), nalUnit]
        if parameterSets {
            nalUnits.insert(ByteBuffer(bytes: [0x67, 0x64, 0, 0x28, 0xAC]), at: 0)
            nalUnits.insert(ByteBuffer(bytes: [0x68, 0xEE, 0x3C, 0xB0]), at: 1)
        }
        let unit = AccessUnit(
            avcc: AVCC.serialize(nalUnits), decodeTime: 0, isRandomAccessPoint: isRandomAccessPoint,
            wallTime: wallTime)
        let payloads = packetizer.packetize(unit)
        for (index, payload) in payloads.enumerated() {
            sendPacket(
                marker: index == payloads.count - 1,
                timestamp: UInt32(truncatingIfNeeded: number &* 3600), payload)
        }
    }

    private func sendPacket(marker: Bool, timestamp: UInt32, _ payload: ByteBuffer) {
        let index = nextIndex
        nextIndex += 1
        sent[UInt16(truncatingIfNeeded: index)] = (marker, timestamp, payload)
        packetCount += 1
        guard !withheld(packetCount) else { return }
        seal(
            marker, negotiated.payloadType, index, timestamp, Self.ssrc, nil, payload)
    }

    private func seal(
        _ marker: Bool, _ payloadType: UInt8, _ index: UInt64, _ timestamp: UInt32,
        _ ssrc: UInt32, _ prefix: UInt16?, _ payload: ByteBuffer
    ) {
        guard let sealer else { return }
        var bytes = ByteBuffer()
        let room = payload.readableBytes + 64
        bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { target in
            guard let base = target.baseAddress else { return 0 }
            return payload.withUnsafeReadableBytes {
                sealer.seal(
                    marker: marker, payloadType: payloadType, index: index,
                    timestamp: timestamp, ssrc: ssrc, prefix: prefix, payload: $0, into: base)
            }
        }
        outputs.append(bytes)
    }

    private func take(_ packet: RTCPPacket) {
        if case .receiverReport(let report) = packet { reports += report.reports }
        guard case .nack(let request) = packet else { return }
        for number in request.lost {
            requested.append(number.rawValue)
            guard answersRequests, let old = sent[number.rawValue],
                let payloadType = negotiated.rtxPayloadType
            else { continue }
            seal(
                old.marker, payloadType, nextResend, old.timestamp, Self.rtxSSRC,
                number.rawValue, old.payload)
            nextResend += 1
        }
    }

    private func drain() throws {
        while let output = ice.pollOutput() {
            switch output {
            case .send(let bytes, _): outputs.append(bytes)
            case .selected: break
            case .consentLost, .timedOut: hasEnded = true
            }
        }
        while let output = dtls.pollOutput() {
            switch output {
            case .send(let bytes): outputs.append(bytes)
            case .connected(let keys):
                self.keys = keys
                sealer = try SRTPSealer(profile: keys.profile, keys: keys.local)
                reportOpener = try SRTCPOpener(profile: keys.profile, keys: keys.remote)
            case .failed, .closed: hasEnded = true
            }
        }
    }

    func close() throws {
        dtls.close()
        try drain()
    }
}
