// An OAuth 2.0 authority for the tests: npm oidc-provider, with the paths of Google and of Microsoft.
//
// Started as `node server.mjs JSON` with {port, tls: {port, certificate, key} | null, clients: [{id, secret}],
// server: {id, secret}}. It ends when its standard input ends, so it never outlives the tests.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';

import Provider from 'oidc-provider';

import { answerControl, DEFAULTS, makeControl } from './control.mjs';
import { pass, recordToken } from './faults.mjs';
import { Memory } from './memory.mjs';

const options = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${options.port}`;
const resource = 'urn:postroom:mail';
const settings = { ...DEFAULTS };

const scopes = [
  'openid', 'offline_access', 'email', 'profile', 'mail',
  'https://mail.google.com/',
  'https://outlook.office.com/.default',
  'https://outlook.office.com/IMAP.AccessAsUser.All',
  'https://outlook.office.com/POP.AccessAsUser.All',
  'https://outlook.office.com/SMTP.Send',
  'https://outlook.office365.com/.default',
];
const scope = scopes.join(' ');

// Opaque tokens only: a JWT could neither be introspected nor revoked.
const resourceServer = () => ({
  scope, audience: resource, accessTokenFormat: 'opaque', accessTokenTTL: settings.accessTtl,
});

const client = ({ id, secret }) => ({
  client_id: id,
  client_secret: secret,
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  redirect_uris: ['http://127.0.0.1/callback'],
  application_type: 'native', // any port of the loopback address
  token_endpoint_auth_method: 'client_secret_post',
  id_token_signed_response_alg: 'ES256',
  scope,
});

// The one who asks about tokens: the mail server.
const asker = ({ id, secret }) => ({
  ...client({ id, secret }), grant_types: [], response_types: [], redirect_uris: [],
  token_endpoint_auth_method: 'client_secret_basic',
});

const year = 365 * 24 * 3600;
const provider = new Provider(issuer, {
  adapter: Memory,
  clients: [...options.clients.map(client), asker(options.server)],
  scopes,
  jwks: { keys: [generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })] },
  cookies: { keys: ['of the tests'] },
  routes: { authorization: '/authorize', token: '/token', introspection: '/introspect', revocation: '/revoke' },
  pkce: { required: () => false },
  extraParams: ['access_type', 'login_hint'],
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, email: id }) }),
  extraTokenClaims: (ctx, token) => ({ email: token.accountId }),
  expiresWithSession: async () => false,
  issueRefreshToken: (ctx, asking) => asking.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: (ctx) => settings.rotate || ctx.oidc.entities.RefreshToken.claims?.rotate === true,
  formats: { bitsOfOpaqueRandomness: (ctx, token) => (token.kind === 'AccessToken' ? settings.tokenLength * 6 : 256) },
  ttl: { AccessToken: () => settings.accessTtl, RefreshToken: year, Grant: year, Session: year, Interaction: 600 },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  features: {
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: resourceServer,
    },
  },
});

// The paths under which the great providers have the same endpoints.
const ALIASES = [
  [/^\/(oauth2\/v4\/token|[^/]+\/oauth2\/v2\.0\/token)$/, '/token'],
  [/^\/(o\/oauth2\/v2\/auth|[^/]+\/oauth2\/v2\.0\/authorize)$/, '/authorize'],
];

// The consent page, without a page: `login_hint` names who consents; `deny` does not.
async function consent(ctx) {
  const { uid, params } = await provider.interactionDetails(ctx.req, ctx.res);
  const account = params.login_hint ?? 'nobody@example.test';
  let result = { error: 'access_denied', error_description: 'The person said no' };
  if (account !== 'deny') {
    const grant = new provider.Grant({ accountId: account, clientId: params.client_id });
    grant.addOIDCScope(scope);
    grant.addResourceScope(resource, scope);
    result = { login: { accountId: account }, consent: { grantId: await grant.save() } };
  }
  ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result), uid);
}

provider.use(async (ctx, next) => {
  const asked = ctx.path;
  for (const [pattern, path] of ALIASES) if (pattern.test(asked)) ctx.path = path;
  if (ctx.path === '/token' && ctx.method === 'POST') await recordToken(asked, ctx, next);
  else if (ctx.path === '/introspect') await pass('introspection', ctx, next);
  else if (ctx.path.startsWith('/interaction/')) await consent(ctx);
  else await next();
});
provider.on('server_error', (ctx, error) => console.error(error));

const control = makeControl(provider, settings, { scope, resource, resourceServer });
const standard = provider.callback();
const handle = (req, res) => (req.url.startsWith('/control/') ? answerControl(control, req, res) : standard(req, res));

function listen(server, port) {
  server.keepAliveTimeout = 600_000; // no close of ours may cross a request on a connection that was kept
  server.listen(port, '127.0.0.1');
}

listen(http.createServer(handle), options.port);
if (options.tls) {
  const files = { cert: readFileSync(options.tls.certificate), key: readFileSync(options.tls.key) };
  listen(https.createServer(files, handle), options.tls.port);
}
process.stdin.resume().on('end', () => process.exit(0));
