"""A suite of our own: tools made from a table of things, and questions that call the things otherwise."""

from __future__ import annotations

import random
from typing import Any

from benchmarks.search.suites import Suite
from services.indexer.index import Document

# server: thing, what else people call it
THINGS = """
billing: invoice, bill; refund, money back; discount, price reduction
cinema: movie, film; actor, performer; trailer, preview clip
clinic: doctor, physician; prescription, medication order; patient, sick person
cloud: bucket, storage container; server, virtual machine; database, data store
kitchen: recipe, cooking instructions; ingredient, food item; restaurant, place to eat
mail: email, message; attachment, enclosed file; contact, address book entry
maps: route, directions; city, town; distance, how far
music: song, music track; album, record; playlist, list of songs
people: employee, staff member; salary, pay; vacation, holiday leave
shop: product, article for sale; order, purchase; customer, buyer
sport: team, football club; match, game result; player, athlete
tracker: issue, bug report; repository, source code; branch, line of development
trade: stock, share price; currency, exchange rate; portfolio, investments
travel: flight, plane trip; hotel, place to stay; ticket, boarding pass
weather: forecast, weather outlook; storm, hurricane warning; temperature, how hot
"""

DEEDS = {
    "create": ("Creates a new", "please make me a new"),
    "get": ("Returns the details of one", "show me the"),
    "list": ("Lists every", "give me all the"),
    "delete": ("Removes an existing", "get rid of the"),
    "update": ("Changes an existing", "edit the"),
}


def suite(seed: int = 3) -> Suite:
    """225 tools of 15 servers, and for each of them a question in its words and one in others."""
    chance = random.Random(seed)
    documents, queries = [], []
    for server, thing, called in _things():
        for deed, (told, asked) in DEEDS.items():
            tool = f"{deed}_{thing.replace(' ', '_')}"
            text = f"{told} {thing}. Needs an account. Answers with JSON."
            documents.append(Document(f"{server}__{tool}", server, tool, "", text, (("id", f"The {thing}"),)))
            queries += [_asked(f"{server}__{tool}", asked, deed, name, chance) for name in (thing, called)]
    return Suite("questions", documents, queries)


def _things() -> list[tuple[str, str, str]]:
    found = []
    for line in THINGS.strip().splitlines():
        server, _, rest = line.partition(": ")
        for pair in rest.split("; "):
            thing, _, called = pair.partition(", ")
            found.append((server, thing, called))
    return found


def _asked(name: str, asked: str, deed: str, thing: str, chance: random.Random) -> dict[str, Any]:
    slip, words = _misspelt(thing, chance), [deed, *thing.split()]
    return {
        "query": f"{asked} {thing}",
        "typo": f"{asked} {slip}",
        "kw": words,
        "kwtypo": [deed, *slip.split()],
        "relevant": [name],
    }


def _misspelt(text: str, chance: random.Random) -> str:
    """The longest word with two of its inner letters swapped."""
    word = max(text.split(), key=len)
    places = [place for place in range(1, len(word) - 2) if word[place] != word[place + 1]] or [1]
    place = chance.choice(places)
    slip = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return text.replace(word, slip)
