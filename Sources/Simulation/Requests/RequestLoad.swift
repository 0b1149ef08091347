// A server asked over many connections by one thread that does as little as can be.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Primitives

/// Loads a server with one kind of request and times the answers.
package struct RequestLoad: Sendable {
    package enum Work: Sendable {
        /// Reserves live streams of these cameras in turn, and releases each unless they are kept.
        case reserve(cameras: [String], isKept: Bool)
        case get(path: String)
    }

    package struct Settings: Sendable {
        package var host = "127.0.0.1"
        package var port = 8080
        package var work: Work
        package var connections = 64
        package var seconds = 10.0
        /// Requests a second in all, releases not counted; 0: as many as it takes.
        package var rate = 0.0
        /// Requests at most, releases not counted.
        package var count = Int.max
        /// An access token, where the server asks for one.
        package var token: Redacted<String>?
        /// Whether each request is told by itself, too.
        package var isTraced = false

        package init(_ work: Work) { self.work = work }
    }

    /// One request; a release is part of none.
    package struct Trace: Sendable {
        package var due: NIODeadline
        package var status: Int
        package var took: Duration
    }

    package struct Tally: Sendable {
        /// From the first request to the last answer.
        package var seconds = 0.0
        /// From when each was due to its answer.
        package var latencies = LatencyHistogram()
        /// By status; `0` for those that were not answered.
        package var statuses: [Int: Int] = [:]
        package var releases: [Int: Int] = [:]
        package var bodyBytes = 0
        package var traces: [Trace] = []

        package init() {}

        /// Answers to requests and releases.
        package var answers: Int {
            statuses.filter { $0.key > 0 }.values.reduce(0, +)
                + releases.filter { $0.key > 0 }.values.reduce(0, +)
        }
    }

    /// The server did something that makes measuring meaningless.
    package struct Failure: Error, CustomStringConvertible {
        package var description: String
    }

    private let settings: Settings
    private let loop: any EventLoop

    package init(_ settings: Settings, on loop: any EventLoop) {
        self.settings = settings
        self.loop = loop
    }

    package func run() async throws -> Tally {
        let settings = settings
        let loop = loop
        return try await loop.flatSubmit { RequestLoop(settings, loop).run() }.get()
    }
}
