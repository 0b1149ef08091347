// The identity provider of an organisation, as the configuration names it.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Foundation
import Identity
import Primitives

extension ExternalTokens {
    private static let keyBytes: UInt64 = 256 * 1024

    /// `nil` where no provider is named. Its keys are a file that whoever rotates them replaces: read when a
    /// token names an unknown key, and every hour.
    static func configured(
        _ configuration: Configuration, world: World
    ) throws(ConfigurationError) -> ExternalTokens? {
        let issuer = configuration.text("auth.provider_issuer")
        let path = configuration.text("auth.provider_keys")
        guard !issuer.isEmpty || !path.isEmpty else { return nil }
        guard !issuer.isEmpty, !path.isEmpty else {
            throw ConfigurationError(
                description: "auth.provider_issuer and auth.provider_keys are needed together")
        }
        guard issuer != configuration.text("auth.issuer") else {
            throw ConfigurationError(
                description: "auth.provider_issuer is \"\(issuer)\", as auth.issuer; "
                    + "allowed: the provider's own name")
        }
        guard (try? keys(path)) != nil else {
            throw ConfigurationError(
                description: "auth.provider_keys is \"\(path)\"; allowed: a file with a JWK set")
        }
        let provider = Provider(
            issuer: issuer, audience: configuration.text("auth.provider_audience"))
        return ExternalTokens(provider: provider, world: world) { try keys(path) }
    }

    private static func keys(_ path: String) throws -> [UInt8] {
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        guard let size = attributes[.size] as? UInt64, size <= keyBytes else {
            throw CocoaError(.fileReadTooLarge)
        }
        return Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    }
}
