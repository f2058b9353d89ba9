"""The README of an exported generator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainables.mutations import MUTATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def model_card(
    facts: Mapping[str, Any], trial: Mapping[str, Any], about: Mapping[str, Any], data: Mapping[str, Any]
) -> str:
    """What it is, what it was trained on, how it scores and how that was measured, how to use it."""
    params, fingerprint = about["params"], facts["fingerprint"]
    return "\n".join(
        [
            f"# {facts['trial']}",
            "",
            f"A {params['system']} generator of {params['image_size']} px pictures"
            f"{' by tags' if data.get('judge') else ''}, trial "
            f"`{facts['trial']}` of the gansweep sweep `{facts['sweep']}`, trained on {trial['kimg']} thousand "
            f"real pictures ({trial['seconds']:.0f} s), seed {about['seed']}. Exported {facts['exported']}.",
            "",
            "![samples](samples.png)",
            "",
            "## Scores",
            "",
            "One seed, no interval: a difference from another trial may be luck.",
            "",
            *_table(
                ("score", "value"),
                [(name, f"{value:.4f}") for name, value in trial["scores"].items() if value is not None],
            ),
            "",
            "Distances are lower-better and compare only under this fingerprint:",
            "",
            *_table(("what", "value"), fingerprint.items()),
            "",
            *_judged(data.get("judge") or {}),
            "",
            "## Data",
            "",
            f"`{data['name']}` (fingerprint {data['fingerprint']}): {data['pictures']} pictures, "
            f"{data['complete']} with every tag, {data['partial']} with a missing or unusable one. The "
            "licence of these pictures bounds the use of the generator; ask whoever made the data set.",
            "",
            *_per_class(data.get("judge") or {}),
            *[
                line
                for name, counts in data["counts"].items()
                for line in (*_table((name, "pictures"), counts.items()), "")
            ],
            *_usage(data["vocabulary"], conditional=bool(data.get("judge"))),
            "## Configuration",
            "",
            *_table(("parameter", "value"), params.items()),
            "",
            *_mutations(about.get(MUTATIONS, ())),
        ]
    )


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
        "",
    ]


def _judged(judge: Mapping[str, Any]) -> list[str]:
    if not judge:
        return ["The generator takes no tags, so there is no tag accuracy."]
    shares = ", ".join(f"{name} {share:.1%}" for name, share in judge["accuracy"].items() if share is not None)
    return [
        f"The judge of the tags was trained on real pictures only. On {judge['held_out']} held-out real pictures it "
        f"agrees with the tags on {shares}. Generated pictures can be tagged more surely than real ones, by "
        "exaggerated colours."
    ]


def _per_class(judge: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, classes in (judge.get("per_class") or {}).items():
        rows = [
            (label, f"{about['accuracy']:.0%} of {about['support']}")
            for label, about in classes.items()
            if about["accuracy"] is not None
        ]
        lines += [*_table((name, "the judge is right on held-out real pictures"), rows), ""]
    return lines


def _usage(vocabulary: Mapping[str, Any], *, conditional: bool) -> list[str]:
    example = " ".join(f"{group['classes'][0]} {group['name']}" for group in vocabulary["groups"])
    asked = f' "{example}"' if conditional else ""
    wanted = f"bundle.vocabulary.parse('{example}')" if conditional else f"(-1,) * {len(vocabulary['groups'])}"
    return [
        "## Use",
        "",
        "```sh",
        f"gansweep generate DIR{asked} -n 16 --seed 0 -o grid.png",
        "```",
        "",
        "```python",
        "from pathlib import Path",
        "from pipeline.bundle import Bundle",
        "",
        "bundle = Bundle.load(Path('DIR'))",
        f"labels = bundle.complete({wanted}, count=16, seed=0)",
        "pixels = bundle.draw(labels, seed=0)  # (16, size, size, 3) uint8",
        "```",
        "",
    ]


def _table(head: tuple[str, str], rows: Any) -> list[str]:
    return [f"| {head[0]} | {head[1]} |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
