// `marsad camera folder`: the groups that cameras of a source are put into.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Domain
import Ingest

extension CameraCommand {
    struct Folder: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add, list and remove camera groups.",
            subcommands: [AddFolder.self, ListFolders.self, RemoveFolder.self])
    }

    /// A group's place, as the command line gives it.
    private static func place(_ source: String, _ id: String) throws(MarsadError) -> (
        Source, FolderID
    ) {
        guard let source = Source(source), let id = FolderID(id) else {
            throw MarsadError(
                .invalidRequest,
                details: ["allowed": "a source such as METRO and a group such as gates"])
        }
        return (source, id)
    }

    struct AddFolder: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "add", abstract: "Add a group to a source.")
        @Argument(help: "The agency, such as METRO.") var source: String
        @Argument(help: "The group's id: a–z, 0–9 and -.") var id: String
        @Option(help: "Its name; without one, its id.") var name: String?
        @Option(help: "Its name in Arabic.") var nameAr = ""
        @OptionGroup var options: FolderOptions

        func run() async throws {
            try await withCameras(options) { administration, caller in
                let (source, folder) = try place(source, id)
                _ = try await administration.add(
                    folder, in: source,
                    name: CameraDefinition.name(name ?? id, key: "name", from: 1),
                    nameArabic: CameraDefinition.name(nameAr, key: "name_ar", from: 0), by: caller)
            }
        }
    }

    struct ListFolders: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List the groups.")
        @OptionGroup var options: FolderOptions

        private struct Line: Encodable {
            var source: String
            var folder_id: String
            var name: String
            var name_ar: String
        }

        func run() async throws {
            try await withCameras(options) { administration, _ in
                let lines = try await administration.folders.all(.everything).map {
                    Line(
                        source: $0.source.rawValue, folder_id: $0.id.rawValue, name: $0.name,
                        name_ar: $0.nameArabic)
                }
                guard options.json else {
                    for line in lines { print(line.source, line.folder_id, line.name) }
                    return
                }
                try printJSON(lines)
            }
        }
    }

    struct RemoveFolder: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "remove", abstract: "Remove a group that holds no camera.")
        @Argument(help: "The agency.") var source: String
        @Argument(help: "The group's id.") var id: String
        @OptionGroup var options: FolderOptions

        func run() async throws {
            try await withCameras(options) { administration, caller in
                let (source, id) = try place(source, id)
                guard
                    let folder = try await administration.folders.folder(source, id, .everything)
                else { throw MarsadError(.notFound) }
                try await administration.remove(folder, by: caller)
            }
        }
    }
}
