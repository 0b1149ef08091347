// Every error's status and its texts in both languages: the one catalogue.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import HTTPTypes

/// What a code says to people, and with which status.
package struct ErrorText: Sendable {
    package var status: Int
    package var english: String
    package var arabic: String

    /// With what the error carries put where its name stands in braces.
    func filled(_ details: [String: String]) -> ErrorText {
        var text = self
        for (name, value) in details {
            text.english = text.english.replacing("{\(name)}", with: value)
            text.arabic = text.arabic.replacing("{\(name)}", with: value)
        }
        return text
    }
}

extension MarsadError.Code {
    /// Exhaustive, so that a code without a text does not compile.
    package var text: ErrorText {
        switch self {
        case .invalidRequest:
            .init(status: 400, english: "The request is not valid", arabic: "الطلب غير صالح")
        case .invalidTimeRange:
            .init(
                status: 400, english: "The time range is not valid",
                arabic: "النطاق الزمني غير صالح")
        case .invalidSDP:
            .init(
                status: 400, english: "The session description is not valid",
                arabic: "وصف الجلسة غير صالح")
        case .missingToken:
            .init(status: 401, english: "A token is required", arabic: "الرمز مطلوب")
        case .invalidToken:
            .init(status: 401, english: "The token is not valid", arabic: "الرمز غير صالح")
        case .tokenExpired:
            .init(
                status: 401, english: "The token has expired", arabic: "انتهت صلاحية الرمز")
        case .invalidCredentials:
            .init(
                status: 401, english: "The name or the password is not right",
                arabic: "اسم المستخدم أو كلمة المرور غير صحيحة")
        case .sessionRevoked:
            .init(
                status: 401, english: "The session has been ended; sign in again",
                arabic: "تم إنهاء الجلسة، سجّل الدخول مجددًا")
        case .userDisabled:
            .init(
                status: 403, english: "The account is not active", arabic: "الحساب غير مفعّل")
        case .alreadyExists:
            .init(
                status: 409, english: "There is one of this name already",
                arabic: "يوجد عنصر بهذا الاسم بالفعل")
        case .rateLimitExceeded:
            .init(
                status: 429, english: "Too many requests; wait a little",
                arabic: "طلبات كثيرة جدًا، انتظر قليلًا")
        case .forbidden:
            .init(
                status: 403, english: "You may not do this", arabic: "غير مسموح لك بهذا الإجراء")
        case .sourceForbidden:
            .init(
                status: 403, english: "You may not do this with cameras of {source}",
                arabic: "غير مسموح لك بهذا الإجراء على كاميرات {source}")
        case .originNotAllowed:
            .init(
                status: 403, english: "This server is not reached by that name or from that page",
                arabic: "لا يمكن الوصول إلى الخادم بهذا الاسم أو من هذه الصفحة")
        case .addressNotAllowed:
            .init(
                status: 403, english: "This is not answered to your address",
                arabic: "لا يُسمح بهذا الطلب من عنوانك")
        case .reservationNotFound:
            .init(
                status: 404, english: "There is no such reservation",
                arabic: "لا يوجد حجز بهذا المعرّف")
        case .conflict:
            .init(
                status: 409, english: "The present state does not allow this",
                arabic: "الحالة الحالية لا تسمح بذلك")
        case .lastAdministrator:
            .init(
                status: 409, english: "Nobody would be left who may administer users",
                arabic: "لن يبقى أحد يملك صلاحية إدارة المستخدمين")
        case .preconditionFailed:
            .init(
                status: 412, english: "The session has changed meanwhile",
                arabic: "تغيّرت الجلسة في هذه الأثناء")
        case .preconditionRequired:
            .init(
                status: 428, english: "The request must name the session's version (If-Match)",
                arabic: "يجب أن يحدد الطلب إصدار الجلسة (If-Match)")
        case .unprocessable:
            .init(
                status: 422, english: "The request cannot be served as it is",
                arabic: "لا يمكن تنفيذ الطلب بهذا الشكل")
        case .invalidSignature:
            .init(
                status: 401, english: "The link's signature is not valid",
                arabic: "توقيع الرابط غير صالح")
        case .notFound:
            .init(
                status: 404, english: "There is nothing at this address",
                arabic: "لا يوجد شيء في هذا العنوان")
        case .methodNotAllowed:
            .init(
                status: 405, english: "This address does not take that method",
                arabic: "هذا العنوان لا يقبل هذه الطريقة")
        case .cameraNotFound:
            .init(
                status: 404, english: "There is no such camera",
                arabic: "لا توجد كاميرا بهذا المعرّف")
        case .recordingNotFound:
            .init(
                status: 404, english: "Nothing was recorded in this time",
                arabic: "لا يوجد تسجيل في هذا الوقت")
        case .linkExpired:
            .init(status: 410, english: "The link has expired", arabic: "انتهت صلاحية الرابط")
        case .payloadTooLarge:
            .init(status: 413, english: "The request is too large", arabic: "حجم الطلب كبير جدًا")
        case .unsupportedMediaType:
            .init(
                status: 415, english: "The body is of the wrong media type",
                arabic: "نوع محتوى الطلب غير صحيح")
        case .agencyLimitExceeded:
            .init(
                status: 429, english: "Camera limit reached for {name_en} ({current}/{limit})",
                arabic: "تم الوصول إلى حد الكاميرات: {name_ar} ({current}/{limit})")
        case .viewerLimitExceeded:
            .init(
                status: 429,
                english: "Limit of live cameras reached for all agencies ({current}/{limit})",
                arabic: "تم الوصول إلى حد البث المباشر لجميع الجهات ({current}/{limit})")
        case .cameraUnavailable:
            .init(
                status: 503, english: "The camera has no picture at the moment",
                arabic: "لا توجد صورة من الكاميرا حاليًا")
        case .storageUnavailable:
            .init(
                status: 503, english: "The storage is not available at the moment",
                arabic: "التخزين غير متاح حاليًا")
        case .overloaded:
            .init(
                status: 503, english: "The server is busy; try again",
                arabic: "الخادم مشغول، حاول مجددًا")
        case .internalError:
            .init(
                status: 500, english: "Something went wrong on the server",
                arabic: "حدث خطأ في الخادم")
        }
    }
}
