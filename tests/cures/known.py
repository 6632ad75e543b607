"""The cures. Each stands in the source exactly once, and stands there no longer while its tests run.

``quick`` marks one of each pain, a fast one: ``make test`` takes those out, ``make cures`` all.
"""

from __future__ import annotations

from typing import NamedTuple


class Cure(NamedTuple):
    """``text`` of a file below ``src/postroom``, what stands in its place when the cure is out, and who must notice."""

    pain: int | str  # 27, or "10b"
    what: str
    file: str
    text: str
    without: str
    tests: tuple[str, ...]  # below tests/; of one with parameters, one case at least fails
    quick: bool = False


_BOUNDS = "unit/engine/test_bounds.py::"
_COMPOSE = "unit/mime/test_compose.py::"
_CONTRACT = "contract/test_store_contract.py::"
_ANSWERS = "dialogue/test_dialogue_smtp_answers.py::"
_FILING = "unit/engine/test_filing.py::"
_LOGIN = "dialogue/test_dialogue_smtp_login.py::"
_SEND = "unit/engine/test_submit.py::"
_SENT = "unit/engine/test_sent.py::"
_EXACTLY = "unit/engine/test_exactly_once.py::"
_EXAMINE = "unit/mime/test_examine.py::"
_FAIR = "unit/engine/test_fairness.py::"
_FETCH = "dialogue/test_dialogue_quirks.py::"
_FIRST = "unit/engine/test_first_read.py::"
_IDLE = "dialogue/test_dialogue_idle.py::"
_LISTING = "dialogue/test_dialogue_listing.py::"
_POP3 = "dialogue/test_dialogue_pop3.py::"
_POISON = "unit/engine/test_poison.py::"
_READ = "unit/engine/test_read.py::"
_REPAIR = "unit/engine/test_repair.py::"
_WATCH = "unit/engine/test_watch.py::"
_WORK = "unit/engine/test_work.py::"

CURES = (
    # --- P10b: SMTP refused although IMAP works
    Cure(
        "10b",
        "no EHLO behind the login",
        "drivers/smtp_session.py",
        "                self._logged_in, self.valid_until, self._logged_in_at = True, answer.valid_until, self.clock.now()\n",
        "                self._logged_in, self.valid_until, self._logged_in_at = True, answer.valid_until, self.clock.now()\n"
        "                await self._hello()\n",
        (_LOGIN + "test_p10b_there_is_no_second_ehlo_behind_the_login",),
        quick=True,
    ),
    Cure(
        "10b",
        "Microsoft's words for SMTP that is off for a mailbox are known",
        "net/refusals.toml",
        "words = 'SmtpClientAuthentication is disabled'\n",
        "words = 'no such words'\n",
        (_LOGIN + "test_p10b_smtp_that_is_switched_off_is_no_wrong_password",),
    ),
    # --- P11: noticing that notices stopped
    Cure(
        11,
        "every wait for the server has a deadline",
        "net/flow.py",
        "async with asyncio.timeout(seconds):\n                await self._waiter\n",
        "async with asyncio.timeout(None):\n                await self._waiter\n",
        (_IDLE + "test_p11_a_half_open_connection_is_found_out_by_the_answer_to_done",),
    ),
    Cure(
        11,
        "DONE is answered before IDLE counts as quiet",
        "drivers/imap_idle.py",
        "        await talk.done()\n        await talk.finish(tag)\n",
        "        await talk.done()\n",
        (_IDLE + "test_p11_a_half_open_connection_is_found_out_by_the_answer_to_done",),
    ),
    Cure(
        11,
        "the server is asked although IDLE said nothing",
        "drivers/imap.py",
        '                await session.command(b"NOOP")',
        "                pass",
        (_IDLE + "test_p11_news_is_looked_for_although_idle_said_nothing",),
        quick=True,
    ),
    Cure(
        11,
        "IDLE ends before the age at which it was cut",
        "drivers/idles.py",
        "self._longest[mailbox] = max(min(before, age) * _EARLIER, _SHORTEST)",
        "pass",
        ("unit/drivers/test_idles.py::test_p11_two_cuts_at_about_the_same_age_are_a_time_out",),
    ),
    Cure(
        11,
        "the system keeps the connection alive",
        "net/stream.py",
        "sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)",
        "pass",
        (_IDLE + "test_p11_the_system_looks_for_a_dead_connection_too",),
    ),
    Cure(
        11,
        "a watch without a sign of life is begun anew",
        "engine/supervise.py",
        "if seconds is not None and not self._tasks[section].done():",
        "if False:",
        (_FAIR + "test_p11_a_trickle_is_no_sign_of_life",),
    ),
    # --- P12: showing what is
    Cure(
        12,
        "health is the age of the last proof, whatever a flag says",
        "engine/silence.py",
        "in (Health.NEEDS_PERSON, Health.DISABLED)",
        "in (Health.NEEDS_PERSON, Health.DISABLED, Health.WORKING)",
        (_FAIR + "test_p12_health_is_the_age_of_the_last_proof",),
        quick=True,
    ),
    Cure(
        12,
        "a login proves nothing",
        "engine/watch.py",
        "            end = math.inf\n",
        "            end = math.inf\n            await self._proved()\n",
        (_WATCH + "test_p12_a_login_alone_proves_nothing",),
    ),
    Cure(
        12,
        "each cycle that ends well is shown",
        "engine/watch.py",
        "        await self._report(Health.WORKING, proved_at=now, retry_at=now + pace if pace else None)",
        "        if self.condition.proved_at is None:\n            await self._report(Health.WORKING, proved_at=now)",
        ("unit/engine/test_watch_silence.py::test_p12_a_mailbox_that_works_again_is_shown_so_at_once",),
    ),
    # --- P15: throttled
    Cure(
        15,
        "never before our own time, whatever the server names",
        "engine/watch.py",
        "return max(seconds, error.retry_after or 0.0)",
        "return error.retry_after or seconds",
        (_FAIR + "test_p15_the_longer_of_the_servers_time_and_our_own",),
        quick=True,
    ),
    Cure(
        15,
        "a single pass waits where it is throttled",
        "engine/watch.py",
        "if isinstance(error, AllowanceUsed) or throttled > _THROTTLED:",
        "if True:",
        (_FAIR + "test_p15_a_single_pass_waits_and_goes_on",),
    ),
    Cure(
        15,
        "octets are counted by the day",
        "engine/meter.py",
        "if remaining < 0:",
        "if False:",
        (
            _FAIR + "test_p15_the_pause_is_told_with_its_end",
            _FAIR + "test_p15_reading_the_same_again_and_again_stays_within_the_limit",
        ),
    ),
    # --- P16: connections
    Cure(
        16,
        "a refusal tells how many are allowed",
        "engine/budget.py",
        "        if news:\n            self.limit = limit\n",
        "",
        ("unit/engine/test_budget.py::test_p16_a_refusal_tells_how_many_conversations_an_account_may_have",),
        quick=True,
    ),
    Cure(
        16,
        "a refusal that names a number is heard",
        "net/refusals.py",
        "    return number or None\n",
        "    return None\n",
        ("unit/net/test_refusals.py::test_p16_a_limit_is_learned_where_it_is_named",),
    ),
    # --- P17: twice
    Cure(
        17,
        "one receipt for one identity",
        "store/migrations/0001.sql",
        "  message       INTEGER,           -- the message, where it is not the one with this row's own number\n"
        "  UNIQUE (source, folder, epoch, identifier)\n",
        "  message       INTEGER\n",
        (_CONTRACT + "test_p17_the_same_batch_again_is_nothing",),
    ),
    Cure(
        17,
        "what is known is not fetched again",
        "engine/listing.py",
        "            new += some_new\n",
        "            new += some\n",
        (
            _READ + "test_p17_a_lost_state_means_a_listing_and_no_duplicate",
            _EXACTLY + "test_p17_a_death_between_capture_and_settling_doubles_nothing",
        ),
        quick=True,
    ),
    Cure(
        17,
        "receipt and message in one transaction",
        "store/database.py",
        '        connection.execute("ROLLBACK TO job")\n',
        "",
        ("unit/store/test_store.py::test_p17_a_fault_at_any_statement_keeps_all_or_nothing",),
    ),
    # --- P18: lost
    Cure(
        18,
        "every question for octets is a PEEK",
        "drivers/imap_fetch.py",
        'b"UID BODY.PEEK[]"',
        'b"UID BODY[]"',
        (_FETCH + "test_p18_reading_sets_no_flag_and_minds_none",),
        quick=True,
    ),
    Cure(
        18,
        "octets are synced before the transaction that names them",
        "store/database.py",
        "if any(waiting.sync for waiting in group):",
        "if False:",
        (_EXACTLY + "test_p18_octets_are_synced_then_kept_then_the_server_hears",),
    ),
    Cure(
        18,
        "a transaction that fails fails its cycle",
        "engine/read.py",
        "            await self._landed(0)\n",
        "            await asyncio.gather(*self._flight, return_exceptions=True)\n",
        (
            _READ + "test_p18_a_full_disk_is_told_as_such_and_settles_nothing",
            _EXACTLY + "test_p18_nothing_is_passed_over_where_the_store_fails",
        ),
    ),
    Cure(
        18,
        "size and date are compared before anything is destroyed",
        "drivers/imap_settle.py",
        "if held.get(_uid(item)) != (item.listed.size, item.listed.internal_date)}",
        "if False}",
        (_FETCH + "test_p18_a_message_without_octets_is_never_deleted_by_its_number_alone",),
    ),
    Cure(
        18,
        "by itself nothing changes at the server",
        "settings/mailbox.py",
        '        default="keep",\n        valid="keep, seen, delete, move",',
        '        default="delete",\n        valid="keep, seen, delete, move",',
        (_EXACTLY + "test_p18_by_itself_nothing_changes_at_the_server",),
    ),
    # --- P19: what was announced and does not come
    Cure(
        19,
        "what an answer leaves out is looked for",
        "drivers/imap_fetch.py",
        "if Quirk.NOT_ANSWERED in self._session.quirks and current.wanted:",
        "if False:",
        (_FETCH + "test_p19_what_an_answer_leaves_out_is_looked_for_before_it_counts_as_gone",),
        quick=True,
    ),
    Cure(
        19,
        "an OK without octets is asked about once more",
        "drivers/imap_fetch.py",
        "if Quirk.BODY_LEFT_OUT in self._session.quirks:",
        "if False:",
        (_FETCH + "test_p19_an_ok_without_octets_is_asked_about_once_more",),
    ),
    Cure(
        19,
        "what did not come is remembered before the state moves over it",
        "engine/troubles.py",
        "        await self.store.trouble(self.lease, listed, kind, detail, again)\n",
        "",
        (
            _READ + "test_p19_one_poisonous_message_does_not_hold_the_others_up",
            _READ + "test_p19_a_message_announced_before_its_body_exists_is_had_later",
        ),
    ),
    Cure(
        19,
        "gone is what was absent twice",
        "engine/troubles.py",
        "if known and here not in self.absent:",
        "if here not in self.absent:",
        (
            _READ + "test_p19_a_message_absent_in_two_conversations_is_gone",
            _READ + "test_p19_a_fault_and_then_absence_is_not_yet_gone",
        ),
    ),
    Cure(
        19,
        "in two conversations",
        "engine/troubles.py",
        "if known and here not in self.absent:",
        "if known:",
        (_EXACTLY + "test_p19_absent_twice_in_one_conversation_is_not_gone",),
    ),
    # --- P20: the key
    Cure(
        20,
        "an identity of the server's own holds in its mailbox alone",
        "store/capture.py",
        "WHERE source = ? AND email_id = ? AND id <= ?",
        "WHERE ? > 0 AND email_id = ? AND id <= ?",
        (
            _CONTRACT + "test_p20_an_identity_of_another_source_is_another_mail",
            _EXACTLY + "test_p20_one_mail_to_two_mailboxes_is_two",
        ),
        quick=True,
    ),
    Cure(
        20,
        "one mail in two folders is one",
        "store/capture.py",
        "        if row is not None:\n            db.execute(_TIED",
        "        if False:\n            db.execute(_TIED",
        (_CONTRACT + "test_p20_the_same_mail_in_a_second_folder_is_one_message",),
    ),
    Cure(
        20,
        "octets are not the key",
        "store/capture.py",
        "    fenced = Fenced(db, lease)\n    shadow =",
        "    batch = list({captured.reference.digest: captured for captured in batch}.values())\n"
        "    ids = ids[: len(batch)]\n    fenced = Fenced(db, lease)\n    shadow =",
        (_EXACTLY + "test_p20_twins_in_one_batch_are_two",),
    ),
    # --- P21: numbered anew
    Cure(
        21,
        "what was had is met again without a fetch",
        "engine/listing.py",
        "        if position.repairing:\n",
        "        if False:\n",
        (_REPAIR + "test_p21_an_unchanged_folder_is_met_again_without_a_fetch",),
        quick=True,
    ),
    Cure(
        21,
        "in doubt the octets tell",
        "store/repair.py",
        "    met = 0\n    for captured in batch:\n",
        "    met = 0\n    for captured in ():\n",
        (_REPAIR + "test_p21_only_what_is_in_doubt_is_fetched",),
    ),
    Cure(
        21,
        "a UIDVALIDITY that goes down is another one too",
        "drivers/imap.py",
        "if selected.validity != state.validity:",
        "if selected.validity > state.validity:",
        (_LISTING + "test_p21_numbers_that_are_not_comparable",),
    ),
    Cure(
        21,
        "UIDVALIDITY 0 is none",
        "drivers/imap.py",
        "    if selected.validity == 0:\n",
        "    if False:\n",
        (_LISTING + "test_p21_without_a_lasting_uidvalidity_identities_hold_until_the_next_select",),
    ),
    # --- P22: poison
    Cure(
        22,
        "an unknown charset is a fault beside the text",
        "mime/examine.py",
        "except (LookupError, ValueError):",
        "except ValueError:",
        (_EXAMINE + "test_p22_subjects", _POISON + "test_p22_what_cannot_be_read_is_shown_with_its_fault"),
        quick=True,
    ),
    Cure(
        22,
        "so is an encoded word that is none",
        "mime/examine.py",
        "except (HeaderParseError, ValueError) as error:",
        "except ZeroDivisionError as error:",
        (_EXAMINE + "test_p22_subjects",),
    ),
    Cure(
        22,
        "capture never parses",
        "engine/read.py",
        "        self._batch.append(Captured(item.listed, reference, disposition))\n",
        "        from postroom.engine.first import ids_of\n\n        ids_of({item.listed.identifier: item.octets})\n"
        "        self._batch.append(Captured(item.listed, reference, disposition))\n",
        (_POISON + "test_p22_capture_never_parses",),
    ),
    Cure(
        22,
        "work that fails is done one by one",
        "engine/work.py",
        "            if len(pieces) > 1:\n",
        "            if False:\n",
        (_WORK + "test_p22_a_poisonous_message_does_not_stop_the_others",),
    ),
    # --- P23: size
    Cure(
        23,
        "a long message is written while it comes",
        "engine/read.py",
        "if octets >= _WRITE:",
        "if False:",
        (_BOUNDS + "test_p23_a_long_message_goes_to_the_disk_while_it_comes",),
    ),
    Cure(
        23,
        "what is too large is not taken",
        "engine/troubles.py",
        "return listed.size > self.client.maximum_msg_size",
        "return False",
        (_BOUNDS + "test_p23_a_message_beyond_the_limit_is_left_and_the_others_are_read",),
        quick=True,
    ),
    Cure(
        23,
        "literals are streamed",
        "wire/imap/fragments.py",
        "if size <= self._inline:",
        "if True:",
        ("unit/wire/test_fragments.py::test_p23_a_literal_of_any_size_is_streamed_in_bounded_memory",),
    ),
    # --- P24: memory and processor
    Cure(
        24,
        "transactions do not pile up",
        "engine/read.py",
        "await self._landed(_IN_FLIGHT)",
        "await self._landed(1 << 30)",
        (_BOUNDS + "test_p24_a_slow_disk_holds_the_reading_up",),
        quick=True,
    ),
    Cure(
        24,
        "a batch is bounded in octets",
        "engine/read.py",
        " or self._octets >= _BATCH_OCTETS",
        "",
        (_BOUNDS + "test_p24_a_batch_is_bounded_in_octets",),
    ),
    Cure(
        24,
        "no more is understood at once than a portion",
        "engine/work.py",
        "self.store.claim(WorkKind.PROCESS, _CLAIM)",
        "self.store.claim(WorkKind.PROCESS, 1 << 30)",
        (_BOUNDS + "test_p24_what_is_understood_at_once_is_bounded",),
    ),
    Cure(
        24,
        "messages are understood on another thread",
        "engine/process.py",
        "await asyncio.to_thread(_facts, store, [references[piece.subject] for piece in present])",
        "_facts(store, [references[piece.subject] for piece in present])",
        (_BOUNDS + "test_p24_messages_are_understood_beside_the_loop",),
    ),
    Cure(
        24,
        "a token that ends at once is a failure",
        "engine/watch.py",
        "                if not self._healthy and self._steps == before:\n",
        "                if False:\n",
        (_WATCH + "test_p24_a_token_that_ends_at_once_again_and_again_is_not_hammered",),
    ),
    Cure(
        24,
        "each failure is waited out for longer",
        "engine/retry.py",
        "    backed_off = min(_FIRST * 2 ** min(failures - 1, 10), _LONGEST)\n",
        "    backed_off = _FIRST\n",
        (_WATCH + "test_p24_failures_are_tried_again_less_and_less_often",),
    ),
    # --- P25: POP3
    Cure(
        25,
        "the unique-id is the identity, and not the number",
        "drivers/pop3_listing.py",
        "return {number: pop3.printable(word) async for number, word in _pairs(session)}",
        "return {number: str(number) async for number, word in _pairs(session)}",
        (_POP3 + "test_p25_the_number_is_never_the_identity",),
        quick=True,
    ),
    Cure(
        25,
        "no QUIT where the commit failed",
        "drivers/pop3.py",
        "    finally:\n        reader.drop()\n",
        "    finally:\n        await reader.commit()\n",
        (_POP3 + "test_p25_no_quit_when_the_commit_failed",),
    ),
    Cure(
        25,
        "no QUIT where mail is hidden and one is in trouble",
        "drivers/pop3.py",
        "(fetching.failed and self._hides)",
        "False",
        (_POP3 + "test_p25_where_retrieved_mail_is_hidden_no_quit_while_a_message_is_in_trouble",),
    ),
    Cure(
        25,
        "unique-ids that are none are not used",
        "drivers/pop3_listing.py",
        "    return unique, sizes, _flaw(unique, sizes)\n",
        '    return unique, sizes, ""\n',
        (_POP3 + "test_p25_one_unique_id_for_two_messages",),
    ),
    Cure(
        25,
        "read until nothing is shown",
        "engine/listing.py",
        "if changes.behind and new:",
        "if False:",
        (_EXACTLY + "test_p25_where_few_are_shown_it_is_read_until_none_is",),
    ),
    Cure(
        25,
        "recent: only with unique-ids",
        "drivers/pop3.py",
        "            self._check_recent(maildrop.flaw)\n",
        "            pass\n",
        (_POP3 + "test_p25_recent_needs_unique_ids",),
    ),
    Cure(
        25,
        "the token in a line of its own",
        "drivers/pop3_session.py",
        "return not self.manners.two_lines",
        "return True",
        ("dialogue/test_dialogue_traces.py::test_p25_the_token_in_a_line_of_its_own_over_pop3",),
    ),
    # --- P26: the first read
    Cure(
        26,
        "what was there before is left where only new mail is wanted",
        "engine/first.py",
        "return client.first_read if position.epoch == 1 and not position.state else FirstRead.ALL",
        "return FirstRead.ALL",
        (_FIRST + "test_p26_only_what_is_new_is_read", _FIRST + "test_p26_what_came_since_a_day_is_read"),
        quick=True,
    ),
    Cure(
        26,
        "the choice is kept until the folder is whole",
        "engine/first.py",
        "        return datetime.datetime.fromtimestamp(begun.begun_at, datetime.UTC).date()\n",
        "        return FirstRead.ALL\n",
        (
            _FIRST + "test_p26_p21_a_reset_in_the_middle_of_a_first_read_floods_and_empties_nothing",
            _FIRST + "test_p26_which_choice_holds",
        ),
    ),
    Cure(
        26,
        "how much is told before anything is read",
        "engine/listing.py",
        "            self._event(events.FIRST_READ, first=words_of(first), messages=preview.messages, octets=preview.octets)\n",
        "",
        (_FIRST + "test_p26_the_number_is_told_before_anything_is_read",),
    ),
    Cure(
        26,
        "what was spared has a receipt, and is not new after a reset",
        "engine/listing.py",
        "            await self.store.spare(self.lease, [m for m in some if m.identifier in alone], ids_of(headers))\n",
        "",
        (_FIRST + "test_p26_p21_what_was_spared_is_not_new_after_a_reset",),
    ),
    # --- P27: sent twice
    Cure(
        27,
        "the mark stands before the server may accept",
        "drivers/smtp_transaction.py",
        "        await self._commit([self._recipients[number].address for number in waiting])\n",
        "        await session.write(end)\n        await self._commit([self._recipients[number].address for number in waiting])\n",
        (
            _ANSWERS + "test_p27_nothing_complete_reaches_the_server_before_the_mark",
            _ANSWERS + "test_p27_without_a_mark_no_octet_of_a_small_message_leaves",
        ),
    ),
    Cure(
        27,
        "no answer to the end of a message is a doubt",
        "drivers/smtp_transaction.py",
        "self._note(RecipientState.DOUBT, ",
        "self._note(RecipientState.PENDING, ",
        (_ANSWERS + "test_p27_the_answer_to_the_end_of_a_message",),
        quick=True,
    ),
    Cure(
        27,
        "a doubt waits for a person unless the option says otherwise",
        "engine/attempt.py",
        "if in_doubt is InDoubt.RESEND:",
        "if True:",
        (_SEND + "test_p27_a_lost_answer_is_a_doubt_that_waits_for_a_person",),
    ),
    Cure(
        27,
        "a copy in Sent settles a doubt",
        "engine/attempt.py",
        "    if sighting.found:\n",
        "    if False:\n",
        (_FILING + "test_p27_a_doubt_is_settled_by_the_copy_of_a_server_that_files",),
    ),
    Cure(
        27,
        "a copy that may be of another recipient's message is no proof",
        "engine/sent.py",
        "        if outgoing.ambiguous or len({doubt.marked for doubt in outgoing.doubts}) > 1:\n",
        "        if False:\n",
        (_SENT + "test_p27_a_copy_that_may_be_another_recipients_tells_nothing",),
    ),
    Cure(
        27,
        "before a copy is filed it is looked for",
        "engine/filing.py",
        "if not filing.message_id or not await sent.has(filing.message_id, filing.sent_at - _ASTRAY):",
        "if True:",
        (
            _FILING + "test_p27_a_kill_between_filing_and_its_record_leaves_one_copy",
            _FILING + "test_p27_a_lost_answer_to_append_leaves_one_copy",
        ),
    ),
    # --- P28: lost or stuck
    Cure(
        28,
        "what a process was sending when it ended is in doubt",
        "store/outbox.py",
        "UPDATE recipients SET state = 'doubt', words = ?2, at = ?3\n",
        "UPDATE recipients SET state = 'pending', words = ?2, at = ?3\n",
        ("unit/engine/test_submit.py::test_p28_a_process_that_ends_in_the_middle_leaves_a_doubt_and_nothing_is_sent_twice",),
    ),
    Cure(
        28,
        "that is recorded when its work is taken back, whether or not the account can send",
        "store/__init__.py",
        "                interrupt(db, subjects, now)\n",
        "                pass\n",
        ("contract/test_outbox_contract.py::test_p28_what_an_ended_process_was_sending_is_in_doubt_before_anybody_sends_again",),
    ),
    Cure(
        28,
        "a refusal of the account is not the message's",
        "drivers/smtp_transaction.py",
        "                raise fault\n",
        "                pass\n",
        (_ANSWERS + "test_p28_what_concerns_the_account_fails_no_message",),
        quick=True,
    ),
    Cure(
        28,
        "what the last answer says of the account fails nobody",
        "drivers/smtp_transaction.py",
        "permanent = judgement.permanent and judgement.scope is not Scope.ACCOUNT",
        "permanent = judgement.permanent",
        (_ANSWERS + "test_p28_the_last_answer_may_speak_of_the_account",),
    ),
    Cure(
        28,
        "a refused account gives its message back and parks",
        "engine/submit.py",
        "        else:\n            self._queue.appendleft((outgoing, content))\n        await self._park(error)\n",
        "        else:\n            self._supply.passed(outgoing, attempt.deferred(outgoing, '', self._clock.now(), 0.0))\n",
        (_SEND + "test_p28_a_dead_token_parks_the_account_and_no_mail_fails",),
    ),
    Cure(
        28,
        "a restart leaves the message under way the time that it takes",
        "engine/submit.py",
        "        while not (self._ending or finished.done()):\n",
        "        while False:\n",
        (_SEND + "test_p28_a_restart_waits_for_the_message_under_way_as_long_as_it_takes",),
    ),
    # --- P29, P30: what is sent
    Cure(
        29,
        "an answer names the message that it answers",
        "mime/compose.py",
        'header.append(fields.tokens("In-Reply-To", [given.original.message_id]))',
        "pass",
        (_COMPOSE + "test_p29_an_answer_joins_the_thread",),
        quick=True,
    ),
    Cure(
        30,
        "automatic mail says that it is",
        "mime/compose.py",
        'header.append(fields.tokens("Auto-Submitted", [draft.auto_submitted]))',
        "pass",
        (_COMPOSE + "test_p30_automatic_mail_says_so",),
        quick=True,
    ),
)
