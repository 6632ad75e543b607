"""Through real proxies to a real server over TLS. The servers' names are known to the proxies alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Here, basic, letter, oauth, rig_sections
from sending import oauth_account

from servers.authority import Authority
from servers.certificates import LOOPBACK, Certificates
from servers.dovecot import Dovecot
from servers.postfix import Postfix
from servers.proxies import Microsocks, Proxy, Tinyproxy
from servers.waiting import wait_for

MAIL, TOKENS = "mail.proxied.test", "authority.proxied.test"
HOSTS = {MAIL: "127.0.0.1", TOKENS: "127.0.0.1"}
CLIENT = "pop-client-a"

both = pytest.mark.parametrize("proxy", ["SOCKS", "HTTP"], indirect=True)
every = pytest.mark.parametrize("proxy", ["SOCKS", "SOCKS login", "HTTP", "HTTP login"], indirect=True)


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


@pytest.fixture
def proxy(request: pytest.FixtureRequest, real_servers: None) -> Iterator[Proxy]:
    kind, _, login = request.param.partition(" ")
    with {"SOCKS": Microsocks, "HTTP": Tinyproxy}[kind](HOSTS, login=bool(login)) as running:
        yield running


@pytest.fixture(scope="module")
def far_authority(real_servers: None, certificates: Certificates) -> Iterator[Authority]:
    with Authority(certificates=certificates, certificate_names=(TOKENS,)) as running:
        yield running


@pytest.fixture(scope="module")
def far(far_authority: Authority, certificates: Certificates) -> Iterator[Dovecot]:
    names = (MAIL, *LOOPBACK)
    with Dovecot(far_authority.tokens, certificates=certificates, certificate_names=names, sasl=True) as running:
        yield running


@pytest.fixture(scope="module")
def far_postfix(far: Dovecot, certificates: Certificates, root: None) -> Iterator[Postfix]:
    with Postfix(far, certificates=certificates, certificate_names=(MAIL,)) as running:
        yield running


def client(dovecot: Dovecot, user: str, **more: object) -> dict[str, object]:
    options = {"server": MAIL, "pop_connection_security": "ssl-tls", "tls_ca_file": dovecot.ca_file, "port": dovecot.imaps_port}
    return {**basic(0, user), **{name.replace("_", "-"): value for name, value in {**options, **more}.items()}}


def steps(finding: dict[str, object]) -> dict[str, str]:
    found = finding["steps"]
    assert isinstance(found, list)
    return {step["step"]: step["words"] for step in found}


@every
@pytest.mark.parametrize("security", ["ssl-tls", "start-tls"])
def test_a_mailbox_is_read_through_it(here: Here, far: Dovecot, proxy: Proxy, mailbox_user: str, security: str) -> None:
    """The server's name is found there, and its certificate is checked for that name here."""
    port = far.imaps_port if security == "ssl-tls" else far.imap_port
    here.put(CLIENT, client(far, mailbox_user, pop_connection_security=security, port=port))
    far.deliver(mailbox_user, letter(1, 200_000))
    here.command("check", status=1)  # without the proxy nobody knows that name
    here.put("proxy", proxy.options())
    assert here.read()[CLIENT]["captured"] == 1
    assert len(proxy.ways) == 1
    assert proxy.ways[0].startswith(MAIL)


@every
def test_check_speaks_of_it(here: Here, far: Dovecot, proxy: Proxy, mailbox_user: str) -> None:
    here.put(CLIENT, client(far, mailbox_user))
    here.put("proxy", proxy.options())
    finding = here.check()[CLIENT]
    found, place = steps(finding), f"{proxy.kind} proxy 127.0.0.1:{proxy.port}"
    assert finding["ok"]
    assert found["dns"] == f"the {place} is at 127.0.0.1; it finds {MAIL} by itself"
    assert found["tcp"] == f"{MAIL}:{far.imaps_port} is connected to, says the {place}"


@both
def test_tokens_are_asked_for_through_it(
    here: Here, far: Dovecot, far_authority: Authority, proxy: Proxy, mailbox_user: str
) -> None:
    here.change(rig_sections(far_authority))
    here.put("authority-rig", {"token_endpoint": f"{far_authority.https_url}/token", "tls-ca-file": far.ca_file})
    token = far_authority.refresh_token(mailbox_user)
    here.put(CLIENT, {**oauth(far.imaps_port, mailbox_user, token), **client(far, mailbox_user, password=token)})
    assert not here.check()[CLIENT]["ok"]
    here.put("proxy", proxy.options(exclude="other.test"))
    finding = here.check()[CLIENT]
    assert finding["ok"], finding
    assert sorted({way.partition(":")[0] for way in proxy.ways}) == [TOKENS, MAIL]
    assert far_authority.count(mailbox_user) == 1
    here.put("proxy", {"exclude": f"*.proxied.test, {TOKENS}"})
    finding = here.check()[CLIENT]
    assert not finding["ok"]
    assert "proxy" not in str(finding["words"])


@both
def test_a_change_takes_effect_at_the_next_cycle(here: Here, far: Dovecot, proxy: Proxy, mailbox_user: str) -> None:
    """Another proxy, none, and the first again, under a service that goes on running and loses nothing."""
    here.put(CLIENT, client(far, mailbox_user))
    here.put("proxy", proxy.options())
    far.deliver(mailbox_user, letter(1))
    with here.service() as service, type(proxy)(HOSTS) as other:
        service.wait("read", CLIENT)
        assert len(proxy.ways) == 1
        since = service.mark()
        here.put("proxy", {"port": other.port})
        service.wait("connected", CLIENT, since=since)
        far.deliver(mailbox_user, letter(2))
        service.wait("read", CLIENT, since=since)
        since = service.mark()
        here.put("proxy", {"useProxy": "false"})
        assert MAIL in service.wait("retrying", CLIENT, since=since)["error"]  # nobody else knows that name
        here.put("proxy", {"useProxy": "true", "port": proxy.port})
        far.deliver(mailbox_user, letter(3))
        service.wait("read", CLIENT, since=since)
        assert (len(proxy.ways), len(other.ways)) == (2, 1)
    assert len(here.messages()) == 3


@both
def test_a_change_of_the_section_alone_ends_the_conversation(here: Here, far: Dovecot, proxy: Proxy, mailbox_user: str) -> None:
    here.put(CLIENT, client(far, mailbox_user))
    here.put("proxy", proxy.options())
    with here.service() as service:
        service.looked(CLIENT)
        assert len(proxy.ways) == 1
        since = service.mark()
        here.put("proxy", {"exclude": "10.0.0.0/8"})
        service.wait("connected", CLIENT, since=since)
        service.cycles(CLIENT, 2)
        assert len(proxy.ways) == 2  # one conversation for the settings before, one for those after
        assert [record["changed"] for record in service.events("config_changed", since=since)] == [CLIENT]


@pytest.mark.parametrize("proxy", ["SOCKS login", "HTTP login"], indirect=True)
@pytest.mark.parametrize("options", [{"user": None, "password": None}, {"password": "wr0ng-pw"}])
def test_a_login_that_it_does_not_accept(
    here: Here, far: Dovecot, proxy: Proxy, mailbox_user: str, options: dict[str, object]
) -> None:
    here.put(CLIENT, client(far, mailbox_user))
    here.put("proxy", proxy.options())
    here.put("proxy", options)
    finding = here.check()[CLIENT]
    assert f"{proxy.kind} proxy 127.0.0.1:{proxy.port}" in finding["words"]
    assert f"{MAIL}:{far.imaps_port}" in finding["words"]
    assert ("does not accept user and password" if options["password"] else "wants a login") in finding["words"] or (
        "accepts neither" in finding["words"]
    )
    assert "user and password in the section proxy" in finding["remedy"]
    everything = here.command("check", status=1).out + here.command("run", "--once", status=None).err
    assert "wr0ng-pw" not in everything


@both
def test_a_server_that_it_does_not_reach_and_a_proxy_that_is_not_there(
    here: Here, far: Dovecot, proxy: Proxy, mailbox_user: str
) -> None:
    here.put("proxy", proxy.options())
    for server in ("nowhere.proxied.test", MAIL):
        here.put(CLIENT, client(far, mailbox_user, server=server, port=far.imaps_port if server != MAIL else 1))
        finding = here.check()[CLIENT]
        assert finding["steps"][-1]["step"] == "tcp"
        assert f"{proxy.kind} proxy 127.0.0.1:{proxy.port}, on the way to {server}:" in finding["words"]
        assert "whether the proxy finds that name" in finding["remedy"]
    proxy.stop()
    finding = here.check()[CLIENT]
    assert f"{proxy.kind} proxy 127.0.0.1:{proxy.port}: Connection refused" in finding["words"]
    assert "host, port and type in the proxy section" in finding["remedy"]


@both
def test_a_proxy_of_one_mailbox_alone(here: Here, far: Dovecot, proxy: Proxy, mailbox_user: str) -> None:
    prefix = "mail.imap.socks" if proxy.kind == "SOCKS" else "mail.imap.proxy"
    here.put(CLIENT, client(far, mailbox_user))
    here.put(CLIENT, {f"{prefix}.host": "127.0.0.1", f"{prefix}.port": proxy.port})
    here.put("pop-client-b", client(far, f"b{mailbox_user}", server="localhost"))
    findings = here.check()
    assert findings[CLIENT]["ok"]
    assert findings["pop-client-b"]["ok"]
    assert {way.partition(":")[0] for way in proxy.ways} == {MAIL}


@every
def test_an_account_sends_through_it_and_has_its_token_through_it(
    here: Here,
    certificates: Certificates,
    far: Dovecot,
    far_authority: Authority,
    far_postfix: Postfix,
    proxy: Proxy,
    mailbox_user: str,
) -> None:
    sender = f"of.{mailbox_user}"
    authority = {"token_endpoint": far_authority.https_url + "/token", "tls-ca-file": far.ca_file}
    here.change({**rig_sections(far_authority), "authority-rig": authority})
    options = oauth_account(far_postfix, certificates, far_authority.refresh_token(sender), sender)
    here.put("smtp-client", {**options, "server": MAIL})
    here.put("proxy", proxy.options())
    given = ("--from", sender, "--to", mailbox_user, "--subject", "through it", "--text", "hello", "--wait", "--json")
    assert here.command("send", *given).object["state"] == "sent"
    assert [way.partition(":")[0] for way in proxy.ways] == [MAIL, TOKENS]
    wait_for(lambda: len(far.raw(mailbox_user)) == 1, "the message")
