// Signed heads of the audit chain, in a file that the database's role cannot write.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Domain
import Foundation
import Glibc
import JOSE
import JSON
package import Primitives

/// The claim that row `id` had this hash: whoever cuts or recomputes the chain must forge it.
package struct AuditHead: Sendable, Equatable {
    package var id: Int64
    package var hash: String
    package var time: WallTime
    /// The SHA-256 of the line before, so that no head can be taken out.
    package var previous: String
    package var signature: String

    /// What is signed: everything but the signature.
    var message: [UInt8] {
        Array("marsad audit head 1\n\(id)\n\(hash)\n\(time.microseconds)\n\(previous)".utf8)
    }

    var line: String {
        JSONValue.object([
            "id": .number(String(id)), "hash": .string(hash),
            "at": .number(String(time.microseconds)), "previous": .string(previous),
            "signature": .string(signature),
        ]).serialized
    }

    init(
        id: Int64, hash: String, time: WallTime, previous: String,
        key: Curve25519.Signing.PrivateKey
    ) throws {
        self.id = id
        self.hash = hash
        self.time = time
        self.previous = previous
        signature = ""
        signature = Base64URL.encode(try key.signature(for: Data(message)))
    }

    /// `nil` for a line that no program of ours wrote.
    init?(line: some StringProtocol) {
        guard line.utf8.count <= 1024,
            let members = (try? JSONValue(parsingEvent: Array(line.utf8)))?.members,
            let id = members["id"]?.integer, let hash = members["hash"]?.text,
            case .number(let at) = members["at"], let time = Int64(at),
            let previous = members["previous"]?.text, let signature = members["signature"]?.text
        else { return nil }
        self.id = id
        self.hash = hash
        self.time = WallTime(microseconds: time)
        self.previous = previous
        self.signature = signature
    }

    func isSigned(by key: Curve25519.Signing.PublicKey) -> Bool {
        guard let bytes = Base64URL.decode(signature.utf8) else { return false }
        return key.isValidSignature(bytes, for: message)
    }

    static func digest(of line: some StringProtocol) -> String {
        Array(SHA256.hash(data: Data(line.utf8))).hex
    }
}

/// The file of heads: one JSON line each, only ever appended to.
package struct AuditHeadFile: Sendable {
    package let path: String
    private let key: Redacted<Curve25519.Signing.PrivateKey>

    /// - Parameters:
    ///   - path: best on another disk, or on one that only appends.
    ///   - keyFile: the Ed25519 key; made where there is none.
    package init(path: String, keyFile: String) throws(SecretFileError) {
        self.path = path
        key = try Self.key(
            SecretFile.readOrCreate(keyFile) {
                Array(Curve25519.Signing.PrivateKey().rawRepresentation)
            }, keyFile)
    }

    /// The public key in hexadecimal: what a verifier elsewhere is to trust.
    package var publicKey: String { Self.hexadecimal(key) }

    /// The public key of a key file, which is left as it is.
    /// - Returns: `nil` where there is none.
    package static func publicKey(of keyFile: String) throws(SecretFileError) -> String? {
        guard let bytes = try SecretFile.read(keyFile) else { return nil }
        return hexadecimal(try key(bytes, keyFile))
    }

    private static func key(
        _ bytes: Redacted<[UInt8]>, _ keyFile: String
    ) throws(SecretFileError) -> Redacted<Curve25519.Signing.PrivateKey> {
        guard let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: bytes.reveal()) else {
            throw SecretFileError("\(keyFile): not an Ed25519 key of 32 bytes")
        }
        return Redacted(key)
    }

    private static func hexadecimal(_ key: Redacted<Curve25519.Signing.PrivateKey>) -> String {
        Array(key.reveal().publicKey.rawRepresentation).hex
    }

    /// Signs a head and appends it, durably. Blocks: for a thread of its own.
    @discardableResult
    func append(id: Int64, hash: String, at time: WallTime) throws -> AuditHead {
        let descriptor = Glibc.open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SecretFileError("\(path): cannot be written") }
        defer { Glibc.close(descriptor) }
        // Another process, such as a command, may be adding its own.
        guard flock(descriptor, LOCK_EX) == 0 else {
            throw SecretFileError("\(path): cannot be locked")
        }
        let last = try Self.lastLine(descriptor, path)
        let head = try AuditHead(
            id: id, hash: hash, time: time, previous: last.map { AuditHead.digest(of: $0) } ?? "",
            key: key.reveal())
        let bytes = Array((head.line + "\n").utf8)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count, fsync(descriptor) == 0
        else { throw SecretFileError("\(path): cannot be written") }
        return head
    }

    /// The last whole line. A line that a power cut left without its end is finished first: it stays
    /// in the file, where the verifier passes over it.
    private static func lastLine(_ descriptor: Int32, _ path: String) throws -> String? {
        let size = lseek(descriptor, 0, SEEK_END)
        let count = min(size, 4096)
        guard count > 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(count))
        guard pread(descriptor, &bytes, bytes.count, size - count) == bytes.count else {
            throw SecretFileError("\(path): cannot be read")
        }
        if bytes.last != UInt8(ascii: "\n") {
            guard Glibc.write(descriptor, "\n", 1) == 1 else {
                throw SecretFileError("\(path): cannot be written")
            }
        }
        let lines = bytes.split(separator: UInt8(ascii: "\n"))
            .map { String(decoding: $0, as: UTF8.self) }
        return lines.last { AuditHead(line: $0) != nil }
    }
}
