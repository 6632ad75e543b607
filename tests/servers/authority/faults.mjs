// Faults that a test ordered for the next requests, and the record of all requests to the token endpoint.

import { setTimeout as pause } from 'node:timers/promises';

import { ownerOf } from './memory.mjs';

export const recorded = [];
const ordered = { token: [], introspection: [] };

// What happens instead of, or around, the true processing.
const KINDS = {
  throttled: (ctx, order) => {
    answer(ctx, 429, '{"error":"temporarily_unavailable"}', { 'retry-after': String(order.retry_after ?? 1) });
  },
  unavailable: (ctx, order) => {
    const headers = order.retry_after === null ? {} : { 'retry-after': String(order.retry_after) };
    answer(ctx, 503, '<html>Service Unavailable</html>', { ...headers, 'content-type': 'text/html' });
  },
  broken: (ctx) => answer(ctx, 200, '{"access_token": "abc'),
  answer: (ctx, order) => answer(ctx, order.status, order.body),
  drop: (ctx) => cut(ctx), // the request is never processed
  lost: async (ctx, order, next) => { // the request is processed, its answer never arrives
    await next();
    cut(ctx);
  },
  delay: async (ctx, order, next) => {
    await pause(order.seconds * 1000);
    await next();
  },
};

function answer(ctx, status, body, headers = {}) {
  ctx.status = status;
  ctx.type = 'application/json';
  ctx.set(headers);
  ctx.body = body;
}

function cut(ctx) {
  ctx.respond = false; // Koa writes nothing
  ctx.req.socket.destroy();
}

export function order(fault) {
  if (!(fault.kind in KINDS)) throw new Error(`no such fault: ${fault.kind}`);
  ordered[fault.endpoint].push({ ...fault });
}

export function forgetAll() {
  recorded.length = 0;
  for (const queue of Object.values(ordered)) queue.length = 0;
}

function take(endpoint) {
  const [first] = ordered[endpoint];
  if (!first) return null;
  first.times -= 1;
  if (first.times <= 0) ordered[endpoint].shift();
  return first;
}

// Processes one request to an endpoint, with the fault whose turn it is.
export async function pass(endpoint, ctx, next) {
  const fault = take(endpoint);
  if (fault) await KINDS[fault.kind](ctx, fault, next);
  else await next();
  return fault;
}

// Processes one request to the token endpoint, whose form is read already, and records it when its outcome is known.
export async function recordToken({ path, form }, ctx, next) {
  const entry = describe(path, ctx, form);
  recorded.push(entry);
  const fault = await pass('token', ctx, next);
  // Google names a refresh token in this answer only when it is a new one; clients must keep the old one then.
  if (entry.refresh_token !== null && ctx.body?.refresh_token === entry.refresh_token) delete ctx.body.refresh_token;
  entry.account ??= ctx.oidc?.entities.Account?.accountId ?? null;
  entry.fault = fault?.kind ?? null;
  entry.status = ctx.respond === false ? null : ctx.status;
}

function describe(path, ctx, form) {
  const [basicId] = basic(ctx.get('authorization'));
  const refreshToken = form.get('refresh_token');
  return {
    path,
    grant_type: form.get('grant_type'),
    client_id: form.get('client_id') ?? basicId,
    authentication: authentication(basicId, form),
    refresh_token: refreshToken,
    account: ownerOf(refreshToken) ?? form.get('username'),
    scope: form.get('scope'),
    code_verifier: form.has('code_verifier'),
    redirect_uri: form.get('redirect_uri'),
    status: null,
    fault: null,
  };
}

function authentication(basicId, form) {
  if (basicId !== null) return 'basic';
  if (form.has('client_assertion')) return 'assertion';
  return form.has('client_secret') ? 'post' : 'none';
}

function basic(header) {
  if (!header.toLowerCase().startsWith('basic ')) return [null, null];
  return Buffer.from(header.slice(6), 'base64').toString().split(':', 2).map(decodeURIComponent);
}
