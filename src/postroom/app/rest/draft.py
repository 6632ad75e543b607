"""The JSON Schema of a submission's request, for the document. What is refused, and why, is ``mime.draft``'s to say."""

from __future__ import annotations

from typing import Any

from postroom.app.operations.submissions import LIMITS

_ADDRESS: dict[str, Any] = {
    "description": "An address, with a name or without one.",
    "anyOf": [
        {"type": "string", "maxLength": 1500, "examples": ["ann@example.org", "Ann <ann@example.org>"]},
        {
            "type": "object",
            "required": ["address"],
            "properties": {"name": {"type": ["string", "null"]}, "address": {"type": "string"}},
            "additionalProperties": False,
        },
    ],
}


def _addresses(sentence: str) -> dict[str, Any]:
    one = {"$ref": "#/components/schemas/Mailbox"}
    return {
        "description": sentence,
        "anyOf": [one, {"type": "array", "items": one, "maxItems": LIMITS.recipients}, {"type": "null"}],
    }


def _text(sentence: str, **more: object) -> dict[str, Any]:
    return {"type": ["string", "null"], "description": sentence, **more}


def _files(sentence: str, *, inline: bool) -> dict[str, Any]:
    properties = {
        "filename": _text("Its name."),
        "content_type": _text("type/subtype; else by the end of its name."),
        "content": {"type": "string", "contentEncoding": "base64", "description": "The octets."},
        **({"content_id": {"type": "string", "description": "By which the HTML names it: cid:…"}} if inline else {}),
    }
    required = ["content", "content_id"] if inline else ["content"]
    one = {"type": "object", "required": required, "properties": properties, "additionalProperties": False}
    return {"type": ["array", "null"], "maxItems": LIMITS.files, "items": one, "description": sentence}


SCHEMAS: dict[str, Any] = {
    "Mailbox": _ADDRESS,
    "Submit": {
        "type": "object",
        "description": "A draft; or with raw a whole message, sent as it is. All that is wrong is told at once.",
        "properties": {
            "from": {
                "description": "Who writes; else the address that the answered message came to, else default-from-address.",
                "anyOf": [{"$ref": "#/components/schemas/Mailbox"}, {"type": "null"}],
            },
            "sender": {
                "description": "Who sends it, where that is another (RFC 5322 section 3.6.2).",
                "anyOf": [{"$ref": "#/components/schemas/Mailbox"}, {"type": "null"}],
            },
            "to": _addresses("Recipients. With raw and without to, cc and bcc: those in its header."),
            "cc": _addresses("Recipients in Cc."),
            "bcc": _addresses("Recipients that nobody sees."),
            "reply_to": _addresses("Where answers go."),
            "subject": _text("Else that of the answered or forwarded message.", maxLength=LIMITS.characters),
            "text": _text("The text. Made from html where that alone is given."),
            "html": _text("The text as HTML."),
            "attachments": _files("Files.", inline=False),
            "inline": _files("Pictures that the HTML shows.", inline=True),
            "headers": {
                "description": "Further header fields.",
                "anyOf": [
                    {"type": "object", "additionalProperties": {"type": "string"}},
                    {"type": "array", "items": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}},
                    {"type": "null"},
                ],
            },
            "in_reply_to_message": _text("The id of a captured message that this answers: it threads, and goes to its author."),
            "forward_message": _text("The id of a captured message that this forwards."),
            "quote": {"type": ["boolean", "null"], "description": "Quote the text of that message."},
            "auto_submitted": {
                "type": ["boolean", "string", "null"],
                "description": "Nobody wrote it by hand (RFC 3834): true, auto-generated or auto-replied.",
            },
            "priority": {"enum": ["high", "normal", "low", None]},
            "envid": _text("The envelope's id in reports (RFC 3461 section 4.4)."),
            "notify": {
                "type": ["array", "null"],
                "items": {"enum": ["NEVER", "SUCCESS", "FAILURE", "DELAY"]},
                "description": "Which reports are asked for (RFC 3461 section 4.1).",
            },
            "ret": {"enum": ["FULL", "HDRS", None], "description": "How much comes back in a report."},
            "raw": _text("A whole message (RFC 5322) in base64. Beside it from, to, cc and bcc say the envelope alone."),
            "send_at": _text("Not before that moment (RFC 3339).", format="date-time"),
            "client": _text("The smtp-client that sends it; else the one for the From address."),
        },
        "additionalProperties": False,
        "examples": [
            {"from": "shop@example.org", "to": ["ann@example.com"], "subject": "Your order", "text": "It is on its way."},
            {"in_reply_to_message": "0192f0c1-…", "text": "Thank you, we look after it.", "quote": True},
        ],
    },
}
