"""The command line as people and programs meet it: what it prints, and with which status it ends."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest
from running import Here, basic, letter, oauth, rig_sections

from postroom import __version__
from postroom.app.config import Live, load
from postroom.app.observing import Quiet
from postroom.app.serve import run_once
from postroom.clock import SystemClock
from postroom.engine.process import process
from postroom.model import Facts, Work
from postroom.store import Store
from servers.authority import Authority
from servers.dovecot import Dovecot
from servers.proxy import FaultProxy
from servers.waiting import wait_for

A, B = "pop-client-a", "pop-client-b"
DATA = Path(__file__).parent.parent / "data"

MESSAGES = [
    b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.test>\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\nMessage-ID: <1@x.test>\r\n\r\nHi\r\n",
    b"From: b@example.test\r\nSubject: a header\r\n folded\r\n\r\n" + b"x" * 100_000 + b"\r\n",
    b"no header at all, \xff\xfe, and a dot\r\n.\r\nand no end of line",
]


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


@pytest.fixture
def kept(here: Here, dovecot: Dovecot, mailbox_user: str) -> Here:
    """Some messages of two clients are captured."""
    here.put(A, basic(dovecot.imap_port, mailbox_user))
    here.put(B, basic(dovecot.imap_port, f"b.{mailbox_user}"))
    dovecot.seed(mailbox_user, MESSAGES)
    dovecot.seed(f"b.{mailbox_user}", [letter(number) for number in range(3)])
    here.read()
    return here


# --- messages ---------------------------------------------------------------------------------------------------------


class TestMessages:
    def test_list_for_programs(self, kept: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        """One object a line, all of them, in the order of capture."""
        rows = kept.messages()
        assert len(rows) == 6
        for row in rows:
            assert {"id", "client", "identifier", "digest", "size", "subject", "from", "message_id", "received"} <= set(row)
            assert row["folder"] == "INBOX"
            assert datetime.datetime.fromisoformat(row["received"]).tzinfo is not None
        mine = {row["digest"]: row for row in rows if row["client"] == A}
        served = {hashlib.sha256(octets).hexdigest(): (uid, octets) for uid, octets in dovecot.raw(mailbox_user).items()}
        assert mine.keys() == served.keys()
        for digest, row in mine.items():
            uid, octets = served[digest]
            assert row["size"] == len(octets)
            assert row["identifier"].endswith(f"/{uid}")
        told = {(row["subject"], row["message_id"]) for row in mine.values()}
        assert told == {("Grüße", "<1@x.test>"), ("a header folded", ""), ("", "")}
        assert "Jürgen" in next(row["from"] for row in mine.values() if row["subject"] == "Grüße")
        assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
        assert len({row["id"] for row in rows}) == 6

    def test_all_unless_limited(self, kept: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [letter(number) for number in range(60)])
        kept.read()
        assert len(kept.messages()) == 66
        assert len(kept.command("messages", "list", "--json", "--limit", "7").objects) == 7
        assert len(kept.command("messages", "list").out.splitlines()) == 50  # people get the newest
        assert len(kept.command("messages", "list", "--limit", "3").out.splitlines()) == 3

    def test_of_one_client(self, kept: Here) -> None:
        for name in ("b", "pop-client-b", "B"):
            rows = kept.command("messages", "list", "--json", "--client", name).objects
            assert [row["client"] for row in rows] == [B] * 3

    def test_of_a_client_that_is_gone(self, kept: Here) -> None:
        kept.change({B: None})
        assert len(kept.command("messages", "list", "--json", "--client", B).objects) == 3

    def test_before_anything_was_captured(self, here: Here) -> None:
        assert here.messages() == []
        assert here.command("messages", "list").out == "No message has been captured yet.\n"

    def test_show(self, kept: Here) -> None:
        row = next(row for row in kept.messages() if row["subject"] == "Grüße")
        assert kept.command("messages", "show", "--json", row["id"]).object == row
        shown = kept.command("messages", "show", row["id"]).out
        assert f"digest:      {row['digest']}\n" in shown
        assert "Subject: =?utf-8?b?R3LDvMOfZQ==?=\n" in shown
        assert "Hi" not in shown.splitlines()

    def test_export_octet_for_octet(self, kept: Here, dovecot: Dovecot, mailbox_user: str, tmp_path: Path) -> None:
        rows = {row["id"]: row for row in kept.messages()}
        kept.command("messages", "export", "--all", "-o", "all")
        files = {path.stem: path.read_bytes() for path in (tmp_path / "all").iterdir()}
        assert files.keys() == rows.keys()
        for name, octets in files.items():
            assert (hashlib.sha256(octets).hexdigest(), len(octets)) == (rows[name]["digest"], rows[name]["size"])
        mine = sorted(files[name] for name, row in rows.items() if row["client"] == A)
        assert mine == sorted(dovecot.raw(mailbox_user).values())
        # one, to the standard output and to a file
        some = next(name for name, row in rows.items() if row["client"] == A)
        line = [sys.executable, "-m", "postroom", "--config", str(kept.file), "messages", "export", some]
        assert subprocess.run(line, capture_output=True, check=True).stdout == files[some]
        kept.command("messages", "export", some, "-o", "one.eml")
        assert (tmp_path / "one.eml").read_bytes() == files[some]

    @pytest.mark.parametrize("verb", ["show", "export"])
    def test_no_such_message(self, kept: Here, verb: str) -> None:
        done = kept.command("messages", verb, "0", status=1)  # all ids begin so, and none is meant
        assert "no message, or more than one, has an id that begins with 0" in done.err
        assert "postroom messages list prints the beginnings of ids" in done.err
        assert done.out == ""

    def test_the_beginning_of_an_id_is_enough(self, kept: Here) -> None:
        some = kept.messages()[2]["id"]
        assert kept.command("messages", "show", "--json", some[:-1]).object["id"] == some

    def test_export_of_nothing(self, kept: Here) -> None:
        assert "name the messages to export, or --all" in kept.command("messages", "export", status=2).err


# --- run --once -------------------------------------------------------------------------------------------------------


class TestOnce:
    def test_all_is_well(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.deliver(mailbox_user, letter(1))
        here.put(A, basic(dovecot.imap_port, mailbox_user))
        report = here.command("run", "--once", "--json").object
        octets = len(next(iter(dovecot.raw(mailbox_user).values())))
        assert report == {
            "client": A,
            "ok": True,
            "captured": 1,
            "matched": 0,
            "octets": octets,
            "settled": 0,
            "troubles": 0,
            "error": None,
            "remedy": None,
        }
        assert here.command("run", "--once").out == f"ok   {A}: 0 captured (0 octets)\n"

    def test_all_work_is_done_when_it_ends(
        self, here: Here, dovecot: Dovecot, mailbox_user: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also what was under way when the last mailbox had been read."""

        async def slowly(store: Store, pieces: Sequence[Work]) -> list[tuple[Work, Facts]]:
            await asyncio.sleep(0.2)
            return await process(store, pieces)

        monkeypatch.setattr("postroom.engine.work.process", slowly)
        dovecot.seed(mailbox_user, [letter(number) for number in range(3)])
        here.put(A, basic(dovecot.imap_port, mailbox_user))
        live = Live(load(here.file, {}), {})
        [result] = asyncio.run(run_once(live, Quiet(live, SystemClock(), io.StringIO()), [A]))
        assert result.error is None
        assert here.status(A)["open_work"] == 0
        assert {row["subject"] for row in here.messages()} == {"Letter 0", "Letter 1", "Letter 2"}

    def test_something_failed(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        """Status 1, and the others are read all the same."""
        dovecot.deliver(f"c.{mailbox_user}", letter(1))
        here.put(A, basic(dovecot.imap_port, mailbox_user, password="wrong"))
        here.put(B, basic(1, f"b.{mailbox_user}"))
        here.put("pop-client-c", basic(dovecot.imap_port, f"c.{mailbox_user}"))
        here.put("pop-client-d", {"type": "imap"})
        done = here.command("run", "--once", status=1)
        assert f"FAIL {A}: 0 captured" in done.out
        assert "The server does not accept the login: localhost: NO [AUTHENTICATIONFAILED]" in done.out
        assert "localhost:1: Connection refused" in done.out
        assert "ok   pop-client-c: 1 captured" in done.out
        assert "FAIL pop-client-d: its section has a fault" in done.out

    def test_only_some(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        here.put(A, basic(dovecot.imap_port, mailbox_user))
        here.put(B, basic(1, f"b.{mailbox_user}"))
        assert here.command("run", "--once", "--json", "a").object["client"] == A

    def test_a_name_that_nobody_has(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        here.put(A, basic(dovecot.imap_port, mailbox_user))
        done = here.command("run", "--once", "x", status=2)
        assert "no client is named 'x'; there are: pop-client-a" in done.err
        assert "clients can be named with --once only" in here.command("run", "a", status=2).err

    def test_a_file_that_cannot_be_used(self, here: Here) -> None:
        here.write("type = imap\n")
        done = here.command("run", "--once", status=2)
        assert f"{here.file}:1: type = 'imap': this stands before the first section." in done.err
        assert f"postroom: {here.file} cannot be used" in done.err

    def test_another_process_reads_it(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        """Status 3 as long as that process lives; status 1 where something else failed as well."""
        here.put(A, basic(dovecot.imap_port, mailbox_user))
        with here.service() as service:
            service.looked(A)
            done = here.command("run", "--once", "--json", status=3)
            assert done.object["error"].startswith("Another process reads this mailbox")
            assert "Wait until it ends, or stop it" in done.object["remedy"]
            here.put(B, basic(1, f"b.{mailbox_user}"))
            here.command("run", "--once", status=1)
            here.change({B: None})
        here.command("run", "--once")

    def test_a_second_service_waits_and_takes_over(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        here.put(A, basic(dovecot.imap_port, mailbox_user))
        with here.service() as first:
            first.looked(A)
            with here.service() as second:
                assert "Another process reads this mailbox" in second.wait("elsewhere", A)["error"]
                assert not second.complaints()
                first.kill()
                here.put(A, {"cycle-time": "2s"})  # an edit ends the pause
                second.wait("connected", A)


# --- check and status -------------------------------------------------------------------------------------------------


class TestCheck:
    def test_one_good_and_one_bad(self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        here.change(rig_sections(authority))
        dovecot.deliver(mailbox_user, letter(1))
        here.put(A, oauth(dovecot.imap_port, mailbox_user, authority.refresh_token(mailbox_user)))
        here.put(B, basic(dovecot.imap_port, mailbox_user, password="wrong", folder_path="Other"))
        here.put("pop-client-c", basic(1, "c@example.test", enable_client="false"))
        done = here.command("check", status=1)
        port = dovecot.imap_port
        assert f"ok   {A}: logged in at localhost:{port} as {mailbox_user} with a token; INBOX 1\n" in done.out
        assert f"FAIL {B}: does not get past login\n" in done.out
        assert "no login        The server does not accept the login: localhost: NO [AUTHENTICATIONFAILED]" in done.out
        assert "Check mailbox and password." in done.out
        assert "ok   pop-client-c: disabled (enable-client = false)" in done.out
        findings = here.command("check", "--json", "a", "b", status=1).objects
        assert [(finding["client"], finding["ok"]) for finding in findings] == [(A, True), (B, False)]
        assert here.command("check", "--json", "a").object["remedy"] == ""
        assert here.messages() == []  # nothing was read

    def test_a_folder_that_is_not_there(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        here.put(A, basic(dovecot.imap_port, mailbox_user, folder_path="INBOX, No such"))
        assert "Mailbox doesn't exist: No such" in here.check()[A]["words"]

    def test_ten_mistakes(self, here: Here) -> None:
        """Each with file, line, value and what is valid; all at once, and no secret among them."""
        shutil.copy(DATA / "ten-mistakes.ini", here.file)
        faults = [line for line in here.command("check", status=1).err.splitlines() if line.startswith(f"{here.file}:")]
        text = here.file.read_text().splitlines()
        assert len(faults) == 10
        for fault in faults:
            line = int(fault.removeprefix(f"{here.file}:").partition(":")[0])
            value = text[line - 1].partition("=")[2].strip()
            if "=" in text[line - 1]:
                assert f"'{value}'" in fault or "'***'" in fault
            assert "Valid: " in fault
        assert "not to be printed" not in " ".join(faults)
        # and they keep the command from nothing else: the sections are told one by one
        findings = here.command("check", "--json", status=1).objects
        assert [finding["client"] for finding in findings] == [f"pop-client-{name}" for name in ("one", "two", "three", "four")]
        assert not any(finding["ok"] for finding in findings)


class TestStatus:
    def test_for_people_and_for_programs(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        here.put(A, basic(dovecot.imap_port, mailbox_user))
        here.put(B, basic(1, f"b.{mailbox_user}"))
        assert [item["health"] for item in here.command("status", "--json").objects] == ["starting", "starting"]
        dovecot.deliver(mailbox_user, letter(1))
        here.read(status=1)
        first, second = here.command("status", "--json").objects
        assert (first["client"], first["health"], first["messages"], first["open_work"]) == (A, "working", 1, 0)
        assert 0 <= first["proved_age"] < 60
        assert (second["health"], second["messages"], second["proved_age"]) == ("retrying", 0, None)
        assert "Connection refused" in second["fault"]
        shown = here.command("status").out
        assert f"{A}  working" in shown
        assert "1 messages, the last " in shown
        assert f"{B}  retrying        never proved" in shown
        assert "\x1b" not in shown  # no colour in a pipe

    def test_status_1_where_a_person_is_needed(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        here.put(A, {"type": "imap", "mailbox": "x"})
        done = here.command("status", status=1)
        assert "needs a person" in done.out
        assert "Correct the named lines." in done.out

    def test_while_the_service_runs(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        here.put(A, basic(dovecot.imap_port, mailbox_user))
        with here.service() as service:
            service.looked(A)
            assert here.status(A)["health"] == "working"

    def test_without_clients(self, here: Here) -> None:
        assert "No client is configured" in here.command("status").out


# --- options, completion, version -------------------------------------------------------------------------------------


class TestReference:
    def test_an_option_of_several_sections(self, here: Here) -> None:
        shown = here.command("options", "password").out
        assert "[pop-client]" in shown
        assert "[secret-<secretName>]" in shown
        assert "Changes take effect: At the next POP cycle" in shown
        client, account, secret, proxy, listener = json.loads(here.command("options", "password", "--json").out)
        assert (client["section"], client["modified"]) == ("pop-client", "8.5.205.03")
        assert (account["section"], account["effect"]) == ("smtp-client", "At start/restart")
        assert (secret["section"], secret["introduced"]) == ("secret-<secretName>", "8.5.201.05")
        assert (proxy["section"], listener["section"]) == ("proxy", "smtp-listener-account-<name>")

    def test_all_options(self, here: Here) -> None:
        shown = here.command("options").out
        for name in ("tenant-authority", "cycle-time", "vault-key", "token_endpoint", "level"):
            assert f"\n{name}\n" in shown

    def test_an_unknown_option(self, here: Here) -> None:
        done = here.command("options", "pasword", status=2)
        assert "no option is named 'pasword'; the nearest are: password" in done.err

    def test_no_configuration_is_needed(self, here: Here) -> None:
        here.file.unlink()
        here.command("options", "port")

    def test_the_shell_completes_names(self, here: Here) -> None:
        here.put(A, basic(1, "a@example.test"))
        here.put("pop-client-orders", basic(1, "orders@example.test"))
        for words, names in (
            ("check o", ["orders"]),
            ("authorize pop", [A, "pop-client-orders"]),
            ("forecast x", []),
            ("options usep", ["useProxy"]),
            ("options mail.pop3.disable", ["mail.pop3.disabletop", "mail.pop3.disablecapa"]),
            ("options mail.imap.soc", ["mail.imap.socks.host", "mail.imap.socks.port"]),
        ):
            line = f"postroom --config {here.file} {words}"
            here.environment.update(COMP_WORDS=line, COMP_CWORD=str(len(line.split()) - 1), _POSTROOM_COMPLETE="bash_complete")
            done = here.command()
            assert [each.removeprefix("plain,") for each in done.out.split()] == names

    def test_completion(self, here: Here) -> None:
        script = here.command("completion", "bash").out
        assert "_POSTROOM_COMPLETE=bash_complete" in script
        checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")

    @pytest.mark.parametrize("flag", ["--version", "-V"])
    def test_version(self, here: Here, flag: str) -> None:
        assert here.command(flag).out == f"postroom {__version__}\n"
        done = subprocess.run([sys.executable, "-m", "postroom", flag], capture_output=True, text=True, check=True)
        assert done.stdout == f"postroom {__version__}\n"

    def test_help(self, here: Here) -> None:
        shown = here.command("--help").out
        for command in ("run", "check", "options", "status", "messages", "completion"):
            assert f"\n  {command} " in shown
        assert here.command("messages", "list", "-h").out.startswith("Usage: postroom messages list")


class TestUnusable:
    def test_an_unknown_command(self, here: Here) -> None:
        done = here.command("rum", status=2)
        assert "No such command 'rum'" in done.err

    def test_a_named_file_that_is_not_there(self, here: Here) -> None:
        here.file.unlink()
        for arguments in (("run",), ("run", "--once"), ("check",), ("status",), ("messages", "list")):
            done = here.command(*arguments, status=2)
            assert f"{here.file}: the file cannot be read (No such file or directory)" in done.err
            assert "Traceback" not in done.err

    def test_no_file_anywhere(self, tmp_path: Path) -> None:
        done = subprocess.run([sys.executable, "-m", "postroom", "run"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert (
            f"there is no postroom.ini in {tmp_path} and no /etc/postroom/postroom.ini; name the file with --config" in done.stderr
        )

    def test_the_file_in_this_folder_or_in_the_environment(self, here: Here) -> None:
        line = [sys.executable, "-m", "postroom", "status"]
        done = subprocess.run(line, cwd=here.directory, capture_output=True, text=True, check=True)
        assert "No client is configured" in done.stdout
        elsewhere = here.directory / "elsewhere"
        elsewhere.mkdir()
        here.environment["POSTROOM_CONFIG"] = str(here.file)
        done = subprocess.run(line, cwd=elsewhere, env=here._env, capture_output=True, text=True, check=True)
        assert "No client is configured" in done.stdout

    def test_a_data_directory_that_cannot_be(self, here: Here) -> None:
        (here.directory / "file").write_text("")
        here.put("settings", {"data-directory": here.directory / "file" / "data"})
        done = here.command("status", status=1)
        assert "Traceback" not in done.err
        assert "Check the data directory's disk and rights" in done.err


# --- the service's own web server -------------------------------------------------------------------------------------


class TestWeb:
    def test_metrics_and_health(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        """Port 0 takes a free one, which the log tells."""
        dovecot.deliver(mailbox_user, letter(1))
        here.put(A, basic(dovecot.imap_port, mailbox_user))
        here.put(B, basic(1, f"b.{mailbox_user}"))
        with here.service() as service:
            service.wait("read", A)
            service.wait("retrying", B)
            assert json.loads(service.get("/health")) == {"status": "ok"}
            wait_for(lambda: sample(service.get("/metrics"), f'postroom_client_working{{client="{A}"}}') == 1, "the proof")
            metrics = service.get("/metrics")
            assert sample(metrics, f'postroom_captured_messages_total{{client="{A}"}}') == 1
            assert sample(metrics, f'postroom_client_working{{client="{B}"}}') == 0
            assert sample(metrics, f'postroom_cycles_total{{client="{B}",outcome="failed"}}') == 1
            assert sample(metrics, "postroom_token_requests_total") == 0
            assert "# TYPE postroom_captured_messages_total counter" in metrics
            assert "# HELP postroom_captured_messages_total Messages kept for the first time." in metrics
            assert json.loads(service.get("/ready")) == {"status": "sick", "clients": 2, "sick": [B]}

    def test_a_port_that_is_taken(self, here: Here, dovecot: Dovecot) -> None:
        here.put("web", {"listen": f"127.0.0.1:{dovecot.imap_port}"})
        done = here.command("run", status=1)
        assert f"The port is taken: web.listen 127.0.0.1:{dovecot.imap_port}\n" in done.err
        assert "set another port as listen in [web]" in done.err

    def test_the_end_in_order_while_a_server_is_silent(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        """SIGTERM does not wait for anybody: what is under way is repeated after the next start."""
        with FaultProxy("127.0.0.1", dovecot.imap_port) as proxy:
            here.put(A, basic(proxy.port, mailbox_user))
            with here.service() as service:
                service.looked(A)
                proxy.cut_all("stall")


def sample(metrics: str, name: str) -> float:
    """The value of one line."""
    [value] = [line.removeprefix(name) for line in metrics.splitlines() if line.startswith(f"{name} ")]
    return float(value)


# --- what a shell does to a command -----------------------------------------------------------------------------------


class TestOutputs:
    def test_an_export_goes_through_a_link_and_into_a_device(self, kept: Here, tmp_path: Path) -> None:
        row = kept.messages()[0]
        (tmp_path / "link").symlink_to(tmp_path / "target")
        (tmp_path / "target").write_bytes(b"old")
        for output in (str(tmp_path / "link"), "/dev/null"):
            kept.command("messages", "export", str(row["id"]), "-o", output)
        assert (tmp_path / "link").is_symlink()
        assert hashlib.sha256((tmp_path / "target").read_bytes()).hexdigest() == row["digest"]
        assert Path("/dev/null").is_char_device()

    def test_a_folder_that_is_missing_is_named_without_a_traceback(self, kept: Here, tmp_path: Path) -> None:
        output = str(tmp_path / "none" / "a.eml")
        done = kept.command("messages", "export", str(kept.messages()[0]["id"]), "-o", output, status=1)
        assert "No such file or directory" in done.err
        assert "Traceback" not in done.err

    def test_status_tells_a_proof_that_is_too_old(self, kept: Here) -> None:
        """Nobody reads any more: the word is not "working", and the exit status says so."""
        kept.command("status")
        with contextlib.closing(apsw.Connection(str(next(kept.directory.rglob("postroom.db"))))) as db:
            db.execute("UPDATE conditions SET proved_at = proved_at - 86400")
        done = kept.command("status", "--json", status=1)
        assert {item["health"] for item in done.objects} == {"stale"}
        assert "start the service" in done.out

    def test_a_second_reader_leaves_the_health_of_the_first_alone(self, kept: Here) -> None:
        with kept.service() as service:
            service.cycles(A)
            service.cycles(B)
            kept.command("run", "--once", status=3)
            assert {item["health"] for item in kept.command("status", "--json").objects} == {"working"}
