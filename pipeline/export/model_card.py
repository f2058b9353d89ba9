"""The README of an exported generator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.ranking.tag_classifier_check import describe_accuracy, tag_classifier_warning
from analysis.schema import budget_unit
from pipeline.bundle.backends import BACKENDS
from pipeline.bundle.manifest import GOLDEN, ONNX_HALF, images_seen
from pipeline.export.model_card_translation import about_translation, translation_limits, translation_usage
from pipeline.export.model_card_usage import usage
from trainables.trial.pbt_mutations import MUTATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from analysis.mlflow_reader.sweep import Sweep


def model_card(facts: Mapping[str, Any], trial: Mapping[str, Any], about: Mapping[str, Any], sweep: Sweep) -> str:
    """Return the model card in Markdown: summary, scores with fingerprint, data, limits, speed, usage, parameters.

    Args:
        facts: content of the manifest.
        trial: the trial from ``Ranking.to_json``, with its ``class_accuracy`` by group and class; for a confirmation
            run also its own ``budget``.
        about: the trial's ``config.json``.
        sweep: the trial's sweep.
    """
    data, tag_classifier = sweep.data, sweep.data.get("judge") or {}
    sections = [
        _what(facts, trial, about, sweep),
        _scores(facts, trial),
        _tags(facts, trial, tag_classifier),
        _data(data),
        _limits(facts, trial, tag_classifier),
        _speed(facts),
        _usage(facts, data, about),
        ["## Configuration", "", *_table(("parameter", "value"), about["params"].items())],
        _mutations(about.get(MUTATIONS, ())),
    ]
    return "\n".join(line for section in sections for line in (*section, ""))


def _usage(facts: Mapping[str, Any], data: Mapping[str, Any], about: Mapping[str, Any]) -> list[str]:
    if facts.get("translates"):
        return translation_usage(data["vocabulary"], list(facts["targets"]), about, _commonest(data))
    return usage(data["vocabulary"], about["params"], _commonest(data))


def _commonest(data: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(max(data["combinations"], key=lambda entry: entry["count"])["labels"])


def _weights(params: Mapping[str, Any]) -> str:
    if halflife := params.get("training.ema_halflife"):
        return f"a moving average of its weights (half-life {halflife:g} thousand images)"
    decay = params["training.ema_decay"]
    return f"a moving average of its weights (decay {decay:g})" if decay else "its weights at the end"


def _origin(origin: Mapping[str, Any]) -> str:
    """Name the export that a fine-tuned trial started from."""
    run = f" of run `{origin['run']}`, after {origin['kimg']:g} thousand images," if origin.get("run") else ""
    return f"the exported weights{run} with SHA-256 `{origin['weights'][:16]}`"


def _what(facts: Mapping[str, Any], trial: Mapping[str, Any], about: Mapping[str, Any], sweep: Sweep) -> list[str]:
    params, settings = about["params"], sweep.settings
    weights = _weights(params)
    seen = images_seen(trial["kimg"], sweep.data.get("pictures"))
    unit = budget_unit(settings)
    most = trial.get("budget", settings.get("max_kimg"))
    budget = "" if most is None else f"; the budget was {most} {'thousand' if unit == 'kimg' else unit}"
    sweep_seed = f", from the sweep's seed {settings['seed']}" if "seed" in settings else ""
    tagged = params["generator.conditioning"] != "none"
    summary = f"Draws images of {params['image_size']} x {params['image_size']} pixels{' by tags' if tagged else ''}."
    shown = _drawn_images(facts, tagged=tagged)
    if facts.get("translates"):
        summary, shown = about_translation(facts, params["image_size"])
    return [
        f"# {facts['trial']}",
        "",
        f"{summary} System `{params['system']}`, trial `{facts['trial']}` of the gansweep sweep `{facts['sweep']}`: "
        f"{weights}. {seen}{budget} ({trial['seconds']:.0f} s), training "
        f"seed {about['seed']}{sweep_seed}. Exported {facts['exported']}.",
        "",
        *([f"Training started from {_origin(origin)}.", ""] if (origin := about.get("init_from")) else []),
        *([f"Chosen among the sweep's trials: {facts['rule']}.", ""] if facts.get("rule") else []),
        *([f"**Warning:** {warning}.", ""] if (warning := tag_classifier_warning(sweep.data)) else []),
        *shown,
    ]


def _drawn_images(facts: Mapping[str, Any], *, tagged: bool) -> list[str]:
    left_out = facts.get("panels_left_out", ())
    return [
        f"![Samples, not selected{', tags as common as in the data' if tagged else ''}](samples.png)",
        "",
        (
            "In `panels`: the same tags with other noise, the same noise with every tag, and every pair of tags."
            if tagged
            else "In `panels`: more of them."
        )
        + (f" Left out, as too large for one image: {', '.join(left_out)}." if left_out else ""),
    ]


def _scores(facts: Mapping[str, Any], trial: Mapping[str, Any]) -> list[str]:
    intervals = trial["intervals"]

    def interval(name: str) -> str:
        return "{:.4f} to {:.4f}".format(*intervals[name]) if name in intervals else "not measured"

    rows = [(name, f"{value:.4f}", interval(name)) for name, value in trial["scores"].items() if value is not None]
    kind = "translated" if facts.get("translates") else "drawn"
    samples = f" on {trial['samples']:g} {kind} images" if trial.get("samples") else ""
    return [
        "## Scores",
        "",
        f"Measured at {trial['kimg']:g} kimg{samples}. The 95% intervals cover resampling of this generator's images, "
        f"not retraining. {_certainty(facts)}",
        "",
        *_table(("score", "value", "interval"), rows),
        "",
        "Lower distances are better. Compare them only under this fingerprint:",
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
        "These values did not hold throughout: population-based training continued it from other trials' networks, "
        "with perturbed values.",
        "",
        *_table(("after kimg", "source trial; new values"), rows),
    ]


def _certainty(facts: Mapping[str, Any]) -> str:
    confirmation = facts.get("confirmation")
    if not confirmation:
        return "It was trained on one seed; a difference from another trial may be chance."
    bounds = confirmation["interval"]
    interval = f", 95% interval {bounds[0]:.4g} to {bounds[1]:.4g}" if bounds else ""
    nearest = ""
    if confirmation["compared_with"]:
        close = ", ".join(confirmation["not_separable"])
        nearest = (
            f"; not separable from it: {close}"
            if close
            else "; every other confirmed configuration is separable from it"
        )
    return (
        f"The configuration was confirmed on {confirmation['n']} fresh seeds: mean {confirmation['by']} "
        f"{confirmation['mean']:.4g}{interval}{nearest}. "
        f"These weights are of `{facts['run']}`, the run with the median score."
    )


def _tags(facts: Mapping[str, Any], trial: Mapping[str, Any], tag_classifier: Mapping[str, Any]) -> list[str]:
    if not tag_classifier or trial["scores"].get("tag_accuracy") is None:
        return ["The generator takes no tags, so there is no tag accuracy."]
    translated = list(facts["targets"]) if facts.get("translates") else None
    shares = describe_accuracy(tag_classifier["accuracy"])
    lines = [
        f"The tag classifier was trained on real images only. On {tag_classifier['held_out']} held-out real images it "
        f"agrees with the tags on {shares}. Generated images can be easier to classify than real ones, because "
        "of exaggerated colours.",
    ]
    kind = "drawn" if translated is None else "translated"
    for name, classes in (tag_classifier.get("per_class") or {}).items():
        if translated is not None and name not in translated:
            continue
        drawn = trial["class_accuracy"].get(name, {})
        rows = [
            (label, f"{drawn[label]:.0%}" if label in drawn else "not measured", _share(own))
            for label, own in classes.items()
        ]
        lines += [
            "",
            *_table((name, f"{kind} images classified as asked", "tag classifier right on held-out real ones"), rows),
        ]
    return lines


def _share(own: Mapping[str, Any]) -> str:
    return "none held out" if own["accuracy"] is None else f"{own['accuracy']:.0%} of {own['support']}"


def _data(data: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Data",
        "",
        f"`{data['name']}` (fingerprint {data['fingerprint']}): {data['pictures']} images, "
        f"{data['complete']} with every tag, {data['partial']} with a missing or unusable one.",
    ]
    for name, counts in data["counts"].items():
        lines += ["", *_table((name, "images"), counts.items())]
    return lines


def _limits(facts: Mapping[str, Any], trial: Mapping[str, Any], tag_classifier: Mapping[str, Any]) -> list[str]:
    title = ["## Limits and licence", ""]
    licence = (
        "- The licence of the training images limits the use of this generator and of its images; gansweep does "
        "not know it. Ask the authors of the data set before you publish either."
    )
    if facts.get("translates"):
        return [*title, *translation_limits(), licence]
    copies = trial["scores"].get("memorised")
    lines = [
        *title,
        "- It reproduces the content of its training images, including their gaps and bias; rare tags are learnt "
        "badly.",
        "- The scores compare sets of images. They do not guarantee the quality of a single image.",
        "- Some drawn images may be near-copies of training images"
        + (f" (score `memorised`: {copies:.1%})." if copies is not None else "; this was not measured."),
        licence,
    ]
    if tag_classifier and trial["scores"].get("tag_accuracy") is not None:
        lines.insert(3, "- It accepts only the tags of `tags.json`.")
    return lines


def _speed(facts: Mapping[str, Any]) -> list[str]:
    speed, differences = facts["speed"], facts["differences"]
    rows = []
    for name, one in speed["backends"].items():
        file = BACKENDS[name]
        figures = f"{one['megabytes']:.1f}", f"{one['latency_ms']:.2f}", f"{one['images_per_second']:.0f}"
        rows.append((f"{name} (`{file}`)", *figures, f"{differences[file]:.1g}" if file in differences else "-"))
    half = (
        ["", "The 16-bit file is for devices that compute in 16 bits; a CPU converts it back to 32."]
        if ONNX_HALF in differences
        else []
    )
    return [
        "## Speed",
        "",
        f"Measured at export on {speed['machine']}. The last column is the largest difference of any pixel, of values "
        "from -1 to 1, from torch.",
        "",
        *_table(("how", "MB", "ms for 1 image", "images/s in batches of 64", "difference"), rows),
        *half,
        "",
        f"`{GOLDEN}` holds {'synthetic images' if facts.get('translates') else 'noise'}, tags and the images that "
        "they must give: use it to check any other runtime.",
    ]


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    return [_row(head), _row(("---",) * len(head)), *map(_row, rows)]


def _row(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"
