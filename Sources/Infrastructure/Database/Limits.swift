// The bounds of what the database connections keep and wait for.
// SPDX-License-Identifier: Apache-2.0

enum Limits {
    /// Reading connections to PostgreSQL; each carries many queries at once.
    static let readers = 3
    /// Prepared statements of one connection; all are dropped when there would be more.
    static let preparedStatements = 256
    /// Queries and transactions of one connection that wait for their answer or their turn.
    static let waiting = 4096
    /// The pause before the first new attempt to connect, doubled up to the longest.
    static let firstBackoff = Duration.milliseconds(100)
    static let longestBackoff = Duration.seconds(5)
}
