// Reading a peer's SDP: what is missing is refused with its name, what is foreign is left out.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
import Primitives
import RTP
import SDP

extension PeerDescription {
    private static let maxBytes = 64 * 1024

    /// Reads an offer or answer (RFC 8829 §5.8). Every section must be usable, since a session
    /// with a rejected section is a partial one (RFC 9725 §4.2).
    package init(parsing bytes: ByteBuffer) throws(OfferError) {
        let description = try Self.description(bytes)
        guard let first = description.media.first else {
            throw .malformed("no media section")
        }
        guard description.media.count <= 2 else {
            throw .unsupported("more than one video and one audio section")
        }
        sections = []
        for media in description.media {
            let section = try PeerSection(media, in: description)
            guard sections.allSatisfy({ $0.kind != section.kind }) else {
                throw .unsupported("two \(section.kind.rawValue) sections")
            }
            guard sections.allSatisfy({ $0.mid != section.mid }) else {
                throw .malformed("two sections with one mid")
            }
            sections.append(section)
        }
        let group = description.attributes.first { attribute in
            attribute.name == "group" && attribute.value.hasPrefix("BUNDLE")
        }
        let bundled = group.map { words($0.value).dropFirst() } ?? []
        isBundled = group != nil
        guard sections.allSatisfy({ bundled.contains($0.mid) }) || sections.count == 1 else {
            throw .unsupported("sections outside of one BUNDLE group")
        }
        // In a bundle the transport is described by the group's first section (RFC 9143 §7.1).
        let tagged = description.media.first { $0.value("mid") == bundled.first } ?? first
        ice = try Self.credentials(tagged, description)
        fingerprint = try Self.fingerprint(tagged, description)
        guard let role = tagged.value("setup") ?? description.value("setup") else {
            throw .malformed("no setup attribute")
        }
        guard let setup = DTLSSetup(rawValue: role) else { throw .unsupported("setup \(role)") }
        self.setup = setup
        isICELite = description.value("ice-lite") != nil
        let options = tagged.value("ice-options") ?? description.value("ice-options") ?? ""
        trickles = words(options).contains("trickle")
        let lines = description.media.flatMap(\.attributes)
        candidates = lines.filter { $0.name == "candidate" }.prefix(64)
            .compactMap { Candidate(parsing: $0.value) }
        isEndOfCandidates = lines.contains { $0.name == "end-of-candidates" }
    }

    private static func description(_ bytes: ByteBuffer) throws(OfferError) -> SessionDescription {
        guard bytes.readableBytes <= maxBytes else { throw .malformed("too long") }
        guard bytes.readableBytesView.starts(with: Array("v=0".utf8)) else {
            throw .malformed("it does not start with v=0")
        }
        guard SDPLines.areWellFormed(bytes) else {
            throw .malformed("a line that is no SDP line")
        }
        do {
            return try SessionDescription(parsing: bytes)
        } catch {
            throw .malformed("\(error)")
        }
    }

    private static func credentials(
        _ section: SessionDescription.Media, _ description: SessionDescription
    ) throws(OfferError) -> ICECredentials {
        guard let ufrag = section.value("ice-ufrag") ?? description.value("ice-ufrag"),
            let password = section.value("ice-pwd") ?? description.value("ice-pwd")
        else { throw .malformed("no ice-ufrag or ice-pwd") }
        guard let credentials = SDPLines.credentials(ufrag: ufrag, password: password) else {
            throw .malformed("ice-ufrag or ice-pwd")
        }
        return credentials
    }

    private static func fingerprint(
        _ section: SessionDescription.Media, _ description: SessionDescription
    ) throws(OfferError) -> Fingerprint {
        var lines = section.attributes.filter { $0.name == "fingerprint" }
        if lines.isEmpty { lines = description.attributes.filter { $0.name == "fingerprint" } }
        guard !lines.isEmpty else { throw .malformed("no fingerprint") }
        for line in lines.prefix(8) {
            if let fingerprint = Fingerprint(parsing: line.value) { return fingerprint }
        }
        throw .unsupported("no fingerprint that can be checked")
    }
}

extension PeerSection {
    fileprivate init(
        _ media: SessionDescription.Media, in description: SessionDescription
    ) throws(OfferError) {
        guard let kind = Kind(rawValue: media.kind) else {
            throw .unsupported("a section of kind \(media.kind.prefix(32))")
        }
        guard media.transport == "UDP/TLS/RTP/SAVPF" || media.transport == "TCP/TLS/RTP/SAVPF"
        else { throw .unsupported("the transport of section \(kind.rawValue)") }
        guard media.port != 0 || media.value("bundle-only") != nil else {
            throw .unsupported("a section with port 0")
        }
        guard let mid = media.value("mid"), SDPLines.isToken(mid, 1...64) else {
            throw .malformed("a section without mid")
        }
        guard media.value("rtcp-mux") != nil else { throw .unsupported("RTCP on its own port") }
        self.kind = kind
        self.mid = mid
        direction =
            Self.direction(media.attributes) ?? Self.direction(description.attributes) ?? .sendrecv
        hasReducedSizeRTCP = media.value("rtcp-rsize") != nil
        codecs = Self.codecs(media)
        extensions = [:]
        for line in media.attributes where line.name == "extmap" {
            let parts = words(line.value)
            guard parts.count >= 2, let id = parts[0].split(separator: "/").first.map(String.init),
                let number = UInt16(id)
            else { continue }
            extensions[number] = parts[1]
        }
        readSources(media)
    }

    private static func direction(
        _ attributes: [SessionDescription.Attribute]
    ) -> MediaDirection? {
        for attribute in attributes {
            if let direction = MediaDirection(rawValue: attribute.name) { return direction }
        }
        return nil
    }

    private static func codecs(_ media: SessionDescription.Media) -> [OfferedCodec] {
        var feedback: [String: FeedbackKinds] = [:]
        for line in media.attributes where line.name == "rtcp-fb" {
            let parts = words(line.value)
            let text = parts.dropFirst().joined(separator: " ").lowercased()
            guard let type = parts.first,
                let named = FeedbackKinds.names.first(where: { $0.text == text })
            else { continue }
            feedback[type, default: []].formUnion(named.kind)
        }
        var codecs: [OfferedCodec] = []
        for type in media.payloadTypes where codecs.allSatisfy({ $0.payloadType != type }) {
            guard let map = media.rtpmap[type] ?? staticMaps[type] else { continue }
            codecs.append(
                OfferedCodec(
                    payloadType: type, encoding: map.encoding.uppercased(),
                    clockRate: map.clockRate, channels: map.channels,
                    parameters: media.fmtp[type] ?? [:],
                    feedback: (feedback[String(type)] ?? []).union(feedback["*"] ?? [])))
        }
        for rtx in codecs where rtx.encoding == "RTX" {
            guard let original = rtx.parameters["apt"].flatMap({ UInt8($0) }),
                let index = codecs.firstIndex(where: { $0.payloadType == original }),
                codecs[index].rtxPayloadType == nil
            else { continue }
            codecs[index].rtxPayloadType = rtx.payloadType
        }
        return codecs.filter { $0.encoding != "RTX" }
    }

    /// The types that need no `a=rtpmap` (RFC 3551 §6).
    private static let staticMaps: [UInt8: SessionDescription.RTPMap] = [
        0: .init(encoding: "PCMU", clockRate: 8000), 8: .init(encoding: "PCMA", clockRate: 8000),
    ]

    private mutating func readSources(_ media: SessionDescription.Media) {
        for line in media.attributes where line.name == "ssrc-group" {
            let parts = words(line.value)
            guard parts.count == 3, parts[0] == "FID", let original = UInt32(parts[1]),
                let resend = UInt32(parts[2])
            else { continue }
            ssrc = SSRC(rawValue: original)
            rtxSSRC = SSRC(rawValue: resend)
            return
        }
        let line = media.attributes.first { $0.name == "ssrc" }
        ssrc = line.flatMap { words($0.value).first }.flatMap { UInt32($0) }
            .map(SSRC.init(rawValue:))
    }
}

/// The parts of SDP's grammar that offers and trickle fragments share.
enum SDPLines {
    /// Whether every line that is not empty is `<letter>=…` in UTF-8 (RFC 8866 §5).
    static func areWellFormed(_ bytes: ByteBuffer) -> Bool {
        guard String(validating: bytes.readableBytesView, as: UTF8.self) != nil else {
            return false
        }
        for line in bytes.readableBytesView.split(separator: 0x0A) {
            if line.count == 1, line.first == 0x0D { continue }
            guard line.count >= 2, let letter = line.first,
                letter >= UInt8(ascii: "a"), letter <= UInt8(ascii: "z"),
                line.dropFirst().first == UInt8(ascii: "=")
            else { return false }
        }
        return true
    }

    /// Credentials of legal length and characters (RFC 8839 §5.4).
    static func credentials(ufrag: String, password: String) -> ICECredentials? {
        guard isICEText(ufrag, 4...256), isICEText(password, 22...256) else { return nil }
        return ICECredentials(ufrag: ufrag, password: Redacted(password))
    }

    /// A token (RFC 8866 §9) of a bounded length.
    static func isToken(_ text: String, _ length: ClosedRange<Int>) -> Bool {
        let others = Array("!#$%&'*+-.^_`{|}~".utf8)
        return length.contains(text.utf8.count)
            && text.utf8.allSatisfy { isAlphanumeric($0) || others.contains($0) }
    }

    private static func isICEText(_ text: String, _ length: ClosedRange<Int>) -> Bool {
        length.contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                isAlphanumeric(byte) || byte == UInt8(ascii: "+") || byte == UInt8(ascii: "/")
            }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default:
            false
        }
    }
}

extension SessionDescription {
    fileprivate func value(_ name: String) -> String? {
        attributes.first { $0.name == name }?.value
    }
}

extension SessionDescription.Media {
    fileprivate func value(_ name: String) -> String? {
        attributes.first { $0.name == name }?.value
    }
}

/// The words of an attribute's value.
private func words(_ text: String) -> [String] {
    text.utf8.split(separator: 0x20).map { String(decoding: $0, as: UTF8.self) }
}
