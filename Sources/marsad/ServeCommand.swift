// `marsad serve`: the server with what is configured.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Database
import Domain
import Foundation
import Glibc
import Live
import Logging
import NIOCore
import Observability
import Primitives
import ServiceLifecycle
import UnixSignals

/// The flags that every command with a data folder takes.
struct FolderOptions: ParsableArguments {
    @Option(help: "A YAML file of configuration keys.") var config: String?
    @Option(help: "The data folder.") var data: String?
    @Option(name: .customLong("set"), help: "Any configuration key, as key=value.")
    var settings: [String] = []
    @Flag(help: "Print JSON on stdout.") var json = false

    /// - Parameters:
    ///   - flags: keys that the command has flags of its own for.
    ///   - overrides: what a command changes of the defaults; the user's own values win.
    func configuration(
        flags given: [String: String] = [:], overrides: [String: String] = [:]
    ) throws -> Configuration {
        var flags = given
        for setting in settings {
            guard let equals = setting.firstIndex(of: "=") else {
                throw ConfigurationError(
                    description: "--set \(ShownName(setting)): expected key=value")
            }
            flags[String(setting[..<equals])] = String(setting[setting.index(after: equals)...])
        }
        if let data { flags["data"] = data }
        return try Configuration(
            flags: flags, environment: ProcessInfo.processInfo.environment, file: config,
            overrides: overrides)
    }
}

/// The flags that every command with a server takes; each is a configuration key.
struct ServerOptions: ParsableArguments {
    @OptionGroup var folder: FolderOptions
    @Option(help: "The HTTP port; 0 takes a free one.") var httpPort: String?
    @Option(help: "The HTTP address; people sign in where it is not a loopback address.")
    var httpHost: String?
    @Flag(help: "Print every key, its value and where it came from, and stop.") var printConfig =
        false

    /// Whether the ready line goes to stdout as JSON, and the log to stderr.
    var json: Bool { folder.json }

    /// - Parameter overrides: what a command changes of the defaults; the user's own values win.
    func configuration(overrides: [String: String] = [:]) throws -> Configuration {
        var flags: [String: String] = [:]
        if let httpPort { flags["http.port"] = httpPort }
        if let httpHost { flags["http.host"] = httpHost }
        return try folder.configuration(flags: flags, overrides: overrides)
    }
}

/// What `demo` has beside the server: its cameras' address and its accounts.
struct Demonstration {
    /// An account to try, with its password, which stays the same in one folder.
    struct Account: Encodable {
        var login_id: String
        var password: String
        var role: String
    }

    var rtspURL: String
    var hasAccounts: Bool
}

/// The ready line of the command line contract.
func announceReady(
    url: String, rtspURL: String?, accounts: [Demonstration.Account]? = nil, json: Bool
) {
    struct Ready: Encodable {
        var ready = true
        var url: String
        var rtsp_url: String?
        var accounts: [Demonstration.Account]?
    }
    guard json else {
        var text = "Marsad is ready: \(url)\n"
        for account in accounts ?? [] {
            text += "  \(account.login_id)  \(account.password)  (\(account.role))\n"
        }
        FileHandle.standardError.write(Data(text.utf8))
        return
    }
    let ready = Ready(url: url, rtsp_url: rtspURL, accounts: accounts)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if let line = try? encoder.encode(ready) {
        FileHandle.standardOutput.write(line + Data("\n".utf8))
    }
}

/// Runs the server of a data folder until it is asked to stop.
func runServer(
    _ configuration: Configuration, folder: DataFolder, world: World,
    demonstration: Demonstration?, json: Bool
) async throws {
    CoreFiles.leaveNone()
    // With --json stdout carries the ready line, so logs go beside it, to stderr.
    let sink = LogSink(descriptor: json ? 2 : 1)
    let level = Logger.Level(rawValue: configuration.text("log.level")) ?? .info
    let logger = Logger(label: "marsad") { _ in
        JSONLogHandler(level: level, sink: sink, now: world.wallTime)
    }
    for table in try await ServiceRole.changeableTables(in: folder.database) {
        logger.warning(
            "the database's role may change what is only to be added to",
            metadata: ["event": "role_may_change", "table": "\(table)"])
    }
    let installation: Installation
    do {
        installation = try await Installation(
            configuration: configuration, folder: folder, world: world, logger: logger)
    } catch let error as LivePortError {
        throw ConfigurationError(
            description: "webrtc.port is \(configuration.text("webrtc.port")); "
                + "allowed: a free port (\(error))")
    }
    let people = installation.people
    if demonstration == nil { try await people.refuseDemoAccounts() }
    let hasDemoAccounts = demonstration?.hasAccounts == true
    // The demo's own administrator is the first one, unless another one's password was given.
    if !hasDemoAccounts || !configuration.text("auth.initial_admin_password").isEmpty {
        try await people.prepare(configuration)
    }
    let accounts =
        hasDemoAccounts
        ? try await DemoAccounts.make(by: people.identity, in: folder.path, world: world)
        : demonstration.map { _ in [] }
    let host = configuration.text("http.host")
    let services = installation.services(
        host: host, port: configuration.number("http.port"),
        settings: configuration.gatewaySettings
    ) { port in
        let shownHost = host.contains(":") ? "[\(host)]" : host
        announceReady(
            url: "\(configuration.isSecure ? "https" : "http")://\(shownHost):\(port)",
            rtspURL: demonstration?.rtspURL,
            accounts: accounts, json: json)
    }
    defer { sink.flush() }
    do {
        try await ServiceGroup(
            services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger
        ).run()
    } catch let error as IOError where error.errnoCode == EADDRINUSE {
        throw ConfigurationError(
            description: "http.port is \(configuration.text("http.port")); allowed: a free port")
    }
}

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Run the server.")

    @OptionGroup var options: ServerOptions

    func run() async throws {
        let configuration = try options.configuration()
        if options.printConfig { return print(configuration.printed) }
        let world = World.system
        let folder = try await DataFolder.open(
            configuration, world: world, exclusive: true)
        try await runServer(
            configuration, folder: folder, world: world, demonstration: nil, json: options.json)
    }
}
