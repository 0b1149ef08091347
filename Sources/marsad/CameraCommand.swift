// `marsad camera`: the cameras of a data folder; a running server takes changes within two seconds.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Domain
import Foundation
import Ingest
import Primitives
import RTSP

struct CameraCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "camera", abstract: "Add, list and remove cameras.",
        subcommands: [Add.self, List.self, Remove.self])

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
        @Flag(help: "Show it without recording it.") var noRecording = false
        @Option(help: "Days its recordings are kept, instead of retention.days.")
        var retentionDays: Int?
        @OptionGroup var options: FolderOptions

        func run() async throws {
            try checkAddress()
            guard let source = Source(source) else {
                throw ConfigurationError(
                    description: "--source is \"\(source)\"; allowed: A–Z, 0–9 and _, up to 32")
            }
            guard (1...200).contains(name.count), nameAr.count <= 200 else {
                throw ConfigurationError(description: "--name: allowed: 1 to 200 characters")
            }
            if let retentionDays, !(1...3650).contains(retentionDays) {
                throw ConfigurationError(
                    description: "--retention-days is \(retentionDays); allowed: 1 to 3650")
            }
            let world = World.system
            let folder = try await DataFolder.open(
                try options.configuration().text("data"), world: world, exclusive: false)
            guard let id = CameraID(world.makeID()) else { return }
            let token = whip ? PublishToken.make(world: world) : nil
            var camera = Camera(
                id: id, name: name, nameArabic: nameAr, source: source,
                origin: whip ? .whip : .rtsp, address: Redacted(url ?? ""),
                subAddress: sub.map { Redacted($0) },
                recordingMode: noRecording ? .off : .continuous, retentionDays: retentionDays,
                publishTokenHash: token.map(PublishToken.hash), createdAt: world.wallTime())
            camera.hasAudio = audio
            try await folder.cameras.put(camera)
            try show(id, token)
        }

        private func checkAddress() throws {
            if whip {
                guard url == nil, sub == nil else {
                    throw ConfigurationError(
                        description: "--whip: a camera that publishes has no address")
                }
                return
            }
            guard let url else {
                throw ConfigurationError(
                    description: "url: an rtsp:// address is needed, or --whip")
            }
            try check(url, "url")
            if let sub { try check(sub, "--sub") }
        }

        private func check(_ address: String, _ name: String) throws {
            do {
                _ = try RTSPURL(parsing: address)
            } catch {
                throw ConfigurationError(
                    description: "\(name): not an rtsp:// address (\(error.reason))")
            }
        }

        /// The id alone goes to standard output, for scripts.
        private func show(_ id: CameraID, _ token: Redacted<String>?) throws {
            let configuration = try options.configuration()
            let address =
                "http://\(configuration.text("http.host")):\(configuration.number("http.port"))"
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
        }

        func run() async throws {
            let folder = try await DataFolder.open(
                try options.configuration().text("data"), world: .system, exclusive: false)
            let lines = try await folder.cameras.all(.everything).map {
                Line(
                    id: $0.id.rawValue, source: $0.source.rawValue, name: $0.name,
                    origin: $0.origin.rawValue, recording_mode: $0.recordingMode.rawValue)
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
            let world = World.system
            let folder = try await DataFolder.open(
                try options.configuration().text("data"), world: world, exclusive: false)
            guard let id = CameraID(id), try await folder.cameras.remove(id, at: world.wallTime())
            else {
                complain("there is no camera \(id)")
                throw ExitCode(1)
            }
        }
    }
}
