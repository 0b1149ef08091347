// The parts of identity over a data folder, for the server and for commands.
// SPDX-License-Identifier: Apache-2.0

import Database
import Domain
import Glibc
import Identity
import Logging
import NIOPosix
import Observability
import Outbound
import Primitives

/// Identity as one process has it.
struct IdentityWiring: Sendable {
    let identity: IdentityService
    let audit: AuditLog
    let keys: SigningKeys
    let heads: AuditHeadFile
    /// `nil` without a secret.
    let webhook: IAMWebhook?
    /// `nil` where nobody welcomes new users.
    let welcomes: WelcomeNotices?

    /// Keys and heads are files of the data folder, unless `audit.anchor` names another place for the
    /// heads. A key file that others may read ends the program with 2.
    init(
        folder: DataFolder, configuration: Configuration, world: World,
        registry: MetricsRegistry, logger: Logger? = nil
    ) throws {
        let hashers = NIOThreadPool(numberOfThreads: 2)
        let writer = NIOThreadPool(numberOfThreads: 1)
        for pool in [hashers, writer] { pool.start() }
        do {
            heads = try Self.heads(folder, configuration)
            keys = try SigningKeys(folder: folder.path + "/keys", world: world)
        } catch {
            throw ConfigurationError(description: error.description)
        }
        webhook = IAMWebhook(secret: Redacted(configuration.text("auth.webhook_secret")))
        audit = AuditLog(
            database: folder.database, heads: heads, world: world, pool: writer,
            registry: registry)
        var parts = IdentityService.Parts(
            database: folder.database, audit: audit,
            tokens: AccessTokens(
                keys: keys, issuer: configuration.text("auth.issuer"), world: world),
            hasher: PasswordHasher(pool: hashers, world: world),
            revocations: Revocations(database: folder.database, world: world), world: world)
        parts.external = try ExternalTokens.configured(
            configuration,
            client: OutboundClient.configured(configuration, for: "auth.provider_jwks_url"),
            world: world, registry: registry, logger: logger)
        welcomes = try WelcomeNotices.configured(
            configuration,
            client: OutboundClient.configured(configuration, for: "auth.welcome_url"),
            world: world, registry: registry, logger: logger)
        parts.welcome = welcomes?.welcome
        identity = IdentityService(parts)
    }

    /// The file of signed heads and its key.
    static func heads(
        _ folder: DataFolder, _ configuration: Configuration
    ) throws(SecretFileError) -> AuditHeadFile {
        let files = headFiles(folder, configuration)
        return try AuditHeadFile(path: files.heads, keyFile: files.key)
    }

    static func headFiles(
        _ folder: DataFolder, _ configuration: Configuration
    ) -> (heads: String, key: String) {
        let anchor = configuration.text("audit.anchor")
        return (
            anchor.isEmpty ? folder.path + "/audit-heads.log" : anchor,
            folder.path + "/audit-signing.key"
        )
    }

    /// The server's part: what other processes revoked ends here within half a second, and the audit
    /// log is written and its heads are signed. Ends when it is cancelled.
    func follow() async {
        try? audit.note(AuditEvent(.serverStarted, by: .program("server")))
        var rounds = 0
        while !Task.isCancelled {
            await identity.advance()
            if rounds.isMultiple(of: 7200) { await identity.tidy() }
            rounds += 1
            do { try await Task.sleep(for: .milliseconds(500)) } catch { return }
        }
    }

    func stop() async {
        try? audit.note(AuditEvent(.serverStopped, by: .program("server")))
        await audit.finish()
        // Last: a receiver that hangs must not cost the audit log its end.
        await welcomes?.finish(patience: .seconds(2))
    }

    /// The first administrator of a new installation. A password that was made is shown this once.
    func prepare(_ configuration: Configuration) async throws {
        let text = configuration.text("auth.initial_admin_password")
        let given = text.isEmpty ? nil : Redacted(text)
        do throws(MarsadError) {
            guard let first = try await identity.makeFirstAdministrator(password: given) else {
                return
            }
            guard let made = first.made else { return }
            complain("the first account is \(first.loginID), password \(made.reveal())")
            complain("the password is not shown again; change it after the first sign-in")
        } catch {
            guard error.code == .unprocessable else { throw error }
            throw ConfigurationError(
                description: "auth.initial_admin_password is not valid; allowed: "
                    + (error.details["reason"] ?? "a good password"))
        }
    }
}

extension IdentityWiring {
    /// Accounts of the demo have passwords that were printed; no other server runs with them.
    func refuseDemoAccounts() async throws {
        guard try await identity.hasDemoAccounts() else { return }
        throw ConfigurationError(
            description: "data: this folder has accounts of the demo; allowed: another folder")
    }
}

/// Runs a command on a data folder's identity, and signs the audit log's head after it.
func withIdentity(
    _ options: FolderOptions, _ body: (IdentityWiring, Caller) async throws -> Void
) async throws {
    let configuration = try options.configuration()
    let world = World.system
    let folder = try await DataFolder.open(
        configuration, world: world, exclusive: false)
    let wiring = try IdentityWiring(
        folder: folder, configuration: configuration, world: world, registry: MetricsRegistry())
    let result: Result<Void, any Error>
    do {
        try await wiring.prepare(configuration)
        result = .success(try await body(wiring, .program("cli")))
    } catch {
        result = .failure(error)
    }
    await wiring.audit.finish()
    // What the command has to say is read while new users are told of, which may take all tries.
    fflush(nil)
    await wiring.welcomes?.finish(patience: .seconds(30))
    try result.get()
}
