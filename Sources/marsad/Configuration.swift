// Configuration: flags over environment over a YAML file over defaults, one name for each in all.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Foundation
import Outbound
import Primitives
import Valkey
import WebRTC
import Yams

/// A wrong configuration: the key, the value, and what is allowed. Ends the program with 2.
struct ConfigurationError: Error, CustomStringConvertible {
    var description: String
}

/// One known key.
struct ConfigurationKey: Sendable {
    var name: String
    var defaultValue: String
    var allowed: String
    var isValid: @Sendable (String) -> Bool
    /// Its value is never printed.
    var isSecret = false
    /// Neither a file of configuration, which others read, nor a flag, which every process list shows.
    var isEnvironmentOnly = false

    /// `http.port` → `MARSAD_HTTP_PORT`.
    var environmentName: String {
        "MARSAD_" + name.uppercased().replacingOccurrences(of: ".", with: "_")
    }

    static func number(_ name: String, _ value: Int, _ range: ClosedRange<Int>) -> ConfigurationKey
    {
        ConfigurationKey(
            name: name, defaultValue: String(value),
            allowed: "a whole number from \(range.lowerBound) to \(range.upperBound)",
            isValid: { Int($0).map(range.contains) ?? false })
    }

    static func choice(_ name: String, _ values: [String]) -> ConfigurationKey {
        ConfigurationKey(
            name: name, defaultValue: values[0], allowed: values.joined(separator: ", "),
            isValid: { values.contains($0) })
    }

    static func networks(_ name: String, _ value: String) -> ConfigurationKey {
        ConfigurationKey(
            name: name, defaultValue: value,
            allowed: "blocks of addresses such as 10.0.0.0/8, separated by commas",
            isValid: { list($0).allSatisfy { AddressBlock($0) != nil } })
    }

    /// The address of a service elsewhere, which is asked or told.
    static func service(_ name: String) -> ConfigurationKey {
        ConfigurationKey(
            name: name, defaultValue: "",
            allowed: "an https:// address without user and fragment; in outbound.networks also "
                + "http://",
            isValid: { $0.isEmpty || OutboundURL($0) != nil })
    }

    /// Every key of this version.
    static let all: [ConfigurationKey] = [
        ConfigurationKey(
            name: "http.host", defaultValue: "127.0.0.1",
            allowed: "an address of this machine, such as 127.0.0.1, ::1, localhost or 0.0.0.0",
            isValid: { isLoopback($0) || isAddress($0) }),
        number("http.port", 8080, 0...65_535),
        networks("http.trusted_proxies", ""),
        networks("http.operations_networks", "127.0.0.0/8,::1/128"),
        ConfigurationKey(
            name: "http.cors_origins", defaultValue: "",
            allowed: "origins such as https://wall.example, separated by commas",
            isValid: { list($0).allSatisfy(isOrigin) }),
        ConfigurationKey(
            name: "http.allowed_hosts", defaultValue: "",
            allowed: "host names without port, separated by commas",
            isValid: { list($0).allSatisfy { !$0.isEmpty && !$0.contains(where: "/*".contains) } }),
        ConfigurationKey(
            name: "tls.certificate", defaultValue: "",
            allowed:
                "a PEM file with the server's certificate and those that lead to its authority",
            isValid: { _ in true }),
        ConfigurationKey(
            name: "tls.key", defaultValue: "", allowed: "a PEM file with the certificate's key",
            isValid: { _ in true }),
        number("limits.requests_per_minute", 1000, 1...1_000_000),
        number("limits.address_per_second", 50, 1...1_000_000),
        number("limits.address_burst", 100, 1...1_000_000),
        number("limits.connections", 10_000, 1...1_000_000),
        number("limits.connections_per_address", 2000, 1...1_000_000),
        number("limits.request_seconds", 30, 1...600),
        number("limits.idle_seconds", 75, 1...3600),
        number("webrtc.port", 8189, 0...65_535),
        choice("webrtc.tcp", ["on", "off"]),
        ConfigurationKey(
            name: "webrtc.public_addresses", defaultValue: "",
            allowed: "addresses such as 203.0.113.7, separated by commas; none: this machine's own",
            isValid: { list($0).allSatisfy { TransportAddress(host: $0, port: 0) != nil } }),
        ConfigurationKey(
            name: "webrtc.turn_urls", defaultValue: "",
            allowed: "relays such as turn:relay.example:3478?transport=udp, separated by commas",
            isValid: {
                list($0).allSatisfy { $0.hasPrefix("turn:") || $0.hasPrefix("turns:") }
                    && !$0.contains("\"") && !$0.contains(where: { $0.isNewline })
            }),
        ConfigurationKey(
            name: "webrtc.turn_secret", defaultValue: "",
            allowed: "the relays' static-auth-secret", isValid: { $0.utf8.count <= 512 },
            isSecret: true),
        number("webrtc.turn_seconds", 3600, 600...86_400),
        number("live.transcodes", 4, 0...64),
        ConfigurationKey(
            name: "data", defaultValue: "data", allowed: "a folder", isValid: { !$0.isEmpty }),
        ConfigurationKey(
            name: "database.url", defaultValue: ConfiguredDatabase.embedded,
            allowed: "sqlite: for a file in the data folder, or postgresql://user@host/database",
            isValid: ConfiguredDatabase.isValid, isSecret: true),
        ConfigurationKey(
            name: "database.migration_url", defaultValue: "",
            allowed: "postgresql://… of the tables' owner, who migrates in the service's stead",
            isValid: { $0.isEmpty || ConfiguredDatabase.isValid($0) }, isSecret: true),
        networks("ingest.camera_networks", "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fd00::/8"),
        number("recording.segment_seconds", 300, 2...3600),
        number("recording.sync_seconds", 5, 1...60),
        number("retention.days", 30, 1...3650),
        // Empty: by `http.host`, once that is known.
        ConfigurationKey(
            name: "auth.required", defaultValue: "",
            allowed: "on or off; off only while http.host is a loopback address",
            isValid: { ["on", "off"].contains($0) }),
        ConfigurationKey(
            name: "auth.webhook_secret", defaultValue: "",
            allowed: "at least 32 bytes, shared with the identity system that sends events",
            isValid: { $0.isEmpty || $0.utf8.count >= 32 }, isSecret: true),
        ConfigurationKey(
            name: "auth.issuer", defaultValue: "marsad",
            allowed: "the name of this installation in its tokens, up to 200 characters",
            isValid: { (1...200).contains($0.utf8.count) }),
        ConfigurationKey(
            name: "auth.provider_issuer", defaultValue: "",
            allowed: "what an external identity provider calls itself in its tokens (iss)",
            isValid: { $0.utf8.count <= 200 }),
        ConfigurationKey(
            name: "auth.provider_audience", defaultValue: "marsad",
            allowed: "for whom the provider's tokens are (aud), up to 200 characters",
            isValid: { (1...200).contains($0.utf8.count) }),
        ConfigurationKey(
            name: "auth.provider_keys", defaultValue: "",
            allowed: "a file with the provider's keys as a JWK set, read again as they change",
            isValid: { _ in true }),
        service("auth.provider_jwks_url"),
        service("auth.welcome_url"),
        ConfigurationKey(
            name: "auth.welcome_secret", defaultValue: "",
            allowed: "at least 32 bytes, shared with the service that welcomes new users",
            isValid: { $0.isEmpty || $0.utf8.count >= 32 }, isSecret: true),
        networks("outbound.networks", ""),
        ConfigurationKey(
            name: "outbound.authorities", defaultValue: "",
            allowed: "a PEM file with certificates that are trusted beside the system's",
            isValid: { _ in true }),
        ConfigurationKey(
            name: "auth.initial_admin_password", defaultValue: "",
            allowed: "12 to 128 characters; by environment or _FILE only",
            isValid: { $0.count <= 128 }, isSecret: true, isEnvironmentOnly: true),
        ConfigurationKey(
            name: "audit.anchor", defaultValue: "",
            allowed: "a file for the audit log's signed heads, best on another disk",
            isValid: { _ in true }),
        ConfigurationKey(
            name: "valkey.url", defaultValue: "",
            allowed:
                "valkey://[user:password@]host[:port][/database][?sentinel=name], without TLS; "
                + "none: live seats are counted in this process",
            isValid: { $0.isEmpty || (try? ValkeyURL(parsing: $0)) != nil }, isSecret: true),
        choice("quota.unit", SeatUnit.allCases.map(\.rawValue)),
        ConfigurationKey(
            name: "limits.sources", defaultValue: "",
            allowed: "SOURCE=SEATS or SOURCE=SEATS:name:Arabic name, separated by commas",
            isValid: { list($0).allSatisfy { agency($0) != nil } }),
        number("limits.total", 0, SeatLimits.range),
        choice("log.level", ["info", "trace", "debug", "notice", "warning", "error", "critical"]),
    ]

    /// One entry of `limits.sources`.
    static func agency(_ text: String) -> (Source, SeatLimits.Agency)? {
        let parts = text.split(separator: "=", maxSplits: 1)
        guard parts.count == 2, let source = Source(trimmed(parts[0])) else { return nil }
        let values = parts[1].split(separator: ":").map(trimmed)
        guard values.count == 1 || values.count == 3, let limit = Int(values[0]),
            SeatLimits.range.contains(limit)
        else { return nil }
        let names = values.dropFirst()
        return (
            source,
            SeatLimits.Agency(limit: limit, nameEnglish: names.first, nameArabic: names.last)
        )
    }

    /// The parts of a list, without the blanks around them.
    static func list(_ text: String) -> [String] { text.split(separator: ",").map(trimmed) }

    static func trimmed(_ text: some StringProtocol) -> String {
        text.trimmingCharacters(in: .whitespaces)
    }

    /// A scheme, a host and perhaps a port, as browsers write them: without a path, and no `*`.
    private static func isOrigin(_ text: String) -> Bool {
        guard let url = URL(string: text), let scheme = url.scheme, let host = url.host else {
            return false
        }
        let port = url.port.map { ":\($0)" } ?? ""
        return ["http", "https"].contains(scheme) && text == "\(scheme)://\(host)\(port)"
            && !text.contains("*")
    }

    private static func isAddress(_ host: String) -> Bool {
        AddressBlock(host + "/32") != nil || AddressBlock(host + "/128") != nil
    }

    static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1"
            || (host.hasPrefix("127.") && AddressBlock(host + "/32") != nil)
    }
}

/// The values in force and where each came from.
struct Configuration {
    private(set) var values: [String: (value: String, origin: String)] = [:]

    /// - Parameters:
    ///   - flags: by key name, as given on the command line.
    ///   - file: a YAML file; its keys may be nested or dotted.
    ///   - overrides: what the command takes for defaults.
    init(
        flags: [String: String], environment: [String: String], file: String?,
        overrides: [String: String] = [:]
    ) throws {
        for key in ConfigurationKey.all {
            values[key.name] = (overrides[key.name] ?? key.defaultValue, "default")
        }
        if let file {
            for (name, value) in try Self.read(file) {
                try refuseOutsideEnvironment(name, origin: file)
                try set(name, value, origin: file)
            }
        }
        for key in ConfigurationKey.all {
            if let value = environment[key.environmentName] {
                try set(key.name, value, origin: key.environmentName)
            } else if let path = environment[key.environmentName + "_FILE"] {
                guard let value = try? String(contentsOfFile: path, encoding: .utf8) else {
                    throw ConfigurationError(
                        description: "\(key.environmentName)_FILE is \"\(path)\"; "
                            + "allowed: a file that can be read")
                }
                // An editor ends a file with a line's end, which is no part of a secret.
                try set(
                    key.name, value.trimmingCharacters(in: .whitespacesAndNewlines), origin: path)
            }
        }
        for (name, value) in flags {
            try refuseOutsideEnvironment(name, origin: "flag")
            try set(name, value, origin: "flag")
        }
        try decideWhoMustSignIn()
        try checkCertificate()
    }

    /// Whether the server speaks TLS.
    var isSecure: Bool { !text("tls.certificate").isEmpty }

    private func checkCertificate() throws {
        guard text("tls.certificate").isEmpty != text("tls.key").isEmpty else { return }
        let missing = isSecure ? "tls.key" : "tls.certificate"
        throw ConfigurationError(
            description: "\(missing) is \"\"; allowed: a file, since the other of the pair is given"
        )
    }

    /// Whoever reaches the loopback address is on this machine; from anywhere else people sign in.
    private mutating func decideWhoMustSignIn() throws {
        let host = text("http.host")
        let isLocal = ConfigurationKey.isLoopback(host)
        if text("auth.required").isEmpty {
            values["auth.required"] = (isLocal ? "off" : "on", "default")
        }
        guard isLocal || text("auth.required") == "on" else {
            throw ConfigurationError(
                description:
                    "\(values["auth.required"]?.origin ?? ""): auth.required is \"off\" and "
                    + "http.host is \"\(host)\"; allowed: on, or a loopback address")
        }
    }

    func text(_ name: String) -> String { values[name]?.value ?? "" }

    /// The value of a key that `networks(_:_:)` declares.
    func networks(_ name: String) -> [AddressBlock] {
        ConfigurationKey.list(text(name)).compactMap { AddressBlock($0) }
    }

    /// The value of a key that `number(_:_:_:)` declares: it was validated on the way in.
    func number(_ name: String) -> Int { Int(text(name)) ?? 0 }

    var printed: String {
        values.keys.sorted().map { name in
            let isHidden = ConfigurationKey.all.contains { $0.name == name && $0.isSecret }
            let value = values[name]?.value ?? ""
            let shown = isHidden && !value.isEmpty ? Redacted(value).description : value
            return "\(name): \(shown)  # \(values[name]?.origin ?? "")"
        }.joined(separator: "\n")
    }

    private func refuseOutsideEnvironment(_ name: String, origin: String) throws {
        guard let key = ConfigurationKey.all.first(where: { $0.name == name }),
            key.isEnvironmentOnly
        else { return }
        throw ConfigurationError(
            description: "\(origin): \(name) is taken from \(key.environmentName) or "
                + "\(key.environmentName)_FILE only")
    }

    private mutating func set(_ name: String, _ value: String, origin: String) throws {
        guard let key = ConfigurationKey.all.first(where: { $0.name == name }) else {
            let nearest = ConfigurationKey.all.map(\.name).min {
                Self.distance($0, name) < Self.distance($1, name)
            }
            throw ConfigurationError(
                description:
                    "\(origin): unknown key \(ShownName(name)); did you mean \(nearest ?? "")?")
        }
        guard key.isValid(value) else {
            throw ConfigurationError(
                description: key.isSecret
                    ? "\(origin): \(name) is not valid; allowed: \(key.allowed)"
                    : "\(origin): \(name) is \"\(value)\"; allowed: \(key.allowed)")
        }
        values[name] = (value, origin)
    }

    private static func read(_ file: String) throws -> [(String, String)] {
        let text: String
        do {
            text = try String(contentsOfFile: file, encoding: .utf8)
        } catch {
            throw ConfigurationError(description: "\(file): cannot be read")
        }
        do {
            guard let tree = try Yams.load(yaml: text) else { return [] }
            return try flatten(tree, prefix: "", file: file).sorted { $0.0 < $1.0 }
        } catch let error as YamlError {
            throw ConfigurationError(description: "\(file): \(error)")
        }
    }

    private static func flatten(_ node: Any, prefix: String, file: String) throws -> [(
        String, String
    )] {
        if let map = node as? [String: Any] {
            return try map.flatMap {
                try flatten(
                    $0.value, prefix: prefix.isEmpty ? $0.key : prefix + "." + $0.key, file: file)
            }
        }
        if let list = node as? [Any] {
            return [(prefix, list.map { "\($0)" }.joined(separator: ","))]
        }
        guard !prefix.isEmpty else {
            throw ConfigurationError(description: "\(file): not a mapping of keys to values")
        }
        return [(prefix, "\(node)")]
    }

    /// Levenshtein's edit distance, to name the nearest key.
    private static func distance(_ a: String, _ b: String) -> Int {
        let b = Array(b)
        var row = Array(0...b.count)
        for (i, x) in a.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, y) in b.enumerated() {
                let above = row[j + 1]
                row[j + 1] = min(above + 1, row[j] + 1, diagonal + (x == y ? 0 : 1))
                diagonal = above
            }
        }
        return row[b.count]
    }
}
