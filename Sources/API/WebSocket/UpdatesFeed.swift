// Where updates come from: seats tell of their changes, cameras are asked.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Ingest
import Primitives
package import Quota

/// Tells the hub what changes with seats, at once, and with cameras, twice a second.
package struct UpdatesFeed: Sendable {
    private static let interval = Duration.milliseconds(500)
    /// Between two looks at the seats, however fast they change: a counter that moves more often than
    /// this is read by nobody.
    private static let seatInterval = Duration.milliseconds(20)

    let hub: UpdatesHub
    let node: any CameraNode
    let cameras: CameraStore
    let quota: QuotaService

    package init(
        hub: UpdatesHub, node: any CameraNode, cameras: CameraStore, quota: QuotaService
    ) {
        self.hub = hub
        self.node = node
        self.cameras = cameras
        self.quota = quota
    }

    /// Runs until its task is cancelled.
    package func run() async {
        async let seats: Void = followSeats()
        await followCameras()
        await seats
    }

    private func followSeats() async {
        var told: Set<Source> = []
        for await _ in quota.listen(keeping: 1) {
            publishSeats(await quota.report(), &told)
            do { try await Task.sleep(for: Self.seatInterval) } catch { return }
        }
    }

    /// - Parameter told: the sources that this was called with before.
    private func publishSeats(_ report: SeatReport, _ told: inout Set<Source>) {
        let present = Set(report.sources.map(\.source))
        // A source without limits is in no report once nobody watches it.
        for source in told.subtracting(present) {
            hub.publish(.quota(source, current: 0, limit: nil))
        }
        told = present
        for usage in report.sources {
            hub.publish(.quota(usage.source, current: usage.current, limit: usage.limit))
        }
    }

    private func followCameras() async {
        var known: [CameraID: Camera] = [:]
        var told: Set<Source> = []
        while !Task.isCancelled {
            // While the database does not answer, the cameras are those of before.
            let present = try? await cameras.all(.everything)
            let all = present ?? Array(known.values)
            let states = await node.states()
            for camera in all {
                let status = CameraBody.status(states[camera.id] ?? StreamState())
                hub.publish(.camera(camera.id, camera.source, camera.folderID, status: status))
            }
            let ids = Set(all.map(\.id))
            for camera in known.values where !ids.contains(camera.id) {
                hub.publish(.camera(camera.id, camera.source, camera.folderID, status: nil))
            }
            known = Dictionary(uniqueKeysWithValues: all.map { ($0.id, $0) })
            // What limits say of sources that nobody watches.
            let report = await quota.report()
            publishSeats(report, &told)
            hub.publish(
                .stats(
                    Dictionary(uniqueKeysWithValues: report.sources.map { ($0.source, $0.current) })
                ))
            do { try await Task.sleep(for: Self.interval) } catch { return }
        }
    }
}
