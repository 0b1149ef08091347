// The right to watch a camera live: taken before watching, kept by heartbeats, given back after.
// SPDX-License-Identifier: Apache-2.0

import { ask, pause } from './server.js';

export class Seat {
  /** Takes a seat; throws the server's refusal. */
  static async take(id, signal) {
    const headers = { 'Content-Type': 'application/json' };
    const answer = await ask('/api/v1/stream/reserve', { method: 'POST', headers, body: JSON.stringify({ camera_id: id }), signal });
    return new Seat(await answer.json());
  }
  constructor(grant) {
    this.grant = grant;
    /** What the reservation's own token opens. */
    this.auth = { Authorization: `Bearer ${grant.token}` };
  }
  /** Beats until the signal aborts; throws when the seat is lost. */
  async hold(signal) {
    for (;;) {
      await pause(this.grant.heartbeat_interval_seconds * 1000, signal);
      await ask(`/api/v1/stream/heartbeat/${this.grant.reservation_id}`, { method: 'POST', signal });
    }
  }
  leave() { ask(`/api/v1/stream/release/${this.grant.reservation_id}`, { method: 'DELETE', keepalive: true }).catch(() => {}); }
}
