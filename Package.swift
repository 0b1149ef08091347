// swift-tools-version:6.3
// The house of Marsad: floors are folders, arrows go down only (docs/design/architecture.md).
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let cryptoExtras = Target.Dependency.product(name: "CryptoExtras", package: "swift-crypto")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")

/// A library target on its floor, and the tests that carry its name.
func floor(
    _ folder: String, _ name: String, _ dependencies: [Target.Dependency] = [],
    resources: [Resource] = []
) -> Target {
    .target(
        name: name, dependencies: dependencies,
        path: folder.isEmpty ? "Sources/\(name)" : "Sources/\(folder)/\(name)",
        resources: resources, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: "\(name)Tests", dependencies: dependencies, swiftSettings: settings)
}

let package = Package(
    name: "marsad",
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/swift-server/async-http-client.git", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // Floor 0
        floor("", "Primitives"),
        // Floor 1
        floor("Protocols", "H26x", ["Primitives", nioCore]),
        floor("Protocols", "RTP", ["Primitives", nioCore]),
        floor("Protocols", "RTPFormats", ["Primitives", "RTP", "H26x", nioCore]),
        floor("Protocols", "SDP", ["Primitives", nioCore]),
        floor("Protocols", "RTSP", ["Primitives", "RTP", "SDP", "H26x", nioCore, crypto]),
        floor("Protocols", "MP4", ["Primitives", "H26x", nioCore]),
        floor("Protocols", "Manifests", ["Primitives"]),
        floor("Protocols", "CSV"),
        floor("Protocols", "JSON", ["Primitives"]),
        floor("Protocols", "JOSE", ["JSON"]),
        .systemLibrary(name: "COpenSSL", path: "Sources/CSystem/COpenSSL"),
        floor("Protocols", "WebRTC", ["Primitives", "RTP", "SDP", "COpenSSL", nioCore]),
        floor("Protocols", "RESP", ["Primitives", nioCore]),
        .systemLibrary(name: "CArgon2", path: "Sources/CSystem/CArgon2"),
        .systemLibrary(
            name: "CPQ", path: "Sources/CSystem/CPQ", pkgConfig: "libpq",
            providers: [.apt(["libpq-dev"])]),
        // Floor 2
        .target(
            name: "CFFmpeg", path: "Sources/CSystem/CFFmpeg",
            linkerSettings: [
                .linkedLibrary("avcodec"), .linkedLibrary("avutil"), .linkedLibrary("swscale"),
            ]),
        .target(
            name: "CStorage", path: "Sources/CSystem/CStorage",
            cSettings: [.define("_GNU_SOURCE")]),
        .target(
            name: "CNetwork", path: "Sources/CSystem/CNetwork",
            cSettings: [.define("_GNU_SOURCE")]),
        floor(
            "Infrastructure", "Database",
            ["Primitives", "CPQ", .product(name: "GRDB", package: "GRDB.swift")]),
        floor("Infrastructure", "Decoding", ["CFFmpeg", "H26x", nioCore]),
        floor("Infrastructure", "Observability", ["Primitives", logging]),
        floor(
            "Infrastructure", "Outbound",
            [
                "Primitives", nioCore, nioPosix, nioHTTP1, nioSSL,
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
            ]),
        floor("Infrastructure", "Valkey", ["Primitives", "RESP", nioCore, nioPosix, crypto]),
        // Floor 3
        floor("", "Domain", ["Primitives"]),
        // Floor 4
        floor(
            "Services", "Ingest",
            [
                "Domain", "Primitives", "RTP", "RTPFormats", "RTSP", "H26x", "CSV",
                "Observability", "Database", "Outbound", nioCore, nioPosix, logging, crypto,
            ]),
        floor(
            "Services", "Recording",
            [
                "Domain", "Primitives", "H26x", "MP4", "Database", "Observability", "CStorage",
                nioCore, nioPosix, logging, crypto,
            ]),
        floor(
            "Services", "Playback",
            [
                "Domain", "Primitives", "H26x", "MP4", "Manifests", "Decoding", "Observability",
                nioCore, nioPosix, crypto,
            ]),
        floor(
            "Services", "Live",
            [
                "Domain", "Primitives", "H26x", "RTP", "RTPFormats", "SDP", "WebRTC",
                "Decoding", "Observability", "CNetwork", nioCore, nioPosix, crypto,
            ]),
        floor(
            "Services", "Identity",
            [
                "Domain", "Primitives", "JOSE", "JSON", "Database", "Observability", "CArgon2",
                nioPosix,
                crypto, cryptoExtras,
            ]),
        floor(
            "Services", "Quota",
            [
                "Domain", "Primitives", "RESP", "Database", "Observability", "Valkey", logging,
            ]),
        floor("Services", "Layouts", ["Domain", "Primitives", "Database"]),
        // Floor 5
        floor(
            "", "API",
            [
                "Domain", "Primitives", "Ingest", "Recording", "Playback", "Live", "Quota",
                "Identity", "Layouts", "Observability", "Outbound", "JSON", hummingbird, nioCore,
                nioHTTP1, logging, crypto,
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
                nioSSL,
                .product(name: "NIOFoundationCompat", package: "swift-nio"),
            ],
            resources: [.embedInCode("Resources/page")]),
        floor(
            "", "Simulation",
            [
                "Primitives", "RTP", "RTPFormats", "RTSP", "SDP", "H26x", "WebRTC", nioCore,
                nioPosix, nioHTTP1,
            ]),
        // Floor 6
        .systemLibrary(name: "CGlibc", path: "Sources/CSystem/CGlibc"),
        .executableTarget(
            name: "marsad",
            dependencies: [
                "Primitives", "Domain", "API", "Ingest", "Recording", "Playback", "Live",
                "Identity", "Quota", "Layouts", "Valkey", "Database", "Decoding", "Observability",
                "Outbound", "Simulation", "CGlibc",
                "RTSP", "H26x", "MP4", "WebRTC", nioCore,
                nioPosix, nioHTTP1, hummingbird, logging, "Yams", crypto,
                .product(name: "NIOFoundationCompat", package: "swift-nio"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            path: "Sources/marsad", swiftSettings: settings),
        // Tests
        tests("Primitives", ["Primitives"]),
        tests("H26x", ["H26x", "Primitives", nioCore]),
        tests("RTP", ["RTP", "Primitives", nioCore]),
        tests("RTPFormats", ["RTPFormats", "RTP", "H26x", "Primitives", nioCore]),
        tests("SDP", ["SDP", "RTSP", "H26x", "Primitives", nioCore]),
        tests("RTSP", ["RTSP", "SDP", "RTP", "H26x", "Primitives", nioCore]),
        tests("MP4", ["MP4", "H26x", "Primitives", nioCore]),
        tests("Manifests", ["Manifests", "Primitives"]),
        tests("CSV", ["CSV", "Primitives"]),
        tests("JSON", ["JSON"]),
        tests("JOSE", ["JOSE", "JSON", "Primitives"]),
        tests("WebRTC", ["WebRTC", "RTP", "SDP", "Primitives", nioCore]),
        tests("RESP", ["RESP", "Primitives", nioCore]),
        tests("Valkey", ["Valkey", "RESP", "Primitives", nioCore, nioPosix]),
        tests("Database", ["Database", "Primitives"]),
        tests("Decoding", ["Decoding", "H26x", "Simulation", "Primitives", nioCore]),
        tests("Observability", ["Observability", "Primitives", logging]),
        tests("Outbound", ["Outbound", nioCore, nioPosix, nioHTTP1]),
        tests("Domain", ["Domain", "Primitives"]),
        tests(
            "Ingest",
            [
                "Ingest", "Database", "Domain", "Primitives", "RTP", "RTSP", "H26x",
                "Observability", "Outbound", nioCore, nioPosix, logging,
            ]),
        tests(
            "Recording",
            [
                "Recording", "Domain", "Primitives", "H26x", "MP4", "Database", "Observability",
                nioCore, nioPosix, logging,
            ]),
        tests(
            "Live",
            [
                "Live", "WebRTC", "RTP", "RTPFormats", "H26x", "Decoding", "Simulation", "Domain",
                "Observability", "Primitives", "CNetwork", nioCore, nioPosix,
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ]),
        tests(
            "Identity",
            [
                "Identity", "JOSE", "JSON", "Domain", "Database", "Observability", "Primitives",
                "CArgon2",
                nioPosix, crypto, cryptoExtras,
            ]),
        tests(
            "Quota",
            [
                "Quota", "Database", "Valkey", "Domain", "Observability", "RESP", "Primitives",
                nioCore, nioPosix, logging,
            ]),
        tests(
            "API",
            [
                "API", "Ingest", "Domain", "Observability", "Outbound", "Primitives", nioCore,
                nioHTTP1,
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOFoundationCompat", package: "swift-nio"),
            ]),
        tests("Playback", ["Playback", "Domain", "Primitives", "Observability", nioCore]),
        tests(
            "Simulation",
            [
                "Simulation", "RTP", "RTPFormats", "RTSP", "SDP", "H26x", "Primitives", nioCore,
                nioPosix, nioHTTP1,
                "WebRTC",
            ]),
        .testTarget(name: "HouseTests", swiftSettings: settings),
        .testTarget(
            name: "InteropTests",
            dependencies: [
                "Simulation", "H26x", "MP4", "Primitives", nioCore, nioPosix,
            ],
            path: "Tests/Interop", swiftSettings: settings),
    ]
)
