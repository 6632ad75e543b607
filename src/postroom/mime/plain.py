"""A text out of HTML, for readers of mail that show none. Never raises, and its time grows with the length alone.

What is not text (scripts, styles, the head) is left out; blocks begin lines, items get a dash, links keep their address.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:-]{0,40})((?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*)>?")
_HREF = re.compile(r"""\bhref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_ALT = re.compile(r"""\balt\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t\r\n\f]+")
_HIDDEN = frozenset({"script", "style", "head", "title", "template", "noscript"})
_PARAGRAPH = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "blockquote", "pre", "hr"})
_BLOCK = frozenset({"div", "tr", "li", "section", "article", "header", "footer", "dt", "dd", "form", "address", "body"})
_SHORTEST_TO_COMPARE = 8  # an address that is the link's own text is not said twice


def text_of_html(source: str) -> str:
    """The text, its lines ending in LF."""
    writing = _Writing()
    at = 0
    while at < len(source):
        opening = source.find("<", at)
        if opening < 0:
            writing.text(source[at:])
            break
        writing.text(source[at:opening])
        at = _markup(writing, source, opening)
    return writing.whole()


def _markup(writing: _Writing, source: str, at: int) -> int:
    """Take what begins with an angle; return where it is over."""
    if source.startswith("<!--", at):
        return _behind(source, "-->", at + 4)
    if source.startswith(("<!", "<?"), at):
        return _behind(source, ">", at + 2)
    tag = _TAG.match(source, at)
    if tag is None:
        writing.text("<")
        return at + 1
    name = tag[2].lower()
    if name in _HIDDEN and not tag[1]:
        closing = re.compile(rf"</{name}\b[^>]*>?", re.IGNORECASE).search(source, tag.end())
        return closing.end() if closing else len(source)
    writing.tag(name, tag[3], closing=bool(tag[1]))
    return tag.end()


def _behind(source: str, mark: str, start: int) -> int:
    found = source.find(mark, start)
    return len(source) if found < 0 else found + len(mark)


@dataclass
class _Writing:
    """The text so far."""

    _parts: list[str] = field(default_factory=list)
    _breaks: int = 2  # line ends that stand at the end; as many as are wanted at the start
    _blank: bool = False  # a blank is due before the next word
    _pre: int = 0
    _links: list[tuple[str, int]] = field(default_factory=list)  # address, where its text begins

    def text(self, source: str) -> None:
        if not source:
            return
        text = html.unescape(source)
        if not self._pre:
            self._words(text)
        elif text:
            self._put(text.replace("\r\n", "\n").replace("\r", "\n"))

    def _words(self, text: str) -> None:
        words = _BLANKS.sub(" ", text)
        if not words.strip(" "):
            self._blank = self._blank or bool(words)
            return
        before = " " if (self._blank or words[0] == " ") and not self._breaks else ""
        self._blank = words[-1] == " "
        self._put(before + words.strip(" "))

    def tag(self, name: str, attributes: str, *, closing: bool) -> None:
        if name == "br":
            self._put("\n")
            self._breaks += 1
        elif name in _PARAGRAPH:
            self._line(2)
            self._pre = max(0, self._pre + (-1 if closing else 1)) if name == "pre" else self._pre
        elif name in _BLOCK:
            self._line(1)
            if name == "li" and not closing:
                self._put("- ")
        elif name in ("td", "th") and not self._breaks:
            self._blank = True
        elif name == "img" and (alt := _ALT.search(attributes)):
            self._words(html.unescape(alt[1] or alt[2] or ""))
        elif name == "a":
            self._link(attributes, closing=closing)

    def _link(self, attributes: str, *, closing: bool) -> None:
        if not closing:
            found = _HREF.search(attributes)
            self._links.append((html.unescape(next(filter(None, found.groups()), "")) if found else "", len(self._parts)))
        elif self._links:
            address, start = self._links.pop()
            said = "".join(self._parts[start:]) if len(self._parts) - start <= _SHORTEST_TO_COMPARE else ""
            if address.startswith(("http://", "https://")) and address.rstrip("/") not in said and not re.search(r"\s", address):
                self._put(f" ({address})")

    def _line(self, breaks: int) -> None:
        self._blank = False
        if self._breaks < breaks:
            self._parts.append("\n" * (breaks - self._breaks))
            self._breaks = breaks

    def _put(self, text: str) -> None:
        if text:
            self._parts.append(text)
            self._breaks = 0

    def whole(self) -> str:
        lines = "".join(self._parts).split("\n")
        return "\n".join(line.rstrip(" \t") for line in lines).strip("\n")
