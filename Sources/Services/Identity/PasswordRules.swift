// Which passwords are taken: long ones that nobody else has; no rule about their composition.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Primitives

/// NIST SP 800-63B §3.1.1: a length, a list of what is guessed first, and nothing else.
package enum PasswordRules {
    /// The long ones among the most used passwords; shorter ones are refused by their length. Compared
    /// without capitals and without what is neither a letter nor a digit.
    private static let guessedFirst: Set<String> = [
        "1234567890123", "123456789abc", "123456789012", "1q2w3e4r5t6y", "1qaz2wsx3edc",
        "abcdefghijkl", "administrator", "changeme1234", "changemeplease", "companyname123",
        "correcthorsebatterystaple", "iloveyou1234", "letmein12345", "letmeinplease",
        "marsadmarsad", "p4ssw0rd1234", "passw0rd1234", "password1234", "password12345",
        "password123456", "passwordpassword", "qazwsxedcrfv", "qwerty123456", "qwertyqwerty",
        "qwertyuiop12", "qwertyuiop123", "qwertyuiopasdf", "superadministrator", "trustno1trustno1",
        "unknown12345", "welcome12345", "welcome123456", "zxcvbnmasdfg", "dubaidubai12",
    ]

    /// Throws UNPROCESSABLE with the reason.
    package static func check(
        _ password: Redacted<String>, for loginID: LoginID
    ) throws(MarsadError) {
        let text = password.reveal()
        guard Limits.passwordCharacters.contains(text.unicodeScalars.count) else {
            throw refused("12 to 128 characters")
        }
        let plain = text.lowercased().filter { $0.isLetter || $0.isNumber }
        guard !guessedFirst.contains(plain), Set(text).count > 4 else {
            throw refused("one of the first to be guessed")
        }
        let name = loginID.rawValue
        guard name.count < 4 || !text.lowercased().contains(name) else {
            throw refused("contains the login name")
        }
    }

    /// A password for somebody who has none yet: 20 letters and digits that are not mistaken for each
    /// other, in groups of five.
    package static func make(world: World) -> Redacted<String> {
        let letters = Array("abcdefghijkmnpqrstuvwxyz23456789".utf8)
        let picked = world.secureRandomBytes(20).map { letters[Int($0 & 31)] }
        let groups = stride(from: 0, to: 20, by: 5).map {
            String(decoding: picked[$0..<($0 + 5)], as: UTF8.self)
        }
        return Redacted(groups.joined(separator: "-"))
    }

    private static func refused(_ reason: String) -> MarsadError {
        MarsadError(.unprocessable, details: ["field": "password", "reason": reason])
    }
}
