// A session description as a value: a camera's answer to DESCRIBE, a browser's offer.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// A session description (RFC 8866) with what RTSP adds to it (RFC 2326 §C.1).
package struct SessionDescription: Equatable, Sendable {
    /// `s=`.
    package var name: String
    /// The aggregate control URL, as written; `*` stands for the base URL.
    package var control: String?
    /// The other attributes before the first section, in order.
    package var attributes: [Attribute]
    package var media: [Media]

    package init(
        name: String, control: String? = "*", attributes: [Attribute] = [], media: [Media]
    ) {
        self.name = name
        self.control = control
        self.attributes = attributes
        self.media = media
    }

    /// An `a=` line that has no member of its own here (RFC 8866 §5.13).
    package struct Attribute: Equatable, Sendable {
        /// Lower case.
        package var name: String
        /// What follows the colon, or empty.
        package var value: String

        package init(_ name: String, _ value: String = "") {
            self.name = name
            self.value = value
        }
    }

    /// Encoding and clock of a payload type (`a=rtpmap`, RFC 8866 §6.6).
    package struct RTPMap: Equatable, Sendable {
        /// As written, e.g. `H264`; compare without case.
        package var encoding: String
        package var clockRate: Int
        /// Of audio; 1 is not written.
        package var channels: Int

        package init(encoding: String, clockRate: Int, channels: Int = 1) {
            self.encoding = encoding
            self.clockRate = clockRate
            self.channels = channels
        }
    }

    /// One `m=` section.
    package struct Media: Equatable, Sendable {
        /// `video`, `audio`, `application`….
        package var kind: String
        package var port: Int
        /// The transport protocol, e.g. `RTP/AVP` or `UDP/TLS/RTP/SAVPF`.
        package var transport: String
        package var payloadTypes: [UInt8]
        /// The track's control URL, as written.
        package var control: String?
        package var rtpmap: [UInt8: RTPMap]
        /// Format parameters by payload type; names are lower case.
        package var fmtp: [UInt8: [String: String]]
        /// The section's other attributes, in order.
        package var attributes: [Attribute]

        package init(
            kind: String, port: Int = 0, transport: String = "RTP/AVP", payloadTypes: [UInt8],
            control: String? = nil, rtpmap: [UInt8: RTPMap] = [:],
            fmtp: [UInt8: [String: String]] = [:], attributes: [Attribute] = []
        ) {
            self.kind = kind
            self.port = port
            self.transport = transport
            self.payloadTypes = payloadTypes
            self.control = control
            self.rtpmap = rtpmap
            self.fmtp = fmtp
            self.attributes = attributes
        }

        /// The first payload type of an encoding, whatever its case.
        package func payloadType(encoding: String) -> UInt8? {
            payloadTypes.first { rtpmap[$0]?.encoding.lowercased() == encoding.lowercased() }
        }

        /// The decoded NAL units of `sprop-parameter-sets` (RFC 6184 §8.1) or of `sprop-vps`, `-sps`
        /// and `-pps` (RFC 7798 §7.1), undecodable ones left out. Trailing start codes are cut: GW
        /// Security cameras send `…00 00 00 01`.
        package func spropParameterSets(payloadType: UInt8) -> [ByteBuffer] {
            let names = ["sprop-parameter-sets", "sprop-vps", "sprop-sps", "sprop-pps"]
            let texts = names.compactMap { fmtp[payloadType]?[$0] }
            return texts.joined(separator: ",").utf8.split(separator: UInt8(ascii: ",")).prefix(16)
                .compactMap { item in
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

    /// An H.265 video section as this server offers it (RFC 7798 §7.1).
    package static func h265(
        payloadType: UInt8 = 96, vps: ByteBuffer, sps: ByteBuffer, pps: ByteBuffer,
        control: String = "trackID=0"
    ) -> SessionDescription.Media {
        SessionDescription.Media(
            kind: "video", payloadTypes: [payloadType], control: control,
            rtpmap: [payloadType: .init(encoding: "H265", clockRate: 90_000)],
            fmtp: [
                payloadType: [
                    "sprop-vps": Base64.encode(vps.readableBytesView),
                    "sprop-sps": Base64.encode(sps.readableBytesView),
                    "sprop-pps": Base64.encode(pps.readableBytesView),
                ]
            ])
    }
}
