// Passwords: hashed with Argon2id, few at once, on threads of their own.
// SPDX-License-Identifier: Apache-2.0

private import CArgon2
package import Domain
import Foundation
package import NIOPosix
import Primitives
import Synchronization

/// Hashes and checks passwords (RFC 9106). Each costs about 40 ms of a core and 19 MiB, so at most two
/// run at once, a few wait, and the rest are refused.
package final class PasswordHasher: Sendable {
    /// What new hashes cost. Hashes from before a rise stay valid and are renewed at the next login.
    package struct Cost: Hashable, Sendable {
        package var memoryKibibytes: UInt32
        package var passes: UInt32

        /// OWASP's smaller choice for Argon2id, with one lane.
        package static let standard = Cost(memoryKibibytes: 19_456, passes: 2)

        package init(memoryKibibytes: UInt32, passes: UInt32) {
            self.memoryKibibytes = memoryKibibytes
            self.passes = passes
        }
    }

    /// The outcome of a check.
    enum Match {
        case no
        case yes
        /// Right, but hashed at another cost than new ones.
        case outdated
    }

    private static let saltBytes = 16
    private static let hashBytes = 32

    private let pool: NIOThreadPool
    private let world: World
    private let cost: Cost
    /// Costs what any other does and matches nothing, for names that do not exist.
    private let nobody: Redacted<String>
    private let pending = Mutex(0)
    private let ran = Atomic<Int>(0)

    /// - Parameter pool: two threads, for nothing else.
    package init(pool: NIOThreadPool, world: World, cost: Cost = .standard) {
        self.pool = pool
        self.world = world
        self.cost = cost
        let salt = Data(world.secureRandomBytes(Self.saltBytes)).unpaddedBase64
        let hash = Data(world.secureRandomBytes(Self.hashBytes)).unpaddedBase64
        nobody = Redacted(
            "$argon2id$v=19$m=\(cost.memoryKibibytes),t=\(cost.passes),p=1$\(salt)$\(hash)")
    }

    /// How many passwords reached the hash, for tests of what keeps them from it.
    package var hashesRun: Int { ran.load(ordering: .relaxed) }

    /// A PHC string with its own salt and cost.
    func hash(_ password: Redacted<String>) async throws(MarsadError) -> Redacted<String> {
        let salt = world.secureRandomBytes(Self.saltBytes)
        let cost = cost
        let encoded = try await run { Self.encoded(password, salt: salt, cost: cost) }
        guard let encoded else { throw MarsadError(.internalError) }
        return encoded
    }

    /// Whether the password is the one of the hash; with `nil` it is not, and takes the same time.
    func check(
        _ password: Redacted<String>, against hash: Redacted<String>?
    ) async throws(MarsadError) -> Match {
        let cost = cost
        let known = hash ?? nobody
        let matches = try await run { Self.verifies(password, known) }
        guard matches, hash != nil else { return .no }
        return Self.cost(of: known) == cost ? .yes : .outdated
    }

    private func run<T: Sendable>(
        _ work: @escaping @Sendable () -> T
    ) async throws(MarsadError) -> T {
        let isTaken = pending.withLock { count in
            guard count < Limits.hashesAtOnce + Limits.hashesQueued else { return false }
            count += 1
            return true
        }
        guard isTaken else { throw MarsadError(.overloaded, details: ["retry_after": "1"]) }
        defer { pending.withLock { $0 -= 1 } }
        ran.wrappingAdd(1, ordering: .relaxed)
        do {
            return try await pool.runIfActive { work() }
        } catch {
            throw MarsadError(.overloaded)
        }
    }

    // MARK: The C interface

    private static func encoded(
        _ password: Redacted<String>, salt: [UInt8], cost: Cost
    ) -> Redacted<String>? {
        let bytes = Array(password.reveal().utf8)
        let length = argon2_encodedlen(
            cost.passes, cost.memoryKibibytes, 1, UInt32(salt.count), UInt32(hashBytes), Argon2_id)
        var text = [CChar](repeating: 0, count: length)
        let code = argon2id_hash_encoded(
            cost.passes, cost.memoryKibibytes, 1, bytes, bytes.count, salt, salt.count, hashBytes,
            &text, length)
        guard code == ARGON2_OK.rawValue else { return nil }
        return Redacted(
            String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }

    private static func verifies(_ password: Redacted<String>, _ hash: Redacted<String>) -> Bool {
        // A row that somebody wrote must not make the process allocate what it likes.
        guard let cost = cost(of: hash), cost.memoryKibibytes <= 262_144, cost.passes <= 16 else {
            return false
        }
        let bytes = Array(password.reveal().utf8)
        return argon2id_verify(hash.reveal(), bytes, bytes.count) == ARGON2_OK.rawValue
    }

    /// `$argon2id$v=19$m=19456,t=2,p=1$…`.
    private static func cost(of hash: Redacted<String>) -> Cost? {
        let parts = hash.reveal().split(separator: "$")
        guard parts.count == 5, parts[0] == "argon2id", parts[1] == "v=19" else { return nil }
        let numbers = parts[2].split(separator: ",").map { $0.split(separator: "=") }
        guard numbers.count == 3, numbers.allSatisfy({ $0.count == 2 }), numbers[0][0] == "m",
            numbers[1][0] == "t", numbers[2][0] == "p", numbers[2][1] == "1",
            let memory = UInt32(numbers[0][1]), let passes = UInt32(numbers[1][1])
        else { return nil }
        return Cost(memoryKibibytes: memory, passes: passes)
    }
}

extension Data {
    /// Base64 as PHC strings have it.
    fileprivate var unpaddedBase64: Substring { base64EncodedString().prefix { $0 != "=" } }
}
