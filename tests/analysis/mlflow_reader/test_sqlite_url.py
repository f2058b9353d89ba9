"""Paths of databases as URLs: opened by SQLAlchemy, MLflow and Optuna, and looked up on the disk."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from analysis.errors import AnalysisUsageError
from analysis.mlflow_reader.connect import home_folder, redact_uri, require_reachable, tracking_uri
from analysis.mlflow_reader.sqlite_url import sqlite_file, sqlite_url

NAMES = [
    "anime%20faces",
    "h?x",
    "a#b",
    "a;b=c",
    'it\'s "q"',
    "jos\u00e9 \u732b",
    "a+b&c=d",
    "a:b@c",
    "{x}",
    "%",
    "%%2F",
    "a\\b",
    "a|b*",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_of_any_letters_comes_back(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "mlflow.db"
    assert sqlite_file(sqlite_url(file)) == file
    assert redact_uri(sqlite_url(file)) == str(file)


@pytest.mark.parametrize("name", ["anime%20faces", "h?x", "%2Fa#b;c=d 'e' \"f\" {\u732b}+&@"])
def test_only_that_file_is_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / "anime faces").mkdir()
    (tmp_path / "anime faces" / "mlflow.db").write_bytes(b"another home's")
    home = tmp_path / name
    home.mkdir()
    client = MlflowClient(tracking_uri(home))
    client.create_experiment("here", (home / "artifacts").as_uri())
    optuna.create_study(storage=sqlite_url(home / "optuna.db"), study_name="s")
    require_reachable(tracking_uri(home))
    assert {path.name for path in tmp_path.iterdir()} == {"anime faces", name}
    assert {path.name for path in home.iterdir()} == {"mlflow.db", "optuna.db"}
    assert (tmp_path / "anime faces" / "mlflow.db").read_bytes() == b"another home's"


def test_a_plain_path_is_written_as_before(tmp_path: Path) -> None:
    assert sqlite_url(Path("/data/my runs/mlflow.db")) == "sqlite:////data/my runs/mlflow.db"


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\x7fb", "a\udcffb"])
def test_paths_that_no_url_holds_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AnalysisUsageError, match="--home") as caught:
        home_folder(tmp_path / name)
    assert ascii(name)[1:-1] in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://host:5000", "postgresql://u:p@h/db", "sqlite://", "sqlite:///:memory:", "s3://b/x"]
)
def test_other_urls_name_no_file(url: str) -> None:
    assert sqlite_file(url) is None


def test_the_urls_of_users_are_read_as_sqlalchemy_reads_them() -> None:
    assert sqlite_file("sqlite:///relative.db") == Path("relative.db")
    assert sqlite_file("sqlite:////a/b%20c/x.db") == Path("/a/b c/x.db")
    assert sqlite_file("sqlite+pysqlite:////a/x.db?timeout=3") == Path("/a/x.db")
