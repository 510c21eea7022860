"""What a sentence means according to a model that has read much more: the teacher of the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

Matrix = NDArray[np.float32]

TOKENS_MAX = 64
BATCH = 32
CHUNK = 10_000


class Teacher:
    """A sentence transformer in ONNX form, mean-pooled, on one thread, so that a run can be repeated."""

    def __init__(self, model: Path, tokenizer: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model), options)
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(TOKENS_MAX)

    def embed(self, sentences: Sequence[str], cache: Path) -> Iterator[Matrix]:
        """Vectors of length 1 for ten thousand sentences at a time; those in `cache` are not made again."""
        cache.mkdir(parents=True, exist_ok=True)
        for place, start in enumerate(range(0, len(sentences), CHUNK)):
            file = cache / f"{place:03}.npy"
            if not file.exists():
                made = self._chunk(sentences[start : start + CHUNK])
                np.save(partial := file.with_suffix(".tmp.npy"), made.astype(np.float16))
                partial.rename(file)
            held: Matrix = np.load(file).astype(np.float32)
            yield held[: len(sentences) - start]

    def _chunk(self, sentences: Sequence[str]) -> Matrix:
        """Sentences of one length together: padding costs as much as words, and changes what int8 rounds."""
        encoded = self._tokenizer.encode_batch(list(sentences))
        order = sorted(range(len(encoded)), key=lambda place: (len(encoded[place].ids), place))
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        made = np.concatenate([self._batch([encoded[place] for place in batch]) for batch in batches])
        return made[np.argsort(order)]

    def _batch(self, encoded: Sequence[Encoding]) -> Matrix:
        ids = np.zeros((len(encoded), max(len(each.ids) for each in encoded)), np.int64)
        mask = np.zeros_like(ids)
        for row, each in enumerate(encoded):
            ids[row, : len(each.ids)] = each.ids
            mask[row, : len(each.ids)] = 1
        fed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states: Matrix = self._session.run(None, fed)[0]
        pooled = (states * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return np.asarray(pooled / np.linalg.norm(pooled, axis=1, keepdims=True), np.float32)
