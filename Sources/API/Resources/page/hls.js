// Plays HLS with fragmented MP4 by a MediaSource: recordings, and live where WebRTC does not come through.
// SPDX-License-Identifier: Apache-2.0

import { readDecodeTime, readInit } from './mp4.js';
import { parsePlaylist } from './playlist.js';
import { Seat } from './seat.js';
import { ask, pause, ServerError, within } from './server.js';
import { t } from './words.js';

export class Player {
  constructor(video, options) {
    this.video = video; this.options = options; // {url, live, camera (of a live stream), codec, from, onFail, onEnd}
    this.abort = new AbortController(); this.walls = []; this.framesBefore = 0; this.lastFrames = 0; this.moved = -Infinity;
    this.timer = setInterval(() => this.watch(), 250);
    this.done = this.run();
  }
  stop() {
    this.stopped = true; this.abort.abort(new DOMException('stopped', 'AbortError'));
    clearInterval(this.timer); this.release();
  }
  release() {
    this.seat?.leave(); this.seat = null;
    if (!this.objectURL) return;
    this.framesBefore = this.frames;
    URL.revokeObjectURL(this.objectURL); this.objectURL = null; this.buffer = null;
    this.video.removeAttribute('src'); this.video.load();
  }
  get frames() { return this.framesBefore + (this.objectURL ? this.video.getVideoPlaybackQuality().totalVideoFrames : 0); }
  /** Moving pictures within the last 3 s: the only thing that may be called live. */
  get isFresh() { return performance.now() - this.moved < 3000; }
  via = 'hls';
  latency = null;
  get wall() {
    const now = this.video.currentTime;
    for (let i = this.walls.length - 1; i >= 0; i--) if (this.walls[i].at <= now + .05) return this.walls[i].wall + (now - this.walls[i].at) * 1000;
    return null;
  }
  async run() {
    let delay = 500;
    while (!this.stopped) {
      const began = performance.now();
      try { await this.session(); return; } catch (error) {
        if (this.stopped) return;
        this.release();
        if (!this.options.live) { clearInterval(this.timer); this.options.onFail?.(error); return; }
        this.options.onFail?.(error);
        if (performance.now() - began > 15000) delay = 500;
        await new Promise(ok => setTimeout(ok, delay * (.75 + Math.random() / 2)));
        delay = Math.min(delay * 2, 5000);
        this.abort = new AbortController();
      }
    }
  }
  fail(error) { if (!this.stopped) this.abort.abort(error); }
  async fetchBytes(part) {
    const headers = { ...this.seat?.auth, ...(part.range ? { Range: `bytes=${part.range.from}-${part.range.to}` } : {}) };
    const answer = await ask(part.url, { headers, signal: this.abort.signal });
    const bytes = await answer.arrayBuffer(); // a server without ranges answers 200 with the whole file
    return part.range && answer.status === 200 ? bytes.slice(part.range.from, part.range.to + 1) : bytes;
  }
  async session() {
    const { live, url } = this.options, signal = this.abort.signal;
    if (!window.MediaSource) throw new Error(t('noMSE'));
    if (live) {
      this.seat = await Seat.take(this.options.camera, signal);
      this.seat.hold(signal).catch(error => this.fail(error));
    }
    this.walls = []; this.sessionBegan = performance.now(); this.end = null; this.started = false;
    this.offset = 0; this.segmentSeconds = 1; this.video.playbackRate = 1;
    const source = new MediaSource();
    this.objectURL = URL.createObjectURL(source); this.video.src = this.objectURL;
    await within(signal, (ok, no, once) => source.addEventListener('sourceopen', ok, once));
    const keyOf = segment => `${segment.url} ${segment.wall}`;
    let next = -1, mapKey = null;
    for (;;) {
      const answer = await ask(url, { signal, headers: { ...this.seat?.auth } }), list = parsePlaylist(await answer.text(), answer.url || location.href);
      const newest = list.segments.at(-1)?.sequence ?? -1;
      if (live && newest >= 0 && newest + 1 < next) throw new Error('the playlist began again');
      let fresh = list.segments.filter(s => s.sequence >= next);
      if (live && (next < 0 || fresh.length > 5)) fresh = fresh.slice(-3);
      // After a restart nothing is played again: a stream that stands still must not look live.
      if (live && next < 0 && fresh.length && keyOf(fresh.at(-1)) === this.newest) fresh = [];
      for (const segment of fresh) {
        if (!live) await this.roomAhead(30);
        const key = segment.map ? JSON.stringify(segment.map) : '';
        try {
          if (segment.map && key !== mapKey) { await this.takeInit(source, segment.map); mapKey = key; }
          await this.takeSegment(segment, await this.fetchBytes(segment));
        } catch (error) {
          if (!(live && error instanceof ServerError && (error.status === 404 || error.status === 410))) throw error;
        } // a live segment that slid out of the window is skipped
        next = segment.sequence + 1; this.newest = keyOf(segment);
      }
      if (list.ended) { await this.idle(); this.begin(true); if (source.readyState === 'open') source.endOfStream(); return; }
      const wait = (fresh.length ? .6 : .2) * (live ? this.segmentSeconds : list.target);
      await pause(Math.min(2000, Math.max(150, wait * 1000)), signal);
    }
  }
  async takeInit(source, map) {
    const bytes = await this.fetchBytes(map), init = readInit(bytes);
    const codec = init.codec ?? this.options.codec ?? 'avc1.4D401F', type = `video/mp4; codecs="${codec}"`;
    if (!MediaSource.isTypeSupported(type)) throw new Error(t('noMSE'));
    this.timescale = init.timescale;
    if (!this.buffer) { this.buffer = source.addSourceBuffer(type); this.type = type; }
    else if (type !== this.type) { this.buffer.changeType(type); this.type = type; }
    await this.append(bytes);
  }
  async takeSegment(segment, bytes) {
    if (!this.buffer) throw new Error('no init segment');
    const decodeTime = readDecodeTime(bytes, this.timescale);
    if (decodeTime !== null) {
      // Media time is kept near zero and continuous, whatever the stream's own clock does.
      const at = decodeTime + this.offset;
      if (this.end === null) this.offset = -decodeTime;
      else if (at < this.end - .5 || at > this.end + (segment.jump ? .2 : 10)) this.offset = this.end - decodeTime;
    }
    const at = decodeTime === null ? (this.end ?? 0) : decodeTime + this.offset;
    if (this.buffer.timestampOffset !== this.offset) this.buffer.timestampOffset = this.offset;
    await this.append(bytes);
    this.end = at + segment.duration; this.segmentSeconds = segment.duration || 1;
    if (segment.wall) { this.walls.push({ at, wall: segment.wall }); if (this.walls.length > 900) this.walls.shift(); }
    this.begin();
  }
  begin(complete = false) {
    const { buffered } = this.video, { live, from } = this.options;
    if (this.started || !buffered.length) return;
    const first = buffered.start(0), end = buffered.end(buffered.length - 1), entry = this.walls.at(0);
    const want = live || !from || !entry ? first : entry.at + (from - entry.wall) / 1000;
    if (want > end - .05 && end - first < 25 && !complete) return; // the asked time is still to come
    this.started = true;
    this.video.currentTime = Math.min(Math.max(first, want), Math.max(first, end - .05));
    this.video.play().catch(() => {});
  }
  seekWall(wall) { // true when the time is in the buffer already
    const entry = this.walls.findLast?.(w => w.wall <= wall);
    if (!entry) return false;
    const at = entry.at + (wall - entry.wall) / 1000, b = this.video.buffered;
    for (let i = 0; i < b.length; i++) if (b.start(i) <= at && at < b.end(i) - .2) { this.video.currentTime = at; return true; }
    return false;
  }
  async idle() {
    if (this.buffer?.updating) await within(this.abort.signal, (ok, no, once) => this.buffer.addEventListener('updateend', ok, once));
  }
  async append(bytes) {
    const buffer = this.buffer;
    await this.evict(this.options.live ? 12 : 90);
    for (let attempt = 0; ; attempt++) {
      try { buffer.appendBuffer(bytes); break; } catch (error) {
        if (error.name !== 'QuotaExceededError' || attempt > 1) throw error;
        await this.evict(2);
      }
    }
    await within(this.abort.signal, (ok, no, once) => {
      buffer.addEventListener('error', () => no(new Error('the stream could not be decoded')), once);
      buffer.addEventListener('updateend', ok, once);
    });
  }
  async evict(keep) {
    const { buffered, currentTime } = this.video;
    if (!this.buffer || !buffered.length || buffered.start(0) > currentTime - keep - 8) return;
    this.buffer.remove(0, Math.max(.1, currentTime - keep));
    await this.idle();
  }
  async roomAhead(seconds) {
    while (this.end !== null && this.end - this.video.currentTime > seconds) await pause(250, this.abort.signal);
  }
  watch() {
    const { video } = this, { live } = this.options, b = video.buffered, now = performance.now();
    if (!this.objectURL) return;
    if (video.error) return this.fail(new Error(video.error.message || t('failed')));
    const frames = this.frames;
    if (frames > this.lastFrames) this.moved = now;
    this.lastFrames = frames;
    if (live && now - Math.max(this.moved, this.sessionBegan) > 10000) return this.fail(new Error('stalled'));
    if (!this.started || !b.length) return;
    if (video.ended) { if (!this.ended) { this.ended = true; this.options.onEnd?.(this.wall); } return; }
    let inside = false, later = null;
    for (let i = 0; i < b.length; i++) {
      if (b.start(i) <= video.currentTime + .1 && video.currentTime < b.end(i) - .02) inside = true;
      else if (later === null && b.start(i) > video.currentTime) later = b.start(i);
    }
    if (!inside && later !== null) video.currentTime = later + .01; // skip over a gap
    if (!live) return;
    const ahead = b.end(b.length - 1) - video.currentTime, hold = this.segmentSeconds + .5;
    if (ahead > Math.max(6, this.segmentSeconds * 4)) video.currentTime = b.end(b.length - 1) - hold;
    else video.playbackRate = ahead > hold + .3 ? 1.08 : ahead < hold - this.segmentSeconds / 2 ? 1 : video.playbackRate;
    if (video.paused) video.play().catch(() => {});
  }
}
