// Basic and Digest authentication, both sides.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Primitives
import SDP

/// What a server asks for in `WWW-Authenticate`.
struct Challenge: Equatable, Sendable {
    enum Scheme: Equatable, Sendable {
        case basic
        case digest(DigestAlgorithm, isSession: Bool)
    }

    var scheme: Scheme
    var realm: String
    var nonce: String
    var opaque: String?
    var offersAuth: Bool
    var isStale: Bool

    /// Reads a header value; `nil` for schemes and algorithms that are not spoken here.
    init?(parsing text: String) {
        let (name, parameters) = AuthenticationParameters.parse(text)
        switch name {
        case "basic":
            scheme = .basic
        case "digest":
            var algorithm = parameters["algorithm"]?.lowercased() ?? "md5"
            let isSession = algorithm.hasSuffix("-sess")
            if isSession { algorithm.removeLast(5) }
            guard let known = DigestAlgorithm(rawValue: algorithm), parameters["nonce"] != nil
            else { return nil }
            scheme = .digest(known, isSession: isSession)
        default:
            return nil
        }
        realm = parameters["realm"] ?? ""
        nonce = parameters["nonce"] ?? ""
        opaque = parameters["opaque"]
        isStale = parameters["stale"]?.lowercased() == "true"
        let qop = parameters["qop"]?.lowercased() ?? ""
        offersAuth = qop.utf8.split(separator: UInt8(ascii: ","))
            .contains { trimmed(String(decoding: $0, as: UTF8.self)) == "auth" }
        // A quality other than `auth` alone (auth-int) cannot be answered.
        if !qop.isEmpty, !offersAuth { return nil }
    }

    /// The strongest challenge of a response: SHA-256, then MD5, then Basic.
    static func strongest(of headers: Headers) -> Challenge? {
        headers.all("WWW-Authenticate").prefix(8).compactMap(Challenge.init(parsing:))
            .max { $0.strength < $1.strength }
    }

    private var strength: Int {
        switch scheme {
        case .basic: 0
        case .digest(.md5, _): 1
        case .digest(.sha256, _): 2
        }
    }

    /// The `Authorization` value that answers the challenge (RFC 7617, RFC 7616 §3.4).
    func authorization(
        _ credentials: Credentials, method: String, uri: String, count: UInt32, clientNonce: String
    ) -> String {
        let user = credentials.user
        guard case .digest(let algorithm, let isSession) = scheme else {
            return "Basic " + Base64.encode("\(user):\(credentials.password.reveal())".utf8)
        }
        let digits = String(count, radix: 16)
        let nc = String(repeating: "0", count: max(8 - digits.utf8.count, 0)) + digits
        let exchange = DigestExchange(
            algorithm: algorithm, isSession: isSession, user: user, realm: realm, nonce: nonce,
            method: method, uri: uri,
            quality: offersAuth ? (name: "auth", count: nc) : nil, clientNonce: clientNonce)
        var text =
            "Digest username=\(quoted(user)), realm=\(quoted(realm)), nonce=\(quoted(nonce)), "
            + "uri=\(quoted(uri)), response=\"\(exchange.response(credentials.password))\""
        // Old cameras know no `algorithm`; MD5 is the default, so it is left out there.
        if algorithm != .md5 || isSession {
            text += ", algorithm=\(algorithm.name)\(isSession ? "-sess" : "")"
        }
        if let opaque { text += ", opaque=\(quoted(opaque))" }
        if offersAuth { text += ", qop=auth, nc=\(nc), cnonce=\(quoted(clientNonce))" }
        if isSession, !offersAuth { text += ", cnonce=\(quoted(clientNonce))" }
        return text
    }

    private func quoted(_ text: String) -> String {
        var escaped = "\""
        for scalar in text.unicodeScalars {
            if scalar == "\"" || scalar == "\\" { escaped.unicodeScalars.append("\\") }
            escaped.unicodeScalars.append(scalar)
        }
        return escaped + "\""
    }
}

/// The hash functions of RFC 7616 that are spoken here.
enum DigestAlgorithm: String, Sendable {
    case md5
    case sha256 = "sha-256"

    var name: String {
        switch self {
        case .md5: "MD5"
        case .sha256: "SHA-256"
        }
    }

    func hex(_ text: String) -> String {
        let bytes = Array(text.utf8)
        return switch self {
        case .md5: Array(Insecure.MD5.hash(data: bytes)).hex
        case .sha256: Array(SHA256.hash(data: bytes)).hex
        }
    }
}

/// The values that go into a digest response (RFC 7616 §3.4.1).
struct DigestExchange {
    var algorithm: DigestAlgorithm
    var isSession: Bool
    var user: String
    var realm: String
    var nonce: String
    var method: String
    var uri: String
    var quality: (name: String, count: String)?
    var clientNonce: String

    func response(_ password: Redacted<String>) -> String {
        var first = algorithm.hex("\(user):\(realm):\(password.reveal())")
        if isSession { first = algorithm.hex("\(first):\(nonce):\(clientNonce)") }
        let second = algorithm.hex("\(method):\(uri)")
        guard let quality else { return algorithm.hex("\(first):\(nonce):\(second)") }
        return algorithm.hex(
            "\(first):\(nonce):\(quality.count):\(clientNonce):\(quality.name):\(second)")
    }

    /// Whether an `Authorization` value proves the credentials for this request and nonce.
    static func verify(
        _ authorization: String, _ credentials: Credentials, realm: String, nonce: String,
        method: String, uri: String
    ) -> Bool {
        let (scheme, parameters) = AuthenticationParameters.parse(authorization)
        let algorithm = DigestAlgorithm(rawValue: parameters["algorithm"]?.lowercased() ?? "md5")
        guard scheme == "digest", let algorithm, parameters["username"] == credentials.user,
            parameters["realm"] == realm, parameters["nonce"] == nonce, parameters["uri"] == uri,
            let given = parameters["response"]?.lowercased()
        else { return false }
        var quality: (name: String, count: String)?
        if let name = parameters["qop"] {
            guard name == "auth", let count = parameters["nc"] else { return false }
            quality = (name, count)
        }
        let expected = DigestExchange(
            algorithm: algorithm, isSession: false, user: credentials.user, realm: realm,
            nonce: nonce, method: method, uri: uri, quality: quality,
            clientNonce: parameters["cnonce"] ?? ""
        ).response(credentials.password)
        // Compared without an early end, so that timing tells nothing about the response.
        guard given.utf8.count == expected.utf8.count else { return false }
        return zip(given.utf8, expected.utf8).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}

/// The `name=value` lists of both authentication headers.
enum AuthenticationParameters {
    /// The scheme and the parameters, their names lower case, quotes and escapes removed.
    static func parse(_ text: String) -> (scheme: String, parameters: [String: String]) {
        var rest = text.utf8[...]
        func skipBlanks() { rest = rest.drop { $0 <= 0x20 || $0 == UInt8(ascii: ",") } }
        func word() -> String {
            let taken = rest.prefix {
                $0 > 0x20 && $0 != UInt8(ascii: "=") && $0 != UInt8(ascii: ",")
            }
            rest = rest[taken.endIndex...]
            return String(decoding: taken, as: UTF8.self)
        }
        skipBlanks()
        let scheme = word().lowercased()
        var parameters: [String: String] = [:]
        while !rest.isEmpty, parameters.count < 32 {
            let before = rest.startIndex
            skipBlanks()
            let name = word().lowercased()
            rest = rest.drop { $0 <= 0x20 }
            if rest.first == UInt8(ascii: "=") {
                rest = rest.dropFirst().drop { $0 <= 0x20 }
                parameters[name] = rest.first == UInt8(ascii: "\"") ? quotedString(&rest) : word()
            }
            if rest.startIndex == before { break }
        }
        return (scheme, parameters)
    }

    private static func quotedString(_ rest: inout Substring.UTF8View) -> String {
        var bytes: [UInt8] = []
        rest = rest.dropFirst()
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\"") { break }
            if byte == UInt8(ascii: "\\") {
                if let escaped = rest.popFirst() { bytes.append(escaped) }
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
