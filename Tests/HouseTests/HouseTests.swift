// The rules of the house: who may import whom, and what no source may hold.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The repository's own Swift files.
enum House {
    struct File {
        /// Path below the repository.
        var path: String
        var lines: [Substring]

        /// `Sources/Services/Ingest/…` → `Ingest`.
        var target: String {
            let parts = path.split(separator: "/")
            let isFloor = ["Protocols", "Infrastructure", "Services", "CSystem"]
                .contains(String(parts[1]))
            return String(parts[isFloor ? 2 : 1])
        }

        var name: String { String(path.split(separator: "/").last ?? "") }

        /// The modules that the file's import lines name.
        var imports: [String] {
            lines.compactMap { line in
                var words = line.split(separator: " ")
                let modifiers: Set<Substring> = [
                    "package", "public", "internal", "private", "fileprivate", "@testable",
                    "@preconcurrency", "@_exported",
                ]
                while let first = words.first, modifiers.contains(first) { words.removeFirst() }
                guard words.count >= 2, words[0] == "import" else { return nil }
                let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "func", "let"]
                let module = kinds.contains(words[1]) ? words.dropFirst(2).first : words[1]
                return module.map { String($0.prefix { $0 != "." && $0 != ";" }) }
            }
        }
    }

    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    static func files(_ folder: String) throws -> [File] {
        let base = root.appendingPathComponent(folder).resolvingSymlinksInPath()
        let names = try FileManager.default.subpathsOfDirectory(atPath: base.path)
        return try names.sorted().filter { $0.hasSuffix(".swift") }.map { name in
            let text = try String(
                contentsOf: base.appendingPathComponent(name), encoding: .utf8)
            return File(
                path: folder + "/" + name,
                lines: text.split(separator: "\n", omittingEmptySubsequences: false))
        }
    }

    // MARK: The table of docs/design/architecture.md

    static let protocols: Set<String> = [
        "H26x", "RTP", "RTPFormats", "SDP", "RTSP", "MP4", "Manifests", "WebRTC", "JSON", "JOSE",
        "RESP", "CSV",
    ]
    static let infrastructure: Set<String> = [
        "Database", "Decoding", "Observability", "Outbound", "Valkey",
    ]
    static let services: Set<String> = [
        "Ingest", "Recording", "Playback", "Live", "Quota", "Identity", "Layouts",
    ]
    static let shims: Set<String> = [
        "CFFmpeg", "CStorage", "CNetwork", "COpenSSL", "CArgon2", "CPQ", "CGlibc",
    ]
    private static let service =
        protocols.union(infrastructure).union(["Primitives", "Domain", "CStorage"])

    /// Which of our own targets a target may import.
    static let mayImport: [String: Set<String>] = [
        "Primitives": [],
        "H26x": ["Primitives"],
        "RTP": ["Primitives"],
        "RTPFormats": ["Primitives", "RTP", "H26x"],
        "SDP": ["Primitives"],
        // H26x: a description is answered with parameter sets, not with text.
        "RTSP": ["Primitives", "RTP", "SDP", "H26x"],
        "MP4": ["Primitives", "H26x"],
        "Manifests": ["Primitives", "H26x"],
        "WebRTC": ["Primitives", "RTP", "SDP", "COpenSSL"],
        "RESP": ["Primitives"],
        "CSV": [],
        "CFFmpeg": [],
        "CStorage": [],
        "CNetwork": [],
        "COpenSSL": [],
        "CArgon2": [],
        "CPQ": [],
        "CGlibc": [],
        "JSON": ["Primitives"],
        "JOSE": ["JSON"],
        "Database": protocols.union(["Primitives", "CPQ"]),
        "Decoding": protocols.union(["Primitives", "CFFmpeg"]),
        "Valkey": protocols.union(["Primitives"]),
        "Outbound": ["Primitives"],
        "Observability": protocols.union(["Primitives"]),
        "Domain": ["Primitives"],
        "Ingest": service,
        "Recording": service,
        "Playback": service,
        "Quota": service,
        "Layouts": service,
        "Live": service.union(["CNetwork"]),
        "Identity": service.union(["CArgon2"]),
        // JSON: bodies are read as strictly as what is signed.
        "API": services.union(["Primitives", "Domain", "Observability", "Outbound", "JSON"]),
        "Simulation": protocols.union(infrastructure).union(["Primitives", "Domain"]),
        "marsad": protocols.union(infrastructure).union(services)
            .union(["Primitives", "Domain", "API", "Simulation", "CGlibc"]),
    ]
}

@Suite struct HouseTests {
    @Test("imports go down only, by the table of the architecture")
    func imports() throws {
        let ours = Set(House.mayImport.keys)
        let files = try House.files("Sources")
        #expect(files.count > 50)
        for file in files {
            let allowed = try #require(
                House.mayImport[file.target], "\(file.path): \(file.target) is not in the table")
            for module in file.imports where ours.contains(module) && module != file.target {
                #expect(allowed.contains(module), "\(file.path) imports \(module)")
            }
        }
    }

    @Test("nothing is re-exported")
    func exports() throws {
        for file in try House.files("Sources") {
            #expect(!file.lines.contains { $0.hasPrefix("@_exported") }, "\(file.path)")
        }
    }

    @Test("protocols and domain know no Foundation, logger, socket, clock or thread")
    func pureFloors() throws {
        let forbidden: Set<String> = [
            "Foundation", "FoundationEssentials", "Logging", "Glibc", "Dispatch", "NIOPosix",
            "NIOFoundationCompat", "Synchronization",
        ]
        let floors = House.protocols.union(["Domain", "Primitives"])
        for file in try House.files("Sources") where floors.contains(file.target) {
            for module in file.imports {
                #expect(!forbidden.contains(module), "\(file.path) imports \(module)")
            }
            for word in ["Task {", "Task.sleep", "ContinuousClock", "SuspendingClock"] {
                #expect(!file.lines.contains { $0.contains(word) }, "\(file.path) has \(word)")
            }
        }
    }

    @Test("the simulation is behind the commands that say so")
    func simulation() throws {
        // The check reads the frame codes that simulated cameras stamp into their pictures.
        let commands: Set<String> = [
            "SimulateCommand.swift", "SimulatePastCommand.swift", "SimulateNetworkCommand.swift",
            "DemoCommand.swift",
            "CheckRecordingsCommand.swift", "BenchCommand.swift", "BenchReserveCommand.swift",
            "BenchUpdatesCommand.swift", "BenchRequests.swift", "BenchGetCommand.swift",
            "BenchDecisionsCommand.swift", "BenchValkeyCommand.swift",
        ]
        for file in try House.files("Sources") where file.imports.contains("Simulation") {
            #expect(commands.contains(file.name), "\(file.path) imports Simulation")
        }
    }

    @Test("only Identity gives visibility, from what a caller was granted")
    func visibility() throws {
        for file in try House.files("Sources") where !["Identity", "Domain"].contains(file.target) {
            let found = file.lines.contains { $0.contains("Visibility(") }
            #expect(!found, "\(file.path) makes a Visibility")
        }
    }

    @Test("no type escapes the checks of concurrency")
    func unchecked() throws {
        // Pointers to what OpenSSL itself shares between threads.
        let allowed: Set<String> = ["Sources/Protocols/WebRTC/DTLSIdentity.swift"]
        for file in try House.files("Sources") where !allowed.contains(file.path) {
            for word in ["@unchecked Sendable", "nonisolated(unsafe)", "@preconcurrency"] {
                #expect(!file.lines.contains { $0.contains(word) }, "\(file.path) has \(word)")
            }
        }
    }

    @Test("no test waits for time to pass, but those with real peers")
    func sleeps() throws {
        let words = ["Task.sleep", "usleep(", "Thread.sleep", "nanosleep("]
        for file in try House.files("Tests") {
            let isExempt =
                file.path.hasPrefix("Tests/Interop/") || file.path.hasPrefix("Tests/HouseTests/")
            guard !isExempt else { continue }
            for word in words {
                #expect(!file.lines.contains { $0.contains(word) }, "\(file.path) has \(word)")
            }
        }
    }

    @Test("every file says its role and its licence, and is short enough to read")
    func heads() throws {
        for file in try House.files("Sources") + House.files("Tests") {
            #expect(file.lines.first?.hasPrefix("// ") == true, "\(file.path) has no role line")
            #expect(
                file.lines.dropFirst().first == "// SPDX-License-Identifier: Apache-2.0",
                "\(file.path) has no licence line")
            #expect(file.lines.count <= 600, "\(file.path) has \(file.lines.count) lines")
        }
    }

    @Test("every core that is fuzzed has its sources there")
    func fuzzed() throws {
        let folder = House.root.appendingPathComponent("Fuzz")
        let manifest = try String(
            contentsOf: folder.appendingPathComponent("Package.swift"), encoding: .utf8)
        let names = manifest.matches(of: /instrumented\(\s*"(\w+)"/).map { String($0.1) }
        #expect(names.count > 10)
        for name in names {
            let sources = folder.appendingPathComponent("Sources/\(name)").resolvingSymlinksInPath()
            let files = try? FileManager.default.contentsOfDirectory(atPath: sources.path)
            #expect(files?.contains { $0.hasSuffix(".swift") } == true, "Fuzz/Sources/\(name)")
        }
    }

    @Test("nothing is public: a package has no users outside")
    func access() throws {
        for file in try House.files("Sources") {
            let found = file.lines.first {
                let line = $0.drop { $0 == " " }
                return line.hasPrefix("public ") || line.hasPrefix("open ")
            }
            #expect(found == nil, "\(file.path): \(found ?? "")")
        }
    }
}

/// The package as SwiftPM describes it: the output of `swift package describe --type json`.
@Suite struct PackageDescriptionTests {
    private static let path = ProcessInfo.processInfo.environment["MARSAD_PACKAGE_DESCRIPTION"]

    private struct Description: Decodable {
        struct Target: Decodable {
            var name: String
            var type: String
            var path: String
            var targetDependencies: [String]?

            enum CodingKeys: String, CodingKey {
                case name, type, path
                case targetDependencies = "target_dependencies"
            }
        }

        var targets: [Target]
    }

    @Test(
        "declared dependencies go down only, and every floor has its folder",
        .enabled(
            if: path != nil,
            "set MARSAD_PACKAGE_DESCRIPTION to a file with `swift package describe --type json`"))
    func dependencies() throws {
        let data = try Data(contentsOf: URL(fileURLWithPath: try #require(Self.path)))
        let description = try JSONDecoder().decode(Description.self, from: data)
        let targets = description.targets.filter { $0.type != "test" }
        #expect(targets.count > 10)
        for target in targets {
            let allowed = try #require(
                House.mayImport[target.name], "\(target.name) is not in the table")
            for dependency in target.targetDependencies ?? [] {
                #expect(allowed.contains(dependency), "\(target.name) depends on \(dependency)")
            }
            let floor =
                House.protocols.contains(target.name)
                ? "Protocols/"
                : House.infrastructure.contains(target.name)
                    ? "Infrastructure/"
                    : House.services.contains(target.name)
                        ? "Services/" : House.shims.contains(target.name) ? "CSystem/" : ""
            #expect(target.path == "Sources/\(floor)\(target.name)")
        }
    }
}
