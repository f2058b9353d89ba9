"""``gansweep data inspect``: what is there, and what a run would make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.script import print_answer
from pipeline.console import Stages
from pipeline.home import Home
from pipeline.settings import SweepSettings
from pipeline.sweep.data_checks import scarce_domain, untrainable_images, unused_classes
from trainables.config import GanConfig
from trainables.data.addresses import local_data
from trainables.data.class_sheet import check_sheet, write_sheet
from trainables.data.dataset import read_folder
from trainables.data.folder import vocabulary_file
from trainables.data.inspect import describe, format_inspection
from trainables.errors import UsageError, UserError
from trainables.scoring.extractors.registry import ExtractorChoice

if TYPE_CHECKING:
    from pipeline.cli.options import InspectOptions
    from trainables.data.dataset import LoadedFolder


def inspect_data(options: InspectOptions) -> int:
    """Print a report, and write what is asked for; 1 when a run would refuse the data."""
    GanConfig(image_size=options.image_size)  # a size at which nothing trains is refused as by a sweep
    settings = _settings_of_run(options)
    ExtractorChoice(settings.extractor, settings.weights).open()
    selection = settings.selection()
    if options.sheet is not None:
        check_sheet(options.sheet)
    if options.write_vocabulary and options.domain_a is not None:
        raise UsageError(
            "--write-vocabulary and --domain-a are both given; a vocabulary has all classes: leave one out"
        )
    home = Home.find(None)
    cache = home.cache if home.root.is_dir() else None
    with Stages()(f"images of {options.folder}") as progress:
        loaded = read_folder(
            local_data(options.folder, home.cache),
            options.image_size,
            cache=cache,
            progress=progress,
            selection=selection,
            fit=options.fit,
            channels=options.channels,
        )
    report = describe(loaded, selection, cache, settings.max_bad_share)
    if report["refusal"] is None:
        report["refusal"] = untrainable_images(loaded.images, options.folder)
    if report["refusal"] is None and selection.domain_a is not None:
        report["refusal"] = scarce_domain(loaded.images)
    report["unused"] = unused_classes(loaded.images) if loaded.tag_files else []
    if options.sheet is not None:
        write_sheet(loaded.images, options.sheet)
    if options.write_vocabulary:
        report["vocabulary_file"] = _write_vocabulary(loaded)
    print_answer(report, format_inspection(report), as_json=options.json)
    return 1 if report["refusal"] else 0


def _settings_of_run(options: InspectOptions) -> SweepSettings:
    """Return the settings of a sweep with these options, which reads and refuses them as one does."""
    return SweepSettings(
        space="acgan",
        name="inspect",
        data=options.folder,
        image_size=options.image_size,
        fit=options.fit,
        channels=options.channels,
        domain_a=options.domain_a,
        domain_b=options.domain_b,
        attributes=options.attributes,
        max_bad_share=options.max_bad_share,
        extractor=options.extractor,
        weights=options.weights,
    )


def _write_vocabulary(loaded: LoadedFolder) -> str:
    """Write the vocabulary for people to edit.

    Raises:
        UserError: there are no labels, the file exists, or it cannot be written.
    """
    path = vocabulary_file(loaded.path)
    if not loaded.tag_files:
        raise UserError(f"--write-vocabulary: {loaded.refusal(1.0)}")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(loaded.images.vocabulary.to_text())
    except FileExistsError as error:
        raise UserError(f"--write-vocabulary: {path} exists, and decides; edit it, or delete it first") from error
    except OSError as error:
        raise UserError(f"--write-vocabulary: cannot write {path}: {error.strerror or error}") from error
    return str(path)
