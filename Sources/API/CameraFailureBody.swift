// Why a camera shows nothing, in both languages.
// SPDX-License-Identifier: Apache-2.0

import Domain

struct CameraFailureBody: Encodable {
    var reason: String
    var messageEn: String
    var messageAr: String
    /// What was seen, in English; without credentials.
    var detail: String

    init(_ failure: CameraFailure) {
        (reason, messageEn, messageAr) = failure.kind.words
        detail = failure.reason
    }
}

extension CameraFailure.Kind {
    /// The contract's code, and what it says to people.
    var words: (code: String, english: String, arabic: String) {
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
        case .unpublished:
            ("UNPUBLISHED", "Nobody publishes this camera", "لا أحد ينشر هذه الكاميرا")
        }
    }
}
