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

        @Argument(help: "Its address, rtsp://user:password@host:port/path.") var url: String
        @Option(help: "Its name.") var name: String
        @Option(help: "Its name in Arabic.") var nameAr = ""
        @Option(help: "The agency that owns it: capital letters, digits and _.") var source =
            "OTHER"
        @Flag(help: "Show it without recording it.") var noRecording = false
        @Option(help: "Days its recordings are kept, instead of retention.days.")
        var retentionDays: Int?
        @OptionGroup var options: ServerOptions

        func run() async throws {
            do {
                _ = try RTSPURL(parsing: url)
            } catch {
                throw ConfigurationError(
                    description: "url: not an rtsp:// address (\(error.reason))")
            }
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
            try await folder.cameras.put(
                Camera(
                    id: id, name: name, nameArabic: nameAr, source: source, address: Redacted(url),
                    recordingMode: noRecording ? .off : .continuous,
                    retentionDays: retentionDays, createdAt: world.wallTime()))
            if options.json { try printJSON(["id": id.rawValue]) } else { print(id.rawValue) }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the cameras.")
        @OptionGroup var options: ServerOptions

        private struct Line: Encodable {
            var id: String
            var source: String
            var name: String
            var recording_mode: String
        }

        func run() async throws {
            let folder = try await DataFolder.open(
                try options.configuration().text("data"), world: .system, exclusive: false)
            let lines = try await folder.cameras.all().map {
                Line(
                    id: $0.id.rawValue, source: $0.source.rawValue, name: $0.name,
                    recording_mode: $0.recordingMode.rawValue)
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
        @OptionGroup var options: ServerOptions

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
