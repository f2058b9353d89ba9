"""The Optuna study of a sweep as a Ray Tune searcher."""

from __future__ import annotations

import hashlib
import math
import sys
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from analysis import schema
from analysis.connect import shown
from pipeline.budget import room_for_a_trial
from pipeline.failures import Failures
from pipeline.mirror import Mirror
from pipeline.outcome import Outcome, outcome
from pipeline.patient import open_storage
from pipeline.samplers import KEEPS_STOPPED
from trainables.config import GanConfig
from trainables.errors import UserError, first_line
from trainables.report import unfolded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from optuna.trial import FrozenTrial

    from search_spaces.space import Space

PARAMS, OUTCOME, REASON = "params", "status", "reason"
"""User attributes of an Optuna trial; the last scores and kimg stand beside them under their own names."""
CONTINUES = "continues"
"""User attribute of an Optuna trial that goes on with an ended one under a larger budget: the number of that one,
whose key, seed and MLflow run it keeps. Optuna's finished trials cannot be told again."""
BUDGET = "continues_from"
"""User attribute beside ``CONTINUES``: the budget in kimg that the ended one had completed."""


def objectives(space: Space) -> dict[str, str]:
    """What a sweep of the space optimises: unconditional systems have no tag accuracy, and none is made up."""
    conditional = GanConfig.from_params(space.recipe).conditional
    return {name: way for name, way in schema.OBJECTIVES.items() if conditional or name != schema.TAG_ACCURACY}


def open_study(
    url: str,
    name: str,
    ways: Iterable[str],
    sampler: optuna.samplers.BaseSampler | None = None,
    say: Callable[[str], None] | None = None,
) -> optuna.Study:
    """The persistent study of a sweep, one direction per objective, made when it is not there yet.

    A database that goes away later is waited for, and ``say`` tells so.

    Raises:
        UserError: a storage that does not answer.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            storage=open_storage(url, say or _to_stderr),
            study_name=name,
            sampler=sampler,
            directions=["minimize" if way == "minimize" else "maximize" for way in ways],
            load_if_exists=True,
        )
    except Exception as error:  # every database driver has errors of its own
        raise UserError(f"cannot open the study database {shown(url)}: {first_line(error)}") from error


class StudySearcher(Searcher):
    """Proposes trials from the study and tells it the truth about how they ended.

    Trial 0 is the recipe. A trial that was running when an earlier driver died is issued again under its key; so is an
    ended one that goes on under a larger budget.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        *,
        sweep: str,
        trials: int,
        seed: int,
        max_kimg: int,
        total_kimg: int | None = None,
    ) -> None:
        super().__init__()
        self.failures = Failures()
        """The scheduler's, in a sweep."""
        self.study, self.space, self.objectives = study, space, objectives(space)
        self.sweep, self.trials, self.seed = sweep, trials, seed
        self.max_kimg, self.total_kimg = max_kimg, total_kimg
        self._mirror = Mirror(study)
        self._proposing = optuna.Study(study.study_name, self._mirror, study.sampler)
        """The same study in memory: what is asked and told here goes to the database whole, see ``Mirror``."""
        self._asked: dict[str, int] = {}
        """Ids of trials by Tune's."""
        self._last: dict[str, dict[str, Any]] = {}
        known = self._known()
        self._unfinished = [trial.number for trial in known if trial.state == TrialState.RUNNING]
        self._waiting = sum(trial.state == TrialState.WAITING and CONTINUES in trial.user_attrs for trial in known)
        own = [trial for trial in known if CONTINUES not in trial.user_attrs]
        self._left = trials - sum(trial.state != TrialState.WAITING for trial in own)
        self._kimg: dict[int, float] = {}
        for trial in known:
            self._count(trial)
        if not known:
            self._proposing.enqueue_trial(space.active_defaults())

    def _known(self) -> list[FrozenTrial]:
        return self._proposing.get_trials(deepcopy=False)

    def ended(self) -> Iterator[tuple[str, Outcome]]:
        """Keys and outcomes of the trials that the study knows to have ended, and that do not go on."""
        last = {first_number(trial): trial for trial in self._known()}
        for number, trial in last.items():
            if trial.state.is_finished() and OUTCOME in trial.user_attrs:
                attributes = trial.user_attrs
                yield trial_key(self.sweep, number), Outcome(attributes[OUTCOME], attributes.get(REASON, ""))

    def go_on(self, budget: int, reduction: int) -> list[str]:
        """Let the best of the trials that completed an earlier ``budget`` in kimg go on, by distance.

        Every start of the sweep may ask again: who goes on does not depend on who does already.

        Args:
            budget: the earlier budget.
            reduction: the best ``1 / reduction`` of them, rounded up, go on.

        Returns:
            Keys of all trials that go on from there.
        """
        known = self._known()
        there = [
            trial for trial in known
            if trial.user_attrs.get(OUTCOME) == schema.COMPLETE and trial.user_attrs.get(schema.KIMG) == budget
        ]  # fmt: skip
        there.sort(key=lambda trial: (trial.user_attrs[schema.DISTANCE], trial.number))
        best = there[: math.ceil(len(there) / reduction)]
        begun = {first_number(trial) for trial in known if trial.user_attrs.get(BUDGET) == budget}
        for trial in best:
            if first_number(trial) not in begun:
                attributes = {CONTINUES: first_number(trial), BUDGET: budget, PARAMS: trial.user_attrs[PARAMS]}
                self._proposing.enqueue_trial(trial.params, user_attrs=attributes)
                self._waiting += 1
        return [trial_key(self.sweep, first_number(trial)) for trial in best]

    @property
    def pending(self) -> int:
        """Trials that are still to be issued; none where the total is used and nothing runs that could leave some."""
        if not self._unfinished and not self._asked and not self._room():
            return 0
        return len(self._unfinished) + self._waiting + max(0, self._left)

    @property
    def unused(self) -> int:
        """Trials that were asked for and not issued."""
        return self._waiting + max(0, self._left)

    @property
    def running(self) -> int:
        """Trials that were issued and have not ended."""
        return len(self._asked)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override] # FINISHED is a str
        """The next configuration, that there are no more, or ``None``: not now."""
        if self.failures.waiting:
            return None  # whatever began now would take a core of the node that is to become empty
        if not self._unfinished and not self._room():
            return None if self._asked else Searcher.FINISHED  # one that is stopped early leaves room
        if self._unfinished:
            number = self._unfinished.pop(0)
            frozen = self._known()[number]
            trial = optuna.Trial(self._proposing, frozen._trial_id)
            # A driver can die between asking for a trial and issuing it.
            params = dict(frozen.user_attrs[PARAMS]) if PARAMS in frozen.user_attrs else self._draw(trial)
        elif self._waiting or self._left > 0:
            trial = self._proposing.ask()  # those that wait come first
            if CONTINUES in trial.user_attrs:
                self._waiting -= 1
            else:
                self._left -= 1
            params = self._draw(trial)
        else:
            return Searcher.FINISHED
        stored = self._mirror.commit(trial._trial_id)  # before anything begins that has its key
        self._asked[trial_id] = stored._trial_id
        number = first_number(stored)
        key = trial_key(self.sweep, number)
        return {
            "key": key,
            "number": number,
            "recipe": number == 0,  # a searcher may come upon it again: that is a trial like others
            "params": params,
            "config_hash": GanConfig.from_params(params).hash(),
            "seed": training_seed(self.seed, number),
        }

    def _room(self) -> bool:
        known = self._known()
        running = {first_number(self._mirror.get_trial(stored_id)) for stored_id in self._asked.values()}
        running |= {first_number(known[number]) for number in self._unfinished}
        # Whoever goes on counts with its whole budget, in which what it was trained for already is contained.
        next_one = (
            next((trial for trial in known if trial.state == TrialState.WAITING), None) if self._waiting else None
        )
        counted = running | ({first_number(next_one)} if next_one else set())
        finished = sum(kimg for number, kimg in self._kimg.items() if number not in counted)
        return room_for_a_trial(finished, len(running), self.max_kimg, self.total_kimg)

    def _count(self, trial: FrozenTrial) -> None:
        """Note how far a trial was trained; one that went on counts once."""
        number, kimg = first_number(trial), float(trial.user_attrs.get(schema.KIMG, 0.0))
        self._kimg[number] = max(kimg, self._kimg.get(number, 0.0))

    def _draw(self, trial: optuna.Trial) -> dict[str, Any]:
        params = self.space.sample(trial)
        trial.set_user_attr(PARAMS, params)
        return params

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Remember it, for a trial that ends without one; two-objective studies take no intermediate values."""
        self._last[trial_id] = result

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the study."""
        stored_id = self._asked.pop(trial_id, None)
        if stored_id is None:
            return
        said = self.failures.texts.pop(trial_id, "")
        ended = outcome(result, self.max_kimg, said if error else None)
        self._tell(stored_id, unfolded({**self._last.pop(trial_id, {}), **(result or {})}), ended)

    def _tell(self, stored_id: int, result: dict[str, Any], ended: Outcome) -> None:
        known = {name: result[name] for name in (*self.objectives, schema.KIMG, schema.MUTATIONS) if name in result}
        for name, value in {OUTCOME: ended.status, REASON: ended.reason, **known}.items():
            self._mirror.set_trial_user_attr(stored_id, name, value)
        number = self._mirror.get_trial_number_from_id(stored_id)
        self._count(self._mirror.get_trial(stored_id))
        keeps_stopped = isinstance(self.study.sampler, KEEPS_STOPPED)
        if ended.status == schema.COMPLETE or (ended.status == schema.STOPPED and keeps_stopped):
            self._proposing.tell(number, [float(result[name]) for name in self.objectives])
        else:
            stopped = ended.status == schema.STOPPED
            self._proposing.tell(number, state=TrialState.PRUNED if stopped else TrialState.FAIL)
        self._mirror.commit(stored_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state."""

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles searchers now and then; the study stays with the driver."""
        return {}


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr)


def first_number(trial: optuna.Trial | FrozenTrial) -> int:
    """The number that a trial's key and seed follow from: its own, or that of the trial it continues."""
    return int(trial.user_attrs.get(CONTINUES, trial.number))


def trial_key(sweep: str, number: int) -> str:
    """``<sweep>-<number, 5 digits>``."""
    return f"{sweep}-{number:05d}"


def training_seed(sweep_seed: int, number: int) -> int:
    """A seed below 2**31 for each trial of a sweep."""
    return int(hashlib.sha256(f"training {sweep_seed} {number}".encode()).hexdigest()[:8], 16) >> 1
