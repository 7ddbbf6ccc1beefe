"""Fine-tune an encoder on the labels of a store, so that items of one category lie close together.

The loss is cosine-softmax cross-entropy. Every category has a unit vector, and a text belongs to the category with the
closest vector; both vectors are trained. Wang et al., "NormFace", ACM Multimedia 2017. The nodes above the categories
have vectors, too. Their share of the loss is larger if categories have few rows. In the end, the weights are moved part
of the way back to the old weights if that improves the vote: Wortsman et al., "Robust Fine-Tuning of Zero-Shot Models",
CVPR 2022. The best point is chosen on separate rows: neither training rows nor held-out rows (see `heldout`).
"""

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shelfwise.classifier.labels import Numbers
from shelfwise.classifier.model.fusion import K, VoteSettings, vote
from shelfwise.indexer.encoding.encoder import Trainable
from shelfwise.indexer.encoding.space import Space
from shelfwise.indexer.searching.search import FaissSearcher
from shelfwise.indexer.store.disk import replacing
from shelfwise.indexer.types import Progress, Vectors

TRAINING_STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 2_200, 4, 8  # see `suitable_epochs`
TEXTS_PER_STEP = 64  # titles in a training step
POOL = 32  # batches whose titles are sorted by length together, to reduce padding
LEARNING_RATE = 2e-4
CATEGORY_LEARNING_RATE = 2e-3  # of the categories' vectors, which start close to their optimum
SCALE = 16.0  # factor of the cosines before the softmax
UPPER_SHARE = 0.5  # largest share of the loss for the levels above the categories
ROWS_ALONE = 32  # mean rows of a category up to which the share is full; with more rows it shrinks in proportion
LABEL_SMOOTHING = 0.05  # real catalogs have wrong labels
HIDDEN_TOKENS = 0.1  # share of a text's tokens, random in every step, so that no single token decides
SHORT = 4  # tokens, with the two end markers: texts of this length or less keep all
WAYS = (0.5, 0.75, 1.0)  # fractions tried of the way from the old weights to the learned weights
WEIGHT_DECAY = 0.01
WARM_UP = 0.06  # share of the training
CLIP = 1.0  # largest norm of a step's gradient
LARGE_TABLE = 100_000  # rows: larger embedding tables stay frozen; they are most of a multilingual encoder
VOTERS, LAST_VOTERS, ASKED = 2_000, 50_000, 1_500  # rows that vote in a trial, in the last trials; rows classified
TRIED_FROM = 0.5  # share of the training: earlier, the learning rate is high and the vote still improves
MOST_TOKENS = 128  # read of a text in training: memory grows with the square of the longest text
PATIENCE = 3  # epochs without a better vote before training stops; the vote is best at a low learning rate
CHECKPOINT_SECONDS = 60.0
FINETUNE_SEED = 13


@dataclass(frozen=True)
class Lessons:
    """n `texts` with their `categories` (n,), and masks (n,) of training rows (`learned`) and trial rows (`tried`).

    `vectors` (n, d) are the embeddings of the texts before fine-tuning. `levels` have the node of every category (c,)
    at each level above.
    """

    texts: Sequence[str]
    categories: Numbers
    learned: NDArray[np.bool_]
    tried: NDArray[np.bool_]
    vectors: Vectors
    levels: Sequence[Numbers]

    def trial(self, voters: int) -> tuple[Numbers, Numbers]:
        """Sample at most `voters` training rows that vote, and at most ASKED trial rows to classify."""
        random = np.random.default_rng(FINETUNE_SEED)
        voting, asked = (random.permutation(np.flatnonzero(mask)) for mask in (self.learned, self.tried))
        return np.sort(voting[:voters]), np.sort(asked[:ASKED])


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop: after `epochs` or after `seconds` of this run, whichever comes first.

    With `epochs` None, the number of rows determines the epochs (see `suitable_epochs`).
    """

    epochs: int | None = None
    seconds: float = math.inf


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a training: `epochs` (may be a fraction), and `seconds` of all runs.

    `way` is the chosen fraction of the way from the old to the learned weights. `vote_before` and `vote_after` are the
    accuracy of the vote on `tried` rows, before training and at its best. `resumed` is True after a checkpoint.
    """

    epochs: float
    seconds: float
    way: float
    vote_before: float
    vote_after: float
    tried: int
    resumed: bool


def finetune(
    encoder: Trainable, lessons: Lessons, limits: Limits, checkpoint: Path, progress: Progress | None = None
) -> Trained:
    """Fine-tune `encoder` in place; it ends with the weights of the best vote on the trial rows.

    Every CHECKPOINT_SECONDS the state is written to the file `checkpoint`. Training resumes from a checkpoint of the
    same task. An interrupted training gives the same weights as an uninterrupted one, unless the time limit ends it.
    """
    run = _Run(encoder, lessons, limits)
    resumed = run.load(checkpoint)
    start = time.monotonic()
    before = run.vote_accuracy(VOTERS)
    texts, texts_then = (sum(map(len, lessons.trial(voters))) for voters in (VOTERS, LAST_VOTERS))
    run.leave(len(WAYS) * (time.monotonic() - start) * texts_then / texts)  # for the last trials
    if not resumed:
        run.before = before
    saved = time.monotonic()
    fraction = run.fraction()
    while fraction < 1 and run.worse < PATIENCE:
        loss = run.step(fraction)
        fraction = run.fraction()
        if progress:
            progress(
                "fine-tune",
                run.done * TEXTS_PER_STEP,
                run.total * TEXTS_PER_STEP,
                f"loss {loss:.2f}, vote accuracy {run.best:.3f}",
            )
        if fraction >= 1 or (fraction >= TRIED_FROM and run.done % run.steps_per_epoch == 0):
            run.remember_best()
        if time.monotonic() - saved >= CHECKPOINT_SECONDS:
            run.save(checkpoint)
            saved = time.monotonic()
    if not run.best_weights:  # the time limit had passed before the first step
        run.remember_best()
    way = run.settle()
    asked = len(lessons.trial(VOTERS)[1])
    return Trained(run.done / run.steps_per_epoch, run.seconds, way, run.before, run.best, asked, resumed)


class _Run:
    """The state of one training: weights, optimiser and progress."""

    def __init__(self, encoder: Trainable, lessons: Lessons, limits: Limits) -> None:
        import torch

        self.torch, self.encoder, self.lessons, self.limits = torch, encoder, lessons, limits
        self.module = encoder.module
        self.tokens = self.module.max_seq_length
        self._read(min(self.tokens or MOST_TOKENS, MOST_TOKENS))
        for part in self.module.modules():
            if isinstance(part, torch.nn.Embedding) and part.num_embeddings > LARGE_TABLE:
                part.weight.requires_grad = False
        self.lengths = encoder.token_counts(lessons.texts)
        self.learned = np.flatnonzero(lessons.learned)
        self.targets = [lessons.categories, *(level[lessons.categories] for level in lessons.levels)]
        centers = [torch.from_numpy(_centers(lessons.vectors, target, self.learned)) for target in self.targets]
        self.centers = [torch.nn.Parameter(center.to(self.module.device)) for center in centers]
        rows_each = len(self.learned) / len(centers[0])
        upper = UPPER_SHARE * min(1.0, ROWS_ALONE / rows_each) if lessons.levels else 0.0
        self.shares = [1 - upper, *(upper / len(lessons.levels) for _ in lessons.levels)]
        named = [(name, weight) for name, weight in self.module.named_parameters() if weight.requires_grad]
        self.encoder_weights = {f"encoder.{name}": weight for name, weight in named}
        self.start = {name: weight.detach().clone() for name, weight in self.encoder_weights.items()}
        self.weights = self.encoder_weights | {f"centers.{i}": center for i, center in enumerate(self.centers)}
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [w for _, w in named if w.ndim > 1], "lr": LEARNING_RATE, "weight_decay": WEIGHT_DECAY},
                {"params": [w for _, w in named if w.ndim <= 1], "lr": LEARNING_RATE, "weight_decay": 0.0},
                {"params": self.centers, "lr": CATEGORY_LEARNING_RATE, "weight_decay": 0.0},
            ],
            fused=True,
        )
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.steps_per_epoch = max(1, math.ceil(len(self.learned) / TEXTS_PER_STEP))
        self.total = self.steps_per_epoch * (limits.epochs or suitable_epochs(len(self.learned)))
        self.done, self.seconds, self.started = 0, 0.0, time.monotonic()
        self.longest = limits.seconds  # of all runs
        self.before, self.best, self.worse = 0.0, 0.0, 0
        self.best_weights: dict[str, Any] = {}
        self.epoch, self.batches = -1, list[Numbers]()  # of the epoch shuffled last
        self.task = self._task()

    def fraction(self) -> float:
        """Return the completed fraction of the training, by steps or time; the learning rate depends on it."""
        now = time.monotonic()
        self.seconds, self.started = self.seconds + now - self.started, now
        return max(self.done / self.total, self.seconds / self.longest)

    def leave(self, seconds: float) -> None:
        """Reserve `seconds` of the time limit for other work."""
        self.longest = max(self.longest - seconds, 1e-9)

    def step(self, fraction: float) -> float:
        """Train on one batch at a completed `fraction` of the training; return its loss."""
        torch = self.torch
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * min(fraction / WARM_UP + 1e-3, (1 - fraction) / (1 - WARM_UP))
        rows = self._batch(self.done)
        torch.manual_seed(FINETUNE_SEED + self.done)  # the same dropout in a resumed training
        self.module.train()
        vectors = self._embed([self.lessons.texts[i] for i in rows])
        losses = [
            self._loss(vectors, center, target[rows]) for center, target in zip(self.centers, self.targets, strict=True)
        ]
        loss = sum(share * part for share, part in zip(self.shares, losses, strict=True))
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(self.weights.values()), CLIP)
        self.optimizer.step()
        self.done += 1
        return float(loss.detach())

    def _loss(self, vectors: Any, centers: Any, truth: Numbers) -> Any:
        cosines = vectors @ self.torch.nn.functional.normalize(centers, dim=1).T
        target = self.torch.from_numpy(truth).to(cosines.device)
        return self.torch.nn.functional.cross_entropy(SCALE * cosines, target, label_smoothing=LABEL_SMOOTHING)

    def _embed(self, texts: list[str]) -> Any:
        """Return (n, d) unit vectors with gradients; matrices are multiplied in bfloat16."""
        torch, device = self.torch, self.module.device
        features = self.module.preprocess(texts, prompt=self.encoder.prompt)
        features = {name: value.to(device) if hasattr(value, "to") else value for name, value in features.items()}
        if "attention_mask" in features:  # a static word table has none
            features["attention_mask"] = self._with_gaps(features["attention_mask"])
        with torch.autocast(device.type, dtype=torch.bfloat16):
            vectors = self.module(features)["sentence_embedding"]
        return torch.nn.functional.normalize(vectors.float(), dim=1)

    def _read(self, tokens: int | None) -> None:
        """Limit the tokens read of every text. A static word table always reads all and has no limit."""
        if self.tokens != math.inf:
            self.module.max_seq_length = tokens

    def _with_gaps(self, mask: Any) -> Any:
        """Return the attention mask (n, tokens) with some tokens hidden, except text ends and short texts."""
        length = mask.sum(dim=1, keepdim=True)
        place = self.torch.arange(mask.shape[1], device=mask.device)
        inner = (place > 0) & (place < length - 1) & (length > SHORT)
        hidden = inner & (self.torch.rand(mask.shape, device=mask.device) < HIDDEN_TOKENS)
        return mask.masked_fill(hidden, 0)

    def _batch(self, step: int) -> Numbers:
        """Return the rows of a step; they are the same in every call."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self.epoch:
            self.epoch = epoch
            self.batches = shuffled_batches(self.lengths, self.learned, np.random.default_rng((FINETUNE_SEED, epoch)))
        return self.batches[place]

    def vote_accuracy(self, voters: int) -> float:
        """Return the vote accuracy of the current encoder on trial rows, with at most `voters` training rows."""
        texts, categories = self.lessons.texts, self.lessons.categories
        voting, asked = self.lessons.trial(voters)
        self.module.eval()
        with self.torch.autocast(self.module.device.type, dtype=self.torch.bfloat16):
            vectors = self.encoder.encode([texts[i] for i in np.concatenate((voting, asked))])
        index, queries = vectors[: len(voting)], vectors[len(voting) :]
        space = Space.fit(index)
        found = FaissSearcher(space.project(index)).search(space.project(queries), K)
        weights = np.ones(int(categories.max()) + 1)
        shares = vote(found, categories[voting], weights, VoteSettings().temperature)
        return float((shares.argmax(axis=1) == categories[asked]).mean())

    def remember_best(self) -> None:
        """Keep the weights if their vote is the best so far."""
        accuracy = self.vote_accuracy(VOTERS)
        self.worse = self.worse + 1 if self.best_weights and accuracy <= self.best else 0
        if not self.worse:
            self.best = accuracy
            self.best_weights = {name: weight.detach().clone() for name, weight in self.encoder_weights.items()}

    def settle(self) -> float:
        """Set the weights between the old and the best learned ones where the vote is best; return the fraction.

        Many rows vote here. With few, the training rows lie so close together that the full way always looks best.
        """
        found = []
        for way in WAYS:
            self._go(way)
            found.append((self.vote_accuracy(LAST_VOTERS), way))
        way = max(found)[1]
        self._go(way)
        self.module.eval()
        self._read(self.tokens)
        return way

    def _go(self, way: float) -> None:
        with self.torch.no_grad():
            for name, weight in self.encoder_weights.items():
                weight.copy_(self.start[name].lerp(self.best_weights[name], way))

    def _task(self) -> str:
        """Return a digest of encoder, rows, labels and epochs; a checkpoint is resumed only with the same digest."""
        total = hashlib.sha256(f"{self.encoder.fingerprint} {self.total}".encode())
        for level in self.lessons.levels:
            total.update(level.tobytes())
        for mask in (self.lessons.learned, self.lessons.tried):
            total.update(mask.tobytes())
        for text, category in zip(self.lessons.texts, self.lessons.categories, strict=True):
            total.update(f"{text}\0{category}\n".encode())
        return total.hexdigest()

    def save(self, checkpoint: Path) -> None:
        """Write the state to a file by an atomic rename."""
        from safetensors.torch import save_file

        tensors = {f"now.{name}": weight.detach().contiguous() for name, weight in self.weights.items()}
        tensors |= {f"best.{name}": weight.contiguous() for name, weight in self.best_weights.items()}
        for name, weight in self.weights.items():
            for key, value in self.optimizer.state.get(weight, {}).items():
                tensors[f"{key}.{name}"] = value.detach().contiguous()
        self.fraction()
        state = {"task": self.task, "done": self.done, "seconds": self.seconds, "worse": self.worse}
        state |= {"before": self.before, "best": self.best}
        with replacing(checkpoint) as work:
            save_file(tensors, work, metadata={"state": json.dumps(state)})

    def load(self, checkpoint: Path) -> bool:
        """Resume from the file. Return False if it is missing, cannot be read or is of another task."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(checkpoint, "pt", device=str(self.module.device)) as content:
                state = json.loads(content.metadata()["state"])
                if state.pop("task") != self.task:
                    return False
                tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        except (FileNotFoundError, SafetensorError, KeyError, ValueError, TypeError):
            return False
        with self.torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(tensors[f"now.{name}"])
                for key in ("step", "exp_avg", "exp_avg_sq"):  # missing if a weight has had no gradient
                    if f"{key}.{name}" in tensors:
                        value = tensors[f"{key}.{name}"].to("cpu" if key == "step" else weight.device)
                        self.optimizer.state[weight][key] = value
        self.best_weights = {
            name: tensors[f"best.{name}"] for name in self.encoder_weights if f"best.{name}" in tensors
        }
        self.done, self.seconds, self.worse = state["done"], state["seconds"], state["worse"]
        self.longest = self.seconds + self.limits.seconds
        self.before, self.best, self.started = state["before"], state["best"], time.monotonic()
        return True


def suitable_epochs(rows: int) -> int:
    """Return the epochs that make TRAINING_STEPS, from FEWEST_EPOCHS to MOST_EPOCHS."""
    return min(max(round(TRAINING_STEPS * TEXTS_PER_STEP / rows), FEWEST_EPOCHS), MOST_EPOCHS)


def shuffled_batches(lengths: Numbers, rows: Numbers, random: np.random.Generator) -> list[Numbers]:
    """Return `rows` in random order, in batches of TEXTS_PER_STEP with similar `lengths` (n,)."""
    rows = random.permutation(rows)
    batches = []
    for start in range(0, len(rows), TEXTS_PER_STEP * POOL):
        pool = rows[start : start + TEXTS_PER_STEP * POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + TEXTS_PER_STEP] for i in range(0, len(pool), TEXTS_PER_STEP)]
    return [batches[i] for i in random.permutation(len(batches))]


def _centers(vectors: Vectors, categories: Numbers, learned: Numbers) -> Vectors:
    """Return (c, d) sums of each category's vectors, at unit length; random for one without training rows."""
    random = np.random.default_rng(FINETUNE_SEED)
    centers = 1e-3 * random.normal(size=(int(categories.max()) + 1, vectors.shape[1]))
    np.add.at(centers, categories[learned], vectors[learned])
    return np.asarray(centers / np.linalg.norm(centers, axis=1, keepdims=True), np.float32)
