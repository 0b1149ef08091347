// The session description a camera answers to DESCRIBE, as a value.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// A session description (RFC 8866) with what RTSP adds to it (RFC 2326 §C.1).
package struct SessionDescription: Equatable, Sendable {
    /// `s=`.
    package var name: String
    /// The aggregate control URL, as written; `*` stands for the base URL.
    package var control: String?
    package var media: [Media]

    package init(name: String, control: String? = "*", media: [Media]) {
        self.name = name
        self.control = control
        self.media = media
    }

    /// Encoding and clock of a payload type (`a=rtpmap`, RFC 8866 §6.6).
    package struct RTPMap: Equatable, Sendable {
        /// As written, e.g. `H264`; compare without case.
        package var encoding: String
        package var clockRate: Int

        package init(encoding: String, clockRate: Int) {
            self.encoding = encoding
            self.clockRate = clockRate
        }
    }

    /// One `m=` section.
    package struct Media: Equatable, Sendable {
        /// `video`, `audio`, `application`….
        package var kind: String
        package var port: Int
        package var payloadTypes: [UInt8]
        /// The track's control URL, as written.
        package var control: String?
        package var rtpmap: [UInt8: RTPMap]
        /// Format parameters by payload type; names are lower case.
        package var fmtp: [UInt8: [String: String]]

        package init(
            kind: String, port: Int = 0, payloadTypes: [UInt8], control: String? = nil,
            rtpmap: [UInt8: RTPMap] = [:], fmtp: [UInt8: [String: String]] = [:]
        ) {
            self.kind = kind
            self.port = port
            self.payloadTypes = payloadTypes
            self.control = control
            self.rtpmap = rtpmap
            self.fmtp = fmtp
        }

        /// The first payload type of an encoding, whatever its case.
        package func payloadType(encoding: String) -> UInt8? {
            payloadTypes.first { rtpmap[$0]?.encoding.lowercased() == encoding.lowercased() }
        }

        /// The decoded NAL units of `sprop-parameter-sets` (RFC 6184 §8.1), undecodable ones left
        /// out. Trailing start codes are cut: GW Security cameras send `…00 00 00 01`.
        package func spropParameterSets(payloadType: UInt8) -> [ByteBuffer] {
            guard let text = fmtp[payloadType]?["sprop-parameter-sets"] else { return [] }
            return text.utf8.split(separator: UInt8(ascii: ",")).prefix(16).compactMap { item in
                guard var bytes = Base64.decode(String(decoding: item, as: UTF8.self)) else {
                    return nil
                }
                if bytes.count > 4, bytes.suffix(3) == [0, 0, 1] {
                    bytes.removeLast(3)
                    while bytes.last == 0 { bytes.removeLast() }
                }
                return bytes.isEmpty ? nil : ByteBuffer(bytes: bytes)
            }
        }
    }
}

extension SessionDescription.Media {
    /// An H.264 video section as this server offers it (RFC 6184 §8.2.1, packetization mode 1).
    package static func h264(
        payloadType: UInt8 = 96, sps: ByteBuffer, pps: ByteBuffer, control: String = "trackID=0"
    ) -> SessionDescription.Media {
        let level = sps.readableBytesView.dropFirst().prefix(3).map { byte in
            let hex = String(byte, radix: 16, uppercase: true)
            return hex.count == 1 ? "0" + hex : hex
        }.joined()
        let sets =
            Base64.encode(sps.readableBytesView) + "," + Base64.encode(pps.readableBytesView)
        return SessionDescription.Media(
            kind: "video", payloadTypes: [payloadType], control: control,
            rtpmap: [payloadType: .init(encoding: "H264", clockRate: 90_000)],
            fmtp: [
                payloadType: [
                    "packetization-mode": "1", "profile-level-id": level,
                    "sprop-parameter-sets": sets,
                ]
            ])
    }
}

extension SessionDescription {
    /// The bytes of the description, strict (RFC 8866 §5) whatever was read before.
    package func serialize() -> ByteBuffer {
        let title = Self.oneLine(name)
        var lines = [
            "v=0", "o=- 0 0 IN IP4 0.0.0.0", "s=\(title.isEmpty ? "-" : title)",
            "c=IN IP4 0.0.0.0", "t=0 0",
        ]
        if let control { lines.append("a=control:\(Self.oneLine(control))") }
        for section in media {
            let types = section.payloadTypes.map(String.init).joined(separator: " ")
            lines.append("m=\(Self.oneLine(section.kind)) \(section.port) RTP/AVP \(types)")
            for type in section.payloadTypes {
                if let map = section.rtpmap[type] {
                    lines.append("a=rtpmap:\(type) \(Self.oneLine(map.encoding))/\(map.clockRate)")
                }
                if let parameters = section.fmtp[type], !parameters.isEmpty {
                    let list = parameters.sorted { $0.key < $1.key }
                        .map { "\(Self.oneLine($0.key))=\(Self.oneLine($0.value))" }
                        .joined(separator: ";")
                    lines.append("a=fmtp:\(type) \(list)")
                }
            }
            if let control = section.control { lines.append("a=control:\(Self.oneLine(control))") }
        }
        return ByteBuffer(string: lines.joined(separator: "\r\n") + "\r\n")
    }

    /// No value may start a line of its own.
    private static func oneLine(_ text: String) -> String {
        String(decoding: text.utf8.filter { $0 >= 0x20 && $0 != 0x7F }, as: UTF8.self)
    }
}
