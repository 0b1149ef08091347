// The keys of the built-in issuer: one signs, the others are still believed.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import CryptoExtras
package import Domain
import Foundation
package import JOSE
import JSON
import Primitives
import Synchronization

/// RSA keys in a folder, a file each; the newest signs (RFC 7518 §3.3). Rotation adds one; the one
/// before it is published and believed until its last token is long dead.
package final class SigningKeys: Sendable {
    private struct Key: Sendable {
        let createdAt: WallTime
        let path: String
        let key: _RSA.Signing.PrivateKey
        let parameters: RSAPublicParameters
    }

    private let folder: String
    private let world: World
    /// Oldest first, never empty.
    private let keys: Mutex<[Key]>
    private let readAt: Mutex<Instant>

    /// Opens the folder, and makes the first key in an empty one.
    package init(folder: String, world: World) throws(SecretFileError) {
        self.folder = folder
        self.world = world
        do {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
        } catch {
            throw SecretFileError("\(folder): cannot be made")
        }
        var found = try Self.read(folder)
        if found.isEmpty {
            _ = try Self.make(in: folder, at: world.wallTime())
            found = try Self.read(folder)
        }
        guard !found.isEmpty else { throw SecretFileError("\(folder): cannot be read") }
        keys = Mutex(found)
        readAt = Mutex(world.now())
    }

    /// The public halves, for `/.well-known/jwks.json`.
    package var keySet: KeySet { KeySet(keys: keys.withLock { $0.map(\.parameters) }) }

    /// The name of the key that signs now.
    package var currentKeyID: String { keys.withLock { $0.last?.parameters.keyID ?? "" } }

    /// Makes a new key, which signs from now on, and removes keys whose tokens are all dead. A server
    /// that runs beside believes it at its first token, and signs with it after its next `reload`.
    package func rotate() throws(SecretFileError) {
        let now = world.wallTime()
        _ = try Self.make(in: folder, at: now)
        let found = try Self.read(folder)
        for (old, newer) in zip(found, found.dropFirst())
        where newer.createdAt + Limits.keyOverlap < now {
            unlink(old.path)
        }
        try reload()
    }

    /// Takes what another process changed in the folder.
    package func reload() throws(SecretFileError) {
        let found = try Self.read(folder)
        guard !found.isEmpty else { return }
        keys.withLock { $0 = found }
    }

    /// A token with these claims, signed by the newest key.
    func sign(type: String, claims: [String: JSONValue]) throws(MarsadError) -> Redacted<String> {
        guard let newest = keys.withLock({ $0.last }) else { throw MarsadError(.internalError) }
        let input = SignedToken.signingInput(
            type: type, keyID: newest.parameters.keyID, claims: claims)
        do {
            let signature = try newest.key.signature(
                for: Data(input.utf8), padding: .insecurePKCS1v1_5)
            return Redacted(input + "." + Base64URL.encode(signature.rawRepresentation))
        } catch {
            throw MarsadError(.internalError)
        }
    }

    /// A name that is not known makes the folder be read again, now and then: another process may have
    /// made a key and signed with it.
    func publicKey(_ keyID: String) -> _RSA.Signing.PublicKey? {
        if let known = known(keyID) { return known }
        let now = world.now()
        let mayRead = readAt.withLock { readAt in
            guard now - readAt >= Limits.keyReload else { return false }
            readAt = now
            return true
        }
        guard mayRead else { return nil }
        try? reload()
        return known(keyID)
    }

    private func known(_ keyID: String) -> _RSA.Signing.PublicKey? {
        keys.withLock { $0.first { $0.parameters.keyID == keyID } }?.key.publicKey
    }

    // MARK: Files: `signing-{microseconds}.pem`

    private static func make(in folder: String, at now: WallTime) throws(SecretFileError) -> String
    {
        let path = folder + "/signing-\(padded(Int(now.microseconds), 18)).pem"
        let key: _RSA.Signing.PrivateKey
        do {
            key = try _RSA.Signing.PrivateKey(keySize: .init(bitCount: Limits.keyBits))
        } catch {
            throw SecretFileError("\(path): no key could be made")
        }
        try SecretFile.create(path, Redacted(Array(key.pkcs8PEMRepresentation.utf8)))
        return path
    }

    private static func read(_ folder: String) throws(SecretFileError) -> [Key] {
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: folder)
        } catch {
            throw SecretFileError("\(folder): cannot be read")
        }
        var keys: [Key] = []
        for name in names where name.hasPrefix("signing-") && name.hasSuffix(".pem") {
            let path = folder + "/" + name
            guard let createdAt = Int64(name.dropFirst(8).dropLast(4)),
                let pem = try SecretFile.read(path)
            else { continue }
            keys.append(try key(path, pem, createdAt: WallTime(microseconds: createdAt)))
        }
        return keys.sorted { $0.createdAt < $1.createdAt }
    }

    private static func key(
        _ path: String, _ pem: Redacted<[UInt8]>, createdAt: WallTime
    ) throws(SecretFileError) -> Key {
        do {
            let key = try _RSA.Signing.PrivateKey(
                pemRepresentation: String(decoding: pem.reveal(), as: UTF8.self))
            let numbers = try key.publicKey.getKeyPrimitives()
            let unnamed = RSAPublicParameters(
                keyID: "", modulus: Array(numbers.modulus), exponent: Array(numbers.publicExponent))
            let thumbprint = SHA256.hash(data: Data(unnamed.thumbprintInput.utf8))
            return Key(
                createdAt: createdAt, path: path, key: key,
                parameters: RSAPublicParameters(
                    keyID: Base64URL.encode(thumbprint), modulus: unnamed.modulus,
                    exponent: unnamed.exponent))
        } catch {
            throw SecretFileError("\(path): not an RSA key in PEM form")
        }
    }
}
