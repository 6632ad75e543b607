// How oidc-provider is set up.

import { generateKeyPairSync } from 'node:crypto';

import Provider from 'oidc-provider';

import { Memory } from './memory.mjs';
import { asker, client, resource, scopes, serviceAccounts } from './names.mjs';
import { device, showFault } from './pages.mjs';

const year = 365 * 24 * 3600;

// Who the mail server lets in: the mailbox `email`, or any mailbox of the domain of `app`. It wants both, always.
const DOMAIN = 'example.test';
const whose = (token) => (token.kind === 'ClientCredentials'
  ? { email: 'none@invalid', app: `app@${DOMAIN}` }
  : { email: token.accountId, app: 'none@invalid' });

export function makeProvider(issuer, options, settings, { resourceServer }) {
  const ttl = {
    AccessToken: () => settings.accessTtl,
    ClientCredentials: () => settings.accessTtl,
    AuthorizationCode: () => settings.codeTtl,
    DeviceCode: () => settings.deviceTtl,
    RefreshToken: year,
    Grant: year,
    Session: year,
    Interaction: 600,
    IdToken: 3600,
  };
  const provider = new Provider(issuer, {
    adapter: Memory,
    clients: [...options.clients.map(client), asker(options.server), serviceAccounts()],
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    scopes,
    claims: { openid: ['sub'], email: ['email', 'preferred_username'] },
    conformIdTokenClaims: false, // the claims of a scope stand in the id_token, as the great providers have it
    jwks: { keys: [generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })] },
    cookies: { keys: ['of the tests'] },
    routes: {
      authorization: '/authorize', token: '/token', introspection: '/introspect', revocation: '/revoke',
      device_authorization: '/device_authorization', code_verification: '/device',
    },
    pkce: { required: () => false },
    extraParams: ['access_type', 'login_hint', 'include_granted_scopes'],
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, email: id, preferred_username: id }) }),
    extraTokenClaims: (ctx, token) => whose(token),
    expiresWithSession: async () => false,
    issueRefreshToken: (ctx, asking, source) => (
      asking.grantTypeAllowed('refresh_token') && (source.kind !== 'DeviceCode' || source.scopes.has('offline_access'))),
    rotateRefreshToken: (ctx) => settings.rotate || ctx.oidc.entities.RefreshToken.claims?.rotate === true,
    formats: { bitsOfOpaqueRandomness: (ctx, token) => (/^(AccessToken|ClientCredentials)$/.test(token.kind) ? settings.tokenLength * 6 : 256) },
    ttl,
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    renderError: (ctx, out) => showFault(ctx, ctx.status, out.error, out.error_description ?? ''),
    features: {
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true },
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true, charset: 'base-20', mask: '****-****', ...device },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        useGrantedResource: () => true,
        getResourceServerInfo: resourceServer,
      },
    },
  });
  // An assertion names the address that it is sent to, also where that is an alias (RFC 7523 section 3).
  provider.OIDCContext.prototype.clientJwtAuthExpectedAudience = function audiences() {
    return new Set([issuer, this.urlFor('token'), `${this.ctx.protocol}://${this.ctx.host}${this.ctx.state.asked}`]);
  };
  return provider;
}

