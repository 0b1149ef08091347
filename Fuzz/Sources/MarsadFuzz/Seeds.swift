// The seeds: well-formed inputs of our own making, written into Seeds/ with `--write-seeds`.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import H26x
import MP4
import NIOCore
import Primitives
import RTP
import RTPFormats
import RTSP
import SDP

/// Inputs that get a fuzzer past the first checks of each target.
enum Seeds {
    // x264's parameter sets for ffmpeg's test picture: 64 × 48 baseline, and 640 × 360 high.
    private static let baselineSPS = bytes(
        "6742c00ada11ec0440000003004000000c83c489a8")
    private static let baselinePPS = bytes("68ce0fc8")
    private static let highSPS = bytes(
        "6764001eacd940a02ff97011000003000100000300320f162d96")
    private static let highPPS = bytes("68ebe3cb22c0")

    /// What libx265 wrote for 1280 × 720.
    private static let h265Sets = [
        "40010c01ffff01600000030090000003000003005d928090",
        "42010101600000030090000003000003005da00280802d16592a4932b9a8303037080000030008000003005040",
        "4401c172b46240",
    ].map(bytes)

    /// What our own server would describe.
    static let description = SessionDescription(
        name: "seed", media: [.h264(sps: baselineSPS, pps: baselinePPS)])

    /// Writes every seed into `folder/<target>/`.
    static func write(into folder: String) {
        for target in FuzzTarget.allCases {
            let place = "\(folder)/\(target.rawValue)"
            do {
                try FileManager.default.createDirectory(
                    atPath: place, withIntermediateDirectories: true)
                for (index, seed) in all(target).enumerated() {
                    let file = URL(fileURLWithPath: "\(place)/\(index).seed")
                    try Data(seed.readableBytesView).write(to: file)
                }
            } catch {
                print("cannot write into \(place): \(error)")
                exit(1)
            }
        }
    }

    private static func all(_ target: FuzzTarget) -> [ByteBuffer] {
        switch target {
        case .h26x: h26x
        case .rtp: rtp
        case .h265: h265
        case .depacketizer:
            [packets(unit, .h264, times: 3, marker: 1), packets(unit, .h264, times: 1, marker: 0)]
        case .h265Depacketizer:
            [
                packets(h265Unit, .h265, times: 3, marker: 1),
                packets(h265Unit, .h265, times: 1, marker: 0),
            ]
        case .sdp:
            [
                description.serialize(),
                ByteBuffer(string: "rtsp://user:pa%20ss@[2001:db8::1]:8554/live?channel=1"),
            ]
        case .message: [7, 200].map { prefixed(UInt8($0), conversation) }
        case .client: [conversation, digestConversation]
        case .server: [prefixed(0, requests), prefixed(1, requests)]
        case .mp4: mp4
        case .token: tokenSeeds
        case .ice, .framing, .offer, .trickle, .srtp, .dtls: liveSeeds(target)
        case .resp: resp
        case .csv:
            [
                "\u{FEFF}name,name_ar,source\r\n\"Gate \"\"1\"\"\",\"بوابة\n١\",METRO\r\n",
                "a;b\n\n1,5;\"x\"y\n\"unended",
            ].map { ByteBuffer(string: $0) }
        }
    }

    private static var resp: [ByteBuffer] {
        [
            "\u{3}+OK\r\n-MOVED 1 127.0.0.1:6379\r\n:-1\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n_\r\n",
            "\u{9}*2\r\n%1\r\n+a\r\n,1.5\r\n~1\r\n#t\r\n>2\r\n+m\r\n=7\r\ntxt:abc\r\n",
            "\u{5}|1\r\n+a\r\n(123\r\n!3\r\nERR\r\n,inf\r\n*0\r\n",
        ].map { ByteBuffer(string: $0) }
    }

    private static var unit: AccessUnit {
        var slice = ByteBuffer(bytes: [0x65, 0x88])
        slice.writeRepeatingByte(0x5A, count: 150)
        let message = SupplementalEnhancement.userDataUnregistered(
            .h264, uuid: [UInt8](repeating: 0x41, count: 16), payload: [0, 0, 0, 1, 2, 3])
        let units = [ByteBuffer(bytes: [9, 0xF0]), baselineSPS, baselinePPS, message, slice]
        return AccessUnit(
            avcc: AVCC.serialize(units), decodeTime: 3600, isRandomAccessPoint: true, wallTime: nil)
    }

    private static var h26x: [ByteBuffer] {
        let records = [(baselineSPS, baselinePPS), (highSPS, highPPS)].compactMap { sps, pps in
            try? ParameterSets(sps: sps, pps: pps).decoderConfiguration()
        }
        return [baselineSPS, highSPS, unit.avcc, AnnexB.serialize(unit.nalUnits())] + records
    }

    private static var h265: [ByteBuffer] {
        let record = try? ParameterSets(among: h265Sets, .h265).decoderConfiguration()
        return h265Sets + [AnnexB.serialize(h265Sets)] + (record.map { [$0] } ?? [])
    }

    private static var h265Unit: AccessUnit {
        var slice = ByteBuffer(bytes: [0x26, 1, 0xAF])
        slice.writeRepeatingByte(0x5A, count: 150)
        let units = [ByteBuffer(bytes: [0x46, 1, 0x50])] + h265Sets + [slice]
        return AccessUnit(
            avcc: AVCC.serialize(units), decodeTime: 3600, isRandomAccessPoint: true, wallTime: nil)
    }

    private static var rtp: [ByteBuffer] {
        let packet = Packet.serialize(
            marker: true, payloadType: 96, sequenceNumber: SequenceNumber(rawValue: 65_535),
            timestamp: RTPTimestamp(rawValue: .max), ssrc: SSRC(rawValue: 7), payload: baselineSPS)
        var receiver = Receiver()
        if let parsed = try? Packet(validating: packet) {
            _ = receiver.receive(parsed, at: Instant(nanoseconds: 0))
        }
        let block = receiver.reportBlock().map { [$0] } ?? []
        let compound = RTCPPacket.serialize([
            .senderReport(
                SenderReport(
                    ssrc: SSRC(rawValue: 7), ntpTime: NTPTimestamp(rawValue: 0xEC00_0000_8000_0000),
                    rtpTime: RTPTimestamp(rawValue: 1), packetCount: 2, octetCount: 3,
                    reports: block)),
            .receiverReport(ReceiverReport(ssrc: SSRC(rawValue: 8), reports: block)),
            .sdes(ssrc: SSRC(rawValue: 7), cname: "camera"), .bye([SSRC(rawValue: 7)]),
        ])
        return [packet, compound]
    }

    /// An access unit as packets, in the form that the depacketizers' targets read.
    private static func packets(
        _ unit: AccessUnit, _ codec: Codec, times: Int, marker: UInt8
    ) -> ByteBuffer {
        var list = ByteBuffer()
        for _ in 0..<times {
            let payloads = Packetizer(codec: codec, maxPayload: 64).packetize(unit)
            for (index, payload) in payloads.enumerated() {
                var control: UInt8 = index == 0 ? 0x02 : 0
                if index == payloads.count - 1 { control |= marker }
                list.writeMultipleIntegers(control, UInt16(payload.readableBytes))
                list.writeImmutableBuffer(payload)
            }
        }
        return list
    }

    private static var conversation: ByteBuffer {
        answers(describe: [])
    }

    private static var digestConversation: ByteBuffer {
        answers(describe: [
            "RTSP/1.0 401 Unauthorized\r\nCSeq: 2\r\nWWW-Authenticate: Digest realm=\"r\","
                + "nonce=\"n\",algorithm=SHA-256,qop=\"auth\"\r\n\r\n"
        ])
    }

    /// What a camera says to a viewer, up to the first RTP packet and a report.
    private static func answers(describe refusals: [String]) -> ByteBuffer {
        let session = "Session: 12345678;timeout=60\r\n"
        var cseq = 1
        var text = ByteBuffer(
            string: "RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: OPTIONS, DESCRIBE, GET_PARAMETER\r\n\r\n"
        )
        for refusal in refusals {
            cseq += 1
            text.writeString(refusal)
        }
        let sdp = String(buffer: description.serialize())
        text.writeString(
            "RTSP/1.0 200 OK\r\nCSeq: \(cseq + 1)\r\nContent-Base: rtsp://camera.example/live/\r\n"
                + "Content-Type: application/sdp\r\nContent-Length: \(sdp.utf8.count)\r\n\r\n\(sdp)"
                + "RTSP/1.0 200 OK\r\nCSeq: \(cseq + 2)\r\n\(session)"
                + "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
                + "RTSP/1.0 200 OK\r\nCSeq: \(cseq + 3)\r\n\(session)RTP-Info: url=a;seq=1\r\n\r\n")
        for (channel, packet) in rtp.enumerated() {
            text.writeImmutableBuffer(
                ServerSession.interleaved(channel: UInt8(channel), packet))
        }
        return text
    }

    private static var requests: ByteBuffer {
        let url = "rtsp://host/live"
        let lines = [
            "OPTIONS \(url) RTSP/1.0\r\nCSeq: 1",
            "DESCRIBE \(url) RTSP/1.0\r\nCSeq: 2\r\nAuthorization: Digest username=\"user\","
                + "realm=\"Marsad\",nonce=\"0123456789abcdef\",uri=\"\(url)\",response=\"00\"",
            "SETUP \(url)/trackID=0 RTSP/1.0\r\nCSeq: 3\r\n"
                + "Transport: RTP/AVP/TCP;unicast;interleaved=2-3",
            "PLAY \(url) RTSP/1.0\r\nCSeq: 4\r\nSession: 1\r\nRange: npt=0.000-",
            "TEARDOWN \(url) RTSP/1.0\r\nCSeq: 5\r\nSession: 1",
        ]
        return ByteBuffer(string: lines.map { $0 + "\r\n\r\n" }.joined())
    }

    private static var mp4: [ByteBuffer] {
        guard let sets = try? ParameterSets(sps: baselineSPS, pps: baselinePPS) else { return [] }
        let header = InitSegment.serialize(sets)
        var builder = FragmentBuilder(sequenceNumber: 1, baseDecodeTime: 90_000)
        var file = header
        var last = ByteBuffer()
        for _ in 0..<2 {
            builder.append(unit, duration: 3600)
            builder.append(unit, duration: 3600)
            last = builder.finish().serialize()
            file.writeImmutableBuffer(last)
        }
        return [header, last, file]
    }

    private static func prefixed(_ first: UInt8, _ rest: ByteBuffer) -> ByteBuffer {
        var whole = ByteBuffer(integer: first)
        whole.writeImmutableBuffer(rest)
        return whole
    }

    private static func bytes(_ hex: String) -> ByteBuffer {
        let digits = hex.compactMap(\.hexDigitValue)
        return ByteBuffer(
            bytes: stride(from: 0, to: digits.count - 1, by: 2).map {
                UInt8(digits[$0] << 4 | digits[$0 + 1])
            })
    }
}
