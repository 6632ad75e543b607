"""Each way to a token, end to end: from the option in the file to messages captured with XOAUTH2."""

from __future__ import annotations

import datetime
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from running import Here, letter, oauth

from servers.authority import TEST, Authority
from servers.dovecot import Dovecot

A = "pop-client-a"
TENANT = "11111111-2222-3333-4444-555555555555"
SCOPE = "https://outlook.office365.com/.default"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


@pytest.fixture
def microsoft(here: Here, authority: Authority) -> Here:
    """Microsoft's authority is this machine's."""
    here.put("authority-microsoft", {"token_endpoint": f"{authority.url}/{{tenant}}/oauth2/v2.0/token"})
    here.put("secret-ms", {"password": TEST.secret})
    return here


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    @property
    def pem(self) -> str:
        return self.certificate.read_text()


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A certificate for an application that ends in 20 days, signed by itself as Microsoft allows."""
    folder = tmp_path_factory.mktemp("pair")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "postroom")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(1))
    certificate = builder.not_valid_after(now + datetime.timedelta(20)).sign(key, hashes.SHA256())
    form = serialization.PrivateFormat.PKCS8
    text = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "app.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "app.key").write_bytes(text)
    return Pair(folder / "app.pem", folder / "app.key")


def client(dovecot: Dovecot, user: str, **more: object) -> dict[str, object]:
    """A mailbox at Microsoft's authority without a refresh token."""
    options = oauth(dovecot.imap_port, user, "", client_id=TEST.id, secret="ms", directory_id=TENANT, **more)
    return {**options, "tenant-authority": "https://login.microsoftonline.com", "password": more.get("password"), "scope": None}


def captured(here: Here, dovecot: Dovecot, user: str) -> None:
    dovecot.deliver(user, letter(1))
    report = here.read()[A]
    assert (report["captured"], report["error"]) == (1, None)


class TestClientCredentials:
    def test_with_a_secret(self, microsoft: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        microsoft.put(A, client(dovecot, mailbox_user, grant_type="client_credentials"))
        captured(microsoft, dovecot, mailbox_user)
        [request] = authority.requests()
        assert (request.grant_type, request.authentication, request.scope) == ("client_credentials", "post", SCOPE)
        assert request.path == f"/{TENANT}/oauth2/v2.0/token"

    def test_the_secret_may_stand_in_password(
        self, microsoft: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        options = client(dovecot, mailbox_user, grant_type="client_credentials", password=TEST.secret)
        microsoft.put(A, {**options, "secret": None})
        captured(microsoft, dovecot, mailbox_user)

    def test_with_a_certificate(
        self, microsoft: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, pair: Pair
    ) -> None:
        authority.register_certificate("certified-application", pair.pem)
        microsoft.put("secret-ms", {"password": None, "certificate": pair.certificate, "private-key": pair.key})
        microsoft.put(A, {**client(dovecot, mailbox_user, grant_type="client_credentials"), "client-id": "certified-application"})
        captured(microsoft, dovecot, mailbox_user)
        [request] = authority.requests()
        assert (request.grant_type, request.authentication) == ("client_credentials", "assertion")
        status = microsoft.status(A)
        assert [ending["what"] for ending in status["endings"]] == ["certificate"]

    def test_a_certificate_that_is_not_registered(
        self, microsoft: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, pair: Pair
    ) -> None:
        microsoft.put("secret-ms", {"password": None, "certificate": pair.certificate, "private-key": pair.key})
        microsoft.put(A, {**client(dovecot, mailbox_user, grant_type="client_credentials"), "client-id": "unknown-application"})
        found = microsoft.check()[A]
        assert not found["ok"]
        assert "invalid_client" in found["words"]
        assert found["remedy"]

    def test_a_hundred_mailboxes_of_one_application_make_one_request(
        self, microsoft: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        for number in range(100):
            microsoft.put(f"pop-client-{number}", client(dovecot, f"{number}.{mailbox_user}", grant_type="client_credentials"))
        assert all(report["ok"] for report in microsoft.read().values())
        assert authority.count() == 1


class TestPasswordGrant:
    def test_it_is_the_default_at_microsoft_and_warned_of(
        self, microsoft: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        authority.set_password(mailbox_user, "correct horse")
        options = client(dovecot, mailbox_user, password="correct horse")
        microsoft.put(A, {**options, "directory-id": None})
        captured(microsoft, dovecot, mailbox_user)
        [request] = authority.requests()
        assert (request.grant_type, request.path) == ("password", "/organizations/oauth2/v2.0/token")
        assert request.scope == "https://outlook.office.com/.default"
        assert "It fails with multi-factor authentication" in microsoft.command("check", status=0).err

    @pytest.mark.parametrize(
        ("mfa", "password", "remedy"),
        [(True, "correct horse", "second factor"), (False, "wrong horse", "password")],
    )
    def test_refusals(
        self, microsoft: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, mfa: bool, password: str, remedy: str
    ) -> None:
        authority.set_password(mailbox_user, "correct horse", mfa=mfa)
        microsoft.put(A, client(dovecot, mailbox_user, grant_type="password", password=password))
        found = microsoft.check()[A]
        assert not found["ok"]
        assert "AADSTS" in found["words"]
        assert remedy in found["remedy"]
        assert password not in json.dumps(found)


class TestServiceAccount:
    @pytest.fixture
    def google(self, here: Here, authority: Authority, pair: Pair, tmp_path: Path) -> Here:
        """A service account whose key is in Google's own file."""
        public = x509.load_pem_x509_certificate(pair.certificate.read_bytes()).public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        authority.register_service_account("robot@project.example", public.public_bytes(serialization.Encoding.PEM, form).decode())
        key = {
            "type": "service_account",
            "client_email": "robot@project.example",
            "private_key_id": "k1",
            "private_key": pair.key.read_text(),
            "token_uri": authority.token_url,
        }
        (tmp_path / "robot.json").write_text(json.dumps(key, indent=2))
        here.put("secret-robot", {"service-account": "robot.json"})
        return here

    def section(self, dovecot: Dovecot, user: str) -> dict[str, object]:
        options = oauth(dovecot.imap_port, user, "", tenant_authority="google", secret="robot", grant_type="service_account")
        return {**options, "password": None, "client-id": None, "scope": None}

    def test_it_reads_a_mailbox_of_the_domain(
        self, google: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        authority.delegate("robot@project.example", "https://mail.google.com/")
        google.put(A, self.section(dovecot, mailbox_user))
        captured(google, dovecot, mailbox_user)
        [request] = authority.requests()
        assert request.grant_type == "urn:ietf:params:oauth:grant-type:jwt-bearer"

    def test_without_delegation_the_remedy_says_where(
        self, google: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        google.put(A, self.section(dovecot, mailbox_user))
        found = google.check()[A]
        assert "unauthorized_client" in found["words"]
        assert "omain-wide delegation" in found["remedy"]


class TestExternal:
    def program(self, folder: Path, body: str) -> str:
        script = folder / "give_token.py"
        script.write_text(body)
        return f"{sys.executable} '{script}'"

    def section(self, dovecot: Dovecot, user: str, **more: object) -> dict[str, object]:
        options = oauth(dovecot.imap_port, user, "", grant_type="external", **more)
        return {**options, "password": None, "client-id": None, "secret": None, "scope": None}

    @pytest.mark.parametrize("form", ["json", "bare"])
    def test_a_command(
        self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, tmp_path: Path, form: str
    ) -> None:
        token = authority.access_token(mailbox_user)
        printed = json.dumps({"access_token": token, "expires_in": 600}) if form == "json" else token
        command = self.program(
            tmp_path, f"import os\nassert os.environ['POSTROOM_MAILBOX'] == {mailbox_user!r}\nprint({printed!r})\n"
        )
        here.put("authority-rig", {"token_endpoint": authority.token_url})
        here.put(A, self.section(dovecot, mailbox_user, token_command=command))
        captured(here, dovecot, mailbox_user)
        assert authority.count() == 0

    def test_a_command_that_fails_is_told_with_its_words(
        self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, tmp_path: Path
    ) -> None:
        command = self.program(tmp_path, "import sys\nsys.exit('no session: sign in first')\n")
        here.put("authority-rig", {"token_endpoint": authority.token_url})
        here.put(A, self.section(dovecot, mailbox_user, token_command=command))
        found = here.check()[A]
        assert "ended with status 1: no session: sign in first" in found["words"]
        assert "Run the command by hand" in found["remedy"]

    def test_an_address(self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, tmp_path: Path) -> None:
        import http.server
        import threading

        token = authority.access_token(mailbox_user)

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps({"access_token": token, "expires_in": 600}).encode())

            def log_message(self, *_: object) -> None:
                """Nothing."""

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            here.put("authority-rig", {"token_endpoint": authority.token_url})
            here.put(A, self.section(dovecot, mailbox_user, token_url=f"http://127.0.0.1:{server.server_address[1]}/token"))
            captured(here, dovecot, mailbox_user)
            server.shutdown()


@pytest.mark.parametrize("claims", [{"aud": "https://graph.microsoft.com"}, {"scp": "Mail.Read"}, {"upn": "other@example.test"}])
def test_a_token_that_can_be_read_explains_its_refusal(
    microsoft: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, claims: dict[str, str]
) -> None:
    token = authority.refresh_token(mailbox_user)
    authority.set_token_format("jwt", **claims)
    microsoft.put(A, client(dovecot, mailbox_user, grant_type="refresh_token", password=token))
    found = microsoft.check()[A]
    assert not found["ok"]
    told = {
        "aud": "is for https://graph.microsoft.com",
        "scp": "lacks the scope IMAP.AccessAsUser.All",
        "upn": "is other@example.test's",
    }
    [(name, _)] = claims.items()
    assert told[name] in found["remedy"]
    step = next(step for step in found["steps"] if step["step"] == "token")
    assert told[name] in step["words"]


def test_no_secret_of_any_grant_is_in_the_store(microsoft: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
    authority.set_password(mailbox_user, "correct horse battery")
    microsoft.put(A, client(dovecot, mailbox_user, grant_type="password", password="correct horse battery"))
    captured(microsoft, dovecot, mailbox_user)
    files = [Path(folder) / name for folder, _, names in os.walk(microsoft.data) for name in names]
    octets = b"".join(file.read_bytes() for file in files)
    assert octets
    for secret in ("correct horse battery", TEST.secret):
        assert secret.encode() not in octets


def test_what_the_workspaces_administrator_is_told(
    here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, pair: Pair, tmp_path: Path
) -> None:
    """``authorize`` for a service account: where to delegate, then it waits until it works; here it does already."""
    public = x509.load_pem_x509_certificate(pair.certificate.read_bytes()).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    authority.register_service_account("robot@project.example", public.public_bytes(serialization.Encoding.PEM, form).decode())
    authority.delegate("robot@project.example", "https://mail.google.com/")
    key = {"type": "service_account", "client_email": "robot@project.example", "client_id": "1122334455", "private_key_id": "k"}
    (tmp_path / "robot.json").write_text(json.dumps({**key, "private_key": pair.key.read_text(), "token_uri": authority.token_url}))
    here.put("secret-robot", {"service-account": "robot.json"})
    here.put(A, TestServiceAccount().section(dovecot, mailbox_user))
    done = here.command("authorize", "a", "--timeout", "0")
    assert "Client ID:    1122334455" in done.err
    assert "OAuth scopes: https://mail.google.com/" in done.err
    assert f"ok   {A}" in done.out
