// Asks a camera for a few seconds of its stream and says what it is; nothing of it is kept.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import NIOCore
package import NIOPosix
package import Primitives
import RTSP
import Synchronization

/// What a camera showed of itself.
package struct ProbeReport: Sendable, Equatable {
    /// RFC 6381 form (`avc1.4D401F`).
    package var codec = ""
    package var profile = ""
    package var width = 0
    package var height = 0
    /// As its pictures came by its own clock; `nil` for too few of them.
    package var framesPerSecond: Double?
    /// As its parameter sets announce it.
    package var announcedFramesPerSecond: Double?
    package var bitsPerSecond: Int?
    /// Pictures from one keyframe to the next; `nil` where no second one came in time.
    package var gopLength: Int?
    package var hasBFrames = false
    /// The sound that it offers, which was not taken.
    package var audio: String?
    /// `none`, `basic` or `digest`.
    package var authentication = "none"
    package var timeToPlay = Duration.zero
    package var timeToKeyframe = Duration.zero
}

/// Probes cameras, a few at once, and only where cameras may be.
package final class CameraProbe: Sendable {
    private let world: World
    private let policy: NetworkPolicy
    private let group: any EventLoopGroup
    private let resolver: NIOThreadPool
    private let running = Mutex(0)

    package init(
        world: World, policy: NetworkPolicy, group: any EventLoopGroup, resolver: NIOThreadPool
    ) {
        self.world = world
        self.policy = policy
        self.group = group
        self.resolver = resolver
    }

    /// Throws OVERLOADED while too many probes run. A camera that could not be probed is no error of
    /// the caller's: it is the failure in the answer, which never names the password.
    package func run(
        _ address: Redacted<String>
    ) async throws(MarsadError) -> Result<ProbeReport, CameraFailure> {
        let isAdmitted = running.withLock { running in
            guard running < Limits.probesAtOnce else { return false }
            running += 1
            return true
        }
        guard isAdmitted else { throw MarsadError(.overloaded, details: ["retry_after": "5"]) }
        defer { running.withLock { $0 -= 1 } }
        guard let url = try? RTSPURL(parsing: address.reveal()) else {
            return .failure(CameraFailure(.address, "the address is not an rtsp URL"))
        }
        let loop = group.next()
        let promise = loop.makePromise(of: Result<ProbeReport, CameraFailure>.self)
        let (world, policy, resolver) = (world, policy, resolver)
        loop.execute {
            ProbeRun(url, world: world, policy: policy, loop: loop, promise).start(resolver)
        }
        do {
            return try await promise.futureResult.get()
        } catch {
            throw MarsadError(.internalError)
        }
    }
}
