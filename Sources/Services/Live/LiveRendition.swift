// A camera's stream in one codec, as the viewers who take that codec see it.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import Primitives
import RTPFormats

/// The present group of pictures of one stream in one codec, and the loops that watch it. Lives on the
/// camera's loop. Nobody watching costs an array of references.
final class LiveRendition {
    /// What a group of viewers has in common.
    struct ID: Hashable, Sendable {
        var source: LiveSource
        /// What they take: never is a packet of another codec sent to them.
        var codec: Codec
    }

    let id: ID
    private var parameterSets: ParameterSets?
    private var cache = GOPCache(maxBytes: Limits.windowBytes, maxUnits: Limits.windowUnits)
    private var packetizer = BurstPacketizer(maxPayload: Limits.payloadBytes)
    private var window = BurstWindow()
    private var watchers: [LiveLoop.Handle] = []

    init(_ id: ID) { self.id = id }

    var isWatched: Bool { !watchers.isEmpty }
    /// The present group of pictures.
    var units: [AccessUnit] { cache.units }

    // MARK: The stream

    /// Takes the next unit, its times as viewers get them.
    func receive(_ unit: AccessUnit, _ parameterSets: ParameterSets) {
        self.parameterSets = parameterSets
        cache.add(unit)
        guard !watchers.isEmpty else { return }
        let burst = packetizer.next(unit, parameterSets)
        window.append(burst)
        let id = id
        for watcher in watchers { watcher.run { $0.receive(burst, of: id) } }
    }

    func interrupted() {
        cache.removeAll()
        window.removeAll()
        let id = id
        for watcher in watchers { watcher.run { $0.interrupted(id) } }
    }

    /// The stream is given up: its viewers are told.
    func end() {
        let source = id.source
        for watcher in watchers { watcher.run { $0.ended(source) } }
        watchers = []
        cache.removeAll()
    }

    // MARK: Watching

    /// A loop has its first viewer: it gets what a viewer can start with, then all that comes.
    func watch(from loop: LiveLoop.Handle) {
        guard !watchers.contains(where: { $0.index == loop.index }) else { return }
        if watchers.isEmpty, let parameterSets {
            window.removeAll()
            for unit in cache.units { window.append(packetizer.next(unit, parameterSets)) }
        }
        watchers.append(loop)
        let window = window
        let id = id
        loop.run { $0.start(id, with: window) }
    }

    func unwatch(from loop: LiveLoop.Handle) {
        watchers.removeAll { $0.index == loop.index }
        if watchers.isEmpty { window.removeAll() }
    }
}
