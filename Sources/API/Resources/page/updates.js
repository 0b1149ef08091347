// What the server tells by itself: seats taken and given back, cameras that come and go.
// SPDX-License-Identifier: Apache-2.0

import { ask } from './server.js';
import { isSignedIn } from './session.js';
import { cameraChanged, seatFreed } from './wall.js';
import { $, t } from './words.js';

/** By source: {current, limit}. */
const seats = new Map();

export function drawSeats() {
  $('seats').replaceChildren();
  $('seats').title = t('seats');
  for (const [source, { current, limit }] of [...seats].sort()) {
    const part = document.createElement('bdi');
    part.dataset.source = source;
    part.className = limit && current >= limit ? 'full' : '';
    part.textContent = ` ${source} ${limit ? `${current}/${limit}` : current} `;
    $('seats').append(part);
  }
}

function take(message) {
  switch (message.type) {
    case 'SNAPSHOT':
      seats.clear();
      for (const each of message.messages ?? []) take(each);
      break;
    case 'AGENCY_LIMIT_UPDATE': {
      const before = seats.get(message.source);
      seats.set(message.source, { current: message.current, limit: message.limit });
      drawSeats();
      if (before && message.current < before.current) seatFreed(message.source);
      break;
    }
    case 'CAMERA_STATUS': cameraChanged(message.camera_id, message.status); break;
  }
}

let socket = null, delay = 1000;
/** Keeps a socket open while somebody is signed in; what it missed comes with its next snapshot. */
export async function follow() {
  if (socket || !isSignedIn()) return;
  let opened = null;
  try {
    const { ticket } = await (await ask('/api/v1/ws/ticket', { method: 'POST' })).json();
    const url = new URL('/ws/updates', location.href);
    url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    opened = socket = new WebSocket(url, ['marsad', `ticket.${ticket}`]);
  } catch { return again(); }
  opened.onopen = () => { delay = 1000; opened.send(JSON.stringify({ type: 'subscribe', topics: ['quota', 'cameras'] })); };
  opened.onmessage = event => take(JSON.parse(event.data));
  opened.onclose = event => {
    if (socket !== opened) return;
    socket = null;
    if (event.code === 4401) follow(); else again(); // the token has ended: whether the session has, too, is asked at once
  };
}
function again() {
  setTimeout(follow, delay * (.75 + Math.random() / 2));
  delay = Math.min(delay * 2, 30000);
}
/** Somebody else may sign in: what this session was told is not theirs. */
export function unfollow() {
  const old = socket;
  socket = null; old?.close();
  seats.clear(); drawSeats();
}
