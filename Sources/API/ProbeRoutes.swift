// Trying a camera's address over HTTP before it is added.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird
import Identity
package import Ingest
import Primitives

/// What a probe found, for the API and for the command line.
package struct ProbeBody: Encodable {
    struct Failure: Encodable {
        var reason: String
        var messageEn: String
        var messageAr: String
        /// What was seen, in English; without credentials.
        var detail: String
    }

    var ok: Bool
    var failure: Failure?
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
            let (code, english, arabic) = failure.kind.words
            self.failure = Failure(
                reason: code, messageEn: english, messageAr: arabic, detail: failure.reason)
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

extension CameraFailure.Kind {
    /// The contract's code, and what it says to people.
    fileprivate var words: (code: String, english: String, arabic: String) {
        switch self {
        case .address: ("ADDRESS", "The address leads nowhere", "العنوان لا يؤدي إلى أي جهاز")
        case .network:
            ("NETWORK", "Cameras may not be in this network", "لا يُسمح بالكاميرات في هذه الشبكة")
        case .refused:
            ("REFUSED", "Nothing answers at this address", "لا يوجد رد من هذا العنوان")
        case .timeout:
            ("TIMEOUT", "The camera did not answer in time", "لم ترد الكاميرا في الوقت المحدد")
        case .authentication:
            (
                "AUTHENTICATION", "The camera refused the user name or password",
                "رفضت الكاميرا اسم المستخدم أو كلمة المرور"
            )
        case .notFound:
            (
                "NOT_FOUND", "The camera has no stream at this path",
                "لا يوجد بث في هذا المسار على الكاميرا"
            )
        case .noVideo:
            (
                "NO_VIDEO", "It offers no H.264 or H.265 video",
                "لا يوفر الجهاز فيديو H.264 أو H.265"
            )
        case .protocolError:
            ("PROTOCOL", "It does not speak RTSP", "الجهاز لا يستخدم بروتوكول RTSP")
        case .silent: ("SILENT", "The camera sends no picture", "الكاميرا لا ترسل صورة")
        case .closed:
            ("CLOSED", "The camera closed the connection", "أغلقت الكاميرا الاتصال")
        }
    }
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
