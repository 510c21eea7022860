"""The table of words is learnt from sentences alone, and the same way every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.search.glosses import glosses
from benchmarks.search.lines import sentences
from benchmarks.search.student import Course, Matrix, learn, targets, vocabulary
from services.indexer.index.words import load

TOPICS = {
    "weather": "rain storm forecast sunshine cloud wind",
    "kitchen": "recipe oven flour butter cake dinner",
    "traffic": "car road highway bridge driver engine",
}
COURSE = Course(passes=20, seed=3, batch=64)


def lessons(count: int) -> tuple[list[list[str]], Matrix]:
    """Sentences of words of one topic each, and what a teacher with one direction a topic says of them."""
    chance = np.random.default_rng(5)
    directions = np.eye(8, dtype=np.float32)[: len(TOPICS)]
    texts, taught = [], []
    for _ in range(count):
        topic = int(chance.integers(len(TOPICS)))
        words = list(TOPICS.values())[topic].split()
        texts.append([*chance.choice(words, 3, replace=False).tolist(), "also"])
        taught.append(directions[topic] + 0.05 * chance.standard_normal(8).astype(np.float32))
    return texts, np.array(taught, np.float32)


def learnt(words: list[str]) -> Matrix:
    texts, taught = lessons(600)
    return learn(texts, targets(taught, 3), words, COURSE)


def test_words_of_one_topic_come_to_mean_the_same() -> None:
    words = vocabulary(lessons(600)[0], 100)
    vectors = learnt(words)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    place = {word: row for row, word in enumerate(words)}
    assert unit[place["rain"]] @ unit[place["storm"]] > 0.9
    assert unit[place["rain"]] @ unit[place["oven"]] < 0.2


def test_a_word_that_says_nothing_comes_out_short() -> None:
    words = vocabulary(lessons(600)[0], 100)
    lengths = dict(zip(words, np.linalg.norm(learnt(words), axis=1), strict=True))
    assert lengths["also"] < min(length for word, length in lengths.items() if word != "also")


def test_the_same_lessons_give_the_same_vectors() -> None:
    words = vocabulary(lessons(600)[0], 100)
    assert np.array_equal(learnt(words), learnt(words))


def test_the_vocabulary_has_the_most_frequent_words_and_no_rare_or_strange_ones() -> None:
    texts = [
        ["usual", "x1", "seldom"],
        ["usual", "x1", "größe", "größe"],
        ["usual", "x1", "größe"],
        ["größe"],
    ]
    assert vocabulary(texts, 10) == ["usual", "x1"]
    assert vocabulary(texts, 1) == ["usual"]


def test_targets_keep_what_tells_sentences_apart() -> None:
    _, taught = lessons(300)
    kept = targets(taught, 3)
    assert kept.shape == (300, 3)
    assert np.linalg.norm(kept, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.corrcoef((taught @ taught.T).ravel(), (kept @ kept.T).ravel())[0, 1] > 0.9


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    rows = [
        "one\tReads numbers from a file and adds them",
        "two\tReads numbers from a file and adds them",
        "three\tshort",
        "four\t这是一个用来处理数据的工具",
        "no tab at all",
        *(
            f"copy{place}\tThis is my package {'abcdefghijklmnopqrstuvwxyz'[place]} of names"
            for place in range(26)
        ),
    ]
    file = tmp_path / "list.tsv"
    file.write_text("\n".join(rows), encoding="utf-8")
    return file


def test_each_sentence_is_drawn_once_in_english_and_templates_seldom(listed: Path) -> None:
    drawn = sentences(listed, 100, 7)
    assert sum("adds them" in text for text in drawn) == 1
    assert sum("This is my package" in text for text in drawn) == 20
    assert len(drawn) == 21


def test_synonyms_are_read_with_their_definition_and_examples_without_names() -> None:
    lines = [
        "  1 This software and database is being provided to you",
        '10000001 18 n 02 dentist 0 tooth_doctor 0 000 | who mends teeth; "see a dentist" ',
        "10000002 18 n 01 Ada 0 000 | a pioneer",
        "10000003 00 a 01 bad(p) 0 000 | not good",
        "",
    ]
    told = ["dentist, tooth doctor: who mends teeth", "see a dentist", "bad: not good"]
    assert list(glosses(lines)) == told


def test_a_smaller_draw_heads_a_larger_one(listed: Path) -> None:
    assert sentences(listed, 5, 7) == sentences(listed, 100, 7)[:5]
    assert sentences(listed, 100, 7) != sentences(listed, 100, 8)


def test_the_shipped_table_is_as_the_recipe_makes_it() -> None:
    words = load()
    assert words.width == 128
    near = words.embed({"movie": 1.0}), words.embed({"film": 1.0}), words.embed({"invoice": 1.0})
    movie, film, invoice = (each for each in near if each is not None)
    assert movie @ film > 0.5 > movie @ invoice
