// Every limit of identity in one place.
// SPDX-License-Identifier: Apache-2.0

/// The lives, sizes and counts of accounts, tokens and the audit log.
package enum Limits {
    /// What a caller may still do after its permissions changed elsewhere is bounded by this as well.
    static let accountCache = Duration.seconds(1)
    static let cachedTokens = 10_000
    /// Named by one statement, so that it stays short.
    static let usersAtOnce = 500
    /// Of an access token; a stolen one is worth this long.
    package static let accessToken = Duration.seconds(15 * 60)
    /// Of a refresh token, and of a login session as a whole.
    static let refreshToken = Duration.seconds(12 * 3600)
    static let loginSession = Duration.seconds(30 * 86_400)
    /// The longest life of anything that a revocation must end: a playback session.
    static let revocation = Duration.seconds(13 * 3600)
    package static let longestIssuedToken = Duration.seconds(24 * 3600)
    /// A key that signs no more stays published until its last token is long dead.
    static let keyOverlap = Duration.seconds(2 * 24 * 3600)
    static let keyBits = 2048
    /// Tokens of unknown keys make the folder be read this often at most.
    static let keyReload = Duration.seconds(5)

    package static let passwordCharacters = 12...128
    /// At once, each on 19 MiB; more would turn a flood of logins into an attack on the memory.
    static let hashesAtOnce = 2
    static let hashesQueued = 16

    /// Failures before waiting begins, for typing errors: of one account, and of all strangers at one
    /// address.
    static let freeTries = 3
    static let freeTriesOfAddress = 5
    static let firstWait = Duration.seconds(1)
    static let longestWait = Duration.seconds(15 * 60)
    /// Of an address, which may be a whole building's: nobody who is new there waits longer.
    static let longestWaitOfAddress = Duration.seconds(60)
    /// A quiet hour makes up for everything.
    static let triesForgotten = Duration.seconds(3600)
    static let triedNames = 20_000

    package static let page = 500
    package static let textCharacters = 200
    package static let grantsPerGroup = 200
    static let groupsPerUser = 100

    /// Events that wait while the log cannot be written; the last fifth is for what has begun.
    static let auditQueue = 10_000
    static let auditQueueForStarts = 8000
    static let auditBatch = 1024
    /// How long events that nobody waits for are gathered: a commit costs as much as hundreds of rows.
    static let auditGathering = Duration.milliseconds(20)
    static let headInterval = Duration.seconds(60)
    static let headRows: Int64 = 1000
    static let auditDetailCharacters = 2000
    /// Of an event that comes in or is kept: how deep it is nested, and how many values it has.
    static let eventDepth = 8
    static let eventValues = 4096

    static let webhookTolerance = Duration.seconds(300)
    static let webhookBytes = 65_536
    /// Longer than the tolerance on both sides: an older event is refused by its time.
    static let webhookMemory = Duration.seconds(3600)
    /// Between the tries of welcoming one user.
    static let welcomePauses = [Duration.seconds(1), .seconds(5)]
    static let welcomesAtOnce = 4
    static let welcomesWaiting = 1000
    static let externalKeysAge = Duration.seconds(3600)
    /// An unknown key name asks the provider at most this often.
    static let externalKeysRetry = Duration.seconds(30)
}
