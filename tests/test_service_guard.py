"""Authentication, request limits and protection from other sites."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import client_of

from shelfwise.indexer.errors import InputError
from shelfwise.service import api, pages
from shelfwise.service.guard import BODY_BYTES
from shelfwise.service.tokens import Tokens

READ, WRITE = "r" * 20, "w" * 20


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    file = tmp_path / "tokens.txt"
    file.write_text(f"# who may\nshop read {READ}\n\nanna write {WRITE}\n")
    return Tokens.read(file)


def test_tokens_grant_their_role(store, tokens):
    with client_of(store, tokens) as client:
        listing = {"listings": [{"title": "mug"}]}
        item = {"items": [{"title": "mug", "category_path": "A > B"}]}
        assert client.get("/healthz").status_code == 200
        assert client.post("/v1/classify", json=listing).status_code == 401
        wrong = {"authorization": "Bearer " + "x" * 20}
        assert client.post("/v1/classify", json=listing, headers=wrong).status_code == 401
        assert client.get("/metrics").status_code == 401
        reads, writes = ({"authorization": f"Bearer {token}"} for token in (READ, WRITE))
        assert client.post("/v1/classify", json=listing, headers=reads).status_code == 200
        refused = client.post("/v1/items", json=item, headers=reads)
        assert (refused.status_code, "role write" in refused.json()["detail"]) == (403, True)
        assert client.post("/v1/items", json=item, headers=writes).json()["who"] == "anna"
        assert client.get("/", follow_redirects=False).headers["location"] == "/login"
        part = client.post("/review", headers={"hx-request": "true"})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/login")
        assert client.post("/login", data={"token": "nonsense"}).status_code == 401
        entered = client.post("/login", data={"token": READ}, follow_redirects=False)
        cookie = entered.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and READ not in cookie
        assert client.get("/").status_code == 200
        odd = {"cookie": f'prefs={{"a":1}}; path; {entered.headers["set-cookie"].partition(";")[0]}'}
        assert client.get("/", headers=odd, follow_redirects=False).status_code == 200
        assert client.get("/categories/new").status_code == 403
        client.post("/logout")
        assert client.get("/", follow_redirects=False).status_code == 303


def test_every_route_requires_a_token_except_login(store, tokens):
    with client_of(store, tokens) as client:
        routers = [module.router for module in (api, *vars(pages).values()) if hasattr(module, "router")]
        asked = [(method, route.path) for router in routers for route in router.routes for method in route.methods]
        assert len(asked) > 30
        for method, path in asked:
            answer = client.request(method, re.sub("{[^}]*}", "1", path), follow_redirects=False)
            told = answer.headers.get("location") != "/login" and answer.status_code != 401
            assert told == (path == "/login"), (method, path)


@pytest.mark.parametrize(
    "line, said",
    [
        ("anna write short", "has 5 characters"),
        ("anna admin " + "x" * 20, "expected lines of NAME read|write TOKEN"),
        ("# nobody", "has no token"),
    ],
)
def test_bad_token_files_are_refused(tmp_path, line, said):
    file = tmp_path / "tokens.txt"
    file.write_text(line)
    with pytest.raises(InputError, match=re.escape(said)):
        Tokens.read(file)


def test_a_public_address_requires_tokens(run, store):
    result = run("serve", "--store", store, "--host", "0.0.0.0")
    assert (result.exit_code, "--token-file" in result.output) == (1, True)


HOSTILE = [
    ("POST", "/v1/classify", {"content": b"{" * 100_000, "headers": {"content-type": "application/json"}}, {400, 422}),
    ("POST", "/v1/classify", {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, {400, 422}),
    ("POST", "/v1/classify", {"content": b'{"listings": [{"title": "\\ud800"}]}', "headers": {"content-type": "application/json"}}, {422}),
    ("POST", "/v1/classify", {"content": b"\xff\xfe", "headers": {"content-type": "application/json"}}, {400, 422}),
    ("POST", "/v1/classify", {"json": {"listings": [{"title": "x" * 2001}]}}, {422}),
    ("POST", "/v1/classify", {"json": {"listings": [{"title": "a\u0000b"}]}}, {422}),
    ("POST", "/v1/classify", {"json": {"listings": [{"title": "mug", "path": "/etc"}]}}, {422}),
    ("POST", "/v1/classify", {"json": {"listings": [{"title": "mug"}] * 1001}}, {422}),
    ("POST", "/v1/classify", {"json": {"listings": []}}, {422}),
    ("POST", "/v1/classify", {"content": b"x" * 10_000_000, "headers": {"content-type": "application/json"}}, {413}),
    ("POST", "/v1/similar", {"json": {"text": "a", "id": "b"}}, {422}),
    ("POST", "/v1/similar", {"json": {"text": "   "}}, {422}),
    ("POST", "/v1/similar", {"json": {"text": "a", "k": 10**30}}, {422}),
    ("GET", "/v1/writes/99999999999999999999999", {}, {422}),
    ("GET", "/v1/items/..%2f..%2fmanifest.json", {}, {404}),
    ("GET", "/static/..%2fapp.py", {}, {404}),
    ("GET", "/static/../app.py", {}, {404}),
    ("GET", "/classify/files/..%2f..%2fetc%2fpasswd", {}, {404}),
    ("GET", "/classify/files/nothing/decided", {}, {404}),
    ("POST", "/v1/items", {"json": {"items": [{"title": "", "category_path": "A"}]}}, {422}),
    ("POST", "/v1/items", {"json": {"items": [{"title": "mug"}]}}, {422}),
    ("POST", "/review/undo", {"data": {"number": "9" * 40}}, {404, 409, 422}),
    ("GET", "/?q=" + "%00", {}, {200, 422}),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method, path, content, statuses", HOSTILE, ids=lambda value: str(value)[:40])
def test_hostile_requests_are_refused_in_one_line(client, method, path, content, statuses):
    answer = client.request(method, path, **content)
    assert answer.status_code in statuses, answer.text[:300]
    assert "Traceback" not in answer.text
    if answer.status_code >= 400 and path.startswith("/v1/"):
        assert len(answer.json()["detail"]) < 1000


def test_a_long_body_without_a_length_is_refused(client):
    def parts() -> Iterator[bytes]:
        for _ in range(BODY_BYTES // 65_536 + 2):
            yield b"x" * 65_536

    answer = client.post("/v1/classify", content=parts(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.slow
@pytest.mark.parametrize(
    "headers, status",
    [
        ({"origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[::1"}, 403),
        ({"host": "[::1"}, 403),
        ({"host": "evil.example"}, 403),
        ({"origin": "http://localhost:8000"}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "http://localhost:8000"}, 200),
        ({}, 200),
    ],
)
def test_requests_from_other_sites_are_refused(client, headers, status):
    item = {"items": [{"id": "x", "title": "mug", "category_path": "A > B"}]}
    assert client.post("/v1/items", json=item, headers=headers).status_code == status


def test_scripts_in_a_title_are_escaped(client):
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)> mug"
    client.post(
        "/v1/items",
        json={"items": [{"id": "\"'><svg/onload=alert(3)>", "title": evil, "category_path": "A > <b>B</b>"}]},
    )
    client.post("/v1/classify", json={"listings": [{"id": evil, "title": evil}]})
    for path in ("/?q=mug", "/review", "/categories", "/changes", "/health", "/found?q=mug"):
        page = client.get(path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text and "<img" not in page.text and "<svg/onload" not in page.text
        assert "script-src 'self'" in page.headers["content-security-policy"]
    pasted = client.post("/classify", data={"titles": evil})
    assert "<img" not in pasted.text
    assert (
        "alert(2)" in pasted.text.replace('<mark class="strong">', "").replace("</mark>", "") or "alert" in pasted.text
    )
