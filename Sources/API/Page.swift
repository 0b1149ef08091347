// The operator's page: its files, built into the program.
// SPDX-License-Identifier: Apache-2.0

import Domain
import HTTPTypes
import Hummingbird
import NIOCore

/// The files of `Resources/page`.
enum Page {
    /// By name, as the page's own links name them.
    private static let files: [String: [UInt8]] = [
        "index.html": PackageResources.index_html,
        "page.css": PackageResources.page_css,
        "app.js": PackageResources.app_js,
        "detail.js": PackageResources.detail_js,
        "hls.js": PackageResources.hls_js,
        "mp4.js": PackageResources.mp4_js,
        "picture.js": PackageResources.picture_js,
        "playlist.js": PackageResources.playlist_js,
        "seat.js": PackageResources.seat_js,
        "server.js": PackageResources.server_js,
        "session.js": PackageResources.session_js,
        "updates.js": PackageResources.updates_js,
        "wall.js": PackageResources.wall_js,
        "whep.js": PackageResources.whep_js,
        "words.js": PackageResources.words_js,
    ]

    private static let types = [
        "html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
    ]

    /// What the page may do: its own scripts and styles only, no other origin, no frame around it.
    private static let policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        + "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        + "frame-ancestors 'none'"

    static func response(_ name: String) throws(MarsadError) -> Response {
        guard let bytes = files[name],
            let type = name.split(separator: ".").last.flatMap({ types[String($0)] })
        else { throw MarsadError(.notFound) }
        return Response(
            status: .ok,
            headers: [
                .contentType: type, .cacheControl: "no-cache", .contentSecurityPolicy: policy,
            ], body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}
