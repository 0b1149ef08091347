// Plays a camera live by WebRTC (WHEP).
// SPDX-License-Identifier: Apache-2.0

import { Seat } from './seat.js';
import { ask, pause } from './server.js';

/** Plays a camera by WebRTC: a seat, an offer, an answer. Gives up after two failures in a row, and at once when refused. */
export class WebRTCPlayer {
  constructor(video, options) {
    this.video = video; this.options = options; // {id, onGiveUp}
    this.abort = new AbortController(); this.framesBefore = 0; this.lastFrames = 0; this.moved = -Infinity; this.ages = [];
    this.timer = setInterval(() => this.watch(), 250);
    this.done = this.run();
  }
  via = 'webrtc';
  static quickest = Infinity;
  static clockOffset = 0;
  stop() { this.stopped = true; this.abort.abort(new DOMException('stopped', 'AbortError')); clearInterval(this.timer); this.release(); }
  get frames() { return this.framesBefore + (this.pc ? this.video.getVideoPlaybackQuality().totalVideoFrames : 0); }
  get isFresh() { return performance.now() - this.moved < 3000; }
  /** Camera to screen, in ms: the median of the last shown frames. */
  get latency() { const a = [...this.ages].sort((x, y) => x - y); return a.length > 4 ? Math.max(0, Math.round(a[a.length >> 1])) : null; }
  get wall() { const age = this.latency; return age === null ? Date.now() : Date.now() + WebRTCPlayer.clockOffset - age; }
  async run() {
    for (let failures = 0; !this.stopped;) {
      const began = performance.now();
      try { await this.session(); } catch (error) {
        this.release();
        if (this.stopped) return;
        failures = performance.now() - began > 15000 ? 1 : failures + 1;
        if (error.status === 429 || error.status === 403) failures = 2;
        if (failures > 1) { clearInterval(this.timer); return this.options.onGiveUp?.(error); }
        const wait = (error.retryAfter ?? .5) * 1000 * (.75 + Math.random() / 2);
        await new Promise(ok => setTimeout(ok, wait));
        this.abort = new AbortController();
      }
    }
  }
  fail(error) { if (!this.stopped) this.abort.abort(error); }
  async session() {
    const signal = this.abort.signal;
    if (!window.RTCPeerConnection) throw new Error('no WebRTC');
    const { grant, auth } = this.seat = await Seat.take(this.options.id, signal);
    this.began = performance.now();
    const pc = this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle', iceServers: grant.ice_servers ?? [] });
    const receiver = pc.addTransceiver('video', { direction: 'recvonly' }).receiver;
    if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0;
    pc.ontrack = event => { this.video.srcObject = new MediaStream([event.track]); this.video.play().catch(() => {}); };
    pc.onconnectionstatechange = () => { if (pc.connectionState === 'failed') this.fail(new Error('the connection failed')); };
    await pc.setLocalDescription(await pc.createOffer());
    // No candidates are waited for: the server is reached at its own, and learns ours from its checks.
    const answer = await ask(grant.transport.url, { method: 'POST', headers: { ...auth, 'Content-Type': 'application/sdp' }, body: pc.localDescription.sdp, signal });
    this.place = { url: new URL(answer.headers.get('Location'), answer.url), auth };
    await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    this.sample(pc);
    await Promise.race([this.seat.hold(signal), this.followClock(signal)]);
  }
  async followClock(signal) {
    for (;;) { await this.readClock(signal); await pause(7500, signal); }
  }
  /** The server's pair of RTP and wall time, and how far its clock is from ours: the quickest answer says it best. */
  async readClock(signal) {
    const sent = performance.now();
    const clock = await (await ask(`/api/v1/live/${encodeURIComponent(this.options.id)}/clock`, { signal })).json();
    const took = performance.now() - sent;
    if (took <= WebRTCPlayer.quickest) {
      WebRTCPlayer.quickest = took;
      WebRTCPlayer.clockOffset = Date.parse(clock.now) - performance.timeOrigin - sent - took / 2;
    }
    WebRTCPlayer.quickest += .05; // clocks drift: an old answer gives way in time
    this.pair = { rtp: clock.rtp_time, wall: Date.parse(clock.wall_time), rate: clock.clock_rate };
  }
  sample(pc) {
    if (!('requestVideoFrameCallback' in HTMLVideoElement.prototype)) return;
    const next = (_, frame) => {
      if (this.stopped || this.pc !== pc) return;
      if (this.pair && frame.rtpTimestamp !== undefined) {
        const wall = this.pair.wall + ((frame.rtpTimestamp - this.pair.rtp) | 0) / this.pair.rate * 1000;
        this.ages.push(performance.timeOrigin + frame.expectedDisplayTime + WebRTCPlayer.clockOffset - wall);
        if (this.ages.length > 25) this.ages.shift();
      }
      this.video.requestVideoFrameCallback(next);
    };
    this.video.requestVideoFrameCallback(next);
  }
  watch() {
    if (!this.pc) return;
    const frames = this.frames, now = performance.now();
    if (frames > this.lastFrames) this.moved = now;
    this.lastFrames = frames;
    if (now - Math.max(this.moved, this.began) > 6000) this.fail(new Error('no frames'));
  }
  release() {
    this.framesBefore = this.frames;
    this.pc?.close(); this.pc = null; this.ages = []; this.pair = null;
    if (this.video.srcObject) { this.video.srcObject = null; this.video.load(); }
    if (this.place) fetch(this.place.url, { method: 'DELETE', headers: this.place.auth, keepalive: true }).catch(() => {});
    this.seat?.leave();
    this.place = this.seat = null;
  }
}
