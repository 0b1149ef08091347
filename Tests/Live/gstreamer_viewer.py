# Plays one live camera by WHEP with GStreamer's webrtcbin, and prints what arrived as JSON.
# SPDX-License-Identifier: Apache-2.0
"""Usage: gstreamer_viewer.py --whep http://127.0.0.1:8080/api/v1/live/ID/whep --token TOKEN
                           [--frames 50] [--patience 20] [--profile 42e01f]

Needs the system's Python with python3-gi and GStreamer's WebRTC plugins. Prints one JSON object:
{"frames", "width", "height", "first_frame_seconds", "packets_received", "packets_lost", "error"};
exits 1 when fewer frames than asked were decoded.
"""
import argparse
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

# What is offered: H.264 with resends; `%s` is the profile.
CAPS = (
    "application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000,"
    "packetization-mode=1,level-asymmetry-allowed=1,profile-level-id=%s"
)


class Viewer:
    """A pipeline of webrtcbin and a decoder; counts the decoded frames."""

    def __init__(self, options):
        self.options = options
        self.loop = GLib.MainLoop()
        self.begun = time.monotonic()
        self.session = None
        self.report = {
            "frames": 0, "width": None, "height": None, "first_frame_seconds": None,
            "packets_received": None, "packets_lost": None, "error": None,
        }
        self.pipeline = Gst.Pipeline.new("viewer")
        self.webrtc = Gst.ElementFactory.make("webrtcbin", "webrtc")
        if self.webrtc is None:
            raise RuntimeError("no webrtcbin: GStreamer's bad plugins or libnice's are missing")
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.webrtc)
        self.webrtc.connect("on-negotiation-needed", self.negotiate)
        self.webrtc.connect("notify::ice-gathering-state", self.gathered)
        self.webrtc.connect("pad-added", self.pad_added)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.bus_error)

    def run(self):
        """Plays until enough frames came or the patience is over; answers the report."""
        GLib.timeout_add(int(self.options.patience * 1000), self.stop, "the time is over")
        self.webrtc.emit(
            "add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY,
            Gst.Caps.from_string(CAPS % self.options.profile))
        transceiver = self.webrtc.emit("get-transceiver", 0)
        transceiver.set_property("do-nack", True)
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        self.read_stats()
        self.pipeline.set_state(Gst.State.NULL)
        self.end_session()
        return self.report

    def stop(self, error=None):
        if error and self.report["frames"] < self.options.frames and not self.report["error"]:
            self.report["error"] = error
        self.loop.quit()
        return False

    def bus_error(self, _bus, message):
        self.stop(str(message.parse_error()[0].message))

    # Offer and answer

    def negotiate(self, _webrtc):
        self.webrtc.emit(
            "create-offer", None, Gst.Promise.new_with_change_func(self.offer_made, None))

    def offer_made(self, promise, _data):
        reply = promise.get_reply()  # Held: what it contains lives as long as it does.
        offer = reply.get_value("offer")
        self.webrtc.emit("set-local-description", offer, Gst.Promise.new())

    def gathered(self, webrtc, _property):
        """All candidates are in the offer: WHEP without trickling."""
        state = webrtc.get_property("ice-gathering-state")
        if state == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self.post)

    def post(self):
        self.begun = time.monotonic()
        description = self.webrtc.get_property("local-description")
        request = urllib.request.Request(
            self.options.whep, data=description.sdp.as_text().encode(), method="POST",
            headers={"Content-Type": "application/sdp", **self.authorization()})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                self.session = urllib.parse.urljoin(
                    self.options.whep, response.headers["Location"])
                text = response.read()
        except urllib.error.HTTPError as error:
            self.stop(f"POST: {error.code} {error.read().decode(errors='replace')}")
            return False
        except OSError as error:
            self.stop(f"POST: {error}")
            return False
        _, message = GstSdp.SDPMessage.new()
        GstSdp.sdp_message_parse_buffer(text, message)
        answer = GstWebRTC.WebRTCSessionDescription.new(
            GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.webrtc.emit("set-remote-description", answer, Gst.Promise.new())
        return False

    def authorization(self):
        return {"Authorization": f"Bearer {self.options.token}"}

    def end_session(self):
        if self.session is None:
            return
        request = urllib.request.Request(
            self.session, method="DELETE", headers=self.authorization())
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except OSError as error:
            self.report["error"] = self.report["error"] or f"DELETE: {error}"

    # Media

    def pad_added(self, _webrtc, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        chain = Gst.parse_bin_from_description(
            "rtph264depay ! h264parse ! avdec_h264 name=decoder ! fakesink sync=false", True)
        self.pipeline.add(chain)
        decoded = chain.get_by_name("decoder").get_static_pad("src")
        decoded.add_probe(Gst.PadProbeType.BUFFER, self.frame_decoded)
        chain.sync_state_with_parent()
        pad.link(chain.get_static_pad("sink"))

    def frame_decoded(self, pad, _info):
        report = self.report
        if report["frames"] == 0:
            caps = pad.get_current_caps().get_structure(0)
            report["width"] = caps.get_int("width")[1]
            report["height"] = caps.get_int("height")[1]
            report["first_frame_seconds"] = round(time.monotonic() - self.begun, 3)
        report["frames"] += 1
        if report["frames"] == self.options.frames:
            GLib.idle_add(self.stop)
        return Gst.PadProbeReturn.OK

    def read_stats(self):
        """Packets received and lost, by the jitter buffer's own count."""
        promise = Gst.Promise.new()
        self.webrtc.emit("get-stats", None, promise)
        if promise.wait() != Gst.PromiseResult.REPLIED:
            return
        reply = promise.get_reply()
        received, lost = 0, 0
        for name in [reply.nth_field_name(index) for index in range(reply.n_fields())]:
            if name.startswith("rtp-inbound"):
                stats = reply.get_value(name)
                received += stats.get_uint64("packets-received")[1]
                lost += stats.get_int64("packets-lost")[1]
        self.report["packets_received"] = received
        self.report["packets_lost"] = lost


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--whep", required=True, metavar="URL")
    parser.add_argument("--token", required=True)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--patience", type=float, default=20, help="seconds to wait for them")
    parser.add_argument("--profile", default="42e01f", help="the profile-level-id to offer")
    options = parser.parse_args()
    Gst.init(None)
    report = Viewer(options).run()
    print(json.dumps(report))
    return 0 if report["frames"] >= options.frames else 1


if __name__ == "__main__":
    sys.exit(main())
