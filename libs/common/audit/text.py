"""Texts of strangers as JSON: one line, no control characters, of bounded length. Pure."""

from __future__ import annotations

import hashlib

from libs.common.codec import encode

SHORT, LONG = 256, 512
"""Characters kept of a name, and of a sentence."""


def clean(text: str, most: int = SHORT) -> str:
    """`text` with everything that is not printable spelt out (`\\u2028`), at most `most` characters of it.

    Of a longer one it says how long it was and the SHA-256 of the whole.
    """
    if len(text) <= most and text.isprintable():
        return text
    head = text if text.isprintable() else "".join(map(_spelt, text[:most]))
    if len(text) <= most and len(head) <= most:
        return head
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{head[:most]}…[{len(text)} characters, sha256 {digest}]"


def quoted(text: str, most: int = SHORT) -> bytes:
    """A JSON string of the clean text."""
    return encode(text if len(text) <= most and text.isprintable() else clean(text, most))


def listed(texts: tuple[str, ...], most: int, total: int) -> bytes:
    """A JSON array of clean texts of at most `total` bytes; the last member counts those left out."""
    parts: list[bytes] = []
    room = total
    for number, text in enumerate(texts):
        part = quoted(text, most)
        room -= len(part) + 1
        if room < 0:
            parts.append(b'"\xe2\x80\xa6[%d more]"' % (len(texts) - number))
            break
        parts.append(part)
    return b"[%b]" % b",".join(parts)


def _spelt(character: str) -> str:
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\u{{{number:x}}}"
