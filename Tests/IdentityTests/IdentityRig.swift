// A whole identity on a real database in a folder of its own, with a clock that the test turns.
// SPDX-License-Identifier: Apache-2.0

import CryptoExtras
import Database
import Domain
import Foundation
import Identity
import NIOPosix
import Observability
import Primitives
import Synchronization
import Testing

/// A clock and a source of randomness that a test drives.
final class TestWorld: Sendable {
    private struct State {
        var elapsed: Duration = .zero
        var random = SeededRandom(seed: 42)
    }

    private let state = Mutex(State())
    static let start = WallTime(microseconds: 1_790_000_000_000_000)

    func advance(by duration: Duration) { state.withLock { $0.elapsed += duration } }

    var world: World {
        World(
            now: { Instant(nanoseconds: 5_000_000_000) + self.state.withLock { $0.elapsed } },
            wallTime: { Self.start + self.state.withLock { $0.elapsed } },
            random: { self.state.withLock { $0.random.next() } },
            secureRandomBytes: { count in
                self.state.withLock { state in
                    (0..<count).map { _ in UInt8.random(in: 0...255, using: &state.random) }
                }
            })
    }
}

/// The parts of identity, made as the program makes them; hashes are cheap.
final class IdentityRig: Sendable {
    let clock = TestWorld()
    let folder: URL
    let engine: any DatabaseEngine
    let pool: NIOThreadPool
    let registry = MetricsRegistry()
    let heads: AuditHeadFile
    let audit: AuditLog
    let keys: SigningKeys
    let hasher: PasswordHasher
    let revocations: Revocations
    let identity: IdentityService

    var world: World { clock.world }
    /// One for all tests: to find the primes of another takes longer than most of them.
    private static let key = Result {
        Redacted(
            Array(try _RSA.Signing.PrivateKey(keySize: .bits2048).pkcs8PEMRepresentation.utf8))
    }
    static let password = Redacted("long enough, and nobody's")
    static let program = Caller.program("test")

    private init(
        folder: URL, engine: any DatabaseEngine, pool: NIOThreadPool, external: ExternalTokens?,
        welcome: WelcomeHook?
    ) throws {
        self.folder = folder
        self.engine = engine
        self.pool = pool
        let world = clock.world
        heads = try AuditHeadFile(
            path: folder.path + "/audit-heads.log", keyFile: folder.path + "/audit-signing.key")
        audit = AuditLog(
            database: engine, heads: heads, world: world, pool: pool, registry: registry)
        try FileManager.default.createDirectory(
            atPath: folder.path + "/keys", withIntermediateDirectories: true)
        try SecretFile.create(
            folder.path + "/keys/signing-\(TestWorld.start.microseconds).pem", try Self.key.get())
        keys = try SigningKeys(folder: folder.path + "/keys", world: world)
        hasher = PasswordHasher(
            pool: pool, world: world, cost: .init(memoryKibibytes: 64, passes: 1))
        revocations = Revocations(database: engine, world: world)
        var parts = IdentityService.Parts(
            database: engine, audit: audit,
            tokens: AccessTokens(keys: keys, issuer: "https://marsad.example", world: world),
            hasher: hasher, revocations: revocations, world: world)
        parts.external = external
        parts.welcome = welcome
        identity = IdentityService(parts)
    }

    /// Runs `body` with a fresh identity and leaves nothing behind.
    static func with(
        external: ((World) -> ExternalTokens)? = nil, welcome: WelcomeHook? = nil,
        _ body: (IdentityRig) async throws -> Void
    ) async throws {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-identity-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let engine = try await TestDatabase.current.open(in: folder.path)
        try await Migrator(engine: engine).migrate(at: TestWorld.start)
        let pool = NIOThreadPool(numberOfThreads: 2)
        pool.start()
        let rig = try IdentityRig(
            folder: folder, engine: engine, pool: pool, external: external?(TestWorld().world),
            welcome: welcome)
        try await body(rig)
        await rig.audit.finish()
        try await engine.close()
        try await pool.shutdownGracefully()
    }

    /// Another process on the same folder.
    func secondService(keys: SigningKeys? = nil) throws -> IdentityService {
        let revocations = Revocations(database: engine, world: world)
        return IdentityService(
            IdentityService.Parts(
                database: engine,
                audit: AuditLog(
                    database: engine, heads: heads, world: world, pool: pool, registry: registry),
                tokens: AccessTokens(
                    keys: keys ?? self.keys, issuer: "https://marsad.example", world: world),
                hasher: hasher, revocations: revocations, world: world))
    }

    @discardableResult
    func user(
        _ login: String, agency: String = "METRO", status: UserStatus = .active,
        origin: UserOrigin = .local
    ) async throws -> User {
        var profile = UserProfile(
            displayName: "Person \(login)", fullNameArabic: "شخص",
            agency: OrganizationUnit(code: agency, name: "\(agency) agency", nameArabic: "المترو"))
        profile.department = OrganizationUnit(code: "OPS", name: "Operations", nameArabic: "عمليات")
        return try await identity.createUser(
            NewUser(
                loginID: try #require(LoginID(login)), origin: origin, profile: profile,
                status: status, password: origin == .external ? nil : Self.password),
            by: Self.program)
    }

    /// A camera group, as the cameras' part makes it.
    func folder(_ source: String, _ id: String) async throws {
        _ = try await engine.transaction([
            Statement(
                """
                INSERT INTO camera_folders (source, folder_id, name, created_at, updated_at)
                VALUES (?, ?, ?, 0, 0)
                """, [.text(source), .text(id), .text(id)])
        ])
    }

    func login(
        _ login: String, _ password: Redacted<String> = IdentityRig.password,
        from address: String = "192.0.2.1"
    ) async throws -> TokenGrant {
        try await identity.login(login, password: password, from: RequestOrigin(address: address))
    }

    func authenticate(_ grant: TokenGrant) async throws -> Caller {
        try await identity.authenticate(grant.accessToken.reveal(), from: RequestOrigin())
    }

    /// The kinds in the audit log, in order; what was noted is written first.
    func events() async throws -> [String] {
        await audit.finish()
        return try await engine.query(
            Statement("SELECT event_type FROM audit_log ORDER BY id")
        ).map { try $0.text("event_type") }
    }
}

/// The code with which a call fails; `nil` when it does not.
func code(_ body: () async throws -> Void) async -> MarsadError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? MarsadError)?.code ?? .internalError
    }
}
