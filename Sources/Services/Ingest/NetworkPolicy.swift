// Which addresses a camera may have: checked on the resolved address, which is then the one connected to.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Outbound

/// The camera networks: `ingest.camera_networks`.
package struct NetworkPolicy: Sendable {
    package var blocks: [AddressBlock]

    package init(blocks: [AddressBlock]) { self.blocks = blocks }

    /// The private networks, without loopback, link-local and metadata addresses.
    package static let privateNetworks = NetworkPolicy(
        blocks: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"]
            .compactMap(AddressBlock.init))

    package func allows(_ address: SocketAddress) -> Bool {
        blocks.contains { $0.contains(address) }
            && !AddressBlock.metadataServices.contains { $0.contains(address) }
    }
}
