"""The section proxy: who is excluded, what is wrong, and that a fault leads nobody past the proxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.drivers.provider import Providers
from postroom.settings import Configuration, ProxyType, Severity, parse_configuration

PROXY = "[proxy]\nuseProxy = true\ntype = SOCKS\nhost = proxy.example\n"
CLIENT = "[pop-client-a]\ntype = IMAP\nserver = imap.example.com\nmailbox = a\npassword = pw\n"


def read(text: str) -> Configuration:
    return parse_configuration(text, Path("postroom.ini"), {"PW": "from the environment"}, Providers())


def test_names_are_read_in_any_case() -> None:
    text = "[PROXY]\nUSEPROXY = True\nType = http\nHost = [2001:db8::1]\nPORT = 3128\nuser = me\npassword = env:PW\n"
    configuration = read(text + CLIENT)
    assert not configuration.faults
    proxy = configuration.proxy
    assert (proxy.use_proxy, proxy.type, proxy.address) == (True, ProxyType.HTTP, ("2001:db8::1", 3128))
    assert proxy.password is not None
    assert proxy.password.reveal() == "from the environment"
    assert "from the" not in repr(proxy)
    assert configuration.proxy_of(configuration.clients["pop-client-a"]) is proxy


@pytest.mark.parametrize("text", ["", "[proxy]\n", PROXY.replace("true", "false"), "[proxy]\nhost = proxy.example\n"])
def test_a_proxy_is_used_only_where_useproxy_says_so(text: str) -> None:
    configuration = read(text + CLIENT)
    assert not configuration.faults
    assert configuration.proxy_of(configuration.clients["pop-client-a"]) is None
    assert configuration.proxy.for_host("imap.example.com") is None


def test_the_port_follows_the_type() -> None:
    assert read(PROXY).proxy.address == ("proxy.example", 1080)
    assert read(PROXY.replace("SOCKS", "HTTP")).proxy.address == ("proxy.example", 8080)


EXCLUDE = "mail.example.com, *.inner.example, .other.example, 10.1.0.0/16, 192.0.2.9, 2001:db8::/32, [2001:db9::1]"


@pytest.mark.parametrize(("host", "direct"), [
    ("mail.example.com", True),
    ("MAIL.example.com.", True),
    ("xmail.example.com", False),
    ("a.mail.example.com", False),
    ("a.inner.example", True),
    ("a.b.INNER.example", True),
    ("inner.example", False),
    ("dinner.example", False),
    ("a.other.example", True),
    ("10.1.255.1", True),
    ("10.2.0.1", False),
    ("192.0.2.9", True),
    ("192.0.2.10", False),
    ("2001:db8::77", True),
    ("2001:db9::1", True),
    ("2001:db9::2", False),
    ("localhost", True),
    ("imap.localhost", True),
    ("127.9.9.9", True),
    ("::1", True),
    ("imap.example.com", False),
])  # fmt: skip
def test_who_is_excluded(host: str, direct: bool) -> None:
    proxy = read(f"{PROXY}exclude = {EXCLUDE}\n").proxy
    assert (proxy.for_host(host) is None) is direct


@pytest.mark.parametrize(("line", "words"), [
    ("useProxy = yes", "neither true nor false"),
    ("type = SOCKS4", "none of the valid values"),
    ("host = http://proxy.example", "address of the web"),
    ("port = 0", "less than 1"),
    ("user = me", "password is not"),
    ("password = hidden", "user is not"),
    ("user = me\npassword = " + "x" * 256, "longer than 255 octets"),
    ("type = HTTP\nuser = a:b\npassword = hidden", "colon"),
    ("exclude = a,,b", "empty name"),
    ("exclude = *", "useProxy = false"),
    ("exclude = a b", "not the name of a host"),
    ("exclude = 10.0.0.0/99", "address of the web"),
    ("host =", "none is written"),
    ("password", ""),
])  # fmt: skip
def test_a_fault_leads_nobody_past_the_proxy(line: str, words: str) -> None:
    own = "".join(entry + "\n" for entry in PROXY.splitlines() if entry.split(" ")[0] not in line)
    configuration = read(f"{own}{line}\n{CLIENT}")
    assert any(words in str(fault) and fault.severity is Severity.FAULT for fault in configuration.faults)
    assert not configuration.clients
    assert configuration.faults_of("pop-client-a")
    assert "hidden" not in str(configuration.faults) + "".join(map(str, configuration.faults))


def test_a_fault_of_a_proxy_that_is_not_used_stops_nobody() -> None:
    configuration = read(f"{PROXY.replace('true', 'false')}port = 0\n{CLIENT}")
    assert "proxy" in configuration.faulty
    assert list(configuration.clients) == ["pop-client-a"]
