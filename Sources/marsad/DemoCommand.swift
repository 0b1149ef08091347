// `marsad demo`: nine simulated cameras and the server, in one process, for a first look.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Domain
import Foundation
import Ingest
import NIOCore
import NIOPosix
import Primitives
import Simulation

struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the server with simulated cameras.")

    @OptionGroup var options: ServerOptions
    @Option(help: "How many cameras (environment MARSAD_DEMO_CAMERAS; 9).") var cameras: Int?
    @Flag(
        inversion: .prefixedNo,
        help: "Let in accounts alone, which are made and shown; else whoever is on this machine.")
    var accounts = true
    @Option(help: "Port of the simulated cameras; 0 takes a free one.") var rtspPort = 0

    /// The operator's agency has as many seats as the first nine cameras are its own: one more of its
    /// cameras, and its limit is met.
    private static let limits =
        "DUBAI_POLICE=50:Dubai Police:شرطة دبي,METRO=3:Metro:المترو,"
        + "BUS=20:Bus:الحافلات,OTHER=400:Other:جهات أخرى"

    /// Of the demo's own cameras.
    private static let idPrefix = "00000000-0000-4000-8000-"

    /// Places of a city, so that the wall reads like one.
    private static let places: [(source: String, english: String, arabic: String)] = [
        ("DUBAI_POLICE", "Union Square", "ميدان الاتحاد"),
        ("DUBAI_POLICE", "Harbour Gate", "بوابة الميناء"),
        ("DUBAI_POLICE", "Old Market", "السوق القديم"),
        ("METRO", "Central Station", "المحطة المركزية"),
        ("METRO", "Platform 2 East", "الرصيف ٢ شرق"),
        ("METRO", "Airport Link", "خط المطار"),
        ("BUS", "North Depot", "المستودع الشمالي"),
        ("BUS", "Stop 41 Museum", "موقف ٤١ المتحف"),
        ("OTHER", "Ring Road Km 12", "الطريق الدائري كم ١٢"),
    ]

    func run() async throws {
        let loopback = "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fd00::/8"
        var overrides = [
            "ingest.camera_networks": loopback, "limits.sources": Self.limits,
            "limits.total": "500",
        ]
        if accounts { overrides["auth.required"] = "on" }
        let configuration = try options.configuration(overrides: overrides)
        if options.printConfig { return print(configuration.printed) }
        let environment = ProcessInfo.processInfo.environment
        let count = try wantedCameras(environment["MARSAD_DEMO_CAMERAS"])
        let world = World.system
        let folder = try await DataFolder.open(
            configuration, world: world, exclusive: true)
        complain("drawing the scenes of \(min(count, 9)) cameras (once; they are kept) …")
        let settings = SceneLibrary.Settings(cameras: count)
        let scenes = folder.path + "/scenes"
        var simulated = CameraServer.Settings(
            host: "127.0.0.1", port: rtspPort, count: count,
            clips: try await SceneLibrary.prepare(folder: scenes, settings: settings))
        simulated.subClips = try await SceneLibrary.prepare(folder: scenes, settings: settings.sub)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let server = CameraServer(settings: simulated, group: group)
        let port = try await server.start()
        try await register(count, port: port, in: folder, world: world)
        try await runServer(
            configuration, folder: folder, world: world,
            demonstration: Demonstration(
                rtspURL: "rtsp://127.0.0.1:\(port)", hasAccounts: accounts), json: options.json)
        await server.stop()
        try await group.shutdownGracefully()
    }

    private func wantedCameras(_ variable: String?) throws -> Int {
        let given =
            cameras.map { ("--cameras", String($0)) }
            ?? variable.map { ("MARSAD_DEMO_CAMERAS", $0) }
        guard let (name, text) = given else { return 9 }
        guard let count = Int(text), (1...500).contains(count) else {
            throw ConfigurationError(description: "\(name) is \"\(text)\"; allowed: 1 to 500")
        }
        return count
    }

    /// The same cameras at each start, so that their recordings go on, as somebody has named and grouped
    /// them since; those of a larger demo leave, and cameras that somebody added stay. That is no change
    /// of an installation that somebody answers for, so the audit log is not told.
    private func register(
        _ count: Int, port: Int, in folder: DataFolder, world: World
    ) async throws {
        let now = world.wallTime()
        var wanted: Set<CameraID> = []
        for number in 1...count {
            let place = Self.places[(number - 1) % Self.places.count]
            let id = Self.idPrefix + padded(number, 12)
            let suffix = number > Self.places.count ? " \(number)" : ""
            guard let id = CameraID(id), let source = Source(place.source) else { continue }
            wanted.insert(id)
            let address = "rtsp://127.0.0.1:\(port)/camera_\(number)"
            var camera =
                try await folder.cameras.camera(id, .everything)
                ?? Camera(
                    id: id, name: place.english + suffix, nameArabic: place.arabic + suffix,
                    source: source, address: Redacted(""), createdAt: now + .microseconds(number))
            // The simulator's port may be another one at each start.
            camera.address = Redacted(address)
            camera.subAddress = Redacted(address + "/sub")
            try await folder.cameras.put(camera)
        }
        for camera in try await folder.cameras.all(.everything)
        where camera.id.rawValue.hasPrefix(Self.idPrefix) && !wanted.contains(camera.id) {
            _ = try await folder.cameras.remove(camera.id, at: now)
        }
    }
}
