// Placeholders: which question marks are one.
// SPDX-License-Identifier: Apache-2.0

import Database
import Testing

@Suite struct PlaceholderTests {
    @Test(
        "numbers the question marks of the code and leaves those of texts and comments",
        arguments: [
            ("SELECT 1", "SELECT 1"),
            ("SELECT ?, ?", "SELECT $1, $2"),
            ("a = ? AND b = '?' AND c = ?", "a = $1 AND b = '?' AND c = $2"),
            ("'it''s ?' ?", "'it''s ?' $1"),
            ("\"na?me\" ? \"a\"\"?\" ?", "\"na?me\" $1 \"a\"\"?\" $2"),
            ("'\"?' ? \"'?\" ?", "'\"?' $1 \"'?\" $2"),
            ("? -- ? '\n ?", "$1 -- ? '\n $2"),
            ("/* ? /* ? */ ? */ ? /*/ ? */ ?", "/* ? /* ? */ ? */ $1 /*/ ? */ $2"),
            ("5 - ? - -? * ? / ?", "5 - $1 - -$2 * $3 / $4"),
            ("'مرصد?' ?", "'مرصد?' $1"),
            ("'never ends ?", "'never ends ?"),
        ])
    func numbered(sql: String, expected: String) {
        #expect(Statement.numbered(sql) == expected)
    }
}
