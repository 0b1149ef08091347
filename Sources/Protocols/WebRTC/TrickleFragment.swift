// Trickled candidates and ICE restarts: the body of a PATCH, and of its answer.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
import Primitives

/// A piece of SDP about ICE alone (`application/trickle-ice-sdpfrag`, RFC 8840 §9).
package struct TrickleFragment: Sendable {
    /// The candidates of one section.
    package struct Section: Equatable, Sendable {
        /// `video` or `audio`; only `mid` says which section is meant.
        package var kind: String
        package var mid: String
        package var candidates: [Candidate]
        /// No more will come (RFC 8840 §8.2).
        package var isComplete: Bool

        package init(
            kind: String, mid: String, candidates: [Candidate] = [], isComplete: Bool = false
        ) {
            self.kind = kind
            self.mid = mid
            self.candidates = candidates
            self.isComplete = isComplete
        }
    }

    private static let maxBytes = 64 * 1024
    private static let maxSections = 8
    private static let maxCandidates = 64

    /// The credentials the candidates belong to; others than the session's ask for a restart.
    package var ice: ICECredentials?
    package var isICELite: Bool
    package var sections: [Section]
    /// Candidates that cannot be used: mDNS names, other transports, damage.
    package private(set) var skipped = 0

    package init(ice: ICECredentials?, isICELite: Bool = false, sections: [Section]) {
        self.ice = ice
        self.isICELite = isICELite
        self.sections = sections
    }

    /// All usable candidates, of whichever section: they share one transport.
    package var candidates: [Candidate] { sections.flatMap(\.candidates) }
    /// No more candidates will come for any section named.
    package var isComplete: Bool { !sections.isEmpty && sections.allSatisfy(\.isComplete) }

    /// Reads a fragment. Unusable candidates are passed over; text that is no fragment is refused.
    package init(parsing bytes: ByteBuffer) throws(OfferError) {
        guard bytes.readableBytes <= Self.maxBytes else { throw .malformed("too long") }
        guard SDPLines.areWellFormed(bytes) else { throw .malformed("a line that is no SDP line") }
        self.init(ice: nil, sections: [])
        var ufrag: String?
        var password: String?
        var isEmpty = true
        let lines = bytes.readableBytesView.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D })
        for line in lines {
            let value = String(decoding: line.dropFirst(2), as: UTF8.self)
            if line.first == UInt8(ascii: "m") {
                isEmpty = false
                guard sections.count < Self.maxSections else {
                    throw .malformed("too many sections")
                }
                let kind = value.utf8.prefix { $0 > 0x20 }
                sections.append(Section(kind: String(decoding: kind, as: UTF8.self), mid: ""))
            }
            guard line.first == UInt8(ascii: "a") else { continue }
            isEmpty = false
            let name = String(decoding: value.utf8.prefix { $0 != 0x3A }, as: UTF8.self)
            let text = String(decoding: value.utf8.dropFirst(name.utf8.count + 1), as: UTF8.self)
            switch name {
            case "ice-ufrag": ufrag = ufrag ?? text
            case "ice-pwd": password = password ?? text
            case "ice-lite": isICELite = true
            default: try read(attribute: name, text)
            }
        }
        guard !isEmpty else { throw .malformed("an empty fragment") }
        guard (ufrag == nil) == (password == nil) else {
            throw .malformed("ice-ufrag without ice-pwd, or the reverse")
        }
        if let ufrag, let password {
            ice = SDPLines.credentials(ufrag: ufrag, password: password)
            guard ice != nil else { throw .malformed("ice-ufrag or ice-pwd") }
        }
    }

    /// Attributes before the first section belong to the bundle's first one.
    private mutating func read(attribute name: String, _ text: String) throws(OfferError) {
        guard ["mid", "candidate", "end-of-candidates"].contains(name) else { return }
        if sections.isEmpty { sections.append(Section(kind: "video", mid: "")) }
        let last = sections.count - 1
        switch name {
        case "mid":
            guard SDPLines.isToken(text, 1...64) else { throw .malformed("mid") }
            sections[last].mid = text
        case "candidate":
            guard candidates.count < Self.maxCandidates, let read = Candidate(parsing: text) else {
                skipped += 1
                return
            }
            sections[last].candidates.append(read)
        default:
            sections[last].isComplete = true
        }
    }

    /// The fragment's bytes, credentials in each section as RFC 9725 §4.3.3 shows them.
    package func serialize() -> ByteBuffer {
        var lines: [String] = []
        if isICELite { lines.append("a=ice-lite") }
        let mids = sections.map(\.mid).filter { !$0.isEmpty }
        if !mids.isEmpty { lines.append("a=group:BUNDLE \(mids.joined(separator: " "))") }
        if sections.isEmpty { lines.append(contentsOf: credentialLines) }
        for section in sections {
            lines.append("m=\(section.kind) 9 UDP/TLS/RTP/SAVPF 0")
            if !section.mid.isEmpty { lines.append("a=mid:\(section.mid)") }
            lines.append(contentsOf: credentialLines)
            lines.append(contentsOf: section.candidates.map { "a=candidate:\($0.text)" })
            if section.isComplete { lines.append("a=end-of-candidates") }
        }
        return ByteBuffer(string: lines.joined(separator: "\r\n") + "\r\n")
    }

    private var credentialLines: [String] {
        guard let ice else { return [] }
        return ["a=ice-ufrag:\(ice.ufrag)", "a=ice-pwd:\(ice.password.reveal())"]
    }
}
