"""The trained head: what each opinion has learned from the rows of a catalog."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from shelfwise.classifier.labels import Probabilities
from shelfwise.classifier.model.opinions import Features, Scores, Tensors, kinds


@dataclass(frozen=True)
class Head:
    """Opinions over `paths`, the c categories that they were trained on, in sorted order.

    `learned` has the tensors of each opinion by its name; `kind` is that of the classifier of vectors. They are
    apart because a fine-tuned encoder knows the rows that it learned from too well: one classifier on vectors and
    n-grams would hardly listen to the n-grams.
    """

    kind: str
    paths: tuple[str, ...]
    learned: Mapping[str, Tensors]

    @classmethod
    def fit(cls, kind: str, features: Features, paths: Sequence[str]) -> Self | None:
        """Return the head of n labelled rows; None where there are fewer than two categories."""
        if len(set(paths)) < 2:
            return None
        categories, numbers = np.unique(np.asarray(paths, dtype=object), return_inverse=True)
        learned = {name: one.fit(features, numbers, len(categories), kind) for name, one in kinds().items()}
        return cls(kind, tuple(categories), learned)

    def shares(self, name: str, features: Features, temperature: float = 1.0) -> Probabilities:
        """Return the (m, c) softmax of an opinion's scores: it means something at the temperature fitted to it."""
        return _softmax(kinds()[name].scores(self.learned[name], features, self.kind), temperature)

    def to_bytes(self) -> bytes:
        """Return a safetensors file with kind and paths in its metadata."""
        from safetensors.numpy import save

        tensors = {f"{name}.{part}": array for name, parts in self.learned.items() for part, array in parts.items()}
        described = json.dumps({"kind": self.kind, "paths": self.paths}, ensure_ascii=False)
        return bytes(save(tensors, metadata={"head": described}))  # of several entries the order would vary

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Return the inverse of `to_bytes`."""
        from safetensors.numpy import load

        size = int.from_bytes(content[:8], "little")
        described = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["head"])
        learned: dict[str, dict[str, Scores]] = {}
        for full, array in load(content).items():
            name, _, part = full.partition(".")
            learned.setdefault(name, {})[part] = array
        return cls(described["kind"], tuple(described["paths"]), learned)


def _softmax(scores: Scores, temperature: float) -> Probabilities:
    shares = (scores - scores.max(axis=1, keepdims=True)).astype(np.float64)
    shares /= temperature
    np.exp(shares, out=shares)
    shares /= shares.sum(axis=1, keepdims=True)
    return np.asarray(shares)
