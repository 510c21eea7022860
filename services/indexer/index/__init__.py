"""Search over tools: pure, in memory, incremental.

`engine` is the index, `fields` says what words are worth, `scoring` finds the best.
"""

from services.indexer.index.engine import Index, Match
from services.indexer.index.fields import Document
from services.indexer.index.schema import parameters

__all__ = ["Document", "Index", "Match", "parameters"]
