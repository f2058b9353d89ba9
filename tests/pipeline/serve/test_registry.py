"""Registering exports of a hand-logged sweep in a real MLflow database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from analysis import schema
from pipeline.bundle.manifest import read_json
from pipeline.cli.main import main
from pipeline.home import Home
from pipeline.serve.registry import Registration
from pipeline.tracking.client import open_client
from tests.support.pipeline.exports import FINGERPRINT, make_portable, scored, tell, write_bundle
from tests.support.pipeline.translators import write_translator
from tests.support.sweeps import History
from trainables.errors import UsageError, UserError
from trainables.scoring.results import SAMPLING_POLICY, TRANSLATION_POLICY

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tests.support.pipeline.sweep import Swept

METRICS = {"distance": {10: 60.0, 20: 45.0}, "tag_accuracy": {20: 0.75}, "kimg": {20: 20}, "loss": {20: 0.5}}


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_portable(write_bundle(tmp_path_factory.mktemp("registry") / "export"))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    home = tmp_path_factory.mktemp("home")
    client = open_client(Home.find(home), None)
    trials = [{"metrics": METRICS, "params": {"generator.width": 4}} for _ in range(4)]
    History(home, client).log_sweep("hand", trials)
    return client


def register(client: MlflowClient, model: str, folder: Path, *, promote: bool = False, force: str | None = None) -> str:
    """Check, then register, as the command does."""
    registration = Registration(client, model, promote=promote, force=force)
    registration.check(read_json(folder / "manifest.json"))
    return registration.register(folder).summary()


def aliases(client: MlflowClient, model: str) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model(model).aliases.items()}


def test_a_version_leads_back_to_the_trials_run(database: MlflowClient, export: Path, tmp_path: Path) -> None:
    folder = scored(export, tmp_path / "e", "hand-00001", 45.0)
    assert register(database, "one", folder) == "registered hand-00001 as one version 1, alias candidate"
    version = database.get_model_version("one", "1")
    run = database.get_run(version.run_id)
    assert run.data.tags[schema.KEY] == version.tags[schema.KEY] == "hand-00001"
    assert run.info.status == "RUNNING", "the run is left as it was"
    logged = database.search_logged_models([run.info.experiment_id], f"source_run_id = '{version.run_id}'")
    assert [model.model_id for model in logged] == [output.model_id for output in run.outputs.model_outputs]
    assert logged[0].status == "READY"
    assert logged[0].params["generator.width"] == "4"
    assert {metric.key: (metric.value, metric.step) for metric in logged[0].metrics} == {
        "distance": (45.0, 20), "tag_accuracy": (0.75, 20),
    }  # fmt: skip
    assert json.loads(logged[0].tags["mlflow.modelVersions"]) == [{"name": "one", "version": 1}]
    assert len(database.get_metric_history(version.run_id, "distance")) == 2, "no score is logged twice"


def test_signature_example_and_requirements_come_with_it(database: MlflowClient, export: Path, tmp_path: Path) -> None:
    folder = scored(export, tmp_path / "e", "hand-00001", 45.0)
    register(database, "two", folder)
    stored = Path(database.get_model_version("two", "1").source.removeprefix("file://"))
    about = yaml.safe_load((stored / "MLmodel").read_text())
    assert [(one["name"], one["type"]) for one in json.loads(about["signature"]["inputs"])] == [
        ("tags", "string"), ("seed", "long"),
    ]  # fmt: skip
    assert json.loads((stored / "serving_input_example.json").read_text())["dataframe_split"] == {
        "columns": ["tags", "seed"], "data": [["blue hair red eyes", 0]],
    }  # fmt: skip
    wanted = {line.partition("==")[0] for line in (stored / "requirements.txt").read_text().split()}
    assert wanted == {"mlflow-skinny", "numpy", "onnxruntime", "pandas", "pillow"}
    assert not [path for path in stored.rglob("*") if path.suffix in (".pkl", ".pickle", ".pt", ".pth")]


def test_aliases_follow_candidates_and_champions(database: MlflowClient, export: Path, tmp_path: Path) -> None:
    keys = [f"hand-{number:05d}" for number in range(4)]
    distances = (45.0, 44.0, 40.0, 30.0)
    folders = [scored(export, tmp_path / key, key, value) for key, value in zip(keys, distances, strict=True)]
    assert register(database, "faces", folders[0], promote=True).endswith("version 1, alias champion")
    register(database, "faces", folders[1])
    assert aliases(database, "faces") == {"champion": "1", "candidate": "2"}
    register(database, "faces", folders[2], promote=True)
    assert aliases(database, "faces") == {"champion": "3", "candidate": "2"}
    assert database.get_model_version("faces", "3").tags["gansweep.replaced"] == "1"
    with pytest.raises(UserError) as refused:
        register(database, "faces", folders[1], promote=True)
    assert str(refused.value) == (
        "faces keeps its champion: distance 44 [43, 45] of hand-00001 is not better with intervals apart than 40 "
        "[39, 41] of champion version 3 (hand-00002); leave --promote out to register a candidate, or give --force "
        "REASON"
    )
    assert len(database.search_model_versions("name = 'faces'")) == 3, "a refusal registers nothing"
    register(database, "faces", folders[1], promote=True, force="softer faces")
    assert aliases(database, "faces") == {"champion": "4", "candidate": "2"}
    tags = database.get_model_version("faces", "4").tags
    assert tags["gansweep.forced"] == "softer faces"
    assert tags["gansweep.overruled"].startswith("distance 44 [43, 45] of hand-00001 is not better")
    register(database, "faces", folders[3], promote=True, force="not needed")
    assert "gansweep.overruled" not in database.get_model_version("faces", "5").tags


def test_a_concurrent_promotion_is_not_replaced(database: MlflowClient, export: Path, tmp_path: Path) -> None:
    mine, theirs = (scored(export, tmp_path / str(n), f"hand-{n:05d}", value) for n, value in ((0, 40.0), (1, 30.0)))
    registration = Registration(database, "race", promote=True)
    registration.check(read_json(mine / "manifest.json"))
    register(database, "race", theirs, promote=True)
    with pytest.raises(UserError, match=r"race keeps its champion: distance 40 \[39, 41\].*; race version 2 of hand-"):
        registration.register(mine)
    assert aliases(database, "race") == {"champion": "1"}


def test_an_error_after_registering_names_the_registered_version(
    database: MlflowClient, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: object) -> None:
        raise RuntimeError("no alias today\nand a page more")

    monkeypatch.setattr(database, "set_registered_model_alias", fails)
    with pytest.raises(UserError) as refused:
        register(database, "half", scored(export, tmp_path / "e", "hand-00001", 45.0))
    assert str(refused.value) == (
        "no alias today; half version 1 of hand-00001 is registered all the same, without the alias candidate"
    )
    assert len(database.search_model_versions("name = 'half'")) == 1


def test_the_first_champion_needs_an_interval(database: MlflowClient, export: Path, tmp_path: Path) -> None:
    folder = tell(scored(export, tmp_path / "e", "hand-00001", 45.0), {"intervals": {}})
    with pytest.raises(UserError, match=r"^bare gets no champion: hand-00001 has no interval of its distance"):
        register(database, "bare", folder, promote=True)
    assert not database.search_registered_models("name = 'bare'")
    assert register(database, "bare", folder).endswith("alias candidate")
    register(database, "bare", folder, promote=True, force="the only one")
    assert "has no interval" in database.get_model_version("bare", "2").tags["gansweep.overruled"]


def test_a_confirmed_champion_gives_way_to_a_confirmed_model_alone(
    database: MlflowClient, export: Path, tmp_path: Path
) -> None:
    confirmation = {"n": 5, "mean": 46.0, "budget": 40}
    first = scored(export, tmp_path / "1", "hand-00001", 45.0)
    tell(first, {"confirmation": confirmation, "run": "hand-00001", "trial": "hand-00000"})
    register(database, "sure", first, promote=True)
    tags = database.get_model_version("sure", "1").tags
    assert tags["gansweep.run"] == "hand-00001"
    assert json.loads(tags["gansweep.confirmation"]) == confirmation
    second = scored(export, tmp_path / "2", "hand-00002", 30.0)
    with pytest.raises(UserError, match=r"hand-00002 is a single training run and champion version 1 .* was"):
        register(database, "sure", second, promote=True)
    assert register(database, "sure", second, promote=True, force="in haste").endswith("version 2, alias champion")
    assert "single training run" in database.get_model_version("sure", "2").tags["gansweep.overruled"]
    assert "gansweep.confirmation" not in database.get_model_version("sure", "2").tags


def test_the_champion_is_read_once_to_compare_and_to_name(
    database: MlflowClient, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the alias were read twice, the compared version and the replaced one could differ."""
    register(database, "once", scored(export, tmp_path / "1", "hand-00000", 60.0), promote=True)
    registration = Registration(database, "once", promote=True)
    looks = []

    def look() -> object:
        looks.append(Registration.champion(registration))
        return looks[-1]

    monkeypatch.setattr(registration, "champion", look)
    registration.register(scored(export, tmp_path / "2", "hand-00001", 30.0))
    assert len(looks) == 1
    assert database.get_model_version("once", "2").tags["gansweep.replaced"] == "1"


def test_a_champion_of_another_program_is_kept(database: MlflowClient, export: Path, tmp_path: Path) -> None:
    database.create_registered_model("foreign")
    database.create_model_version("foreign", (tmp_path / "x").as_uri())
    database.set_registered_model_alias("foreign", "champion", "1")
    folder = scored(export, tmp_path / "e", "hand-00000", 40.0)
    with pytest.raises(UserError, match=r"of hand-00000 and champion version 1 do not compare"):
        register(database, "foreign", folder, promote=True)


def test_a_trial_that_mlflow_does_not_know(database: MlflowClient, export: Path, tmp_path: Path) -> None:
    for key in ("hand-00099", "elsewhere-00000"):
        folder = scored(export, tmp_path / key, key, 45.0)
        with pytest.raises(UserError, match=f"MLflow has no run of trial {key}.*--tracking"):
            register(database, "lost", folder)


def test_an_export_without_onnx_file_is_refused(database: MlflowClient, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "old")
    with pytest.raises(UserError, match=r"has no generator.onnx"):
        Registration(database, "old").register(folder)


def test_a_generator_that_translates_is_promoted_by_its_scores(
    database: MlflowClient, export: Path, tmp_path: Path
) -> None:
    """One that draws does not take its place: they were measured otherwise, and are asked otherwise."""
    translator = make_portable(write_translator(tmp_path / "translator", "stargan"))
    task = {**FINGERPRINT, "seed_policy": TRANSLATION_POLICY}
    folders = {key: tell(scored(translator, tmp_path / key, key, value), {"fingerprint": task})
               for key, value in (("hand-00000", 45.0), ("hand-00001", 44.0), ("hand-00002", 40.0))}  # fmt: skip
    assert register(database, "eyes", folders["hand-00000"], promote=True).endswith("version 1, alias champion")
    with pytest.raises(UserError, match=r"^eyes keeps its champion: distance 44 \[43, 45\] of hand-00001 is not"):
        register(database, "eyes", folders["hand-00001"], promote=True)
    assert register(database, "eyes", folders["hand-00002"], promote=True).endswith("version 2, alias champion")
    stored = Path(database.get_model_version("eyes", "2").source.removeprefix("file://"))
    about = yaml.safe_load((stored / "MLmodel").read_text())
    assert [(one["name"], one["type"]) for one in json.loads(about["signature"]["inputs"])] == [
        ("picture", "binary"), ("to", "string"),
    ]  # fmt: skip
    draws = scored(export, tmp_path / "draws", "hand-00003", 1.0)
    tell(draws, {"fingerprint": {**FINGERPRINT, "seed_policy": SAMPLING_POLICY}})
    with pytest.raises(
        UserError, match=f"measured differently: seed_policy {SAMPLING_POLICY} and {TRANSLATION_POLICY}"
    ):
        register(database, "eyes", draws, promote=True)


def test_a_model_that_could_not_be_stored_is_marked_failed(
    database: MlflowClient, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object, **options: object) -> None:
        raise UserError("disk full")

    folder = scored(export, tmp_path / "e", "hand-00003", 45.0)
    monkeypatch.setattr("pipeline.serve.registry.save_served", full)
    with pytest.raises(UserError, match="disk full"):
        register(database, "broken", folder)
    experiment = database.get_experiment_by_name("hand").experiment_id
    assert database.search_logged_models([experiment])[0].status == "FAILED"
    assert not database.search_registered_models("name = 'broken'")


@pytest.mark.parametrize("name", ["", "a/b", "x:y", "-o", "a" * 65, "a'b"])
def test_names_that_cannot_be(database: MlflowClient, name: str) -> None:
    with pytest.raises(UsageError, match=r"--register is .*allowed: 1 to 64 letters"):
        Registration(database, name)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--promote"], "--promote needs --register MODEL"),
        (["--force", "x"], "--force needs --register MODEL"),
        (["--register", "m", "--force", "x"], "--force overrules the comparison with the champion; give --promote"),
        (["--register", "m", "--promote", "--force", " "], "--force is empty; give the reason"),
    ],
)
def test_options_that_do_not_go_together(
    words: list[str], complaint: str, database: MlflowClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "x", "-o", str(tmp_path / "e"), "--tracking", database.tracking_uri, *words]) == 2
    assert complaint in capsys.readouterr().err


def test_the_command_registers_and_refuses(swept: Swept, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def export(folder: str, *more: str) -> int:
        home = ["--home", str(swept.settings.home)]
        return main(["export", "tiny", "-o", str(tmp_path / folder), *home, "--register", "tiny-faces", *more])

    assert export("first", "--promote") == 0
    said = capsys.readouterr().out.splitlines()
    rule = json.loads((tmp_path / "first" / "manifest.json").read_text())["rule"]
    assert rule
    assert said[0].endswith(f"to {tmp_path / 'first'}: {rule}")
    assert said[1].endswith("as tiny-faces version 1, alias champion")
    assert export("again", "--promote") == 1
    assert "tiny-faces keeps its champion: distance" in capsys.readouterr().err
    assert not (tmp_path / "again").exists(), "refused before anything is written"
    assert export("again", "--json") == 0
    assert aliases(swept.client, "tiny-faces") == {"champion": "1", "candidate": "2"}
    printed = capsys.readouterr()
    progress = ("export from tiny", "registration of ")
    answered = [line for line in printed.err.splitlines() if not line.startswith(progress)]
    assert answered == [line.replace("first", "again") for line in said[:1]] + [
        said[1].replace("version 1, alias champion", "version 2, alias candidate")
    ]
    told = json.loads(printed.out)
    assert told["registered"] == {"model": "tiny-faces", "version": 2, "alias": "candidate"}
    assert told["output"] == str(tmp_path / "again")
