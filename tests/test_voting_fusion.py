import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shelfwise.classifier.labels import NO_CATEGORY, Labels, renormalised
from shelfwise.classifier.model.decision import ranked
from shelfwise.classifier.model.fusion import (
    Opinion,
    VoteSettings,
    balanced,
    blend,
    category_weights,
    fuse,
    known_to,
    opinions_of,
    vote,
)
from shelfwise.classifier.model.opinions import FIT_SEED, Features, Head, kinds, ngrams
from shelfwise.classifier.model.opinions.vectors import KINDS, fit_svm, linear_scores
from shelfwise.indexer.encoding.lexical import CHARACTERS, FEATURES, REST_SHARE, WORD, ngram_counts, weighted
from shelfwise.indexer.item import Words
from shelfwise.indexer.searching.search import NONE, Neighbors


def neighbors(rows, similarities):
    return Neighbors(np.array(rows, np.int64), np.array(similarities, np.float64))


def fuse_one(votes, head, known, weight):
    """Fuse the vote with one opinion that knows some of the categories."""
    return fuse(votes, blend({"one": Opinion(head, known)}, {"one": 1.0}), weight)


def test_the_vote_matches_a_hand_computed_value():
    found = neighbors([[0, 1, 2, NONE]], [[0.9, 0.8, 0.8, -np.inf]])
    shares = vote(found, np.array([0, 1, 1]), np.array([1.0, 0.5]), temperature=0.1)
    near = np.exp(-1.0)
    np.testing.assert_allclose(shares, [[1 / (1 + near), near / (1 + near)]])


def test_category_weights_favour_small_categories():
    counts, known = np.array([100, 25, 4]), np.array([True, True, False])
    plain = category_weights(counts, np.ones(3, bool), VoteSettings(prior_exponent=0.5, new_exponent=1.0))
    np.testing.assert_allclose(plain, [0.1, 0.2, 0.5])
    new = category_weights(counts, known, VoteSettings(prior_exponent=0.0, new_exponent=0.5))
    np.testing.assert_allclose(new, [1, 1, (62.5 / 4) ** 0.5])


def test_a_large_new_category_is_not_down_weighted():
    weights = category_weights(np.array([10, 1000]), np.array([True, False]), VoteSettings(prior_exponent=0.0))
    np.testing.assert_allclose(weights, [1, 1])


def test_a_query_without_neighbors_has_no_vote():
    assert not vote(neighbors([[NONE]], [[-np.inf]]), np.array([0]), np.ones(2), 0.1).any()


@st.composite
def shares(draw):
    c = draw(st.integers(2, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    known = np.array(draw(st.lists(st.booleans(), min_size=c, max_size=c)), bool)
    votes, head = renormalised(random.random((3, c))), renormalised(random.random((3, c)) * known)
    return votes, head, known, draw(st.floats(0, 1))


@given(shares())
def test_fused_shares_sum_to_one_and_keep_the_vote_of_new_categories(given_):
    votes, head, known, weight = given_
    fused = fuse_one(votes, head, known, weight)
    np.testing.assert_allclose(fused.sum(axis=1), 1)
    if known.any():
        np.testing.assert_allclose(fused[:, ~known], votes[:, ~known])
        np.testing.assert_allclose(fused[:, known].sum(axis=1), votes[:, known].sum(axis=1))
    else:
        np.testing.assert_allclose(fused, votes)


def test_a_new_category_can_win_at_any_weight():
    votes, head = np.array([[0.1, 0.9]]), np.array([[1.0, 0.0]])
    for weight in (0.0, 0.3, 1.0):
        assert fuse_one(votes, head, np.array([True, False]), weight).argmax() == 1


def unit(n, d, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def count_titles(texts):
    return ngram_counts([Words(text, "") for text in texts])


def norm_of(row):
    return np.sqrt((row.data**2).sum())


def features(n, d, seed=0):
    random = np.random.default_rng(seed)
    texts = [" ".join(random.choice(["red", "blue", "shoe", "mug", "茶", "杯"], 3)) for _ in range(n)]
    return Features(unit(n, d, seed), count_titles(texts))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("c", [2, 3])
def test_the_head_learns_from_vectors_alone_and_round_trips_through_bytes(c, kind):
    vectors = np.repeat(unit(c, 8), 20, axis=0) + 0.05 * unit(20 * c, 8, seed=1)
    paths = [f"分类 {i}" for i in range(c) for _ in range(20)]
    seen = Features(vectors, count_titles(["the same"] * len(paths)))
    head = Head.fit(kind, seen, paths)
    dense, lexical = (head.shares(name, seen) for name in ("vectors", "ngrams"))
    np.testing.assert_allclose(dense.sum(axis=1), 1)
    np.testing.assert_allclose(lexical, 1 / c, atol=0.05)  # equal titles carry no information
    assert [head.paths[i] for i in dense.argmax(axis=1)] == paths
    again = Head.from_bytes(head.to_bytes())
    assert (again.paths, again.kind) == (head.paths, kind)
    np.testing.assert_array_equal(again.shares("vectors", seen), dense)
    np.testing.assert_array_equal(again.shares("ngrams", seen), lexical)


def test_the_head_learns_from_ngrams_alone():
    texts, paths = ["usb-c 2m cable", "hdmi 2m cable", "usb-c 3m", "hdmi 3m"] * 5, ["U", "H", "U", "H"] * 5
    head = Head.fit("svm", Features(np.tile(unit(1, 4), (20, 1)), count_titles(texts)), paths)
    asked = Features(unit(2, 4), count_titles(["USB-C 9 m", "long hdmi"]))
    assert [head.paths[i] for i in head.shares("ngrams", asked).argmax(axis=1)] == ["U", "H"]


@given(st.lists(st.text(max_size=30), max_size=5))
@example(["USB-C 2m Kabel", "无线 蓝牙耳机", "a", "", " \t"])
def test_ngrams_match_scikit_learn(titles):
    from sklearn.feature_extraction.text import HashingVectorizer

    shared = {"n_features": FEATURES, "alternate_sign": False, "norm": None, "dtype": np.float32}
    characters = HashingVectorizer(analyzer="char_wb", ngram_range=(1, CHARACTERS), **shared)
    words = HashingVectorizer(ngram_range=(1, 2), token_pattern=WORD.pattern, **shared)
    counts = (characters.transform([*titles, ""]) + words.transform([*titles, ""])).toarray()
    expected = np.log1p(counts - 1, where=counts > 0, out=np.zeros_like(counts)) + (counts > 0)
    expected /= np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(count_titles([*titles, ""]).toarray(), expected, atol=1e-6)


def test_ngram_shares_match_the_margins_of_scikit_learn():
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.svm import LinearSVC

    for c in (2, 4):
        given_, paths = features(80, 6), [f"{i % c}" for i in range(80)]
        tfidf = TfidfTransformer().fit_transform(given_.counts)
        theirs = (
            LinearSVC(C=ngrams.PENALTY, tol=ngrams.TOLERANCE, random_state=FIT_SEED)
            .fit(tfidf, paths)
            .decision_function(tfidf)
        )
        margins = np.stack([-theirs, theirs], axis=1) if c == 2 else theirs
        expected = np.exp(margins) / np.exp(margins).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(Head.fit("svm", given_, paths).shares("ngrams", given_), expected, atol=1e-4)


def test_svm_scores_match_scikit_learn():
    from sklearn.svm import LinearSVC

    vectors, numbers = unit(60, 8), np.arange(60) % 3
    theirs = LinearSVC(C=1.0, tol=1e-2, random_state=0).fit(vectors, numbers).decision_function(vectors)
    np.testing.assert_allclose(linear_scores(fit_svm(vectors, numbers, 3), vectors), theirs, atol=1e-4)


def test_balance_raises_rare_categories():
    p = np.array([[0.6, 0.4]])
    np.testing.assert_array_equal(balanced(p, np.array([100, 1]), 0.0), p)
    lifted = balanced(p, np.array([100, 1]), 0.5)
    np.testing.assert_allclose(lifted, [[0.06 / 0.46, 0.4 / 0.46]])


def test_opinions_are_mixed_by_weight():
    known = np.array([True, True])
    said = {"a": Opinion(np.array([[1.0, 0.0]]), known), "b": Opinion(np.array([[0.0, 1.0]]), known)}
    np.testing.assert_allclose(blend(said, {"a": 0.75, "b": 0.25}).shares, [[0.75, 0.25]])
    assert said["a"].sharpened(0.5).shares.tolist() == [[1.0, 0.0]]


def test_an_opinion_covers_its_known_categories_and_the_vote_the_rest():
    votes = np.array([[0.5, 0.3, 0.2]])
    said = {
        "all": Opinion(np.array([[0.2, 0.2, 0.6]]), np.array([True, True, True])),
        "some": Opinion(np.array([[0.1, 0.9, 0.0]]), np.array([True, True, False])),
    }
    fused = fuse(votes, blend(said, {"all": 0.5, "some": 0.5}), 0.2)
    heard = 0.5 * said["all"].shares + 0.5 * np.array([[0.8 * 0.1, 0.8 * 0.9, 0.2]])
    np.testing.assert_allclose(fused, 0.2 * votes + 0.8 * heard)
    np.testing.assert_allclose(fused.sum(), 1)


def test_ngrams_ignore_case_and_are_zero_for_an_empty_title():
    counts = count_titles(["Red 鞋", "red 鞋", ""])
    assert counts.shape == (3, FEATURES)
    assert (counts[0] != counts[1]).nnz == 0
    assert counts[2].nnz == 0


def test_a_long_description_has_no_more_weight_than_its_share():
    title, short, long = ngram_counts([Words("mug", ""), Words("mug", "red"), Words("mug", "red " * 400)])
    np.testing.assert_allclose(norm_of(title), 1, rtol=1e-6)
    for both in (short, long):
        np.testing.assert_allclose(norm_of(both - title), REST_SHARE, rtol=1e-6)


def test_a_title_alone_and_the_rest_alone_give_equal_ngrams():
    title, rest = weighted(ngram_counts([Words("mug 茶", ""), Words("", "mug 茶")]), np.ones(FEATURES, np.float32))
    np.testing.assert_allclose(norm_of(title - rest), 0, atol=1e-6)


def test_one_category_has_no_head():
    assert Head.fit("svm", features(3, 4), ["A"] * 3) is None
    labels = Labels.from_paths(["A"], ["A"])
    known = known_to(None, labels)
    assert not known.any()
    said = opinions_of(None, features(2, 4), labels, known, dict.fromkeys(kinds(), 1.0))
    assert not any(opinion.shares.any() for opinion in said.values())
    votes = np.array([[1.0], [1.0]])
    np.testing.assert_array_equal(fuse(votes, blend(said, {"ngrams": 1.0}), 0.0), votes)


def test_a_category_unknown_to_the_head_gets_no_share_from_it():
    head = Head.fit("svm", features(30, 4), ["A", "B", "C"] * 10)
    labels = Labels.from_paths(["C", "D", "A"], ["C", "D", "A"])
    asked = features(5, 4, 1)
    said = opinions_of(head, asked, labels, known_to(head, labels), dict.fromkeys(kinds(), 1.0))
    assert labels.paths == ("A", "C", "D")
    assert said.keys() == kinds().keys()
    for name, opinion in said.items():
        own = head.shares(name, asked)[:, [0, 2]]
        np.testing.assert_allclose(opinion.shares[:, :2], own / own.sum(axis=1, keepdims=True))
        assert not opinion.shares[:, 2].any()
        assert opinion.known.tolist() == [True, True, False]


def test_labels_are_sorted_and_numbered():
    labels = Labels.from_paths(["B > y", "A > x", "B > y"], ["code2", "x", "code1"])
    assert (labels.paths, labels.names) == (("A > x", "B > y"), ("x", "code1"))
    assert labels.numbers(["B > y", "nowhere"]).tolist() == [1, NO_CATEGORY]


def test_levels_sum_probabilities_up_the_tree():
    labels = Labels.from_paths(["A > x > 1", "A > x > 2", "A > y", "B"], ["1", "2", "y", "B"])
    top, middle = labels.levels
    assert (top.paths, top.of.tolist()) == (("A", "B"), [0, 0, 0, 1])
    assert (middle.paths, middle.of.tolist()) == (("A > x", "A > y", "B"), [0, 0, 1, 2])
    np.testing.assert_allclose(top.sums(np.array([[0.1, 0.2, 0.3, 0.4]])), [[0.6, 0.4]])
    np.testing.assert_allclose(middle.sums(np.array([[0.1, 0.2, 0.3, 0.4]])), [[0.3, 0.3, 0.4]])
    assert Labels.from_paths(["A", "B"], ["A", "B"]).levels == ()


@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3]), min_size=7, max_size=7), max_size=5),
    st.integers(1, 9),
    st.sampled_from([0.05, 0.2, 0.5]),
)
def test_ranked_returns_the_top_k_and_all_probable_categories(rows, k, at_least):
    probabilities = np.array(rows).reshape(-1, 7)
    found = list(ranked(probabilities, k, at_least))
    assert len(found) == len(rows)
    for p, (categories, shares) in zip(probabilities, found, strict=True):
        order = np.argsort(-p, kind="stable")
        named = [c for place, c in enumerate(order) if place == 0 or (p[c] > 0 and (place < k or p[c] >= at_least))]
        assert categories[: len(named)] == named
        assert shares == p[categories].tolist()
        assert list(order[: len(categories)]) == categories
