// Trying a camera's address over HTTP before it is added.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import HTTPTypes
import Hummingbird
import Identity
package import Ingest
import Primitives

/// What a probe found, for the API and for the command line.
package struct ProbeBody: Encodable {
    var ok: Bool
    var failure: CameraFailureBody?
    var codec: String?
    var profile: String?
    var resolution: String?
    var framesPerSecond: Double?
    var announcedFramesPerSecond: Double?
    var bitrateKbps: Int?
    var gopLength: Int?
    var hasBFrames: Bool?
    var audio: String?
    var transport: String?
    var authentication: String?
    var timeToPlayMs: Int64?
    var timeToKeyframeMs: Int64?

    package init(_ result: Result<ProbeReport, CameraFailure>) {
        switch result {
        case .failure(let failure):
            ok = false
            self.failure = CameraFailureBody(failure)
        case .success(let report):
            ok = true
            codec = report.codec
            profile = report.profile
            resolution = "\(report.width)x\(report.height)"
            framesPerSecond = report.framesPerSecond.map { ($0 * 100).rounded() / 100 }
            announcedFramesPerSecond = report.announcedFramesPerSecond
            bitrateKbps = report.bitsPerSecond.map { $0 / 1000 }
            gopLength = report.gopLength
            hasBFrames = report.hasBFrames
            audio = report.audio
            transport = "TCP"
            authentication = report.authentication.uppercased()
            timeToPlayMs = report.timeToPlay.milliseconds
            timeToKeyframeMs = report.timeToKeyframe.milliseconds
        }
    }
}

extension Duration {
    fileprivate var milliseconds: Int64 { saturatingNanoseconds / 1_000_000 }
}

extension Routes {
    func probe(_ group: RouteGroup) {
        group.post("probe", .permission(.administerCameras), .probeCamera) { request, context in
            let body = try await body(of: request, allowing: Schema.probedCamera.keys)
            let address = Redacted(try body.requiredText("rtsp_url"))
            try CameraAddress.check(address.reveal(), key: "rtsp_url")
            // Told first: it opens a connection to wherever it is asked to.
            var details: [String: String] = [:]
            details["address"] = CameraAddress.withoutCredentials(address)
            try await services.identity.auditing.record(
                AuditEvent(.cameraProbed, by: context.caller, details: details))
            return try jsonResponse(
                ProbeBody(try await services.probe.run(address)),
                headers: [.cacheControl: "no-store"])
        }
    }
}
