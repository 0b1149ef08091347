// `marsad bench decisions`: how long it takes to decide who may see which camera.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Domain
import Foundation
import Identity
import Ingest
import Observability
import Primitives

extension Bench {
    /// Needs no server: it asks what the routes ask, of callers who signed in to a folder of its own.
    struct Decisions: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Decide for each role and camera whether it is seen; prints one JSON object.")

        @Option(help: "How many cameras, of ten agencies.") var cameras = 500
        @Option(help: "How many roles, each with grants of its own.") var roles = 40
        @Option(help: "How often all is decided.") var rounds = 200
        @Flag(help: "Print the report as JSON; it always is.") var json = false

        private struct Report: Encodable {
            var cameras: Int
            var roles: Int
            var rounds: Int
            var decisions: Int
            /// Of a round.
            var allowed: Int
            var grants: Int
            /// Of all decisions of a round.
            var p50_ms: Double
            var p99_ms: Double
            var max_ms: Double
            var nanoseconds_per_decision: Double
        }

        func run() async throws {
            try BenchServer.check("cameras", Double(cameras), 1...100_000)
            try BenchServer.check("roles", Double(roles), 1...1000)
            try BenchServer.check("rounds", Double(rounds), 1...100_000)
            let world = World.system
            let cameras = (0..<cameras).compactMap { BenchAgencies.camera($0, world: world) }
            let callers = try await BenchAgencies.callers(roles, world: world)
            var times: [Double] = []
            var allowed = 0
            for _ in 0..<rounds {
                let began = world.now()
                allowed = Self.decide(cameras, callers)
                times.append((world.now() - began).inMilliseconds)
            }
            times.sort()
            let median = times[times.count / 2]
            let decisions = cameras.count * callers.count
            try printJSON(
                Report(
                    cameras: cameras.count, roles: callers.count, rounds: rounds,
                    decisions: decisions, allowed: allowed,
                    grants: callers.map(\.grants.count).reduce(0, +), p50_ms: median,
                    p99_ms: times[min(times.count - 1, times.count * 99 / 100)],
                    max_ms: times[times.count - 1],
                    nanoseconds_per_decision: median * 1e6 / Double(max(decisions, 1))))
        }

        /// What every route asks that is about a camera: whether it exists for the caller, and whether he
        /// may do this with it.
        private static func decide(_ cameras: [Camera], _ callers: [Caller]) -> Int {
            var allowed = 0
            for caller in callers {
                for camera in cameras
                where caller.visibility.allows(camera) && caller.may(.viewCamera, on: camera) {
                    allowed += 1
                }
            }
            return allowed
        }
    }
}

/// Ten agencies with five camera groups each, and people who see some of them.
private enum BenchAgencies {
    private static let count = 10
    private static let foldersPerAgency = 5

    private static func agency(_ number: Int) -> String { "AGENCY_\(number % count)" }
    private static func folder(_ number: Int) -> String { "district-\(number % foldersPerAgency)" }

    static func camera(_ number: Int, world: World) -> Camera? {
        guard let id = CameraID(world.makeID()), let source = Source(agency(number)) else {
            return nil
        }
        var camera = Camera(
            id: id, name: "Camera \(number)", nameArabic: "", source: source,
            address: Redacted("rtsp://192.0.2.1/\(number)"), createdAt: world.wallTime())
        camera.folderID = FolderID(folder(number / count))
        return camera
    }

    /// Signed in by Identity, which alone says what somebody sees.
    static func callers(_ count: Int, world: World) async throws -> [Caller] {
        let path = FileManager.default.temporaryDirectory
            .appendingPathComponent("marsad-decisions-\(world.makeID())").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        let configuration = try Configuration(
            flags: ["data": path], environment: [:], file: nil)
        let folder = try await DataFolder.open(configuration, world: world, exclusive: false)
        let wiring = try IdentityWiring(
            folder: folder, configuration: configuration, world: world,
            registry: MetricsRegistry())
        let cameras = folder.administration(world: world, audit: wiring.audit)
        for number in 0..<Self.count * foldersPerAgency {
            guard let source = Source(agency(number)),
                let id = FolderID(Self.folder(number / Self.count))
            else { continue }
            _ = try await cameras.add(
                id, in: source, name: id.rawValue, nameArabic: "", by: .program("cli"))
        }
        var callers: [Caller] = []
        for number in 0..<count {
            callers.append(try await caller(number, wiring.identity))
        }
        await wiring.audit.finish()
        return callers
    }

    private static func caller(_ number: Int, _ identity: IdentityService) async throws -> Caller {
        let program = Caller.program("cli")
        guard let loginID = LoginID("role-\(number)") else { throw MarsadError(.internalError) }
        // The agency's default group lets see all its cameras; a visitor's agency has none.
        let home = number % 4 == 3 ? "VISITORS" : agency(number / 4)
        var new = NewUser(
            loginID: loginID, origin: .external,
            profile: UserProfile(
                displayName: "Role \(number)", fullNameArabic: "",
                agency: OrganizationUnit(code: home)))
        let grants = permissions(number).compactMap { Permission($0) }.map { Grant($0) }
        if !grants.isEmpty {
            new.groups = [
                try await identity.createGroup(
                    name: "Role \(number)", grants: grants, by: program
                ).id
            ]
        }
        try await identity.createUser(new, by: program)
        let token = try await identity.issueToken(
            for: loginID, lifetime: .seconds(3600), by: program)
        return try await identity.authenticate(token.accessToken.reveal(), from: RequestOrigin())
    }

    /// Beside those of the agency: none, those of two districts of a neighbour, three more agencies, or
    /// what a visitor is shown.
    private static func permissions(_ number: Int) -> [String] {
        let next = number / 4 + 1
        switch number % 4 {
        case 0: return []
        case 1:
            return (0..<2).flatMap { district in
                ["camera", "playback"].map {
                    "\($0):\(agency(next))/\(folder(number + district)):view"
                }
            }
        case 2:
            return (0..<3).flatMap { other in
                ["camera:%:view", "camera:%:ptz", "playback:%:view", "clip:%:view"].map {
                    $0.replacingOccurrences(of: "%", with: agency(next + other))
                }
            }
        default:
            return number / 4 % 5 == 4
                ? ["camera:*:view"] : ["camera:\(agency(next))/\(folder(number)):view"]
        }
    }
}
