// The form of log lines, and what never reaches them.
// SPDX-License-Identifier: Apache-2.0
import Dispatch
import Foundation
import Glibc
import Logging
import Observability
import Primitives
import Synchronization
import Testing

@Suite struct LoggingTests {
    /// Runs the body with a logger on a pipe and returns the lines written.
    private func lines(
        level: Logger.Level = .trace, _ body: (Logger) -> Void
    ) throws -> [String] {
        let path = NSTemporaryDirectory() + "marsad-log-\(UUID().uuidString)"
        let descriptor = open(path, O_CREAT | O_RDWR, 0o600)
        try #require(descriptor >= 0)
        defer {
            close(descriptor)
            unlink(path)
        }
        let sink = LogSink(descriptor: descriptor)
        body(
            Logger(label: "test") { _ in
                JSONLogHandler(level: level, sink: sink) { WallTime(microseconds: 1) }
            })
        sink.flush()
        let text = try String(contentsOfFile: path, encoding: .utf8)
        return text.split(separator: "\n").map(String.init)
    }

    @Test("writes one object a line, its own keys first and metadata in order")
    func form() throws {
        let written = try lines { logger in
            logger.info(
                "camera is live",
                metadata: [
                    "event": "camera.live", "duration_ms": .stringConvertible(12),
                    "camera_id": "c1", "ok": .stringConvertible(true), "level": "mine",
                    "list": ["a", ["k": "v"]],
                ], source: "Ingest")
        }
        let expected =
            #"{"timestamp":"1970-01-01T00:00:00.000001Z","level":"info","#
            + #""message":"camera is live","module":"Ingest","camera_id":"c1","#
            + #""duration_ms":12,"event":"camera.live","metadata_level":"mine","#
            + #""list":["a",{"k":"v"}],"ok":true}"#
        #expect(written == [expected])
    }

    @Test("escapes what could end a line or a string, and stays JSON")
    func escaping() throws {
        let nasty = "a\"b\\c\nd\r\t\u{0}\u{1F}\u{7F}\u{85}\u{2028}كاميرا😀"
        let written = try lines { $0.error("\(nasty)", metadata: ["x\n": .string(nasty)]) }
        #expect(written.count == 1)
        let object = try JSONSerialization.jsonObject(with: Data(try #require(written.first).utf8))
        let fields = try #require(object as? [String: Any])
        #expect(fields["message"] as? String == nasty)
        #expect(fields["x\n"] as? String == nasty)
    }

    @Test("writes nothing below the level")
    func level() throws {
        let written = try lines(level: .warning) { logger in
            logger.info("no")
            logger.warning("yes")
        }
        #expect(written.count == 1)
    }

    @Test("never writes a planted password, wherever it stands")
    func secrets() throws {
        struct Failure: Error, CustomStringConvertible {
            var description: String { "GET rtsp://admin:planted@10.0.0.1/live failed" }
        }
        let url = "rtsp://admin:planted@10.0.0.1:554/live"
        let written = try lines { logger in
            logger.error(
                "could not open \(url)", error: Failure(),
                metadata: [
                    "url": .string(url), "list": [.string(url)],
                    "secret": .stringConvertible(Redacted("planted")),
                ])
        }
        #expect(written.count == 1)
        #expect(!written.joined().contains("planted"))
        #expect(written.joined().contains("rtsp://•••@10.0.0.1:554/live"))
    }

    @Test("drops lines instead of waiting for a reader that does not read, and says how many")
    func bounded() throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        let sink = LogSink(descriptor: ends[1], maxPendingBytes: 64 << 10)
        let line = String(repeating: "x", count: 1023) + "\n"
        for _ in 0..<1000 { sink.write(line) }
        let seen = Mutex("")
        let reader = DispatchQueue(label: "test.reader")
        reader.async { [end = ends[0]] in
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            while true {
                let count = read(end, &buffer, buffer.count)
                if count <= 0 { break }
                seen.withLock { $0 += String(decoding: buffer[0..<count], as: UTF8.self) }
            }
            close(end)
        }
        sink.flush()
        close(ends[1])
        reader.sync {}
        let text = seen.withLock { $0 }
        #expect(text.contains("\"message\":\"log lines dropped\""))
        #expect(text.utf8.count < 1000 * 1024)
    }

    @Test(
        "removes credentials from addresses",
        arguments: [
            ("rtsp://a:b@h/x", "rtsp://•••@h/x"),
            ("see rtsp://a:p@s/w?d@h:5/x?y=1, http://h/", "see rtsp://•••@h:5/x?y=1, http://h/"),
            ("rtsps://user@h", "rtsps://•••@h"),
            ("RTSP://a:b@h", "RTSP://•••@h"),
            ("rtsp://h/x?user=a&password=p&c=1", "rtsp://h/x?user=a&password=•••&c=1"),
            ("rtsp://h/user=admin_Password=abc_channel=1", "rtsp://h/user=admin_Password=•••"),
            ("rtsp://h:554/plain", "rtsp://h:554/plain"),
            ("\"rtsp://a:b@h\" mail@x.y", "\"rtsp://•••@h\" mail@x.y"),
            ("://", "://"), ("rtsp://@", "rtsp://•••@"), ("a:/", "a:/"),
            ("كاميرا rtsp://مدير:سر@h", "كاميرا rtsp://•••@h"),
        ])
    func scrubbing(text: String, expected: String) {
        #expect(Scrubber.scrub(text) == expected)
    }

    @Test("survives any text, and leaves no secret between the scheme and the last @")
    func sweep() {
        var random = SeededRandom(seed: 7)
        let alphabet = Array("rtsp:/@?&=password \"'<>%\n•")
        for _ in 0..<2000 {
            let noise = String((0..<20).map { _ in alphabet.randomElement(using: &random) ?? "x" })
            _ = Scrubber.scrub(noise)
            #expect(!Scrubber.scrub("rtsp://u:PLANTED@h/" + noise).contains("PLANTED"))
        }
    }
}
