// Answers of real cameras through the decoder, the SDP reader and the client session.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import H26x
import NIOCore
import Primitives
import RTSP
import SDP
import Testing

private enum Transcripts {
    static let folder: URL = {
        if let path = ProcessInfo.processInfo.environment["MARSAD_SHARED"] {
            return URL(filePath: path).appending(path: "media/rtsp-transcripts")
        }
        return URL(filePath: #filePath).resolvingSymlinksInPath()
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "shared/media/rtsp-transcripts")
    }()

    static var names: [String] {
        let files = try? FileManager.default.contentsOfDirectory(atPath: folder.path)
        return (files ?? []).filter { $0.hasSuffix(".txt") }.sorted()
    }

    static func read(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: folder.appending(path: name)))
    }
}

@Suite(
    .enabled(
        if: !Transcripts.names.isEmpty,
        "needs shared/media/rtsp-transcripts beside the repository, or MARSAD_SHARED"))
struct TranscriptTests {
    @Test("every answer decodes, and every description has a control URL for its video")
    func all() throws {
        var descriptions = 0
        var withSets = 0
        var withH265 = 0
        for name in Transcripts.names {
            let bytes = try Transcripts.read(name)
            var body = ByteBuffer(bytes: bytes)
            var headers = Headers()
            if bytes.starts(with: "RTSP/".utf8) {
                let response = try #require(try response(bytes), "\(name)")
                #expect([200, 401].contains(response.status), "\(name)")
                #expect(response.headers["CSeq"] != nil, "\(name)")
                body = response.body
                headers = response.headers
            }
            guard body.readableBytes > 0 else { continue }
            descriptions += 1
            let sdp = try SessionDescription(parsing: body)
            let video = try #require(sdp.media.first { $0.kind == "video" }, "\(name)")
            #expect(video.control != nil, "\(name)")
            if let type = video.payloadType(encoding: "H265") {
                let track = try play(body, headers)
                #expect(track.codec == .h265 && track.payloadType == type, "\(name)")
                #expect(track.parameterSets?.codec == .h265, "\(name)")
                withH265 += 1
                continue
            }
            guard let type = video.payloadType(encoding: "H264") else { continue }
            let offered = video.fmtp[type]?["sprop-parameter-sets"] != nil
            let track = try play(body, headers)
            #expect(track.codec == .h264, "\(name)")
            #expect((track.parameterSets != nil) == offered, "\(name)")
            if offered { withSets += 1 }
        }
        #expect(Transcripts.names.count == 43)
        #expect(descriptions == 19)
        #expect(withSets >= 15)
        #expect(withH265 == 3)
    }

    @Test("the track's URL follows Content-Base, whatever the camera puts there")
    func setupTargets() throws {
        for (name, target) in [
            ("dahua_describe_h264_aac_onvif.txt", "/trackID=0"),
            ("gw_main_describe.txt", "proto=Onvif/video"),
            (
                "hikvision_describe.txt",
                "/101/trackID=1?transportmode=unicast&profile=Profile_1"
            ),
            ("h264dvr_describe.txt", "rtsp://127.0.0.1/camera/trackID=3"),
            ("foscam_describe.txt", "rtsp://192.168.5.107:65534/videoMain/track1"),
        ] {
            let response = try #require(try response(Transcripts.read(name)))
            let sent = try requests(response.body, response.headers)
            #expect(sent.last?.contains("\(target) RTSP/1.0") == true, "\(name)")
        }
    }

    private func response(_ bytes: [UInt8]) throws -> Response? {
        var decoder = MessageDecoder()
        decoder.receive(ByteBuffer(bytes: bytes))
        // Some fixtures end before their Content-Length, or without the blank line.
        if case .response(let response) = try decoder.next() { return response }
        decoder.receive(ByteBuffer(string: "\r\n\r\n"))
        if case .response(let response) = try decoder.next() { return response }
        return nil
    }

    private func session(_ body: ByteBuffer, _ headers: Headers) throws -> ClientSession {
        var session = ClientSession(
            url: try RTSPURL(parsing: "rtsp://camera/live"), credentials: nil, userAgent: "test",
            nonce: { "" })
        let now = Instant(nanoseconds: 0)
        session.start(at: now)
        session.receive(ByteBuffer(string: "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"), at: now)
        var answer = Headers()
        answer.add("CSeq", "2")
        if let base = headers["Content-Base"] { answer.add("Content-Base", base) }
        let response = Response(status: 200, reason: "OK", headers: answer, body: body)
        session.receive(response.serialize(), at: now)
        return session
    }

    private func play(_ body: ByteBuffer, _ headers: Headers) throws -> VideoTrack {
        var session = try session(body, headers)
        var track: VideoTrack?
        while let output = session.pollOutput() {
            if case .described(let offered) = output { track = offered }
        }
        return try #require(track)
    }

    private func requests(_ body: ByteBuffer, _ headers: Headers) throws -> [String] {
        var session = try session(body, headers)
        var sent: [String] = []
        while let output = session.pollOutput() {
            if case .send(let bytes) = output { sent.append(String(buffer: bytes)) }
        }
        return sent
    }
}
