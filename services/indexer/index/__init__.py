"""Search over tools: pure, in memory, incremental.

`engine` is the index, `fields` says what words are worth, `scoring` finds the best by words, `meaning` by
words and what they mean.
"""

from importlib.util import find_spec

from services.indexer.index.engine import Index, Match
from services.indexer.index.fields import Document
from services.indexer.index.schema import parameters

__all__ = ["Document", "Index", "Match", "hybrid", "parameters"]


def hybrid() -> Index:
    """An empty index that knows what words mean; one of words alone where numpy is not installed."""
    if find_spec("numpy") is None:
        return Index()
    from services.indexer.index import meaning, words

    return Index(meaning.Meanings(words.load()))
