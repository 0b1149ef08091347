// Which passwords are taken: long ones that are not guessed first; no rule about their composition.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Primitives

/// NIST SP 800-63B §3.1.1: a length, a refusal of what is guessed first, and nothing else.
///
/// Of twelve characters and more, what people choose and programs guess first is made of a few words,
/// runs of keys and years, with digits for letters. So these are taken out, and what is left has to be
/// worth something: that refuses more than a list of some thousands would name.
package enum PasswordRules {
    /// Different characters that have to be left.
    private static let different = 6

    /// Words of the lists of most used passwords, and of this trade and place.
    private static let guessedFirst = [
        "password", "passwort", "passcode", "passphrase", "changeme", "changethis", "letmein",
        "welcome", "admin", "administrator", "superuser", "root", "user", "login", "guest",
        "master",
        "secret", "default", "temporary", "temp", "test", "demo", "sample", "example", "please",
        "iloveyou", "loveyou", "love", "princess", "sunshine", "monkey", "dragon", "shadow",
        "superman", "batman", "football", "baseball", "basketball", "soccer", "hockey", "pokemon",
        "starwars", "naruto", "michael", "jordan", "jennifer", "jessica", "ashley", "charlie",
        "daniel", "thomas", "george", "computer", "internet", "windows", "samsung", "google",
        "facebook", "microsoft", "apple", "trustno", "whatever", "freedom", "flower", "summer",
        "winter", "spring", "autumn", "january", "february", "march", "april", "june", "july",
        "august", "september", "october", "november", "december", "monday", "tuesday", "wednesday",
        "thursday", "friday", "saturday", "sunday", "unknown", "killer", "hello", "company", "name",
        "correct", "horse", "battery", "staple", "marsad", "camera", "cctv", "video", "security",
        "surveillance", "control", "room", "police", "metro", "operator", "supervisor", "dubai",
        "emirates", "abudhabi", "sharjah", "ajman", "arabia", "habibi", "mohammed", "muhammad",
        "ahmed", "allah", "bismillah", "inshallah", "كلمة", "السر", "المرور", "مرصد", "كاميرا",
        "شرطة",
        "دبي", "الامارات", "مرحبا", "حبيبي", "محمد", "احمد",
    ].sorted { $0.count > $1.count }

    /// Neighbours on a keyboard and in an alphabet, forwards and backwards.
    private static let runs: [[Character]] = [
        "abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm",
        "qazwsxedcrfvtgbyhnujmikolp", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
        "1q2w3e4r5t6y7u8i9o0p", "azertyuiop", "qwertzuiop",
    ].flatMap { [Array($0), Array($0.reversed())] }

    private static let lookAlike: [Character: Character] = [
        "0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "@": "a", "$": "s",
        "!": "i", "|": "l",
    ]

    /// Throws UNPROCESSABLE with the reason.
    ///
    /// - Parameter name: of whoever is to have it; its parts are guessed first as well.
    package static func check(
        _ password: Redacted<String>, for loginID: LoginID, named name: String = ""
    ) throws(MarsadError) {
        let text = password.reveal()
        guard Limits.passwordCharacters.contains(text.unicodeScalars.count) else {
            throw refused("12 to 128 characters")
        }
        let login = loginID.rawValue
        guard login.count < 4 || !text.lowercased().contains(login) else {
            throw refused("contains the login name")
        }
        let own = name.lowercased().split { !$0.isLetter }.map(String.init).filter { $0.count > 3 }
        let plain = Array(text.lowercased())
        let readings = [plain, plain.map { lookAlike[$0] ?? $0 }]
        guard readings.allSatisfy({ Set(rest(of: $0, own)).count >= different }) else {
            throw refused("one of the first to be guessed")
        }
    }

    /// What is left without what is guessed first.
    private static func rest(of text: [Character], _ own: [String]) -> [Character] {
        var rest = String(text)
        for word in own + guessedFirst { rest = rest.replacing(word, with: " ") }
        return withoutRuns(Array(rest)).filter { !$0.isWhitespace }
    }

    /// Without three or more keys in a row, repeated ones, and years.
    private static func withoutRuns(_ text: [Character]) -> [Character] {
        var rest: [Character] = []
        var index = 0
        while index < text.count {
            let length = max(run(in: text, at: index), isYear(in: text, at: index) ? 4 : 0)
            if length < 3 { rest.append(text[index]) }
            index += max(1, length < 3 ? 1 : length)
        }
        return rest
    }

    /// How many characters from here on follow each other on a keyboard or are the same.
    private static func run(in text: [Character], at start: Int) -> Int {
        var longest = text[start...].prefix { $0 == text[start] }.count
        for line in runs {
            guard let place = line.firstIndex(of: text[start]) else { continue }
            let length = zip(text[start...], line[place...]).prefix { $0 == $1 }.count
            longest = max(longest, length)
        }
        return longest
    }

    private static func isYear(in text: [Character], at start: Int) -> Bool {
        guard text.count - start >= 4 else { return false }
        let year = String(text[start..<(start + 4)])
        return (year.hasPrefix("19") || year.hasPrefix("20")) && Int(year) != nil
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
