"""Words of names and sentences: splitting, folding, stemming, stop words.

Identifiers give their parts and the joined form (`createS3Bucket`: create, s3, bucket, creates3bucket);
scripts without spaces give overlapping pairs of characters, the usual substitute for a dictionary.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

import Stemmer

WORD_MAX = 40
"""Characters of an indexed word; what is longer is a token, a hash or an attack."""

_CJK = "\u2e80-\u2fdf\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_MARKS = "\u0900-\u0dff\u0e31-\u0e4e\u064b-\u0652"  # vowel signs that `\w` would cut words at
_RUN = re.compile(rf"([{_CJK}]+)|((?:[^\W_{_CJK}]|[{_MARKS}])+)")
_ACCENTS = re.compile("[\u0300-\u036f]+")
_PARTS = re.compile(
    r"[A-Z]{2,}s(?![a-z])"  # IDs, URLs
    r"|[A-Z]{2,}(?=[A-Z][a-z])"  # HTTP in HTTPServer
    r"|[A-Z]{0,2}[a-z]+\d*"  # user, User, OAuth2
    r"|[A-Z]+\d*"  # S3
    r"|\d+"
)

_COMMON = """
a about all also am an and any are as at be been being but by can could did do does doing don for from
had has have having he her here his how i if in into is it its just ll let me may might more most must my
no not now of on or our out over please re s shall she should so some such t than that the their them
then there these they this those to too up us use used using ve very via want wants was we were what when
where which who whom why will with would you your
"""
STOP = frozenset(_COMMON.split())

_stemmer = Stemmer.Stemmer("english")


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """The Snowball English stem of a lower-case word; other scripts come back as they are."""
    return str(_stemmer.stemWord(word)) if word.isascii() else word


def fold(text: str) -> str:
    """`text` in compatibility form without accents; case is kept, camelCase needs it."""
    if text.isascii():
        return text
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFKC", bare)


def words(text: str) -> Iterator[tuple[str, ...]]:
    """The forms of every word of `text`, in order: parts first, the joined form last."""
    for match in _RUN.finditer(fold(text)):
        run = match.group()
        yield _pairs(run) if match.group(1) else forms(run)


def flat(text: str) -> list[str]:
    """All forms of all words, stop words left out."""
    return [form for group in words(text) for form in group if form not in STOP]


@lru_cache(maxsize=1 << 16)
def forms(run: str) -> tuple[str, ...]:
    """Lower-case forms of one identifier without separators."""
    if not run.isascii() or (run.islower() and run.isalpha()):
        return (run.casefold(),) if len(run) <= WORD_MAX else ()
    parts = _PARTS.findall(run)
    found = [form for part in parts for form in _numbered(part.lower()) if len(parts) == 1 or len(form) > 1]
    if len(parts) > 1:
        found.append(run.lower())
    return tuple(dict.fromkeys(form for form in found if len(form) <= WORD_MAX))


def _numbered(part: str) -> tuple[str, ...]:
    letters = part.rstrip("0123456789")
    return (part, letters) if 1 < len(letters) < len(part) else (part,)


def _pairs(run: str) -> tuple[str, ...]:
    return tuple(run[i : i + 2] for i in range(len(run) - 1)) or (run,)
