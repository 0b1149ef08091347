// When a camera is connected to, given up, waited for and probed: a value without sockets or clocks.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Primitives

/// The life of one camera's connection: back-off, circuit breaker, and the time-outs of each phase.
package struct SupervisorMachine: Sendable {
    package enum Phase: Sendable, Equatable {
        case idle(until: Instant)
        case connecting(deadline: Instant)
        case awaitingFrame(deadline: Instant)
        case delivering(lastFrame: Instant)
        case stopped
    }

    package enum Action: Sendable, Equatable {
        case connect
        case disconnect(CameraFailure)
    }

    package private(set) var phase: Phase
    package private(set) var failuresInARow = 0
    package private(set) var retryCount = 0
    package private(set) var isCircuitOpen = false
    /// The number of the newest attempt to connect, from 1 on.
    package private(set) var attempt: UInt64 = 0
    private var refusedLogins: [Instant] = []
    private var random: SeededRandom

    package init(seed: UInt64, startAt: Instant) {
        random = SeededRandom(seed: seed)
        phase = .idle(until: startAt)
    }

    package var status: StreamStatus {
        switch phase {
        case .delivering: .active
        case .stopped: .failed
        case .idle, .connecting, .awaitingFrame: isCircuitOpen ? .circuitOpen : .connecting
        }
    }

    /// When `advance(to:)` must be called at the latest.
    package var deadline: Instant? {
        switch phase {
        case .idle(let until): until
        case .connecting(let deadline), .awaitingFrame(let deadline): deadline
        case .delivering(let lastFrame): lastFrame + Limits.readTimeout
        case .stopped: nil
        }
    }

    package mutating func advance(to now: Instant) -> Action? {
        guard let deadline, now >= deadline else { return nil }
        switch phase {
        case .idle:
            attempt += 1
            phase = .connecting(deadline: now + Limits.connectTimeout)
            return .connect
        case .connecting:
            return disconnect(CameraFailure(.timeout, "no answer to PLAY within 10 s"), at: now)
        case .awaitingFrame:
            return disconnect(CameraFailure(.silent, "no video within 5 s of PLAY"), at: now)
        case .delivering:
            return disconnect(CameraFailure(.silent, "no video for 5 s"), at: now)
        case .stopped:
            return nil
        }
    }

    /// Whether this attempt is the one under way. A connection that was given up still ends some time,
    /// and what it says then must not be taken for news of the next one.
    package func isCurrent(_ attempt: UInt64) -> Bool {
        switch phase {
        case .idle, .stopped: false
        case .connecting, .awaitingFrame, .delivering: attempt == self.attempt
        }
    }

    /// The camera accepted PLAY.
    package mutating func playing(at now: Instant) {
        guard case .connecting = phase else { return }
        phase = .awaitingFrame(deadline: now + Limits.firstFrameTimeout)
    }

    /// An access unit arrived.
    package mutating func frame(at now: Instant) {
        switch phase {
        case .awaitingFrame:
            failuresInARow = 0
            retryCount = 0
            isCircuitOpen = false
            phase = .delivering(lastFrame: now)
        case .delivering:
            phase = .delivering(lastFrame: now)
        case .idle, .connecting, .stopped:
            break
        }
    }

    /// The connection ended or could not be made; says when the next attempt is due through `deadline`.
    package mutating func failed(_ failure: CameraFailure, at now: Instant) {
        switch phase {
        case .idle, .stopped: return
        case .connecting, .awaitingFrame, .delivering: break
        }
        failuresInARow += 1
        retryCount += 1
        if failure.kind == .authentication {
            refusedLogins = refusedLogins.filter { $0 + Limits.loginWindow > now } + [now]
            if refusedLogins.count >= Limits.loginsRefused {
                isCircuitOpen = true
                phase = .idle(until: refusedLogins[0] + Limits.loginWindow)
                return
            }
        }
        if failuresInARow >= Limits.failuresUntilCircuitOpens {
            isCircuitOpen = true
            phase = .idle(until: now + jittered(Limits.circuitOpen, from: 0.9))
        } else {
            let doublings = min(failuresInARow - 1, 5)
            let wait = min(Limits.firstRetry * (1 << doublings), Limits.longestRetry)
            phase = .idle(until: now + jittered(wait, from: 0.5))
        }
    }

    /// Too many cameras are connecting: try again a little later, without counting a failure.
    package mutating func postpone(until: Instant) {
        guard case .connecting = phase else { return }
        phase = .idle(until: until)
    }

    package mutating func stop() { phase = .stopped }

    private mutating func disconnect(_ failure: CameraFailure, at now: Instant) -> Action {
        failed(failure, at: now)
        return .disconnect(failure)
    }

    /// Between `from` and 1.2 times the wait, so that cameras lost together do not come back together.
    private mutating func jittered(_ wait: Duration, from lowest: Double) -> Duration {
        let factor = Double.random(in: lowest..<1.2, using: &random)
        return .nanoseconds(Int64(Double(wait.saturatingNanoseconds) * factor))
    }
}
