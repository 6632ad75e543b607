// Access tokens that are JWTs, as Microsoft's: an envelope around the opaque token, so that they can still be revoked.
//
// The claims are those by which Exchange judges a token; the mail server asks us, and we judge by them in its place.

import { generateKeyPairSync, sign, verify } from 'node:crypto';

import { kept } from './memory.mjs';

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const TENANT = '00000000-0000-4000-8000-00000000da7a';
const MAIL = ['https://outlook.office.com', 'https://outlook.office365.com'];
const AUDIENCES = [...MAIL, 'https://graph.microsoft.com'];
const RIGHTS = ['IMAP.AccessAsUser.All', 'POP.AccessAsUser.All', 'SMTP.Send'];
const ROLES = ['IMAP.AccessAsApp', 'POP.AccessAsApp', 'SMTP.SendAsApp'];

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function audienceAndRights(scope = '') {
  const asked = scope.split(' ');
  const audience = AUDIENCES.find((one) => asked.some((name) => name.startsWith(`${one}/`))) ?? MAIL[0];
  const rights = asked.filter((name) => name.startsWith(`${audience}/`)).map((name) => name.slice(audience.length + 1));
  return [audience, rights.includes('.default') ? RIGHTS : rights];
}

function claimsOf(opaque, issuer) {
  const person = kept('AccessToken', opaque);
  const token = person ?? kept('ClientCredentials', opaque);
  const [aud, rights] = audienceAndRights(token.scope);
  const whose = person
    ? { scp: rights.join(' '), upn: token.accountId, email: token.accountId, unique_name: token.accountId, idtyp: 'user' }
    : { roles: ROLES, idtyp: 'app' };
  const { iat, exp, clientId } = token;
  return { aud, iss: `${issuer}/${TENANT}/`, iat, nbf: iat, exp, appid: clientId, tid: TENANT, ver: '1.0', ...whose, jti: opaque };
}

// The JWT around an opaque token; `overrides` replaces claims, and null takes one away.
export function wrap(opaque, issuer, overrides) {
  const claims = { ...claimsOf(opaque, issuer), ...overrides };
  for (const name of Object.keys(claims)) if (claims[name] === null) delete claims[name];
  const content = `${encode({ typ: 'JWT', alg: 'RS256' })}.${encode(claims)}`;
  return `${content}.${sign('sha256', content, privateKey).toString('base64url')}`;
}

// The claims of one of our JWTs; null for anything else.
export function claimsIn(jwt) {
  const [header, claims, signature, ...more] = (jwt ?? '').split('.');
  if (!signature || more.length) return null;
  if (!verify('sha256', `${header}.${claims}`, publicKey, Buffer.from(signature, 'base64url'))) return null;
  return JSON.parse(Buffer.from(claims, 'base64url').toString());
}

export const unwrap = (token) => claimsIn(token)?.jti ?? token;

// Makes of the answer about the opaque token the answer about the JWT around it.
export function judge(ctx, claims) {
  if (claims === null || !ctx.body?.active) return;
  const rights = [...(claims.scp ?? '').split(' '), ...(claims.roles ?? [])];
  const opens = MAIL.includes(claims.aud) && rights.some((one) => RIGHTS.includes(one) || ROLES.includes(one));
  if (!opens) ctx.body = { active: false };
  else if (claims.idtyp === 'user') ctx.body.email = claims.upn ?? 'none@invalid';
}
