// Parameter sets that real cameras announced in their session descriptions.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore
import Testing

@Suite("Cameras' parameter sets")
struct CameraTests {
    /// Transcripts of retina (see the media's README); sizes as ffprobe reads the same bytes.
    @Test(
        "reads the size and profile that ffprobe reads",
        .enabled(if: SharedMedia.isPresent, "needs the shared media (set MARSAD_SHARED)"),
        arguments: [
            ("anpviz_sdp.txt", 704, 576, "avc1.4D401F"),
            ("bunny_describe.txt", 240, 160, "avc1.42C01E"),
            ("dahua_describe_h264_aac_onvif.txt", 704, 480, "avc1.64001E"),
            ("foscam_describe.txt", 1280, 720, "avc1.4D001F"),
            ("geovision_sdp.txt", 2688, 1520, "avc1.4D4032"),
            ("gw_main_describe.txt", 1920, 1080, "avc1.4D002A"),
            ("gw_sub_describe.txt", 720, 480, "avc1.4D001E"),
            ("h264dvr_describe.txt", 1920, 1080, "avc1.420029"),
            ("hikvision_describe.txt", 1920, 1080, "avc1.4D0029"),
            ("ipcam_describe.txt", 1280, 960, "avc1.4D0020"),
            ("macrovideo_describe.txt", 1280, 720, "avc1.4DE028"),
            ("missing_content_type_describe.txt", 320, 180, "avc1.64000D"),
            ("reolink_describe.txt", 2560, 1440, "avc1.640033"),
            ("ubiquiti_sdp.txt", 1920, 1080, "avc1.4D402A"),
            ("vstarcam_describe.txt", 1920, 1080, "avc1.4D002A"),
        ])
    func camera(name: String, width: Int, height: Int, codec: String) throws {
        let units = try SharedMedia.parameterSets(inTranscript: name)
        let sets = try ParameterSets(sps: #require(units.first), pps: #require(units.last))
        #expect(sets.sequence.width == width)
        #expect(sets.sequence.height == height)
        #expect(sets.sequence.codecString == codec)
        #expect(try ParameterSets(decoderConfiguration: sets.decoderConfiguration(), .h264) == sets)
    }

    @Test(
        "reads the frame rates that cameras announce",
        .enabled(if: SharedMedia.isPresent, "needs the shared media (set MARSAD_SHARED)"),
        arguments: [("dahua_describe_h264_aac_onvif.txt", 15.0), ("bunny_describe.txt", 24.0)])
    func rates(name: String, rate: Double) throws {
        let sps = try #require(try SharedMedia.parameterSets(inTranscript: name).first)
        #expect(try H264SequenceParameterSet(parsing: sps).framesPerSecond == rate)
    }
}
