from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.settings import Security
from postroom.wire.autoconfig import LARGEST, Autoconfig, ServerEntry, filled, read_autoconfig

WHOLE = b"""<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1">
  <emailProvider id="example.com">
    <domain>example.com</domain>
    <domain purpose="mx">Example.NET</domain>
    <displayName>Example &amp; Sons</displayName>
    <displayShortName>Example</displayShortName>
    <incomingServer type="imap">
      <hostname>imap.example.com</hostname>
      <port>993</port>
      <socketType>SSL</socketType>
      <authentication>OAuth2</authentication>
      <authentication>password-cleartext</authentication>
      <username>%EMAILADDRESS%</username>
    </incomingServer>
    <incomingServer type="pop3">
      <hostname>pop.%EMAILDOMAIN%</hostname>
      <port>110</port>
      <socketType>STARTTLS</socketType>
      <username>%EMAILLOCALPART%</username>
      <pop3><leaveMessagesOnServer>true</leaveMessagesOnServer></pop3>
    </incomingServer>
    <outgoingServer type="smtp">
      <hostname>SMTP.example.com.</hostname>
      <port>25</port>
      <socketType>plain</socketType>
      <restriction>client-IP-address</restriction>
    </outgoingServer>
    <documentation url="https://example.com/"><descr lang="en">How</descr></documentation>
  </emailProvider>
  <oAuth2>
    <issuer>login.example.com</issuer>
    <scope>https://example.com/mail</scope>
    <authURL>https://login.example.com/auth</authURL>
  </oAuth2>
  <clientConfigUpdate url="https://example.com/update"/>
</clientConfig>"""


def one(fields: str, head: str = 'incomingServer type="imap"') -> tuple[ServerEntry, ...]:
    tail = head.partition(" ")[0]
    text = f"<clientConfig><emailProvider><{head}>{fields}</{tail}></emailProvider></clientConfig>"
    return read_autoconfig(text.encode()).incoming


SOUND = "<hostname>a.example</hostname><port>993</port><socketType>SSL</socketType>"


def test_a_whole_document() -> None:
    assert read_autoconfig(WHOLE) == Autoconfig(
        name="Example & Sons",
        domains=("example.com", "example.net"),
        incoming=(
            ServerEntry("imap", "imap.example.com", 993, Security.SSL_TLS, "%EMAILADDRESS%", ("OAuth2", "password-cleartext")),
            ServerEntry("pop3", "pop.%EMAILDOMAIN%", 110, Security.START_TLS, "%EMAILLOCALPART%", ()),
        ),
        outgoing=(ServerEntry("smtp", "smtp.example.com", 25, Security.NONE, "", ()),),
        issuer="login.example.com",
        scope="https://example.com/mail",
    )
    assert [server.oauth for server in read_autoconfig(WHOLE).incoming] == [True, False]


def test_encodings_and_namespaces() -> None:
    latin = '<?xml version="1.0" encoding="iso-8859-1"?><clientConfig><emailProvider><displayName>Köln</displayName>'
    assert read_autoconfig((latin + "</emailProvider></clientConfig>").encode("latin-1")).name == "Köln"
    assert read_autoconfig(WHOLE.replace(b"emailProvider", b"x:emailProvider")).name == "Example & Sons"
    assert read_autoconfig(WHOLE.decode().replace("UTF-8", "UTF-16").encode("utf-16")) == read_autoconfig(WHOLE)


@pytest.mark.parametrize(
    "fields",
    [
        "",
        SOUND.replace("<port>993</port>", ""),
        SOUND.replace("993", "0"),
        SOUND.replace("993", "65536"),
        SOUND.replace("993", "-1"),
        SOUND.replace("993", "9" * 1000),
        SOUND.replace("993", "\N{SUPERSCRIPT TWO}"),
        SOUND.replace("SSL", "TLSv9"),
        SOUND.replace("a.example", ""),
        SOUND.replace("a.example", "a b"),
        SOUND.replace("a.example", "a_b.example"),
        SOUND.replace("a.example", "a..example"),
        SOUND.replace("a.example", "a.example\npassword = x"),
        SOUND.replace("a.example", "%EMAILADDRESS%"),
        SOUND.replace("a.example", "x" * 254),
        SOUND.replace("<hostname>a.example</hostname>", "<x><hostname>a.example</hostname></x>"),
    ],
)
def test_a_server_that_lacks_something_is_left_out(fields: str) -> None:
    assert one(fields) == ()


def test_a_server_needs_its_type() -> None:
    assert len(one(SOUND)) == 1
    assert one(SOUND, "incomingServer") == ()
    assert one(SOUND, 'somethingElse type="imap"') == ()


@pytest.mark.parametrize("name", ["a&#10;b", "a&#x85;b", "x" * 321, "a\u202eb"])
def test_a_user_name_is_on_one_printable_line(name: str) -> None:
    (server,) = one(f"{SOUND}<username>{name}</username>")
    assert server.username == ""


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "it is not XML"),
        (b"\x00\xff\xfe", "it is not XML"),
        (b"<clientConfig>", "it is not XML"),
        (b"<clientConfig></emailProvider>", "it is not XML"),
        (b'<?xml version="1.0" encoding="nonsense"?><clientConfig/>', "it is not XML"),
        (b'<?xml version="1.0" encoding="utf-7"?><clientConfig/>', "encodings are not supported"),
        (b"<clientConfig>&unknown;</clientConfig>", "it is not XML"),
        (b"<html/>", "its outermost element is 'html' and not 'clientConfig'"),
        (b"<clientConfig>" + b" " * LARGEST + b"</clientConfig>", "more than 262144 octets"),
        (b"<clientConfig>" + b"<a>" * 1000, "more than 64 elements"),
        (b"<!DOCTYPE clientConfig><clientConfig/>", "declares a document type"),
        (b'<!DOCTYPE a [<!ENTITY e "x">]><clientConfig>&e;</clientConfig>', "declares a document type"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><clientConfig/>', "declares a document type"),
    ],
    ids=range(13),
)
def test_what_is_no_document(octets: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_autoconfig(octets)


def test_an_entity_bomb_is_refused_before_it_grows() -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 30))
    bomb = f'<!DOCTYPE a [<!ENTITY e0 "x">{entities}]><clientConfig>&e29;</clientConfig>'
    with pytest.raises(ValueError, match="declares a document type"):
        read_autoconfig(bomb.encode())


def test_an_empty_document_says_nothing() -> None:
    assert read_autoconfig(b"<clientConfig/>") == Autoconfig()


def test_names_are_filled_once() -> None:
    assert filled("%EMAILADDRESS%/%EMAILLOCALPART%/%EMAILDOMAIN%", "a@b.example") == "a@b.example/a/b.example"
    assert filled("x%EMAILLOCALPART%", "%EMAILDOMAIN%@b.example") == "x%EMAILDOMAIN%"
    assert filled("plain", "a@b.example") == "plain"


_WORDS = ["clientConfig", "emailProvider", "incomingServer", "hostname", "port", "socketType", "oAuth2", "issuer", "username"]
_PIECES = st.lists(
    st.one_of(
        st.sampled_from(_WORDS).map(lambda word: f"<{word}>"),
        st.sampled_from(_WORDS).map(lambda word: f"</{word}>"),
        st.sampled_from(['<incomingServer type="imap">', "SSL", "993", "a.example", "<![CDATA[", "]]>", "<!--", "&#0;", "<?x?>"]),
        st.text(max_size=8),
    ),
    max_size=30,
).map("".join)


@given(
    st.one_of(st.binary(max_size=300), _PIECES.map(lambda text: f"<clientConfig>{text}</clientConfig>".encode("utf-8", "replace")))
)
def test_noise_gives_a_refusal_or_servers_that_can_be_reached(octets: bytes) -> None:
    document = Autoconfig()
    with contextlib.suppress(ValueError):
        document = read_autoconfig(octets)
    for server in (*document.incoming, *document.outgoing):
        assert server.host
        assert 1 <= server.port <= 65535


@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=3))
def test_a_damaged_document_is_refused_or_read(place: int, noise: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert len(read_autoconfig(WHOLE[:place] + noise + WHOLE[place + len(noise) :]).incoming) <= 2
