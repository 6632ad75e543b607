// Grants that oidc-provider does not have: Microsoft's resource-owner password, Google's service account.

import { createPublicKey, verify } from 'node:crypto';

import { refuse } from './microsoft.mjs';
import { ASSERTION, resource, scope as everything, SERVICE_ACCOUNTS } from './names.mjs';

const people = new Map(); // account -> {password, mfa}
const serviceAccounts = new Map(); // address -> {key, delegations: [{subject, scopes}]}

export const knowPassword = ({ account, password, mfa }) => people.set(account, { password, mfa });
export const knowServiceAccount = ({ address, public_key: pem }) => {
  serviceAccounts.set(address, { key: createPublicKey(pem), delegations: [] });
};
export const delegate = ({ address, scopes, subject }) => serviceAccounts.get(address).delegations.push({ scopes, subject });

export function forgetPeople() {
  people.clear();
  serviceAccounts.clear();
}

export function makeGrants(provider, { grantFor, resourceServer, audiences }) {
  async function issue(ctx, client, account, { scope, gty, refreshable }) {
    const common = { accountId: account, client, grantId: await grantFor(account, client), gty, scope };
    const access = new provider.AccessToken({ ...common, resourceServer: new provider.ResourceServer(resource, resourceServer()) });
    const value = await access.save();
    ctx.status = 200;
    ctx.body = { token_type: 'Bearer', scope, expires_in: access.expiration, access_token: value };
    if (refreshable) {
      ctx.body.refresh_token = await new provider.RefreshToken({ ...common, expiresWithSession: false, resource }).save();
    }
  }

  // RFC 6749 section 4.3.2, with Microsoft's refusals.
  async function password(ctx) {
    const { username, password: given, scope = '' } = ctx.oidc.params;
    const person = people.get(username);
    if (!person) refuse(ctx, 400, 'invalid_grant', 50034, `The user account ${username} does not exist in the directory.`);
    else if (person.password !== given) {
      refuse(ctx, 400, 'invalid_grant', 50126, 'Error validating credentials due to invalid username or password.');
    } else if (person.mfa) {
      const words = 'Due to a configuration change made by your administrator, you must use multi-factor authentication.';
      refuse(ctx, 400, 'invalid_grant', 50076, words, { suberror: 'basic_action' });
    } else {
      const refreshable = scope.split(' ').includes('offline_access');
      await issue(ctx, ctx.oidc.client, username, { scope, gty: 'password', refreshable });
    }
  }
  provider.registerGrantType('password', password, ['username', 'password', 'scope']);

  // RFC 7523 section 2.1 as Google has it: no client authenticates, the assertion says all.
  async function serviceAccount(ctx, form) {
    const read = readAssertion(form.get('assertion') ?? '');
    const fault = faultOf(read, audiences());
    if (fault) {
      ctx.status = fault.status;
      ctx.body = { error: fault.error, error_description: fault.words };
      return;
    }
    const client = await provider.Client.find(SERVICE_ACCOUNTS);
    const { sub, scope } = read.claims;
    await issue(ctx, client, sub, { scope, gty: 'service_account', refreshable: false });
    delete ctx.body.scope; // Google does not repeat it here
  }

  return { isServiceAccount: (form) => form.get('grant_type') === ASSERTION && !form.has('client_id'), serviceAccount };
}

function readAssertion(assertion) {
  const [header, claims, signature] = assertion.split('.');
  try {
    return {
      header: JSON.parse(Buffer.from(header, 'base64url').toString()),
      claims: JSON.parse(Buffer.from(claims, 'base64url').toString()),
      content: `${header}.${claims}`,
      signature: Buffer.from(signature, 'base64url'),
    };
  } catch {
    return null;
  }
}

const grantFault = (words) => ({ status: 400, error: 'invalid_grant', words });

function faultOf(read, audiences) {
  if (read === null) return grantFault('Invalid JWT: Malformed.');
  const { claims } = read;
  const account = serviceAccounts.get(claims.iss);
  if (!account) return grantFault('Invalid grant: account not found');
  if (read.header.alg !== 'RS256' || !verify('sha256', read.content, account.key, read.signature)) {
    return grantFault('Invalid JWT Signature.');
  }
  if (!audiences.includes(claims.aud)) return grantFault(`Invalid JWT: Failed audience check. The right audience is ${audiences[0]}`);
  if (!inTime(claims)) {
    const words = 'Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values';
    return grantFault(`Invalid JWT: ${words} in the JWT claim.`);
  }
  return scopeFault(claims, account);
}

function inTime({ iat, exp }) {
  const now = Date.now() / 1000;
  return Number.isInteger(iat) && Number.isInteger(exp) && iat <= now + 60 && exp > now && exp - iat <= 3600;
}

function scopeFault({ scope, sub }, account) {
  const asked = (scope ?? '').split(' ').filter(Boolean);
  const known = everything.split(' ');
  if (!asked.length || asked.some((one) => !known.includes(one))) {
    return { status: 400, error: 'invalid_scope', words: 'Invalid OAuth scope or ID token audience provided.' };
  }
  const given = account.delegations.some(({ scopes, subject }) => (
    (subject === null || subject === sub) && asked.every((one) => scopes.includes(one))));
  if (sub && given) return null;
  const words = 'Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.';
  return { status: 401, error: 'unauthorized_client', words };
}
