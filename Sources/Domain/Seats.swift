// Seats of an agency's cameras: what is limited, how much is taken, and who asks for one.
// SPDX-License-Identifier: Apache-2.0

/// What takes a seat. *A seat of a source is a distinct camera of it that at least one person is watching
/// live; recording, playback and detection take none; a second viewer of the same camera takes none.*
package enum SeatUnit: String, Sendable, CaseIterable {
    case camera
    /// Each viewer takes a seat of their own.
    case viewer
}

/// How urgent a viewer's need is. A higher one may take a seat from a lower one.
package enum SeatPriority: Int, Sendable, Comparable {
    case normal = 0
    case emergency = 1

    package static func < (a: SeatPriority, b: SeatPriority) -> Bool { a.rawValue < b.rawValue }
}

/// How many seats there are: data, changed while the program runs.
package struct SeatLimits: Sendable, Equatable {
    /// An agency with a limit, and its name in both languages where it has one.
    package struct Agency: Sendable, Equatable {
        /// `nil`: as many as are wanted.
        package var limit: Int?
        package var nameEnglish: String?
        package var nameArabic: String?

        package init(limit: Int?, nameEnglish: String? = nil, nameArabic: String? = nil) {
            self.limit = limit
            self.nameEnglish = nameEnglish
            self.nameArabic = nameArabic
        }
    }

    /// Numbers beyond it mean nothing for one installation.
    package static let range = 0...1_000_000

    package var agencies: [Source: Agency]
    /// Of all sources together.
    package var total: Int?

    package init(agencies: [Source: Agency] = [:], total: Int? = nil) {
        self.agencies = agencies
        self.total = total
    }

    package func limit(of source: Source) -> Int? { agencies[source]?.limit }
    package func nameEnglish(of source: Source) -> String {
        agencies[source]?.nameEnglish ?? source.rawValue
    }
    package func nameArabic(of source: Source) -> String {
        agencies[source]?.nameArabic ?? source.rawValue
    }
}

/// How many seats of a source are taken.
package struct SourceUsage: Sendable, Equatable {
    package var source: Source
    package var current: Int
    package var limit: Int?

    package init(source: Source, current: Int, limit: Int?) {
        self.source = source
        self.current = current
        self.limit = limit
    }
}

/// The seats of every source at one moment.
package struct SeatReport: Sendable, Equatable {
    /// In the order of their codes; those with a limit, and those with a seat taken.
    package var sources: [SourceUsage]
    package var total: Int
    package var limits: SeatLimits

    package init(sources: [SourceUsage], total: Int, limits: SeatLimits) {
        self.sources = sources
        self.total = total
        self.limits = limits
    }
}

/// A wish to watch a camera.
package struct SeatRequest: Sendable {
    /// By which the seat is given back.
    package var reservation: String
    package var cameraID: CameraID
    package var source: Source
    package var priority: SeatPriority

    package init(
        reservation: String, cameraID: CameraID, source: Source, priority: SeatPriority = .normal
    ) {
        self.reservation = reservation
        self.cameraID = cameraID
        self.source = source
        self.priority = priority
    }
}

/// What reservations need of the quota: the seam between two services that do not know each other.
package struct SeatGate: Sendable {
    /// Takes part in a seat, or takes a new one; answers how many the source then has.
    package var take: @Sendable (SeatRequest) async throws(MarsadError) -> SourceUsage
    /// Gives a reservation's part of its seat back. Twice is harmless.
    package var giveBack: @Sendable (_ reservation: String) async -> Void
    /// Says that a reservation is in use: a seat that nobody uses is taken away first.
    package var touch: @Sendable (_ reservation: String) async -> Void

    package init(
        take: @escaping @Sendable (SeatRequest) async throws(MarsadError) -> SourceUsage,
        giveBack: @escaping @Sendable (_ reservation: String) async -> Void,
        touch: @escaping @Sendable (_ reservation: String) async -> Void
    ) {
        self.take = take
        self.giveBack = giveBack
        self.touch = touch
    }
}
