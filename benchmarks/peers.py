"""Alternatives to Shelfwise beyond `measuring.baselines`: nearest neighbours, neural networks and fastText.

Each peer is fitted to n texts with their category paths. It returns the m paths predicted for m texts, or a function
that predicts them.
"""

import copy
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shelfwise.classifier.fitting.finetune import (
    LARGE_TABLE,
    MOST_TOKENS,
    TEXTS_PER_STEP,
    shuffled_batches,
    suitable_epochs,
)
from shelfwise.indexer.encoding.kinds import load_encoder
from shelfwise.indexer.encoding.sentence import SentenceEncoder

SEED = 0
AUTOTUNE_SECONDS = 120
VALIDATION = 10  # every tenth row validates fastText's autotune, the number of neighbours and of LSTM epochs
NEIGHBORS = (1, 3, 5, 10, 20, 32)
Predict = Callable[[Sequence[str]], np.ndarray]


def words_of(text: str, chinese: bool) -> list[str]:
    """Split a text into lower-case words and symbols; with `chinese`, into Latin words and single characters."""
    return re.findall(r"[a-z0-9]+|\S" if chinese else r"\w+|[^\w\s]", text.casefold())


def fasttext(texts: Sequence[str], paths: Sequence[str], chinese: bool) -> Predict:
    """Fit a supervised fastText model; Chinese is split into characters.

    Its autotune chooses the settings on a tenth of the rows. The final model is trained on all rows.
    """
    import fasttext as library

    names = sorted(set(paths))
    number = {path: i for i, path in enumerate(names)}
    lines = [
        f"__label__{number[path]} {' '.join(words_of(text, chinese))}" for path, text in zip(paths, texts, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        train, validation, everything = (Path(folder) / name for name in ("train", "validation", "all"))
        train.write_text("\n".join(text for i, text in enumerate(lines) if i % VALIDATION))
        validation.write_text("\n".join(lines[::VALIDATION]))
        everything.write_text("\n".join(lines))
        model = library.train_supervised(
            str(train),
            autotuneValidationFile=str(validation),
            autotuneDuration=AUTOTUNE_SECONDS,
            thread=2,
            verbose=0,
            seed=SEED,
        )
        found = model.f.getArgs()
        settings = {
            name: getattr(found, name) for name in ("lr", "dim", "epoch", "wordNgrams", "minn", "maxn", "bucket")
        }
        model = library.train_supervised(str(everything), thread=2, verbose=0, seed=SEED, **settings)

    def predict(asked: Sequence[str]) -> np.ndarray:
        labels, _ = model.predict([" ".join(words_of(text, chinese)) for text in asked])
        return np.array([names[int(label[0].removeprefix("__label__"))] for label in labels], dtype=object)

    return predict


def knn(texts: Sequence[str], paths: Sequence[str], encoder: SentenceEncoder) -> Predict:
    """Fit scikit-learn's nearest neighbours to sentence-transformers vectors; k is the best on a tenth of the rows."""
    from sklearn.neighbors import KNeighborsClassifier

    vectors = _usual(encoder, texts)
    labels, held = np.array(paths, dtype=object), np.arange(len(texts)) % VALIDATION == 0

    def neighbors(k: int) -> KNeighborsClassifier:
        return KNeighborsClassifier(k, weights="distance", metric="cosine", algorithm="brute", n_jobs=-1)

    scores = {k: neighbors(k).fit(vectors[~held], labels[~held]).score(vectors[held], labels[held]) for k in NEIGHBORS}
    model = neighbors(max(scores, key=scores.__getitem__)).fit(vectors, labels)
    return lambda asked: model.predict(_usual(encoder, asked))


def setfit(texts: Sequence[str], paths: Sequence[str], encoder: SentenceEncoder) -> Predict:
    """Fit SetFit's default head to all rows, on the pretrained encoder."""
    from setfit import SetFitModel
    from sklearn.linear_model import LogisticRegression

    head = LogisticRegression(max_iter=1000).fit(_usual(encoder, texts), paths)
    model = SetFitModel(model_body=encoder.module, model_head=head)
    return lambda asked: np.asarray(model.predict(list(asked), show_progress_bar=False), dtype=object)


def transformers_loop(paths: Sequence[str], encoder: SentenceEncoder) -> Predict:
    """Return the documented loop over transformers' sequence classification, untrained: only its rate is measured.

    `bert` is the trained counterpart.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    names, config = np.array(sorted(set(paths)), dtype=object), copy.deepcopy(encoder.module[0].auto_model.config)
    config.num_labels = len(names)
    tokenizer, model = encoder.module.tokenizer, AutoModelForSequenceClassification.from_config(config).eval()

    def predict(asked: Sequence[str]) -> np.ndarray:
        found = []
        with torch.no_grad():
            for i in range(0, len(asked), 32):
                some = tokenizer(list(asked[i : i + 32]), padding=True, truncation=True, return_tensors="pt")
                found.append(model(**some).logits.argmax(dim=1).numpy())
        return names[np.concatenate(found)]

    return predict


def _usual(encoder: SentenceEncoder, texts: Sequence[str]) -> np.ndarray:
    """Return the vectors of sentence-transformers with its default settings, normalized."""
    return encoder.module.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)


def bert(
    texts: Sequence[str], paths: Sequence[str], asked: Sequence[str], encoder_name: str, minutes: float
) -> np.ndarray:
    """Fine-tune the encoder's transformer with a classification layer on its pooled states, by cross-entropy.

    This is the usual recipe of Devlin et al., NAACL 2019, at a learning rate for small transformers: AdamW, warm-up and
    linear decay, dropout before the layer. It trains for as many epochs as Shelfwise, or for `minutes`.
    """
    import torch
    from sentence_transformers.sentence_transformer.modules import Normalize

    encoder = load_encoder(encoder_name)
    assert isinstance(encoder, SentenceEncoder)
    module, device = encoder.module, encoder.module.device
    tokens, module.max_seq_length = module.max_seq_length, MOST_TOKENS
    states = torch.nn.Sequential(*(part for part in module if not isinstance(part, Normalize)))
    names = sorted(set(paths))
    number = {path: i for i, path in enumerate(names)}
    truth = torch.tensor([number[path] for path in paths], device=device)
    torch.manual_seed(SEED)
    layer = torch.nn.Linear(encoder.dimensions, len(names)).to(device)
    drop = torch.nn.Dropout(0.1)
    for part in module.modules():
        if isinstance(part, torch.nn.Embedding) and part.num_embeddings > LARGE_TABLE:
            part.weight.requires_grad = False
    weights = [w for w in module.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "lr": 1e-4}, {"params": layer.parameters(), "lr": 1e-3}], weight_decay=0.01
    )
    rates = [group["lr"] for group in optimizer.param_groups]

    def scores(some: Sequence[str]) -> torch.Tensor:
        features = module.preprocess(list(some), prompt=encoder.prompt)
        features = {k: v.to(device) if hasattr(v, "to") else v for k, v in features.items()}
        with torch.autocast(device.type, dtype=torch.bfloat16):
            pooled = states(features)["sentence_embedding"]
        return layer(drop(pooled.float()))

    lengths, random = encoder.token_counts(texts), np.random.default_rng(SEED)
    epochs = suitable_epochs(len(texts))
    batches = (b for _ in range(epochs) for b in shuffled_batches(lengths, np.arange(len(texts)), random))
    start, total = time.monotonic(), epochs * -(-len(texts) // TEXTS_PER_STEP)
    module.train()
    for done, rows in enumerate(batches):
        fraction = max(done / total, (time.monotonic() - start) / (60 * minutes))
        if fraction >= 1:
            break
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(fraction / 0.1 + 1e-3, (1 - fraction) / 0.9)
        loss = torch.nn.functional.cross_entropy(scores([texts[row] for row in rows]), truth[torch.as_tensor(rows)])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    module.max_seq_length = tokens
    module.eval()
    drop.eval()
    with torch.no_grad():
        found = [scores(asked[i : i + 256]).argmax(dim=1).cpu().numpy() for i in range(0, len(asked), 256)]
    return np.array(names, dtype=object)[np.concatenate(found)]


def _network(words: int, categories: int) -> Any:
    """Return a network of embedding, LSTM and dense layers."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(words, 128, padding_idx=0)
            self.lstm = nn.LSTM(128, 128, batch_first=True, bidirectional=True)
            self.dense = nn.Sequential(nn.Dropout(0.3), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, categories))

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            states = self.lstm(self.table(rows))[0]
            return self.dense(states.masked_fill((rows == 0)[..., None], -1e4).amax(dim=1).clamp(min=-1))

    return Network()


def lstm(texts: Sequence[str], paths: Sequence[str], asked: Sequence[str], chinese: bool) -> np.ndarray:
    """Train embedding, LSTM and dense layers, as in early surveys of the field; Chinese is split into characters.

    The LSTM has 128 dimensions in each direction, with dropout 0.3 and Adam at 1e-3. A tenth of the rows selects the
    best of ten epochs. The final network is trained on all rows for that number of epochs.
    """
    import torch
    from torch import nn

    names = sorted(set(paths))
    number = {path: i for i, path in enumerate(names)}
    truth = np.array([number[path] for path in paths])
    counts = Counter(word for text in texts for word in words_of(text, chinese))
    place = {word: i + 2 for i, word in enumerate(sorted(word for word, n in counts.items() if n > 1))}

    def coded(some: Sequence[str]) -> torch.Tensor:
        codes = [[place.get(word, 1) for word in words_of(text, chinese)[:64]] or [1] for text in some]
        return nn.utils.rnn.pad_sequence([torch.tensor(code) for code in codes], batch_first=True)

    def predicted(network: nn.Module, some: Sequence[str]) -> np.ndarray:
        network.eval()
        with torch.no_grad():
            parts = [network(coded(some[i : i + 512])).argmax(dim=1).numpy() for i in range(0, len(some), 512)]
        return np.concatenate(parts)

    def learned(rows: np.ndarray, epochs: int) -> Iterator[nn.Module]:
        """Yield the network after each epoch."""
        torch.manual_seed(SEED)
        network, random = _network(len(place) + 2, len(names)), np.random.default_rng(SEED)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        for _ in range(epochs):
            order = random.permutation(rows)
            network.train()
            for i in range(0, len(order), 128):
                batch = order[i : i + 128]
                loss = nn.functional.cross_entropy(
                    network(coded([texts[row] for row in batch])), torch.from_numpy(truth[batch])
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            yield network

    everything = np.arange(len(texts))
    held = everything % VALIDATION == 0
    held_texts = [texts[row] for row in np.flatnonzero(held).tolist()]
    accuracies = [
        float((predicted(network, held_texts) == truth[held]).mean()) for network in learned(everything[~held], 10)
    ]
    *_, network = learned(everything, int(np.argmax(accuracies)) + 1)
    return np.array(names, dtype=object)[predicted(network, asked)]
