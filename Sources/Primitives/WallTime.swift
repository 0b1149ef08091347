// Wall time: for people, file names and the index. Never used to measure how long something took.
// SPDX-License-Identifier: Apache-2.0

/// A UTC moment in microseconds since 1970-01-01T00:00:00Z, the precision of the data model.
package struct WallTime: Hashable, Comparable, Sendable {
    /// Microseconds since the Unix epoch.
    package var microseconds: Int64

    package init(microseconds: Int64) { self.microseconds = microseconds }

    package static func < (a: WallTime, b: WallTime) -> Bool { a.microseconds < b.microseconds }

    package static func + (time: WallTime, duration: Duration) -> WallTime {
        WallTime(microseconds: time.microseconds &+ duration.saturatingNanoseconds / 1000)
    }

    package static func - (a: WallTime, b: WallTime) -> Duration {
        .microseconds(a.microseconds &- b.microseconds)
    }
}

/// The civil parts of a UTC moment (proleptic Gregorian calendar).
package struct CivilTime: Equatable, Sendable {
    package var year: Int
    package var month: Int
    package var day: Int
    package var hour: Int
    package var minute: Int
    package var second: Int
    package var microsecond: Int

    /// Splits a moment into its calendar parts. Uses Howard Hinnant's days-to-civil algorithm, which
    /// needs no table and no time zone data.
    package init(_ time: WallTime) {
        let perDay: Int64 = 86_400_000_000
        var days = time.microseconds / perDay
        var rest = time.microseconds % perDay
        if rest < 0 {
            rest += perDay
            days -= 1
        }
        let z = Int(days) + 719_468
        let era = (z >= 0 ? z : z - 146_096) / 146_097
        let dayOfEra = z - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        hour = Int(rest / 3_600_000_000)
        minute = Int(rest / 60_000_000 % 60)
        second = Int(rest / 1_000_000 % 60)
        microsecond = Int(rest % 1_000_000)
    }

    /// Days since the Unix epoch of a civil date; the inverse of `init(_:)`.
    package static func daysSinceEpoch(year: Int, month: Int, day: Int) -> Int {
        let y = month <= 2 ? year - 1 : year
        let era = (y >= 0 ? y : y - 399) / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}

extension WallTime: CustomStringConvertible {
    /// ISO 8601 with microseconds and a trailing `Z`, the one form of the HTTP contract.
    package var description: String {
        let civil = CivilTime(self)
        var text: [UInt8] = []
        text.reserveCapacity(32)
        func write(_ value: Int, _ width: Int, _ end: Unicode.Scalar) {
            text.appendDigits(of: value, width)
            text.append(UInt8(ascii: end))
        }
        write(civil.year, 4, "-")
        write(civil.month, 2, "-")
        write(civil.day, 2, "T")
        write(civil.hour, 2, ":")
        write(civil.minute, 2, ":")
        write(civil.second, 2, ".")
        write(civil.microsecond, 6, "Z")
        return String(decoding: text, as: UTF8.self)
    }

    /// Parses `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`; `nil` for anything else, an impossible date, or a year
    /// outside 1970…2200 (so that no later arithmetic can overflow).
    package init?(iso8601 text: some StringProtocol) {
        let u = Array(text.utf8)
        func number(_ range: Range<Int>) -> Int? {
            guard range.upperBound <= u.count else { return nil }
            var value = 0
            for byte in u[range] {
                guard byte >= 48, byte <= 57 else { return nil }
                value = value * 10 + Int(byte - 48)
            }
            return value
        }
        guard u.count >= 20, u.count <= 32, u[u.count - 1] == UInt8(ascii: "Z"),
            u[4] == UInt8(ascii: "-"), u[7] == UInt8(ascii: "-"), u[10] == UInt8(ascii: "T"),
            u[13] == UInt8(ascii: ":"), u[16] == UInt8(ascii: ":"),
            let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
            let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19),
            (1970...2200).contains(year), (1...12).contains(month), (1...31).contains(day),
            hour < 24, minute < 60, second < 60
        else { return nil }
        var fraction = 0
        if u.count > 20 {
            guard u[19] == UInt8(ascii: "."), u.count > 21 else { return nil }
            var digits = u[20..<(u.count - 1)].prefix(6).map { Int($0) - 48 }
            guard u[20..<(u.count - 1)].allSatisfy({ $0 >= 48 && $0 <= 57 }) else { return nil }
            while digits.count < 6 { digits.append(0) }
            fraction = digits.reduce(0) { $0 * 10 + $1 }
        }
        let days = CivilTime.daysSinceEpoch(year: year, month: month, day: day)
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second
        let time = WallTime(microseconds: Int64(seconds) * 1_000_000 + Int64(fraction))
        let civil = CivilTime(time)
        guard civil.day == day, civil.month == month else { return nil }
        self = time
    }
}

extension WallTime {
    /// As HTTP writes a date (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
    package var httpDate: String {
        let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        let civil = CivilTime(self)
        let days = CivilTime.daysSinceEpoch(year: civil.year, month: civil.month, day: civil.day)
        let day =
            "\(weekdays[(days % 7 + 7) % 7]), \(padded(civil.day, 2)) \(months[civil.month - 1])"
        let time = [civil.hour, civil.minute, civil.second].map { padded($0, 2) }
        return "\(day) \(padded(civil.year, 4)) \(time.joined(separator: ":")) GMT"
    }
}

/// A number with leading zeros.
package func padded(_ value: Int, _ width: Int) -> String {
    var text: [UInt8] = []
    text.appendDigits(of: value, width)
    return String(decoding: text, as: UTF8.self)
}

extension [UInt8] {
    fileprivate mutating func appendDigits(of value: Int, _ width: Int) {
        let digits = String(value).utf8
        for _ in 0..<Swift.max(0, width - digits.count) { append(UInt8(ascii: "0")) }
        append(contentsOf: digits)
    }
}
