"""The settings: saved and read back, and refused with the value and what is allowed."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.settings import PrecisionChoice, Sampler, SchedulerChoice, SweepSettings
from trainables.config import Fit
from trainables.errors import UsageError, UserError

WORDS = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=8)
PAIRS = st.lists(WORDS, max_size=3).map(lambda names: tuple(f"{name}=1" for name in names))
PATHS = WORDS.map(lambda text: Path("/folder") / text)


def settings(**changes: object) -> SweepSettings:
    return SweepSettings(**{"space": "acgan", "data": Path("faces"), "name": "s", **changes})  # type: ignore[arg-type]


@given(
    fields=st.fixed_dictionaries(
        {"data": PATHS, "name": WORDS, "trials": st.integers(1, 10**6), "seed": st.integers(0, 2**31 - 1)},
        optional={
            "max_kimg": st.integers(10, 10**7),
            "eval_kimg": st.integers(1, 10),
            "concurrent": st.none() | st.integers(1, 10**5),
            "gpus_per_trial": st.just("auto") | st.floats(0, 64).map(str),
            "sampler": st.sampled_from(get_args(Sampler)),
            "scheduler": st.sampled_from(get_args(SchedulerChoice)),
            "min_tag_accuracy": st.none() | st.floats(0, 1),
            "precision": st.sampled_from(get_args(PrecisionChoice)),
            "fit": st.sampled_from(get_args(Fit)),
            "weights": st.none() | PATHS,
            "cascade": st.none() | PATHS,
            "init_from": st.none() | PATHS,
            "fid_infinity": st.booleans(),
            "mmd": st.booleans(),
            "home": st.none() | PATHS,
            "time_limit": st.none() | st.integers(1, 99).map("{}m".format),
            "storage": st.none() | st.just("s3://bucket/prefix") | PATHS.map(str),
            "checkpoint_seconds": st.integers(1, 86_400),
            "tracking": st.none() | st.just("http://127.0.0.1:5000"),
            "max_bad_share": st.floats(0, 1),
            "budgets": st.lists(st.integers(1, 9), max_size=3).map(tuple),
            **dict.fromkeys(("set", "fix", "range", "choices"), PAIRS),
        },
    )
)
def test_settings_survive_json(fields: dict[str, object]) -> None:
    before = settings(**fields)
    assert SweepSettings.from_json(json.loads(json.dumps(before.to_json()))) == before


def test_another_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="--precision is 'float16'; allowed: auto, float32, bf16"):
        settings(precision="float16")


def test_another_fit_is_refused_and_settings_without_one_read_as_crop() -> None:
    with pytest.raises(UsageError, match="--fit is 'squash'; allowed: crop, pad, stretch"):
        settings(fit="squash")
    before = settings().to_json()
    del before["fit"]
    assert SweepSettings.from_json(before).fit == "crop"


def test_settings_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps({"space": "acgan", "data": "/d", "name": "n", "fix": ["a=1"], "trials": 7}))
    assert SweepSettings.from_file(path) == settings(data=Path("/d"), name="n", fix=("a=1",), trials=7)


@pytest.mark.parametrize("content", ["{", '{"space": "acgan", "data": "/d", "name": "n", "colour": 1}'])
def test_a_saved_file_that_does_not_fit_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(content)
    with pytest.raises(UserError, match="settings"):
        SweepSettings.from_file(path)
    with pytest.raises(UserError, match=r"nowhere\.json"):
        SweepSettings.from_file(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("trials", 0, "1 to 1000000"),
        ("trials", 1_000_001, "1 to 1000000"),
        ("max_kimg", 0, "1 to 10000000"),
        ("eval_kimg", 0, "1 to 100"),
        ("eval_kimg", 101, "1 to 100"),
        ("concurrent", 0, "1 to 100000"),
        ("cpus_per_trial", 0, "1 to 1024"),
        ("samples", 15, "16 to 1000000"),
        ("rung_samples", 15, "16 to 1000000"),
        ("max_bad_share", -0.1, "0 to 1"),
        ("max_bad_share", 1.1, "0 to 1"),
        ("checkpoint_seconds", 0, "1 to 86400"),
        ("checkpoint_seconds", 86_401, "1 to 86400"),
        ("storage", "gs://bucket", "a folder, or s3://bucket/prefix"),
        ("seed", -1, "0 to 2147483647"),
        ("seed", 2**31, "0 to 2147483647"),
        ("gpus_per_trial", "-1", "auto, or 0 to 64"),
        ("gpus_per_trial", "65", "auto, or 0 to 64"),
        ("gpus_per_trial", "nan", "auto, or 0 to 64"),
        ("gpus_per_trial", "many", "auto, or 0 to 64"),
        ("fuse", "1", "auto, off, or 2 to 64"),
        ("fuse", "65", "auto, off, or 2 to 64"),
        ("fuse", "-2", "auto, off, or 2 to 64"),
        ("fuse", "all", "auto, off, or 2 to 64"),
        ("fuse", "9" * 70, "auto, off, or 2 to 64"),
        ("end_hopeless", "lost", "none, or one or more of collapse,won"),
        ("time_limit", "soon", "90s, 30m or 2h"),
        ("time_limit", "0", "90s, 30m or 2h"),
        ("time_limit", "-5m", "90s, 30m or 2h"),
        ("time_limit", "5d", "90s, 30m or 2h"),
        ("time_limit", "", "90s, 30m or 2h"),
    ],
)
def test_impossible_values_are_refused_with_what_is_allowed(field: str, value: object, allowed: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings(**{field: value})
    message = str(caught.value)
    assert f"--{field.replace('_', '-')}" in message
    assert str(value) in message
    assert allowed in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [("trials", 1), ("trials", 10**6), ("samples", 16), ("seed", 0), ("seed", 2**31 - 1), ("eval_kimg", 100)],
)
def test_the_ends_of_a_range_are_allowed(field: str, value: int) -> None:
    assert getattr(settings(**{field: value}), field) == value


def test_a_confidence_that_no_sampler_would_use_is_refused() -> None:
    for sampler in ("auto", "tpe", "gp"):
        with pytest.raises(UsageError, match=r"^--prior-confidence is 0.75 and --sampler (tpe|gp), which does not use"):
            settings(sampler=sampler, prior_confidence=0.75)
    assert settings(sampler="prior", prior_confidence=0.75).prior_confidence == 0.75
    assert settings(like="first", prior_confidence=0.75).sampler == "prior"
    assert settings(sampler="gp", prior_confidence=0.5).sampler == "gp"  # as saved settings have it
    saved = settings(sampler="tpe").to_json()
    assert SweepSettings.from_json({**saved, "prior_confidence": 0.75}).prior_confidence == 0.5
    assert SweepSettings.from_json({**saved, "sampler": "prior", "prior_confidence": 0.75}).prior_confidence == 0.75


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5h", 5400), (" 3m ", 180)]
)
def test_time_limits(text: str, seconds: float) -> None:
    assert settings(time_limit=text).time_limit_seconds() == seconds


def test_a_relative_storage_is_resolved_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings(storage="disk").to_json()["storage"] == str(tmp_path / "disk")


def test_no_time_limit_and_automatic_gpus_are_none() -> None:
    assert settings().time_limit_seconds() is None
    assert settings().resource_request().gpus is None
    assert settings(gpus_per_trial="0.25").resource_request().gpus == 0.25
    assert settings(gpus_per_trial="0").resource_request().gpus == 0


def test_slots_are_asked_for_or_follow_from_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.resources.usable_cores", lambda: 8)
    assert settings(trials=2).resource_request().use_cores().slots == 2
    assert settings(concurrent=3).resource_request().use_cores().slots == 3
    assert settings(cpus_per_trial=2).resource_request().use_cores().slots == 4
    assert settings(cpus_per_trial=3).resource_request().use_cores().slots == 2
    assert settings(cpus_per_trial=16).resource_request().use_cores().slots == 1
    assert settings(trials=20, fuse="4").resource_request().use_cores().slots == 5
    assert settings(trials=21, fuse="4").resource_request().use_cores().slots == 6
    assert settings(trials=20, fuse="4", concurrent=3).resource_request().use_cores().slots == 3
    assert settings(trials=3, fuse="64").resource_request().use_cores().slots == 1
    assert (
        settings(fuse="off").resource_request().use_cores().slots
        == settings(fuse="auto").resource_request().use_cores().slots
        == 8
    )


def test_the_image_size_is_the_sweeps_and_no_dimension() -> None:
    space = settings(image_size=32).resolve_space()
    assert space.recipe["image_size"] == 32
    assert "image_size" not in {dimension.name for dimension in space.dimensions}


def test_set_changes_the_default_and_keeps_the_dimension() -> None:
    space = settings(set=("generator.width=16",)).resolve_space()
    assert space.recipe["generator.width"] == 16
    assert space.dimension("generator.width").default == 16
    assert space.dimension("generator.width").choices == (16, 32, 64, 128)


def test_fix_takes_the_dimension_out() -> None:
    before = settings().resolve_space()
    space = settings(fix=("generator.width=5", "training.flip=true")).resolve_space()
    assert space.recipe["generator.width"] == 5
    assert space.recipe["training.flip"] is True
    gone = {d.name for d in before.dimensions} - {d.name for d in space.dimensions}
    assert gone == {"generator.width", "training.flip"}


def test_range_changes_the_ends_and_moves_a_default_outside_to_the_nearer_one() -> None:
    space = settings(range=("optimizer.generator_lr=3e-4:5e-4", "optimizer.discriminator_lr=1e-4:3e-4")).resolve_space()
    dimension = space.dimension("optimizer.generator_lr")
    assert (dimension.low, dimension.high, dimension.default, dimension.log) == (3e-4, 5e-4, 3e-4, True)
    assert space.recipe["optimizer.generator_lr"] == 3e-4
    assert space.recipe["optimizer.discriminator_lr"] == 2e-4


def test_choices_replace_the_choices_and_an_excluded_default() -> None:
    space = settings(choices=("generator.width=8, 24", "training.batch_size=32,64")).resolve_space()
    assert space.dimension("generator.width").choices == (8, 24)
    assert space.recipe["generator.width"] == 8
    # A parameter that was fixed becomes a dimension, and keeps its default where that is among the choices.
    assert space.dimension("training.batch_size").choices == (32, 64)
    assert space.recipe["training.batch_size"] == 64


def test_a_default_can_be_set_within_a_range_given_with_it() -> None:
    space = settings(range=("optimizer.generator_lr=3e-4:5e-4",), set=("optimizer.generator_lr=4e-4",)).resolve_space()
    assert space.recipe["optimizer.generator_lr"] == 4e-4


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("set", "generator.width", "NAME=VALUE"),
        ("set", "generator.width=", "NAME=VALUE"),
        ("fix", "=3", "unknown parameter ''"),
        ("fix", "generator.wdith=3", "did you mean 'generator.width'"),
        ("set", "generator.width=17", "16, 32, 64, 128"),
        ("set", "optimizer.generator_lr=0.5", "5e-05 to 0.001"),
        ("fix", "generator.width=0", "1 to 1024"),
        ("fix", "generator.width=2.5", "a whole number is needed"),
        ("fix", "generator.width=wide", "a whole number is needed"),
        ("fix", "training.flip=yes", "true, false"),
        ("fix", "losses.labels=sotf", "hard, soft, noisy; did you mean 'soft'"),
        ("fix", "losses.adversarial_weight=0", "use more than 0"),
        ("range", "optimizer.generator_lr=1e-4", "1e-4:1e-3"),
        ("range", "optimizer.generator_lr=1e-3:1e-4", "low first"),
        ("range", "optimizer.generator_lr=0:1e-4", "begin above 0"),
        ("range", "losses.labels=0:1", "losses.labels takes names, not a range; use --choices"),
        ("range", "training.flip=false:true", "--choices"),
        ("choices", "losses.labels=hard,sotf", "did you mean 'soft'"),
        ("choices", "generator.width=8,9999", "1 to 1024"),
        ("choices", "generator.width=8,", "a whole number is needed"),
    ],
)
def test_malformed_changes_of_the_space_are_refused(option: str, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings(**{option: (text,)}).resolve_space()
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_unknown_space_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown space 'agcan'.*did you mean 'acgan'"):
        settings(space="agcan").resolve_space()


def test_an_image_size_that_no_network_draws_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"50.*48 and 56"):
        settings(image_size=50).resolve_space()


def test_passwords_are_not_stored() -> None:
    given = settings(study="postgresql://ada:secret@db/studies", tracking="https://ada:secret@mlflow", concurrent=2)
    public = given.public()
    assert "secret" not in json.dumps(public)
    assert public["study"].endswith("@db/studies")
    assert public["concurrent"] == 2
    assert given.to_json()["study"] == "postgresql://ada:secret@db/studies"


def test_defaults_clamped_by_a_range_are_reported() -> None:
    given = settings(range=("updates.generator_steps=2:4",), choices=("generator.noise_dim=64,256",))
    assert given.clamped_defaults(given.resolve_space()) == {"updates.generator_steps": 1}


@pytest.mark.parametrize("option", ["set", "fix", "range", "choices"])
def test_the_image_size_is_set_by_its_own_option(option: str) -> None:
    with pytest.raises(UsageError, match="use --image-size"):
        settings(**{option: ("image_size=32",)}).resolve_space()


def test_relative_paths_are_resolved_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = settings(weights=Path("w.pth"), extractor="nets/own.onnx", cascade=Path("c.xml"))
    assert (given.weights, given.extractor) == (tmp_path / "w.pth", str(tmp_path / "nets" / "own.onnx"))
    assert given.cascade == tmp_path / "c.xml"
    assert settings(extractor="efficientnet-128").extractor == "efficientnet-128"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budgets": 7}, "budgets is 7"),
        ({"fix": "generator.width=4"}, "fix is 'generator.width=4'"),
        ({"fix": [1]}, r"fix is \[1\]"),
        ({"data": 1}, "data is 1"),
        ({"trials": "10"}, "trials is '10'"),
        ({"trials": True}, "trials is True"),
        ({"adopt": 1}, "adopt is 1"),
        ({"weights": "\0"}, "null byte"),
        ({"extractor_precision": "float64"}, "extractor_precision is 'float64'"),
        ({"precision": "float16"}, "precision is 'float16'"),
    ],
)
def test_saved_settings_of_another_type_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=f"saved settings do not fit this version: .*{said}"):
        SweepSettings.from_json({**settings().to_json(), **changes})


def test_saved_settings_are_an_object(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text("3")
    with pytest.raises(UserError, match="saved settings are a int; a JSON object is needed"):
        SweepSettings.from_file(tmp_path / "sweep.json")


def test_an_empty_path_is_a_path() -> None:
    assert SweepSettings.from_json({**settings().to_json(), "weights": ""}).weights == Path.cwd()


def test_python_values_equal_texts_of_the_command_line() -> None:
    natural = settings(
        data="faces",
        home="runs",
        fix={"generator.width": 32, "training.flip": True},
        set={"losses.adversarial": "wgan"},
        range={"optimizer.generator_lr": (1e-4, 1e-3)},
        choices={"discriminator.width": [8, 16]},
        gpus_per_trial=0.5,
        fuse=4,
    )
    assert natural == settings(
        data=Path("faces"),
        home=Path("runs"),
        fix=("generator.width=32", "training.flip=true"),
        set=("losses.adversarial=wgan",),
        range=("optimizer.generator_lr=0.0001:0.001",),
        choices=("discriminator.width=8,16",),
        gpus_per_trial="0.5",
        fuse="4",
    )
    space = settings(fix={"training.flip": False}, choices={"generator.width": [8, 16]}).resolve_space()
    assert space.recipe["training.flip"] is False
    assert [one.choices for one in space.dimensions if one.name == "generator.width"] == [(8, 16)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": 3}, "--data is 3; expected a path"),
        ({"name": None}, "--name is None; expected text"),
        ({"trials": "many"}, "--trials is 'many'; expected a whole number"),
        ({"trials": 2.5}, "--trials is 2.5; expected a whole number"),
        ({"eval_kimg": True}, "--eval-kimg is True; expected a whole number or None"),
        ({"max_bad_share": "0"}, "--max-bad-share is '0'; expected a number"),
        ({"adopt": 1}, "--adopt is 1; expected True or False"),
        ({"extractor_precision": "f16"}, "--extractor-precision is 'f16'; allowed: float32, bf16"),
        ({"storage": 3}, "--storage is 3; expected text or None"),
        ({"fix": "generator.width=32"}, "--fix is 'generator.width=32'; expected a dictionary"),
        ({"fix": [32]}, r"--fix is \(32,\); expected a dictionary"),
        ({"fix": {"generator.width": [32]}}, r"--fix generator.width is \[32\]; expected a number"),
        ({"range": {"generator.width": 32}}, r"--range generator.width is 32; expected a pair"),
        ({"range": {"generator.width": (1, 2, 3)}}, r"--range generator.width is \(1, 2, 3\); expected a pair"),
        ({"choices": {"generator.width": 32}}, "--choices generator.width is 32; expected a list"),
        ({"choices": {"generator.width": []}}, r"--choices generator.width is \[\]; expected a list"),
    ],
)
def test_a_wrong_type_names_the_option_and_the_value(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        settings(**changes)
