// The server's answers, and the session they are asked for with.
// SPDX-License-Identifier: Apache-2.0

import { lang, remember, t } from './words.js';

/** Settles on `start`'s own call or when the signal aborts; leaves no listener behind either way. */
export function within(signal, start) {
  const tidy = new AbortController();
  return new Promise((ok, no) => {
    if (signal.aborted) { no(signal.reason); return; }
    signal.addEventListener('abort', () => no(signal.reason), { once:true, signal: tidy.signal });
    start(ok, no, { once:true, signal: tidy.signal });
  }).finally(() => tidy.abort());
}
export const pause = (ms, signal) => within(signal, ok => setTimeout(ok, ms));

export class ServerError extends Error {
  constructor(status, body, retryAfter) {
    super(body?.message_en ?? `HTTP ${status}`); this.status = status; this.body = body;
    if (retryAfter) this.retryAfter = +retryAfter;
  }
  get code() { return this.body?.code; }
  get text() { return (lang === 'ar' ? this.body?.message_ar : this.body?.message_en) || this.message; }
}
export const errorText = e => e instanceof ServerError ? e.text : t('failed');

async function checked(answer) {
  if (answer.ok) return answer;
  let body = null;
  try { body = (await answer.json()).error; } catch { /* not the server's own error shape */ }
  throw new ServerError(answer.status, body, answer.headers.get('Retry-After'));
}
const posting = body => ({ method: 'POST', cache: 'no-store', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

// ---------- Session ----------
/** All windows of this browser share one session: {access, refresh, until} as text. */
const KEY = 'marsad.session';
function kept() { try { return JSON.parse(remember(KEY)) ?? {}; } catch { return {}; } }
function keep(grant) {
  remember(KEY, JSON.stringify(grant ? { access: grant.access_token, refresh: grant.refresh_token, until: Date.now() + grant.expires_in * 1000 } : {}));
}
/** Called when the server wants somebody to sign in. */
let onSignedOut = () => {};
export function whenSignedOut(action) { onSignedOut = action; }
export const isSignedIn = () => !!kept().access;
export async function signIn(login_id, password) {
  keep(await (await checked(await fetch('/api/v1/auth/token', posting({ login_id, password })))).json());
}
export async function signOut() {
  onSignedOut(); // gives back what is held, while that may still be asked for
  await ask('/api/v1/auth/logout', { method: 'POST' }).catch(() => {});
  keep(null);
}
/** A refresh token serves once: one window at a time uses it, and the others take what it got. */
async function renew(used) {
  const turn = navigator.locks ? work => navigator.locks.request(KEY, work) : work => work();
  return turn(async () => {
    const { access, refresh } = kept();
    if (access !== used) return access;
    if (!refresh) return null;
    const answer = await fetch('/api/v1/auth/refresh', posting({ refresh_token: refresh }));
    if (answer.status >= 500) await checked(answer); // a server in trouble ends no session
    keep(answer.ok ? await answer.json() : null);
    return kept().access ?? null;
  });
}

/** Asks with the session's token, anew when it has run out. A header of the caller's own goes first. */
export async function ask(url, options = {}) {
  const own = options.headers?.Authorization;
  const once = access => fetch(url, { cache: 'no-store', ...options,
    headers: own || !access ? options.headers : { ...options.headers, Authorization: `Bearer ${access}` } });
  const { access, until } = kept();
  let token = access;
  if (!own && access && until - Date.now() < 15000) token = await renew(access);
  let answer = await once(token);
  if (answer.status === 401 && !own) {
    token = token ? await renew(token) : null;
    if (token) answer = await once(token);
    if (answer.status === 401) { keep(null); onSignedOut(); }
  }
  return checked(answer);
}
