from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.net.refusals import (
    Heard,
    Rule,
    Verdict,
    Where,
    backoff_of,
    explain,
    heard_from_token_body,
    heard_from_words,
    limit_of,
    rule_of,
    rules,
)
from postroom.net.rules import read_table

ACTS = re.compile(
    r"(Add|Ask|Change|Check|Compare|Copy|Do nothing|Fill in|Give|If|In|Leave|Let|Look|Make|Name|Open|Press|Put|Restore|Run|See"
    r"|Set|Sign in|Stop|Take|Under|Upload|Use|Wait|Write|At)\b"
)
ENTRY = {"name": "a", "at": "token", "fate": "retry", "error": "e", "means": "M.", "remedy": "R.", "source": "s", "example": "x"}


def example_of(rule: Rule) -> Heard:
    if rule.at in (Where.TOKEN, Where.DEVICE):
        return heard_from_token_body(rule.authority, rule.status[0] if rule.status else 400, rule.example.encode(), rule.at)
    return heard_from_words(rule.at, rule.authority, rule.example)


def of_microsoft(**fields: object) -> Heard:
    return heard_from_token_body("microsoft", 400, json.dumps(fields).encode())


def name_of(heard: Heard) -> str:
    rule = explain(heard)
    return rule.name if rule else ""


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_an_entry_is_chosen_for_its_example_by_itself(rule: Rule) -> None:
    assert explain(example_of(rule)) is rule


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_an_entry_can_be_read_by_an_administrator(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)
    assert rule.source.startswith("https://")
    assert rule.means[0].isupper()
    assert rule.means.endswith(".")
    assert rule.remedy.endswith(".")
    assert ACTS.match(rule.remedy), rule.remedy
    assert len(re.findall(r"\.(?= [A-Z]|$)", rule.remedy)) <= 4, rule.remedy
    assert "`" not in rule.means + rule.remedy


def test_what_a_person_must_do_names_an_option_a_command_or_a_place() -> None:
    place = re.compile(
        r"postroom (authorize|check)|client-id|directory-id|tenant-authority|grant-type|scope|secret|mailbox|password"
        r"|service-account|console|admin center|App registrations|Enterprise applications|Google Auth Platform"
        r"|(pop|smtp)-connection-security|mail.smtp.auth.mechanisms|Settings|Advanced"
    )
    for rule in rules():
        assert rule.fate is not Verdict.REAUTHORIZE or place.search(rule.remedy), rule.name


def test_only_a_call_for_a_person_can_be_uncertain() -> None:
    assert {rule.fate for rule in rules() if not rule.certain} == {Verdict.REAUTHORIZE}


def test_everybody_has_the_standards_errors() -> None:
    errors = [
        "invalid_grant",
        "invalid_client",
        "unauthorized_client",
        "invalid_scope",
        "invalid_request",
        "unsupported_grant_type",
    ]
    for error in errors:
        assert name_of(Heard(Where.TOKEN, error=error)) == error.replace("_", "-")


def test_every_way_of_matching_is_in_the_examples_words() -> None:
    for rule in rules():
        for code in rule.codes:
            heard = of_microsoft(error="x", error_description=f"AADSTS{code}: …", error_codes=[code])
            assert explain(heard) is rule, code


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"at": "nowhere"}, "nowhere"),
        ({"fate": "unsure"}, "unsure"),
        ({"words": "("}, "refusal a"),
        ({"authority": "yahoo"}, "yahoo"),
        ({"error": ""}, "it fits everything"),
        ({"nonsense": 1}, "nonsense"),
        ({"status": 429}, "refusal a"),
    ],
)
def test_a_fault_in_the_table_names_its_entry(change: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=rf"refusal a: .*{says}" if says != "refusal a" else says):
        read_table({"refusal": [ENTRY | change]}, "refusal", rule_of)


def test_an_entry_without_a_name_is_named_by_its_number() -> None:
    with pytest.raises(ValueError, match="refusal number 2"):
        read_table({"refusal": [ENTRY, {key: value for key, value in ENTRY.items() if key != "name"}]}, "refusal", rule_of)


def test_a_name_is_there_once() -> None:
    with pytest.raises(ValueError, match="refusal a: the name is there twice"):
        read_table({"refusal": [ENTRY, ENTRY]}, "refusal", rule_of)


def test_a_whole_entry_is_read() -> None:
    (rule,) = read_table({"refusal": [ENTRY]}, "refusal", rule_of)
    assert (rule.name, rule.at, rule.fate, rule.error, rule.certain) == ("a", Where.TOKEN, Verdict.RETRY, "e", True)


# --- choosing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", Where)
@pytest.mark.parametrize("who", ["google", "microsoft", "", "other"])
def test_nonsense_is_not_explained(at: Where, who: str) -> None:
    assert explain(Heard(at, who, 418, "teapot", "short", (1,), "and stout")) is None
    assert explain(Heard(at, who)) is None


def test_passing_trouble_is_not_taken_for_bad_credentials() -> None:
    body = json.dumps({"error": "invalid_grant"}).encode()
    for status in (429, 500, 502, 503, 504):
        rule = explain(heard_from_token_body("microsoft", status, body))
        assert rule is not None
        assert rule.fate is not Verdict.REAUTHORIZE


def test_a_connection_too_many_is_told_from_a_refused_token() -> None:
    challenge = '{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}'
    for words, name in [
        ("NO [ALERT] Too many simultaneous connections. (Failure)", "login-too-many-connections"),
        ("NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", "login-google-token-not-for-this-mailbox"),
    ]:
        assert name_of(heard_from_words(Where.LOGIN, "google", f"{words} {challenge}")) == name


def test_an_unknown_number_is_explained_by_what_microsoft_classes_it_as() -> None:
    heard = of_microsoft(error="invalid_grant", error_description="AADSTS999999: …", error_codes=[999999], suberror="basic_action")
    assert name_of(heard) == "microsoft-person-can-settle-it"


def test_a_refused_grant_without_a_reason_is_not_believed_at_once_at_microsoft() -> None:
    rule = explain(of_microsoft(error="invalid_grant", error_description="Something went wrong."))
    assert rule is not None
    assert (rule.name, rule.certain) == ("microsoft-invalid-grant", False)


def test_what_is_said_of_one_provider_is_not_said_of_another() -> None:
    assert (
        name_of(heard_from_token_body("", 400, b'{"error":"invalid_grant","error_description":"Bad Request"}')) == "invalid-grant"
    )


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("AADSTS50105: Your administrator has configured the application to block users", "microsoft-person-not-assigned"),
        ("AADSTS50011: The redirect URI does not match", "microsoft-redirect-address"),
        ("AADSTS700016: Application with identifier", "microsoft-application-unknown"),
        ("AADSTS65001", "microsoft-consent-missing"),
        ("AADSTS50020: User account from identity provider", "microsoft-account-of-another-directory"),
        ("AADSTS90094: Need admin approval", "page-microsoft-administrator-must-consent"),
    ],
)
def test_a_number_on_a_page_is_explained_too(words: str, name: str) -> None:
    assert name_of(heard_from_words(Where.PAGE, "microsoft", words)) == name


def test_an_error_that_the_browser_brings_back_is_explained() -> None:
    assert name_of(Heard(Where.PAGE, "google", error="access_denied")) == "access-denied"


def test_a_device_code_is_refused_for_the_token_endpoints_reasons_too() -> None:
    body = b'{"error":"invalid_grant","error_description":"AADSTS53003: Blocked."}'
    assert name_of(heard_from_token_body("microsoft", 400, body, Where.DEVICE)) == "microsoft-conditional-access"


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_token_endpoints_refusal_is_read() -> None:
    fields = {
        "error": "invalid_grant",
        "error_description": "AADSTS70008: old.\r\nTrace ID: 1 AADSTS700082: unused. AADSTS70008",
        "error_codes": [70008, True, "5", None],
        "suberror": "token_expired",
    }
    heard = heard_from_token_body("microsoft", 400, json.dumps(fields).encode())
    assert heard == Heard(
        Where.TOKEN,
        "microsoft",
        400,
        "invalid_grant",
        "token_expired",
        (70008, 700082),
        "AADSTS70008: old.  Trace ID: 1 AADSTS700082: unused. AADSTS70008",
    )


def test_googles_subtype_is_read() -> None:
    heard = heard_from_token_body("google", 400, b'{"error":"invalid_grant","error_subtype":"invalid_rapt"}')
    assert (heard.error, heard.suberror) == ("invalid_grant", "invalid_rapt")


@pytest.mark.parametrize(
    "body", [b"", b"\xff\x00", b"[]", b"[" * 100_000, b'{"error":{"code":400}}', b'{"error_codes":7}', b"1" * 5000]
)
def test_a_body_that_is_none_is_no_trouble(body: bytes) -> None:
    heard = heard_from_token_body("", 400, body)
    assert (heard.error, heard.codes) == ("", ())
    assert heard.words.isprintable()


def test_a_page_of_google_tells_status_and_error() -> None:
    heard = heard_from_words(Where.PAGE, "google", "Access blocked\nError 403: org_internal")
    assert (heard.status, heard.error, heard.words) == (403, "org_internal", "Access blocked Error 403: org_internal")


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        ("NO [LIMIT] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", 10),
        ("NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=16)", 16),
        ("BYE Too many connections: limit of 5 simultaneous connections", 5),
        ("NO you have 30 connections open already, too many connections", 30),
        ("NO [ALERT] Too many simultaneous connections. (Failure)", None),
        ("BYE Maximum connection limit reached for 192.0.2.1", None),  # Courier: the number is an address
        ("NO Too many connections (connections=0)", None),
        ("NO [AUTHENTICATIONFAILED] 5 wrong passwords", None),
    ],
)
def test_p16_a_limit_is_learned_where_it_is_named(words: str, limit: int | None) -> None:
    assert limit_of(words) == limit


@pytest.mark.parametrize(
    "words",
    [
        "BYE Maximum connection limit reached for 192.0.2.1",
        "NO [ALERT] Too many simultaneous connections. (Failure)",
        "NO Maximum number of connections exceeded",
        "BYE Too many open connections from your address",
        "BYE Connection limit exceeded",
    ],
)
def test_p16_a_limit_without_a_number_is_a_limit(words: str) -> None:
    rule = explain(heard_from_words(Where.LOGIN, "", words))
    assert rule is not None
    assert rule.fate is Verdict.THROTTLE
    assert rule.name == "login-too-many-connections"


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("BAD Request is throttled. Suggested Backoff Time: 89117 milliseconds", 89.117),
        ("suggested backoff time 5000 ms", 5.0),
        ("Back-off time: 30 seconds", 30.0),
        ("try again later", None),
        ("Suggested Backoff Time: soon", None),
    ],
)
def test_a_time_that_is_named_is_kept(words: str, seconds: float | None) -> None:
    assert backoff_of(words) == seconds


TEXT = st.text(max_size=30) | st.from_regex(r"AADSTS[0-9]{1,12}: .?", fullmatch=True)
JSON = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
NAMES = ["error", "error_description", "error_codes", "suberror", "error_subtype"]
FIELDS = st.fixed_dictionaries({}, optional={name: JSON | st.lists(JSON, max_size=3) for name in NAMES})


@given(st.binary(max_size=60) | FIELDS.map(lambda fields: json.dumps(fields).encode()))
def test_reading_and_explaining_never_raise(body: bytes) -> None:
    for authority in ("google", "microsoft", ""):
        heard = heard_from_token_body(authority, 400, body)
        assert heard.words.isprintable()
        explain(heard)


@given(st.sampled_from(Where), TEXT)
def test_taking_words_never_raises(at: Where, words: str) -> None:
    explain(heard_from_words(at, "microsoft", words))
