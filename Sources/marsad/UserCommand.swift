// `marsad user`: accounts of a data folder; a running server ends what they lost within a second.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Domain
import Foundation
import Identity
import Primitives

struct UserCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user", abstract: "Add, list and disable users.",
        subcommands: [Add.self, List.self, Disable.self, Enable.self, ResetPassword.self])

    /// A login name that the command line gives.
    static func loginID(_ text: String) throws -> LoginID {
        guard let loginID = LoginID(text) else {
            throw ConfigurationError(
                description: "\"\(text)\" is no login name; allowed: a–z, 0–9 and . _ - @, up to 64"
            )
        }
        return loginID
    }

    /// MARSAD_PASSWORD or the first line of MARSAD_PASSWORD_FILE; never an argument, which others see.
    static func givenPassword() throws -> Redacted<String>? {
        let environment = ProcessInfo.processInfo.environment
        if let text = environment["MARSAD_PASSWORD"] { return Redacted(text) }
        guard let path = environment["MARSAD_PASSWORD_FILE"] else { return nil }
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw ConfigurationError(
                description: "MARSAD_PASSWORD_FILE is \"\(path)\"; allowed: a file that can be read"
            )
        }
        return Redacted(ConfigurationKey.trimmed(text.prefix { !$0.isNewline }))
    }

    /// What a call refused, in the words of a command line.
    static func explained<T>(_ body: () async throws -> T) async throws -> T {
        do {
            return try await body()
        } catch let error as MarsadError {
            switch error.code {
            case .notFound: complain("there is no such user or group")
            case .alreadyExists: complain("there is one of this name already")
            case .conflict:
                complain("refused: \(error.details["reason"] ?? "not for this account")")
            case .unprocessable:
                let reason = error.details["reason"] ?? "a text is empty or too long"
                throw ConfigurationError(
                    description: "\(error.details["field"] ?? "value"): \(reason)")
            default: complain("failed: \(error.code.rawValue)")
            }
            throw ExitCode(1)
        }
    }

    struct Line: Encodable {
        var user_id: String
        var login_id: String
        var display_name: String
        var full_name_arabic: String
        var agency: String
        var status: String
        var origin: String
        /// Shown once, where one was made.
        var password: String?

        init(_ user: User, password: Redacted<String>? = nil) {
            user_id = user.id.rawValue
            login_id = user.loginID.rawValue
            display_name = user.profile.displayName
            full_name_arabic = user.profile.fullNameArabic
            agency = user.profile.agency.code
            status = user.status.rawValue
            origin = user.origin.rawValue
            self.password = password?.reveal()
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a user and print its id; without MARSAD_PASSWORD a password is made.")

        @Argument(help: "The login name.") var login: String
        @Option(help: "The name that others see.") var name: String
        @Option(help: "The name in Arabic.") var nameAr = ""
        @Option(help: "The agency's code; its default group is entered.") var agency: String
        @Option(help: "A group beside the agency's default one; may be given again.")
        var group: [String] = []
        @Option(help: "The address for messages.") var email: String?
        @Flag(help: "Signs in at the identity provider; has no password here.") var external = false
        @Flag(help: "Not let in until it is enabled.") var pending = false
        @OptionGroup var options: FolderOptions

        func run() async throws {
            let loginID = try UserCommand.loginID(login)
            let given = external ? nil : try UserCommand.givenPassword()
            let made =
                external || given != nil ? nil : PasswordRules.make(world: .system)
            var profile = UserProfile(
                displayName: name, fullNameArabic: nameAr, agency: OrganizationUnit(code: agency))
            profile.email = email
            var new = NewUser(
                loginID: loginID, origin: external ? .external : .local, profile: profile,
                status: pending ? .pending : .active, password: given ?? made)
            try await withIdentity(options) { wiring, caller in
                let user = try await UserCommand.explained {
                    for name in group {
                        new.groups.append(
                            try await wiring.identity.group(named: name, for: caller).id)
                    }
                    return try await wiring.identity.createUser(new, by: caller)
                }
                if options.json { return try printJSON(Line(user, password: made)) }
                print(user.id)
                if let made { complain("password, shown once: \(made.reveal())") }
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the users.")
        @OptionGroup var options: FolderOptions

        func run() async throws {
            try await withIdentity(options) { wiring, caller in
                var filter = UserStore.Filter()
                filter.limit = Limits.page
                var lines: [Line] = []
                while true {
                    let users = try await wiring.identity.users(filter, for: caller).users
                    lines += users.map { Line($0) }
                    guard users.count == filter.limit else { break }
                    filter.offset += filter.limit
                }
                if options.json { return try printJSON(lines) }
                for line in lines {
                    print(line.login_id, line.status, line.agency, line.display_name)
                }
            }
        }
    }

    struct Disable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Disable a user; its sessions, streams and links end within a second.")
        @Argument(help: "The login name.") var login: String
        @OptionGroup var options: FolderOptions

        func run() async throws { try await setStatus(.disabled, of: login, options) }
    }

    struct Enable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a user in, again or for the first time.")
        @Argument(help: "The login name.") var login: String
        @OptionGroup var options: FolderOptions

        func run() async throws { try await setStatus(.active, of: login, options) }
    }

    struct ResetPassword: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "reset-password",
            abstract: "Set MARSAD_PASSWORD, or a password that is made, and end the sessions.")
        @Argument(help: "The login name.") var login: String
        @OptionGroup var options: FolderOptions

        func run() async throws {
            let loginID = try UserCommand.loginID(login)
            let given = try UserCommand.givenPassword()
            let password = given ?? PasswordRules.make(world: .system)
            try await withIdentity(options) { wiring, caller in
                let user = try await UserCommand.explained {
                    let user = try await wiring.identity.user(named: loginID, for: caller)
                    try await wiring.identity.setPassword(user.id, password, by: caller)
                    return user
                }
                let made = given == nil ? password : nil
                if options.json { return try printJSON(Line(user, password: made)) }
                if let made { complain("password, shown once: \(made.reveal())") }
            }
        }
    }

    private static func setStatus(
        _ status: UserStatus, of login: String, _ options: FolderOptions
    ) async throws {
        let loginID = try loginID(login)
        try await withIdentity(options) { wiring, caller in
            var user = try await explained {
                let user = try await wiring.identity.user(named: loginID, for: caller)
                try await wiring.identity.setStatus(user.id, status, by: caller)
                return user
            }
            user.status = status
            if options.json { try printJSON(Line(user)) }
        }
    }
}

/// `marsad token`.
struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Issue access tokens; change the key that signs them.",
        subcommands: [Issue.self, RotateKey.self])

    struct Issue: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print an access token that acts as a user.")
        @Option(help: "The login name.") var user: String
        @Option(help: "How long it lives: 15m, 1h, at most 24h.") var ttl = "1h"
        @OptionGroup var options: FolderOptions

        private struct Result: Encodable {
            var access_token: String
            var expires_in: Int64
        }

        func run() async throws {
            let loginID = try UserCommand.loginID(user)
            guard let seconds = Self.seconds(ttl), (1...86_400).contains(seconds) else {
                throw ConfigurationError(
                    description: "--ttl is \"\(ttl)\"; allowed: 1s to 24h, such as 15m")
            }
            try await withIdentity(options) { wiring, caller in
                let grant = try await UserCommand.explained {
                    try await wiring.identity.issueToken(
                        for: loginID, lifetime: .seconds(seconds), by: caller)
                }
                let token = grant.accessToken.reveal()
                guard options.json else { return print(token) }
                try printJSON(
                    Result(
                        access_token: token, expires_in: grant.expiresIn.components.seconds))
            }
        }

        static func seconds(_ text: String) -> Int? {
            let units = ["s": 1, "m": 60, "h": 3600]
            guard let unit = text.last.flatMap({ units[String($0)] }),
                let number = Int(text.dropLast()), (1...86_400).contains(number)
            else { return nil }
            return number * unit
        }
    }

    struct RotateKey: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rotate-key",
            abstract: "Sign with a new key; the old one is believed for two more days.")
        @OptionGroup var options: FolderOptions

        func run() async throws {
            try await withIdentity(options) { wiring, caller in
                try await UserCommand.explained {
                    try await wiring.audit.record(AuditEvent(.keyRotated, by: caller))
                }
                try wiring.keys.rotate()
                if options.json { return try printJSON(["kid": wiring.keys.currentKeyID]) }
                print(wiring.keys.currentKeyID)
            }
        }
    }
}
