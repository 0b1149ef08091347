// Cameras that publish: WHIP by RFC 9725, status by status.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird
import Ingest
import NIOCore
import Primitives

extension Routes {
    func whip(_ group: RouteGroup) {
        discovery(group, "whip", .publishing)
        group.post(":id/whip", .publishing, .joinWHIP) { request, context in
            try await publish(request, context)
        }
        group.patch(":id/whip/:session", .publishing, .patchWHIP) { request, context in
            let camera = try await publisher(request, context)
            let session = try context.parameters.require("session")
            return try await patch(request) { fragment, ifMatch in
                try await services.node.patchPublisher(
                    session, of: camera.id, fragment: fragment, ifMatch: ifMatch)
            }
        }
        group.delete(":id/whip/:session", .publishing, .leaveWHIP) { request, context in
            let camera = try await publisher(request, context)
            let session = try context.parameters.require("session")
            guard await services.node.closePublisher(session, of: camera.id) else {
                throw MarsadError(.notFound)
            }
            return Response(status: .ok, headers: Self.shared)
        }
    }

    private func publish(
        _ request: Request, _ context: MarsadRequestContext
    ) async throws -> Response {
        let camera = try await publisher(request, context)
        let offer = try await self.offer(request)
        let answer = try await services.node.openPublisher(of: camera.id, offer: offer)
        return created(
            answer, at: "/api/v1/ingest/\(camera.id)/whip/\(answer.sessionID)",
            relays: relays(of: answer.sessionID))
    }

    /// A camera that publishes; any other has nothing at this address. It comes with a token of its own
    /// and acts for nobody.
    private func published(_ context: MarsadRequestContext) async throws -> Camera {
        let camera = try await camera(context.cameraID(), for: .everything)
        guard camera.origin == .whip else { throw MarsadError(.notFound) }
        return camera
    }

    /// The same, when the caller may publish it.
    private func publisher(
        _ request: Request, _ context: MarsadRequestContext
    ) async throws -> Camera {
        let camera = try await published(context)
        guard camera.accepts(Redacted(try request.bearer(upTo: 512))) else {
            throw MarsadError(.invalidToken)
        }
        return camera
    }
}
