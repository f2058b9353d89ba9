"""Networks given as a file: they run, and what is broken or could reach beyond tensors is refused in one line."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from tests.support.inception import faces
from tests.support.tiny import Touch, quadrants
from trainables.errors import UsageError, UserError
from trainables.scoring.features import is_network_file, open_extractor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")


class Levels(nn.Module):
    """Six features: mean and spread of the grey of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * torch.cat([x.mean((2, 3)), x.amax((2, 3)) - x.amin((2, 3))], 1)


class Maps(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 2


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean((2, 3)), x.mean((2, 3))


class OnePicture(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)).mean(0, keepdim=True)


class TwoImages(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x.mean((2, 3)) + y.mean((2, 3))


class Classes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)).argmax(1, keepdim=True)


def export(network: nn.Module, path: Path) -> Path:
    sides = torch.export.Dim("height", min=4), torch.export.Dim("width", min=4)
    shapes = ({0: torch.export.Dim("batch"), 2: sides[0], 3: sides[1]},)
    torch.export.save(torch.export.export(network, (torch.rand(2, 3, 16, 16),), dynamic_shapes=shapes), path)
    return path


def script(network: nn.Module, path: Path) -> Path:
    torch.jit.script(network.eval()).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "save"), [("My Net-1.pt", script), ("net.ts", script), ("net.torchscript", script), ("net.pt2", export)]
)
def test_a_network_file_is_an_extractor(name, save, tmp_path) -> None:
    path = save(Levels(), tmp_path / name)
    extractor = open_extractor(str(path))
    expected = "my_net_1" if name.startswith("My") else "net"
    assert (extractor.name, extractor.score) == (expected, f"fd_{expected}")
    assert extractor.weights == hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    for pictures in (faces(5), faces(1, size=33)):
        torch.testing.assert_close(extractor(pictures), Levels()(pictures.float()).detach())


def test_nothing_is_said_of_torchs_own_plans(tmp_path) -> None:
    """Users of such a file can do nothing about torch's warning that TorchScript is deprecated."""
    path = script(Levels(), tmp_path / "levels.pt")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        open_extractor(str(path))
    assert [str(one.message) for one in said if "torch.jit" in str(one.message)] == []


def test_a_network_sees_grey_levels_as_floats_at_their_own_size(tmp_path) -> None:
    class Quadrants(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)

    path = script(Quadrants(), tmp_path / "quadrants.pt")
    torch.testing.assert_close(open_extractor(str(path))(faces(3)), quadrants(faces(3)))


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Maps(), r"gives float32 \(2, 3, 64, 64\) for 2 pictures"),
        (Pair(), "gives a tuple"),
        (OnePicture(), r"gives float32 \(1, 3\) for 2 pictures"),
        (Classes(), r"gives int64 \(2, 1\)"),
        (TwoImages(), r"fails on pictures \(2, 3, 64, 64\): .*missing value"),
    ],
    ids=["maps", "pair", "one", "classes", "two"],
)
def test_another_contract_fails_in_one_line(network, reason, tmp_path) -> None:
    path = script(network, tmp_path / "net.pt")
    with pytest.raises(UserError, match=reason) as error:
        open_extractor(str(path))(faces(2))
    assert "it must take float pictures (n, 3, h, w) in [0, 255] for any n and give features (n, d)" in str(error.value)
    assert "\n" not in str(error.value)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("no network")


def state(path: Path) -> None:
    torch.save(Levels().state_dict(), path)


def other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b", "c")


def cut(path: Path) -> None:
    script(Levels(), path)
    path.write_bytes(path.read_bytes()[:-100])


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
@pytest.mark.parametrize(
    "write", [empty, text, state, other_zip, cut, folder], ids=lambda write: getattr(write, "__name__", write)
)
def test_a_file_that_is_no_network_is_refused_in_one_line(write, suffix, tmp_path) -> None:
    path = tmp_path / f"net{suffix}"
    write(path)
    with pytest.raises(UserError) as error:
        open_extractor(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_a_file_cannot_be_combined_with_is_refused(tmp_path) -> None:
    path = script(Levels(), tmp_path / "net.pt")
    with pytest.raises(UsageError, match="which carries its own; leave the weights out"):
        open_extractor(str(path), path)
    with pytest.raises(UsageError, match=r"precision 'bf16' for network file .*; allowed: float32"):
        open_extractor(str(path), precision="bf16")
    with pytest.raises(UserError, match=r"network file .*none\.pt2 does not exist"):
        open_extractor(str(tmp_path / "none.pt2"))


def test_only_network_files_are_taken_for_paths() -> None:
    assert all(map(is_network_file, ("a.pt", "b/c.PT2", "d.ts", "e.torchscript")))
    assert not any(map(is_network_file, ("inception", "efficientnet-64", "weights.pth", "a.onnx", "pt")))


class SavesWhenRun(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, self.path)
        return x.mean((2, 3))


class SavesWhenLoaded(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return (self.path, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        torch.save(torch.zeros(1), self.path)


@pytest.mark.parametrize("network", [SavesWhenRun, SavesWhenLoaded])
def test_torchscript_that_writes_files_is_refused_before_it_runs(network, tmp_path) -> None:
    mark = tmp_path / "written"
    path = script(network(str(mark)), tmp_path / "net.pt")
    with pytest.raises(UserError, match=r"is not safe: its code holds 'save'$"):
        open_extractor(str(path))
    assert not mark.exists()
    torch.jit.load(path)(faces(1).float())  # proves that the trap works
    assert mark.exists()


def rewrite(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change one record of an archive, or add it."""
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    root = next(iter(records)).split("/")[0]
    records[f"{root}/{name}"] = change(records.get(f"{root}/{name}", b""))
    with zipfile.ZipFile(path, "w") as archive:
        for record, content in records.items():
            archive.writestr(record, content)


@pytest.mark.parametrize(
    "text",
    ["torch . save(x)", "ops.aten.from_file(x)", "ops.image.write_file(x)", 'getattr(torch, "\\x73ave")(x)'],
)
def test_torchscript_that_names_such_an_operation_otherwise_is_refused(text, tmp_path) -> None:
    path = script(Levels(), tmp_path / "net.pt")
    rewrite(path, "code/__torch__/extra.py", lambda _: text.encode())
    with pytest.raises(UserError, match="is not safe: its code holds"):
        open_extractor(str(path))


def pickled(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save((Touch(mark), {}), buffer)
    return buffer.getvalue()


def pickle_samples(path: Path, mark: Path) -> None:
    rewrite(path, "data/sample_inputs/model.pt", lambda _: pickled(mark))


def pickle_a_weight(path: Path, mark: Path) -> None:
    def mark_pickled(content: bytes) -> bytes:
        config = json.loads(content)
        config["config"]["scale"]["use_pickle"] = True
        return json.dumps(config).encode()

    rewrite(path, "data/weights/model_weights_config.json", mark_pickled)
    rewrite(path, "data/weights/weight_0", lambda _: pickled(mark))


def evaluate_a_size(path: Path, mark: Path) -> None:
    code = f"__import__('pathlib').Path('{mark}').touch() or Integer(3)"

    def change(content: bytes) -> bytes:
        program = json.loads(content)
        sizes = program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
        sizes[0]["as_expr"]["expr_str"] = code
        return json.dumps(program).encode()

    rewrite(path, "models/model.json", change)


@pytest.mark.parametrize(
    ("trap", "reason"),
    [
        (pickle_samples, "its sample inputs are pickled objects other than tensors"),
        (pickle_a_weight, r"scale in data/weights/model_weights_config\.json is pickled"),
        (evaluate_a_size, "its program holds expr_str"),
    ],
)
def test_an_exported_program_that_runs_code_is_refused(trap, reason, tmp_path) -> None:
    path, mark = export(Levels(), tmp_path / "net.pt2"), tmp_path / "executed"
    trap(path, mark)
    with pytest.raises(UserError, match=f"network file .* is not safe: {reason}"):
        open_extractor(str(path))
    assert not mark.exists()
    try:
        torch.export.load(path)  # proves that the trap works
    except Exception as error:
        print(error)
    assert mark.exists()


def call(target: str) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        program = json.loads(content)
        program["graph_module"]["graph"]["nodes"][0]["target"] = target
        return json.dumps(program).encode()

    return change


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("models/model.json", call("torch.os.system"), r"its program holds target 'torch\.os\.system'"),
        ("models/model.json", call("torch.ops.aten.from_file.default"), "its program holds target"),
        ("models/model.json", call("_operator.methodcaller"), "its program holds target"),
        ("data/aotinductor/model/model.so", lambda _: b"ELF", "it holds 'data/aotinductor/model/model.so'"),
        ("data/weights/model.pt", lambda _: b"", r"it holds 'data/weights/model\.pt'"),
        ("data/constants/custom_obj_0", lambda _: b"", "it holds 'data/constants/custom_obj_0'"),
    ],
)
def test_an_exported_program_that_reaches_beyond_tensors_is_refused(name, change, reason, tmp_path) -> None:
    path = export(Levels(), tmp_path / "net.pt2")
    rewrite(path, name, change)
    with pytest.raises(UserError, match=reason):
        open_extractor(str(path))
