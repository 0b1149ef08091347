// swift-tools-version:6.3
// The fuzzers: the parsers of ../Sources, built again with libFuzzer and AddressSanitizer.
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

// `package` access ends at a package's border, so the targets are symbolic links into ../Sources
// and belong to this package. Only they are instrumented; the dependencies are built as they are.
let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .unsafeFlags(["-sanitize=fuzzer,address", "-g"]),
]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")

func instrumented(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

let package = Package(
    name: "MarsadFuzz",
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    ],
    targets: [
        instrumented("Primitives"),
        instrumented("H26x", ["Primitives", nioCore]),
        instrumented("RTP", ["Primitives", nioCore]),
        instrumented("RTPFormats", ["Primitives", "RTP", "H26x", nioCore]),
        instrumented("SDP", ["Primitives", nioCore]),
        instrumented(
            "RTSP",
            [
                "Primitives", "RTP", "SDP", "H26x", nioCore,
                .product(name: "Crypto", package: "swift-crypto"),
            ]),
        .systemLibrary(name: "COpenSSL"),
        instrumented("WebRTC", ["Primitives", "RTP", "SDP", "COpenSSL", nioCore]),
        instrumented("JSON", ["Primitives"]),
        instrumented("JOSE", ["JSON"]),
        instrumented("MP4", ["Primitives", "H26x", nioCore]),
        instrumented("RESP", ["Primitives", nioCore]),
        instrumented("CSV"),
        .executableTarget(
            name: "MarsadFuzz",
            dependencies: [
                "Primitives", "H26x", "RTP", "RTPFormats", "SDP", "RTSP", "MP4", "WebRTC",
                "JOSE", "JSON", "RESP", "CSV", nioCore,
            ],
            swiftSettings: settings + [.unsafeFlags(["-parse-as-library"])],
            // gold ends with an internal error on what is instrumented.
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]),
    ]
)
