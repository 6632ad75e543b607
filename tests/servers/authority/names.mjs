// What there is to ask for, and the applications that may ask.

import { createHash, X509Certificate } from 'node:crypto';

export const resource = 'urn:postroom:mail';

export const scopes = [
  'openid', 'offline_access', 'email', 'profile', 'mail',
  'https://mail.google.com/',
  'https://www.googleapis.com/auth/gmail.imap_admin',
  'https://www.googleapis.com/auth/gmail.modify',
  'https://outlook.office.com/.default',
  'https://outlook.office.com/IMAP.AccessAsUser.All',
  'https://outlook.office.com/POP.AccessAsUser.All',
  'https://outlook.office.com/SMTP.Send',
  'https://outlook.office365.com/.default',
  'https://graph.microsoft.com/.default',
  'https://graph.microsoft.com/Mail.ReadWrite',
  'https://graph.microsoft.com/Mail.Send',
];
export const scope = scopes.join(' ');

export const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
export const ASSERTION = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
export const OUT_OF_BAND = 'urn:ietf:wg:oauth:2.0:oob';
export const SERVICE_ACCOUNTS = 'service-accounts'; // stands for all of them, which are no registered applications

const asPerson = {
  grant_types: ['authorization_code', 'refresh_token', DEVICE, 'password'],
  response_types: ['code'],
  redirect_uris: ['http://127.0.0.1/callback', 'http://localhost/callback', 'http://127.0.0.1/', 'http://localhost/', 'http://127.0.0.1/oauth/callback', OUT_OF_BAND],
  application_type: 'native', // any port of the loopback address
  id_token_signed_response_alg: 'ES256',
  scope,
};

// An application; without a secret it is a public one.
export const client = ({ id, secret }) => ({
  ...asPerson,
  client_id: id,
  ...(secret
    ? { client_secret: secret, token_endpoint_auth_method: 'client_secret_post', grant_types: [...asPerson.grant_types, 'client_credentials'] }
    : { token_endpoint_auth_method: 'none' }),
});

// The one who asks about tokens: the mail server.
export const asker = ({ id, secret }) => ({
  ...client({ id, secret }), grant_types: [], response_types: [], redirect_uris: [],
  token_endpoint_auth_method: 'client_secret_basic',
});

export const serviceAccounts = () => ({
  ...client({ id: SERVICE_ACCOUNTS, secret: '' }), grant_types: [], response_types: [], redirect_uris: [],
});

// An application that proves itself by a certificate, and what its assertions must name of it.
export function certified(id, pem) {
  const certificate = new X509Certificate(pem);
  const digest = (name) => createHash(name).update(certificate.raw).digest('base64url');
  const thumbprint = digest('sha256');
  const jwk = { ...certificate.publicKey.export({ format: 'jwk' }), use: 'sig', kid: thumbprint, x5t: digest('sha1'), 'x5t#S256': thumbprint };
  return {
    thumbprint,
    metadata: {
      ...client({ id, secret: 'unused' }),
      client_secret: undefined,
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [jwk] },
    },
  };
}
