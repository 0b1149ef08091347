// The hash of a DTLS certificate that SDP carries: what ties the media to the signalling.
// SPDX-License-Identifier: Apache-2.0

/// A certificate's fingerprint (RFC 8122 §5).
package struct Fingerprint: Hashable, Sendable {
    package let algorithm: Algorithm
    package let bytes: [UInt8]

    /// The hash functions that are accepted; SHA-1 and MD5 are not (RFC 8122 §5).
    package enum Algorithm: String, CaseIterable, Sendable {
        case sha256 = "sha-256"
        case sha384 = "sha-384"
        case sha512 = "sha-512"

        /// The size of the hash in bytes.
        package var byteCount: Int {
            switch self {
            case .sha256: 32
            case .sha384: 48
            case .sha512: 64
            }
        }
    }

    /// Nil when the number of bytes is not the algorithm's.
    package init?(algorithm: Algorithm, bytes: [UInt8]) {
        guard bytes.count == algorithm.byteCount else { return nil }
        self.algorithm = algorithm
        self.bytes = bytes
    }

    /// Reads the value of an `a=fingerprint` line: `sha-256 AB:CD:…`, in either case of letters.
    package init?(parsing value: some StringProtocol) {
        let words = value.utf8.split(separator: UInt8(ascii: " "), maxSplits: 4)
        guard words.count == 2,
            let algorithm = Algorithm(
                rawValue: String(decoding: words[0], as: UTF8.self).lowercased()),
            words[1].count == algorithm.byteCount * 3 - 1
        else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(algorithm.byteCount)
        for pair in words[1].split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false) {
            var digits = pair.makeIterator()
            guard pair.count == 2, let high = digits.next().flatMap(Self.digit),
                let low = digits.next().flatMap(Self.digit)
            else { return nil }
            bytes.append(high << 4 | low)
        }
        self.init(algorithm: algorithm, bytes: bytes)
    }

    /// The bytes as upper-case hexadecimal, with colons between.
    package var text: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }
            .joined(separator: ":")
    }

    /// The value of an `a=fingerprint` line.
    package var attribute: String { "\(algorithm.rawValue) \(text)" }

    private static func digit(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}
