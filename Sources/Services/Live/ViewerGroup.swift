// The viewers of a camera's stream on one loop, and how a burst reaches all of them without holding the loop.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Primitives
package import RTPFormats

/// Fans a camera's bursts out. Lives on one loop; each loop that has viewers of the camera has one.
package final class ViewerGroup {
    let source: LiveSource
    /// What the camera's times are moved by for its viewers.
    let timeOffset: UInt32
    package private(set) var window = BurstWindow()
    package private(set) var viewers: [ViewerStream] = []
    /// Sessions that have this group: viewers, and those on their way to be.
    private var expected = 0
    private var lastLeft: Instant

    private let eventLoop: any EventLoop
    /// Viewers of the camera's other stream, who come over with the next keyframe.
    private var arrivals: [Arrival] = []
    /// No picture came since the stream was interrupted.
    package private(set) var isInterrupted = false
    private var queue: CircularBuffer<Part> = []
    private var served = 0
    private var isBusy = false

    /// A part of a burst that is sent in one go.
    private struct Part {
        var burst: PacketBurst
        var packets: Range<Int>
    }

    private struct Arrival {
        let viewer: ViewerStream
        let onArrival: () -> Void
        /// The keyframe has come.
        var isDue = false
    }

    package init(
        source: LiveSource, timeOffset: UInt32, eventLoop: any EventLoop, at now: Instant
    ) {
        self.source = source
        self.timeOffset = timeOffset
        self.eventLoop = eventLoop
        lastLeft = now
    }

    // MARK: The camera

    /// Takes over what the camera's loop has kept.
    package func start(with window: BurstWindow) {
        self.window = window
        for viewer in viewers where viewer.flow == .waiting { welcome(viewer) }
    }

    package func receive(_ burst: PacketBurst) {
        window.append(burst)
        isInterrupted = false
        if burst.isRandomAccessPoint, !arrivals.isEmpty {
            for place in arrivals.indices { arrivals[place].isDue = true }
            takeArrivals()
        }
        var start = 0
        while start < burst.packetCount {
            let end = min(start + Limits.packetsPerPart, burst.packetCount)
            queue.append(Part(burst: burst, packets: start..<end))
            start = end
        }
        if !isBusy { serve() }
    }

    package func interrupted() {
        window.removeAll()
        isInterrupted = true
        for place in arrivals.indices { arrivals[place].isDue = false }
        for viewer in viewers { viewer.interrupted() }
    }

    // MARK: Viewers

    /// A session has begun that will join, and that leaves in any case.
    package func expect() { expected += 1 }

    package func join(_ viewer: ViewerStream) {
        viewers.append(viewer)
        welcome(viewer)
    }

    /// A session is over; `nil` for one that never got to join.
    package func leave(_ viewer: ViewerStream?, at now: Instant) {
        expected -= 1
        lastLeft = now
        arrivals.removeAll { $0.viewer === viewer }
        guard let viewer, let place = viewers.firstIndex(where: { $0 === viewer }) else { return }
        viewers.remove(at: place)
        // One that was still catching up gets no more.
        viewer.interrupted()
        // Those behind the gap moved up by one: nobody is served twice or passed over.
        if place < served { served -= 1 }
    }

    /// Takes a viewer of the camera's other stream over with this one's next keyframe. The viewer is
    /// expected here from now on, and has to leave both groups.
    /// - Parameter onArrival: is called in that moment; the viewer leaves the other group there.
    package func admit(_ viewer: ViewerStream, onArrival: @escaping () -> Void) {
        expect()
        arrivals.append(Arrival(viewer: viewer, onArrival: onArrival))
    }

    private func takeArrivals() {
        var isWaiting = false
        for arrival in arrivals where arrival.isDue {
            // Half a picture of one stream before the other one's would be a damaged picture.
            guard !arrival.viewer.isMidUnit else {
                isWaiting = true
                continue
            }
            arrivals.removeAll { $0.viewer === arrival.viewer }
            arrival.onArrival()
            viewers.append(arrival.viewer)
            arrival.viewer.change(to: source.stream, with: window)
            catchUp(arrival.viewer)
        }
        guard isWaiting else { return }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        eventLoop.scheduleTask(in: .nanoseconds(Limits.pauseBetweenParts.saturatingNanoseconds)) {
            bound.value.takeArrivals()
        }
    }

    /// Whether nobody has watched, or was about to, for a while.
    package func isIdle(at now: Instant) -> Bool {
        expected <= 0 && now - lastLeft > Limits.idleGroup
    }

    /// Sends the present group of pictures again to a viewer that lost its picture.
    package func replay(_ viewer: ViewerStream) { welcome(viewer) }

    private func welcome(_ viewer: ViewerStream) {
        viewer.begin(with: window)
        catchUp(viewer)
    }

    private func catchUp(_ viewer: ViewerStream) {
        viewer.catchUpRound += 1
        catchUp(viewer, round: viewer.catchUpRound, from: eventLoop.now)
    }

    /// - Parameter due: when this was to happen; what follows is counted from there, so that a late turn
    ///   of the loop does not slow a replay down.
    private func catchUp(_ viewer: ViewerStream, round: Int, from due: NIODeadline) {
        guard viewer.catchUpRound == round,
            let pause = viewer.catchUp(window, packets: Limits.packetsPerPart)
        else { return }
        let bound = NIOLoopBound((self, viewer), eventLoop: eventLoop)
        let next = due + .nanoseconds(pause.saturatingNanoseconds)
        eventLoop.scheduleTask(deadline: next) {
            let (group, viewer) = bound.value
            group.catchUp(viewer, round: round, from: next)
        }
    }

    // MARK: Fan-out

    /// Serves the queue in turns of at most `Limits.viewersPerTurn` viewers; the parts of a large burst
    /// are kept apart.
    private func serve() {
        isBusy = true
        while let part = queue.first {
            let end = min(served + Limits.viewersPerTurn, viewers.count)
            while served < end {
                viewers[served].follow(part.burst, part.packets)
                served += 1
            }
            guard served >= viewers.count else { return later(.zero) }
            served = 0
            queue.removeFirst()
            // With the next frame waiting, the pause would add to a backlog.
            if let last = queue.last, last.burst.frame == part.burst.frame,
                viewers.count < Limits.viewersPerTurn
            {
                return later(Limits.pauseBetweenParts)
            }
        }
        isBusy = false
    }

    private func later(_ wait: Duration) {
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        if wait == .zero {
            eventLoop.execute { bound.value.serve() }
        } else {
            eventLoop.scheduleTask(in: .nanoseconds(wait.saturatingNanoseconds)) {
                bound.value.serve()
            }
        }
    }
}
