"""API keys: who is let in, to what, and where the service may listen without them."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

import service.access
from service.__main__ import main
from service.access import SCOPES, Access, Keys, check_listening, is_loopback
from service.database import Database
from service.errors import ConflictError, DatabaseError, InvalidError, MissingError, SettingsError
from tests.service.conftest import PREDICT, assert_problem

ASKED = {"text": "We will answer."}


@pytest.fixture
def keys(database_url: str) -> Iterator[Keys]:
    with closing(Database(database_url)) as database:
        yield Keys(database)


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def test_key_is_kept_as_a_digest_only(keys: Keys, database_url: str) -> None:
    secret = keys.create("kim", ["label", "predict"])
    assert re.fullmatch(r"brink_[\w-]{43}", secret)
    (key,) = keys.all()
    assert (key.name, key.scopes, key.revoked_at) == ("kim", ("predict", "label"), None)
    with closing(Database(database_url)) as database, database.reading() as session:
        rows = session.execute(text("SELECT * FROM keys")).all()
    assert secret not in str(rows)
    assert secret.removeprefix("brink_") not in str(rows)


@pytest.mark.parametrize(
    ("name", "scopes", "reason"),
    [
        ("kim", [], "expected one or more of the scopes predict, label, admin"),
        ("kim", ["predict", "all"], "came predict, all"),
        ("", ["predict"], "expected a name of 1 to 200 characters"),
        (" ", ["predict"], "expected a name of 1 to 200 characters"),
        ("x" * 201, ["predict"], "expected a name of 1 to 200 characters"),
        ("local", ["predict"], "that is not 'local'"),
    ],
)
def test_key_that_does_not_fit_is_not_made(keys: Keys, name: str, scopes: list[str], reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        keys.create(name, scopes)
    assert keys.all() == []


def test_name_is_taken_for_ever(keys: Keys) -> None:
    keys.create("kim", ["predict"])
    keys.revoke("kim")
    with pytest.raises(ConflictError, match="there is or was a key 'kim'"):
        keys.create("kim", ["admin"])
    for name in ("kim", "lee"):
        with pytest.raises(MissingError, match=f"there is no key '{name}' to revoke"):
            keys.revoke(name)


def test_without_a_key_everybody_on_this_machine_is_let_in_and_no_file_is_made(
    serve: Callable[..., TestClient], tmp_path: Path
) -> None:
    client = serve(database_url=f"sqlite:///{tmp_path}/brink.db")
    assert client.post(PREDICT, json=ASKED).status_code == 200
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scope", SCOPES)
def test_scope_decides(serve: Callable[..., TestClient], keys: Keys, database_url: str, scope: str) -> None:
    client, headers = serve(database_url=database_url), bearer(keys.create("kim", [scope]))
    may_predict, may_label = scope in {"predict", "admin"}, scope in {"label", "admin"}
    stream = {"content-type": "application/x-ndjson"}
    for allowed, response in (
        (may_predict, client.post(PREDICT, json=ASKED, headers=headers)),
        (may_predict, client.post(f"{PREDICT}/stream", content=b'"a"', headers=headers | stream)),
        (may_predict, client.post(PREDICT, json=ASKED | {"keep": True}, headers=headers)),
        (may_predict, client.get("/v1/model", headers=headers)),
        (may_predict, client.get("/v1/drift", headers=headers)),
        (may_label, client.get("/v1/review", headers=headers)),
        (may_label, client.get("/v1/statements", headers=headers)),
        (may_label, client.get("/v1/statements/export", headers=headers)),
        (may_label, client.post("/v1/statements", json=ASKED | {"label": "none"}, headers=headers)),
    ):
        if allowed:
            assert response.status_code == 200
        else:
            assert f"the key 'kim' has the scopes {scope}, not" in assert_problem(response, 403)["detail"]


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer brink_wrong", "Basic {}", "{}", "Bearer {}x", "Bearer \xff"]
)
def test_caller_without_a_key_that_holds_is_refused(
    serve: Callable[..., TestClient], keys: Keys, database_url: str, header: str | None
) -> None:
    secret = keys.create("kim", ["admin"])
    client = serve(database_url=database_url)
    headers = {} if header is None else {"authorization": header.format(secret)}
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    for path in ("/v1/model", "/v1/statements", "/v1/statements/export", "/v1/statements/x"):
        response = client.get(path, headers=sent)  # type: ignore[arg-type]  # it takes bytes too
        assert "expected an API key" in assert_problem(response, 401)["detail"]
        assert response.headers["www-authenticate"] == "Bearer"
    assert_problem(client.post(PREDICT, json=ASKED, headers=sent), 401)  # type: ignore[arg-type]
    for path in ("/healthz", "/readyz", "/metrics"):
        assert client.get(path).status_code == 200


def test_every_route_of_the_interface_asks_for_a_key(
    serve: Callable[..., TestClient], keys: Keys, database_url: str
) -> None:
    keys.create("kim", ["admin"])
    client = serve(database_url=database_url)
    paths = client.get("/openapi.json").json()["paths"]
    asked = [(method, path) for path, item in paths.items() if path.startswith("/v1/") for method in item]
    assert len(asked) >= 10
    for method, path in asked:
        response = client.request(
            method, path.format(id="0" * 32, version="one", file="plot.svg"), json={"label": "none", "text": "A."}
        )
        assert response.status_code == 401, (method, path)


def test_changes_are_noted_under_the_name_of_the_key(
    serve: Callable[..., TestClient], keys: Keys, database_url: str
) -> None:
    client, headers = serve(database_url=database_url), bearer(keys.create("kim", ["label"]))
    row = client.post("/v1/statements", json={"text": "A.", "label": "none"}, headers=headers).json()["rows"][0]
    statement = client.get(f"/v1/statements/{row['id']}", headers=headers).json()
    assert (statement["created_by"], statement["labels"][0]["annotator"]) == ("kim", "kim")
    assert client.get(f"/v1/statements/{row['id']}/history", headers=headers).json()[0]["who"] == "kim"


def test_key_made_or_revoked_counts_while_the_service_runs(
    serve: Callable[..., TestClient], keys: Keys, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.access, "_REFRESH_S", 0.0)
    client = serve(database_url=database_url)
    assert client.get("/v1/model").status_code == 200
    headers = bearer(keys.create("kim", ["predict"]))
    assert client.get("/v1/model").status_code == 401
    assert client.get("/v1/model", headers=headers).status_code == 200
    keys.revoke("kim")
    assert client.get("/v1/model", headers=headers).status_code == 401  # and the service is not open again
    assert client.get("/v1/model").status_code == 401


def test_keys_that_are_known_hold_while_the_database_is_away(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.access, "_REFRESH_S", -1.0)
    secret = keys.create("kim", ["predict"])
    access = Access(keys)
    access.refresh()

    def away() -> None:
        raise DatabaseError("away")

    with monkeypatch.context() as patch:
        patch.setattr(keys, "all", away)
        access.refresh()
        assert access.identify(secret) is not None
        assert not access.is_open
        with pytest.raises(DatabaseError):  # nobody is let in by a service that never could ask
            Access(keys).refresh()
    monkeypatch.setattr(keys, "all", list)  # the file was moved away: as if there never had been a key
    access.refresh()
    assert not access.is_open
    assert access.identify(secret) is not None


def test_page_of_another_site_cannot_use_a_service_that_is_open(client: TestClient) -> None:
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        response = client.post(
            "/v1/statements", json={"text": f"{site}.", "label": "none"}, headers={"sec-fetch-site": site}
        )
        assert response.status_code == status


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.1", False), ("brink.example", False), ("", False)],
)  # fmt: skip
def test_loopback_is_told_from_the_rest(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_listening_beyond_this_machine_needs_a_key_or_to_be_asked_for(keys: Keys) -> None:
    check_listening("127.0.0.1", False, keys)
    check_listening("0.0.0.0", True, keys)
    with pytest.raises(SettingsError, match=r"refused to listen on 0\.0\.0\.0, .*: there is no API key\. Make a key"):
        check_listening("0.0.0.0", False, keys)
    keys.create("kim", ["predict"])
    check_listening("0.0.0.0", False, keys)


def test_listening_beyond_this_machine_needs_keys_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "brink.db").write_bytes(b"no database" * 1000)
    database = Database(f"sqlite:///{tmp_path}/brink.db")
    with closing(database), pytest.raises(SettingsError, match="the API keys cannot be read"):
        check_listening("0.0.0.0", False, Keys(database))


def test_keys_are_made_listed_and_revoked_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BRINK_DATABASE_URL", f"sqlite:///{tmp_path}/brink.db")

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["service", "keys", *arguments])
        return main()

    assert run("create", "kim", "--scopes", "label", "predict") == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"brink_[\w-]{43}\n", out)
    assert "cannot be shown again" in err
    assert run("create", "kim", "--scopes", "label") == 1
    assert "there is or was a key 'kim'" in capsys.readouterr().err
    assert run("revoke", "kim") == 0
    assert run("revoke", "kim") == 1
    assert "there is no key 'kim' to revoke" in capsys.readouterr().err
    assert run("list") == 0
    listed = capsys.readouterr().out
    assert re.fullmatch(r"kim: predict, label; made [\d :-]+ UTC; revoked [\d :-]+ UTC\n", listed)


def test_server_refuses_to_start_beyond_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BRINK_DATABASE_URL", f"sqlite:///{tmp_path}/brink.db")
    monkeypatch.setenv("BRINK_HOST", "0.0.0.0")
    monkeypatch.setattr(sys, "argv", ["service"])
    assert main() == 1
    assert capsys.readouterr().err.startswith("error: refused to listen on 0.0.0.0")
