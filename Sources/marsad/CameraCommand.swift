// `marsad camera`: the cameras of a data folder; a running server takes changes within two seconds.
// SPDX-License-Identifier: Apache-2.0

import API
import ArgumentParser
import Domain
import Foundation
import Identity
import Ingest
import NIOPosix
import Observability
import Primitives

struct CameraCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "camera",
        abstract: "Add, list, import, try and remove cameras, and their groups.",
        subcommands: [
            Add.self, List.self, Import.self, Probe.self, Remove.self, Folder.self,
        ])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Add a camera and print its id.")

        @Argument(help: "Its address, rtsp://user:password@host:port/path.") var url: String?
        @Flag(help: "It publishes by WHIP instead of having an address; its token is shown once.")
        var whip = false
        @Option(help: "The address of its sub-stream, for viewers on slow networks.")
        var sub: String?
        @Flag(help: "Let viewers hear it; see what the law says first. Sound is not recorded.")
        var audio = false
        @Option(help: "Its name.") var name: String
        @Option(help: "Its name in Arabic.") var nameAr = ""
        @Option(help: "The agency that owns it: capital letters, digits and _.") var source =
            "OTHER"
        @Option(help: "The camera group of its source that it is put into.") var folder: String?
        @Option(help: "Its name in the system that it comes from, once within its source.")
        var externalID: String?
        @Flag(help: "Show it without recording it.") var noRecording = false
        @Option(help: "Days its recordings are kept, instead of retention.days.")
        var retentionDays: Int?
        @OptionGroup var options: FolderOptions

        func run() async throws {
            guard whip ? url == nil && sub == nil : url != nil else {
                throw ConfigurationError(
                    description: "url: an rtsp:// address is needed, or --whip without one")
            }
            var fields = CameraDefinition.Fields()
            fields.name = name
            fields.nameArabic = nameAr
            fields.source = source
            fields.folderID = folder
            fields.externalID = externalID
            fields.address = url.map { Redacted($0) }
            fields.subAddress = sub.map { Redacted($0) }
            fields.hasAudio = audio
            fields.isRecorded = !noRecording
            fields.retentionDays = retentionDays
            let token = whip ? PublishToken.make(world: .system) : nil
            try await withCameras(options) { administration, caller in
                let camera = try await administration.add(
                    CameraDefinition(fields), origin: whip ? .whip : .rtsp,
                    publishTokenHash: token.map(PublishToken.hash), by: caller)
                try show(camera.id, token)
            }
        }

        /// The id alone goes to standard output, for scripts.
        private func show(_ id: CameraID, _ token: Redacted<String>?) throws {
            let configuration = try options.configuration()
            let address =
                "\(configuration.isSecure ? "https" : "http")://\(configuration.text("http.host")):\(configuration.number("http.port"))"
                + "/api/v1/ingest/\(id)/whip"
            if options.json {
                var body = ["id": id.rawValue]
                if let token {
                    body["whip_url"] = address
                    body["token"] = token.reveal()
                }
                return try printJSON(body)
            }
            print(id.rawValue)
            guard let token else { return }
            complain("publish to \(address) with this token, shown once: \(token.reveal())")
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the cameras.")
        @OptionGroup var options: FolderOptions

        private struct Line: Encodable {
            var id: String
            var source: String
            var name: String
            var origin: String
            var recording_mode: String
            var folder_id: String?
            var external_id: String?
        }

        func run() async throws {
            let folder = try await DataFolder.open(
                try options.configuration(), world: .system, exclusive: false)
            let lines = try await folder.cameras.all(.everything).map {
                Line(
                    id: $0.id.rawValue, source: $0.source.rawValue, name: $0.name,
                    origin: $0.origin.rawValue, recording_mode: $0.recordingMode.rawValue,
                    folder_id: $0.folderID?.rawValue, external_id: $0.externalID)
            }
            guard options.json else {
                for line in lines { print(line.id, line.source, line.recording_mode, line.name) }
                return
            }
            try printJSON(lines)
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a camera; its recordings stay.")
        @Argument(help: "Its id.") var id: String
        @OptionGroup var options: FolderOptions

        func run() async throws {
            try await withCameras(options) { administration, caller in
                guard let id = CameraID(id),
                    let camera = try await administration.cameras.camera(id, .everything)
                else { throw MarsadError(.cameraNotFound) }
                try await administration.remove(camera, by: caller)
            }
        }
    }
}

/// Runs a command on a data folder's cameras; what it changes is in the audit log. Says in the words of
/// a command line what was refused.
func withCameras(
    _ options: FolderOptions, _ body: (CameraAdministration, Caller) async throws -> Void
) async throws {
    let configuration = try options.configuration()
    let world = World.system
    let folder = try await DataFolder.open(
        configuration, world: world, exclusive: false)
    let writer = NIOThreadPool(numberOfThreads: 1)
    writer.start()
    let audit: AuditLog
    do {
        audit = AuditLog(
            database: folder.database, heads: try IdentityWiring.heads(folder, configuration),
            world: world, pool: writer, registry: MetricsRegistry())
    } catch {
        throw ConfigurationError(description: error.description)
    }
    do {
        try await body(folder.administration(world: world, audit: audit), .program("cli"))
    } catch let error as MarsadError {
        await audit.finish()
        let details = error.details.sorted { $0.key < $1.key }.map { "\($0): \($1)" }
        let text = ([error.code.text.english] + details).joined(separator: "; ")
        if [.invalidRequest, .unprocessable].contains(error.code) {
            throw ConfigurationError(description: text)
        }
        complain(text)
        throw ExitCode(1)
    }
    await audit.finish()
}
