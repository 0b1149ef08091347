// Takes credentials out of addresses in free text, as the last line of defence before a log.
// SPDX-License-Identifier: Apache-2.0

/// Removes user names, passwords and tokens from URLs in a text.
package enum Scrubber {
    private static let mask = Array("•••".utf8)
    private static let marker = Array("://".utf8)
    /// Parameters whose value is a secret; cameras take them in query and path alike.
    private static let secrets = [
        "password=", "passwd=", "pass=", "pwd=", "token=", "secret=", "signature=", "auth=",
    ].map { Array($0.utf8) }

    /// The text with `scheme://user:password@` as `scheme://•••@` and with the values of secret
    /// parameters of URLs masked. Errs on the side of hiding: a password may hold `/`, `?` or `@`
    /// unescaped, so everything up to the last `@` of the address goes.
    package static func scrub(_ text: String) -> String {
        let bytes = Array(text.utf8)
        guard var start = find(marker, in: bytes, from: 0) else { return text }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var copied = 0
        while true {
            let body = start + marker.count
            result += bytes[copied..<body]
            let end = bytes[body...].firstIndex(where: endsAddress) ?? bytes.count
            var address = bytes[body..<end]
            if let at = address.lastIndex(of: UInt8(ascii: "@")) {
                result += mask
                address = address[at...]
            }
            result += maskingParameters(address)
            copied = end
            guard let following = find(marker, in: bytes, from: end) else { break }
            start = following
        }
        result += bytes[copied...]
        return String(decoding: result, as: UTF8.self)
    }

    private static func maskingParameters(_ address: ArraySlice<UInt8>) -> [UInt8] {
        let lowered = address.map { (65...90).contains($0) ? $0 + 32 : $0 }
        let original = Array(address)
        var result: [UInt8] = []
        var index = 0
        while index < original.count {
            let rest = lowered[index...]
            guard let name = secrets.first(where: { rest.starts(with: $0) }) else {
                result.append(original[index])
                index += 1
                continue
            }
            result += original[index..<(index + name.count)]
            result += mask
            index =
                lowered[(index + name.count)...].firstIndex(of: UInt8(ascii: "&"))
                ?? original.count
        }
        return result
    }

    /// White space, control characters, quotes and brackets end an address in a sentence.
    private static func endsAddress(_ byte: UInt8) -> Bool {
        byte <= 0x20 || byte == 0x7F || "\"'<>`".utf8.contains(byte)
    }

    private static func find(_ needle: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        guard let first = needle.first else { return nil }
        var index = start
        while let candidate = bytes[index...].firstIndex(of: first) {
            if bytes[candidate...].starts(with: needle) { return candidate }
            index = candidate + 1
        }
        return nil
    }
}
