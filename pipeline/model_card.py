"""The README of an exported generator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.backends import BACKENDS
from pipeline.manifest import GOLDEN, ONNX_HALF
from pipeline.model_card_translation import about_translation, translation_limits, translation_usage
from pipeline.model_card_usage import usage
from trainables.mutations import MUTATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from analysis.runs import Sweep


def model_card(facts: Mapping[str, Any], trial: Mapping[str, Any], about: Mapping[str, Any], sweep: Sweep) -> str:
    """What it is, what it was trained on, how it scores and how that was measured, its limits, how to use it.

    Args:
        facts: what the manifest says.
        trial: the trial as ``Ranking.to_json`` gives it, and its ``class_accuracy`` by group and class; of a
            confirmation's run also its own ``budget``.
        about: the trial's ``config.json``.
        sweep: its sweep.
    """
    data, judge = sweep.data, sweep.data.get("judge") or {}
    sections = [
        _what(facts, trial, about, sweep),
        _scores(facts, trial),
        _tags(facts, trial, judge),
        _data(data),
        _limits(facts, trial, judge),
        _speed(facts),
        _usage(facts, data, about["params"]),
        ["## Configuration", "", *_table(("parameter", "value"), about["params"].items())],
        _mutations(about.get(MUTATIONS, ())),
    ]
    return "\n".join(line for section in sections for line in (*section, ""))


def _usage(facts: Mapping[str, Any], data: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
    if facts.get("translates"):
        return translation_usage(data["vocabulary"], list(facts["targets"]), params["image_size"], _commonest(data))
    return usage(data["vocabulary"], params, _commonest(data))


def _commonest(data: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(max(data["combinations"], key=lambda entry: entry["count"])["labels"])


def _what(facts: Mapping[str, Any], trial: Mapping[str, Any], about: Mapping[str, Any], sweep: Sweep) -> list[str]:
    params, settings = about["params"], sweep.settings
    average = params["training.ema_decay"]
    weights = f"a moving average of its weights (decay {average:g})" if average else "its weights at the end"
    most = trial.get("budget", settings.get("max_kimg"))
    budget = "" if most is None else f" of a budget of {most}"
    sweep_seed = f", from the sweep's seed {settings['seed']}" if "seed" in settings else ""
    tagged = params["generator.conditioning"] != "none"
    told = f"Draws pictures of {params['image_size']} x {params['image_size']} pixels{' by tags' if tagged else ''}."
    shown = _drawn_pictures(facts, tagged=tagged)
    if facts.get("translates"):
        told, shown = about_translation(facts, params["image_size"])
    return [
        f"# {facts['trial']}",
        "",
        f"{told} System `{params['system']}`, trial `{facts['trial']}` of the gansweep sweep `{facts['sweep']}`: "
        f"{weights}. Trained on {trial['kimg']:g} thousand real pictures{budget} ({trial['seconds']:.0f} s), training "
        f"seed {about['seed']}{sweep_seed}. Exported {facts['exported']}.",
        "",
        *shown,
    ]


def _drawn_pictures(facts: Mapping[str, Any], *, tagged: bool) -> list[str]:
    left_out = facts.get("panels_left_out", ())
    return [
        f"![Samples, none picked out{', tags as common as in the data' if tagged else ''}](samples.png)",
        "",
        (
            "In `panels`: the same tags with other noise, the same noise with every tag, and every pair of tags."
            if tagged
            else "In `panels`: more of them."
        )
        + (f" Left out, as too large for one picture: {', '.join(left_out)}." if left_out else ""),
    ]


def _scores(facts: Mapping[str, Any], trial: Mapping[str, Any]) -> list[str]:
    intervals = trial["intervals"]

    def interval(name: str) -> str:
        return "{:.4f} to {:.4f}".format(*intervals[name]) if name in intervals else "not measured"

    rows = [(name, f"{value:.4f}", interval(name)) for name, value in trial["scores"].items() if value is not None]
    kind = "translated" if facts.get("translates") else "drawn"
    samples = f" on {trial['samples']:g} {kind} pictures" if trial.get("samples") else ""
    return [
        "## Scores",
        "",
        f"Measured at {trial['kimg']:g} kimg{samples}. An interval (95%) covers other samples of this generator, not "
        f"another training. {_certainty(facts)}",
        "",
        *_table(("score", "value", "interval"), rows),
        "",
        "Distances are lower-better and compare only under this fingerprint:",
        "",
        *_table(("what", "value"), facts["fingerprint"].items()),
    ]


def _mutations(mutations: Sequence[Mapping[str, Any]]) -> list[str]:
    if not mutations:
        return []
    rows = [
        (one["kimg"], f"{one['source']}; {', '.join(f'{name} {value:g}' for name, value in one['params'].items())}")
        for one in mutations
    ]
    return [
        "It was not trained with these values throughout: under population-based training it went on from other "
        "trials' networks, with changed values.",
        "",
        *_table(("after kimg", "from the networks of; values from then on"), rows),
    ]


def _certainty(facts: Mapping[str, Any]) -> str:
    found = facts.get("confirmation")
    if not found:
        return "This is one seed, and a difference from another trial may be luck."
    within = f", 95% interval {found['interval'][0]:.4g} to {found['interval'][1]:.4g}" if found["interval"] else ""
    nearest = ""
    if found["compared_with"]:
        close = ", ".join(found["not_separable"])
        nearest = f"; not separable from it: {close}" if close else "; no other confirmed one comes as near"
    return (
        f"The configuration was confirmed on {found['n']} fresh seeds: mean {found['by']} {found['mean']:.4g}{within}"
        f"{nearest}. These weights are of `{facts['run']}`, the run with the median score."
    )


def _tags(facts: Mapping[str, Any], trial: Mapping[str, Any], judge: Mapping[str, Any]) -> list[str]:
    if not judge or trial["scores"].get("tag_accuracy") is None:
        return ["The generator takes no tags, so there is no tag accuracy."]
    translated = list(facts["targets"]) if facts.get("translates") else None
    shares = ", ".join(f"{name} {share:.1%}" for name, share in judge["accuracy"].items() if share is not None)
    lines = [
        f"The judge of the tags was trained on real pictures only. On {judge['held_out']} held-out real pictures it "
        f"agrees with the tags on {shares}. Generated pictures can be tagged more surely than real ones, by "
        "exaggerated colours.",
    ]
    kind = "drawn" if translated is None else "translated"
    for name, classes in (judge.get("per_class") or {}).items():
        if translated is not None and name not in translated:
            continue
        drawn = trial["class_accuracy"].get(name, {})
        rows = [
            (label, f"{drawn[label]:.0%}" if label in drawn else "not measured", _share(own))
            for label, own in classes.items()
        ]
        lines += ["", *_table((name, f"{kind} pictures judged as asked", "judge right on held-out real ones"), rows)]
    return lines


def _share(own: Mapping[str, Any]) -> str:
    return "none held out" if own["accuracy"] is None else f"{own['accuracy']:.0%} of {own['support']}"


def _data(data: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Data",
        "",
        f"`{data['name']}` (fingerprint {data['fingerprint']}): {data['pictures']} pictures, "
        f"{data['complete']} with every tag, {data['partial']} with a missing or unusable one.",
    ]
    for name, counts in data["counts"].items():
        lines += ["", *_table((name, "pictures"), counts.items())]
    return lines


def _limits(facts: Mapping[str, Any], trial: Mapping[str, Any], judge: Mapping[str, Any]) -> list[str]:
    title = ["## Limits and licence", ""]
    licence = (
        "- The licence of the training pictures bounds the use of this generator and of what it draws; gansweep does "
        "not know it. Ask whoever made the data set before you publish either."
    )
    if facts.get("translates"):
        return [*title, *translation_limits(), licence]
    copies = trial["scores"].get("memorised")
    lines = [
        *title,
        "- It draws what its training pictures show, with their gaps and their bias; a tag that is rare among them is "
        "learnt badly.",
        "- The scores compare sets of pictures. They do not promise that a single picture is good.",
        "- Some drawn pictures may be near-copies of training pictures"
        + (f" (score `memorised`: {copies:.1%})." if copies is not None else "; that was not measured."),
        licence,
    ]
    if judge and trial["scores"].get("tag_accuracy") is not None:
        lines.insert(3, "- It knows the tags of `tags.json` and no other words.")
    return lines


def _speed(facts: Mapping[str, Any]) -> list[str]:
    speed, differences = facts["speed"], facts["differences"]
    rows = []
    for name, one in speed["backends"].items():
        file = BACKENDS[name]
        figures = f"{one['megabytes']:.1f}", f"{one['latency_ms']:.2f}", f"{one['images_per_second']:.0f}"
        rows.append((f"{name} (`{file}`)", *figures, f"{differences[file]:.1g}" if file in differences else "-"))
    half = (
        ["", "The 16-bit file is for devices that compute in 16 bits; a CPU turns it back into 32."]
        if ONNX_HALF in differences
        else []
    )
    return [
        "## Speed",
        "",
        f"Measured at export on {speed['machine']}. The last column is the largest difference of any pixel, of values "
        "from -1 to 1, from torch.",
        "",
        *_table(("how", "MB", "ms for 1 picture", "pictures/s in batches of 64", "difference"), rows),
        *half,
        "",
        f"`{GOLDEN}` holds {'made-up pictures' if facts.get('translates') else 'noise'}, tags and the pictures that "
        "they must give: check any other way to run it by them.",
    ]


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    return [_row(head), _row(("---",) * len(head)), *map(_row, rows)]


def _row(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"
