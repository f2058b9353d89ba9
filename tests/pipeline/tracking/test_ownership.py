"""Two homes on one tracking server and one study."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from pipeline.home import Home
from pipeline.search.study import open_study
from pipeline.tracking.client import open_client
from pipeline.tracking.ownership import claim_experiment, claim_study, require_own_experiment
from trainables.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient

WAYS = ["minimize"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    folder = tmp_path_factory.mktemp("server")
    return open_client(Home(folder), f"sqlite:///{folder}/shared.db")


@pytest.fixture
def homes(tmp_path: Path) -> tuple[Home, Home]:
    return Home(tmp_path / "a"), Home(tmp_path / "b")


def test_a_home_has_one_id_for_ever_and_another_home_another(homes: tuple[Home, Home]) -> None:
    one, other = homes
    assert one.identity() == Home(one.root).identity() != other.identity()
    assert len(one.identity()) == 32


def test_processes_that_make_a_home_at_once_agree_on_its_id(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(Home(tmp_path).identity())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1


def test_an_id_that_cannot_be_kept_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "home.id").mkdir()
    with pytest.raises(UserError, match=r"cannot read or write .*home\.id: .*give another --home"):
        Home(tmp_path).identity()


def test_a_name_on_a_shared_server_is_the_first_homes_until_it_is_adopted(
    server: MlflowClient, homes: tuple[Home, Home]
) -> None:
    one, other = homes
    assert require_own_experiment(server, other, "taken") is None
    experiment = claim_experiment(server, one, "taken")
    assert claim_experiment(server, one, "taken") == experiment
    with pytest.raises(UserError, match=rf"sweep 'taken' at .*shared\.db belongs to another home .*{one.identity()}"):
        claim_experiment(server, other, "taken")
    with pytest.raises(UserError, match="take another --name, or --adopt"):
        require_own_experiment(server, other, "taken")
    assert claim_experiment(server, other, "taken", adopt=True) == experiment
    assert claim_experiment(server, other, "taken") == experiment
    with pytest.raises(UserError, match=other.identity()):
        claim_experiment(server, one, "taken")


def test_a_home_that_is_moved_keeps_its_sweeps(server: MlflowClient, homes: tuple[Home, Home], tmp_path: Path) -> None:
    experiment = claim_experiment(server, homes[0], "moved")
    shutil.move(homes[0].root, tmp_path / "elsewhere")
    assert claim_experiment(server, Home(tmp_path / "elsewhere"), "moved") == experiment


def test_an_experiment_without_an_owner_gets_one(server: MlflowClient, homes: tuple[Home, Home]) -> None:
    experiment = server.create_experiment("nobodys")
    assert claim_experiment(server, homes[0], "nobodys") == experiment
    with pytest.raises(UserError, match="another home"):
        claim_experiment(server, homes[1], "nobodys")


def test_of_two_homes_that_start_at_once_one_is_refused(
    server: MlflowClient, homes: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = homes
    real = server.get_experiment_by_name

    def slow(name: str) -> object:
        """Reads, and the other home writes before it continues."""
        monkeypatch.setattr(server, "get_experiment_by_name", real)
        found = real(name)
        claim_experiment(server, other, name)
        return found

    monkeypatch.setattr(server, "get_experiment_by_name", slow)
    with pytest.raises(UserError, match=f"another home .*{other.identity()}"):
        claim_experiment(server, one, "race")


def test_a_name_in_a_shared_study_is_the_first_homes_until_it_is_adopted(
    homes: tuple[Home, Home], tmp_path: Path
) -> None:
    url, (one, other) = f"sqlite:///{tmp_path}/optuna.db", homes
    for _ in range(2):
        claim_study(open_study(url, "s", WAYS), one, url)
    with pytest.raises(UserError, match=rf"sweep 's' at {tmp_path}/optuna\.db belongs to another home"):
        claim_study(open_study(url, "s", WAYS), other, url)
    claim_study(open_study(url, "other", WAYS), other, url)
    claim_study(open_study(url, "s", WAYS), other, url, adopt=True)
    with pytest.raises(UserError, match="another home"):
        claim_study(open_study(url, "s", WAYS), one, url)
