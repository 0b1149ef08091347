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

    /// The camera of the path, when the caller shows its token. Who shows none of it hears the same of
    /// every camera, and of one that does not exist: addresses tell nobody what there is.
    private func publisher(
        _ request: Request, _ context: MarsadRequestContext
    ) async throws -> Camera {
        let token = Redacted(try request.bearer(upTo: 512))
        guard let id = context.parameters.get("id").flatMap({ CameraID($0) }),
            let camera = try await services.cameras.camera(id, .everything),
            camera.origin == .whip, camera.accepts(token)
        else { throw MarsadError(.invalidToken) }
        return camera
    }
}
