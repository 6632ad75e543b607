// Where Microsoft's authority is stricter than the standard, and the form of its refusals.

import { randomUUID } from 'node:crypto';

const thumbprints = new Map(); // client_id -> x5t#S256 of its certificate

export const isMicrosoft = (path) => /^\/[^/]+\/oauth2\/v2\.0\//.test(path);

// Answers as Microsoft does: the number stands in the words and in a list, and the words end with what support asks for.
export function refuse(ctx, status, error, number, words, more = {}) {
  const [trace, correlation] = [randomUUID(), randomUUID()];
  const stamp = `${new Date().toISOString().slice(0, 19).replace('T', ' ')}Z`;
  ctx.status = status;
  ctx.body = {
    error,
    error_description: `AADSTS${number}: ${words} Trace ID: ${trace} Correlation ID: ${correlation} Timestamp: ${stamp}`,
    error_codes: [number],
    timestamp: stamp,
    trace_id: trace,
    correlation_id: correlation,
    error_uri: `https://login.microsoftonline.com/error?code=${number}`,
    ...more,
  };
}

export function knowCertificate(clientId, thumbprint) {
  thumbprints.set(clientId, thumbprint);
}

const part = (jwt, at) => JSON.parse(Buffer.from(jwt.split('.')[at] ?? '', 'base64url').toString());

function heads(jwt) {
  try {
    return { header: part(jwt, 0), claims: part(jwt, 1) };
  } catch {
    return { header: {}, claims: {} };
  }
}

// Refuses what Microsoft refuses before it looks any closer; true when it did.
export function refusesAtOnce(ctx, form, asked) {
  const assertion = form.get('client_assertion');
  if (assertion !== null) {
    const { header, claims } = heads(assertion);
    const thumbprint = header['x5t#S256'];
    if (!thumbprint || thumbprint !== thumbprints.get(claims.iss)) {
      refuseKey(ctx, 'The key was not found.', thumbprint);
      return true;
    }
  }
  if (isMicrosoft(asked) && form.get('grant_type') === 'client_credentials' && !form.get('scope')?.endsWith('/.default')) {
    refuse(ctx, 400, 'invalid_scope', 1002012, `The provided value for scope ${form.get('scope')} is not valid.`);
    return true;
  }
  return false;
}

// Puts Microsoft's words in the place of the standard's, where an application did not prove itself.
export function reword(ctx, form, asked) {
  if (ctx.body?.error !== 'invalid_client') return;
  const assertion = form.get('client_assertion');
  if (assertion !== null) {
    const { claims } = heads(assertion);
    if (claims.exp < Date.now() / 1000) {
      refuse(ctx, 401, 'invalid_client', 700024, 'Client assertion is not within its valid time range.');
    } else {
      const told = ctx.state.detail;
      refuseKey(ctx, `The key was found, but the assertion was not accepted: ${told}.`, thumbprints.get(claims.iss));
    }
  } else if (isMicrosoft(asked)) {
    refuse(ctx, 401, 'invalid_client', 7000215, `Invalid client secret provided for app '${form.get('client_id')}'.`);
  }
}

function refuseKey(ctx, reason, thumbprint) {
  const words = `Client assertion failed signature validation. [Reason - ${reason}, Thumbprint of key used by client: '${thumbprint}']`;
  refuse(ctx, 401, 'invalid_client', 700027, words);
}
