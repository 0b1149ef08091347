// A picture: live video, or the last frame shown clearly as not live.
// SPDX-License-Identifier: Apache-2.0

import { Player } from './hls.js';
import { ask } from './server.js';
import { ageText, lang, t } from './words.js';
import { WebRTCPlayer } from './whep.js';

export class Picture {
  constructor(root, img, video, badge, note) { Object.assign(this, { root, img, video, badge, note, visible: false, seen: 0 }); }
  update(camera) { this.camera = camera; this.refresh(); }
  show(visible) { this.visible = visible; this.refresh(); }
  refresh() {
    const c = this.camera;
    if (!c) return;
    const want = this.visible && c.status === 'ONLINE' && !document.hidden && !(performance.now() < this.refusedUntil);
    // WebRTC is tried again behind live HLS, which is seconds older.
    const again = this.player?.via === 'hls' && performance.now() >= this.noWebRTCUntil;
    if (!want || again) this.halt();
    if (want && !this.player) this.play(c);
    const fresh = !!this.player?.isFresh;
    if (fresh) this.refusal = null;
    if (this.refusal) this.root.dataset.refused = this.refusal.code ?? ''; else delete this.root.dataset.refused;
    // The frame kept for a lost picture is asked for when it is lost: an older one may be there.
    if (this.wasFresh && !fresh) this.asked = undefined;
    this.wasFresh = fresh;
    if (!fresh && this.visible) this.fetchShot();
    this.root.dataset.shown = fresh ? 'live' : this.shotURL ? 'last' : 'none';
    this.root.dataset.frames = this.seen + (this.player?.frames ?? 0);
    this.root.dataset.status = c.status;
    const wait = !fresh && !this.refusal && (c.status === 'CONNECTING' || c.status === 'ONLINE' && !(this.player?.frames > 0));
    this.badge.dataset.kind = fresh ? 'live' : wait ? 'wait' : 'down';
    const via = fresh ? this.player.via : null, age = fresh ? this.player.latency : null;
    if (via) this.root.dataset.via = via; else delete this.root.dataset.via;
    if (age != null) this.root.dataset.latency = age; else delete this.root.dataset.latency;
    this.badge.title = via ? t(via) : '';
    this.badge.textContent = fresh ? [t('live'), t(via), age != null ? `${age} ms` : null].filter(Boolean).join(' · ') : c.status !== 'ONLINE' ? t(c.status) : this.refusal ? t('refused') : t(wait ? 'CONNECTING' : 'stalled');
    this.note.replaceChildren();
    if (fresh) return;
    const strong = document.createElement('b'), line = document.createElement('span');
    strong.textContent = this.badge.textContent;
    line.textContent = this.shotURL ? `${t('last')}: ${this.shotTime ? ageText(this.shotTime) : t('unknown')}` : t('noFrame');
    this.note.append(strong, line);
    const reason = c.status !== 'ONLINE' ? c.last_failure?.[`message_${lang}`] : this.refusal?.text;
    if (reason) {
      const why = document.createElement('bdi'); why.className = 'dim'; why.textContent = reason;
      if (c.last_error) why.title = c.last_error;
      this.note.append(why);
    }
  }
  /** WebRTC first; live HLS, a few seconds later, where that does not come through. After a minute WebRTC again, and more and more seldom where it never came through. */
  play(c) {
    const refused = error => { if (error.status === 429 || error.status === 403) this.refuse(error); };
    const hls = () => new Player(this.video, { url: `/api/v1/live/${encodeURIComponent(c.id)}/hls/index.m3u8`, live: true, camera: c.id, codec: c.codec, onFail: refused });
    if (performance.now() < (this.noWebRTCUntil ?? 0)) { this.player = hls(); return; }
    this.player = new WebRTCPlayer(this.video, { id: c.id, onGiveUp: error => {
      if (error.status === 429 || error.status === 403) return this.refuse(error);
      this.noWebRTCFor = this.player.frames > 0 ? 60000 : Math.min((this.noWebRTCFor ?? 30000) * 2, 960000);
      this.noWebRTCUntil = performance.now() + this.noWebRTCFor; this.halt(); this.refresh();
    } });
  }
  halt() { this.seen += this.player?.frames ?? 0; this.player?.stop(); this.player = null; }
  /** The server grants no seat: its own words stand in the picture until it may be asked again, or a seat is free. */
  refuse(error) {
    this.halt();
    this.refusal = error; this.refusedUntil = performance.now() + (error.retryAfter ?? 15) * 1000;
    this.refresh();
  }
  /** A seat of this source was given back. */
  mayAskAgain() { if (this.refusal) { this.refusedUntil = 0; this.refresh(); } }
  async fetchShot() {
    if (this.asking || performance.now() - (this.asked ?? -1e9) < (this.shotURL ? 15000 : 3000)) return;
    this.asking = true; this.asked = performance.now();
    const id = this.camera.id;
    try {
      const answer = await ask(`/api/v1/cameras/${encodeURIComponent(id)}/snapshot.jpg`), blob = await answer.blob();
      if (id !== this.camera?.id) return;
      if (this.shotURL) URL.revokeObjectURL(this.shotURL);
      this.shotURL = URL.createObjectURL(blob); this.img.src = this.shotURL;
      this.shotTime = Date.parse(answer.headers.get('X-Frame-Time') ?? '') || null;
    } catch { /* no frame yet: the note says so */ } finally { this.asking = false; }
  }
  clear() {
    this.show(false);
    if (this.shotURL) URL.revokeObjectURL(this.shotURL);
    this.refusal = null; this.refusedUntil = 0; this.noWebRTCFor = this.noWebRTCUntil = undefined;
    this.shotURL = null; this.img.removeAttribute('src'); this.camera = null; this.asked = undefined; this.seen = 0;
  }
}
