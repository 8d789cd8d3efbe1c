"""What an experiment found, as tables, a file and plots."""

import dataclasses
import json
import statistics
from dataclasses import dataclass

from gpt_core import plot
from gpt_core.experiments.arms import Arm, ByPosition, Run
from gpt_core.experiments.paired import conclusion, paired_difference
from gpt_core.pictures import curves_page
from gpt_core.pictures.curves import curve_of
from gpt_core.pictures.document import write
from gpt_core.training.run_log import read
from gpt_core.training.terminal import sentence
from gpt_core.training.train_config import TrainConfig


@dataclass(frozen=True)
class Results:
    """What an experiment found; arms, runs and positions hold the baseline first, then the feature."""

    arms: list[Arm]
    runs: list[list[Run]]
    positions: list[ByPosition] = dataclasses.field(default_factory=list)
    stretch: int = 1

    def losses(self) -> list[list[float]]:
        return [[run.val_loss for run in of_arm] for of_arm in self.runs]

    def rates(self) -> list[float]:
        return [statistics.median(run.tokens_per_second for run in of_arm) for of_arm in self.runs]

    def speed_ratio(self) -> float | None:
        """The feature's speed over the baseline's, of the pairs that were trained in this call; None without
        one.

        A stored speed was measured at another time, when the machine may have been busier.
        """
        rates = [
            [run.tokens_per_second for run in pair]
            for pair in zip(*self.runs)
            if all(run.is_new for run in pair)
        ]
        return (
            statistics.median(feature for _, feature in rates) / statistics.median(base for base, _ in rates)
            if rates
            else None
        )

    def steps_to_baseline(self) -> float | None:
        """After how many steps the feature comes to the loss at which the baseline ends: the median of the
        pairs; None where one never does.

        Between two evaluations the loss is taken to fall along a straight line. A curve that flattens lies
        below it, so the true number is smaller.
        """
        found = [_steps_to(feature, base.val_loss) for base, feature in zip(*self.runs)]
        return None if None in found else statistics.median(found)

    def _seconds_to_baseline(self, steps: float) -> str:
        """The same in seconds of training, without the evaluations; nothing where the speeds cannot be
        compared, or the run takes few seconds."""
        ratio, config = self.speed_ratio(), self.arms[0].config
        if ratio is None:
            return ""
        tokens = config.batch_size * config.block_size * config.accumulation
        whole = config.steps * tokens / self.rates()[0]
        if whole < 10:
            return ""  # of so short a run whole seconds say nothing
        return f", that is {steps / config.steps * whole / ratio:.0f} of its {whole:.0f} s"

    def show(self, say) -> None:
        """The losses in pairs, the speeds and the conclusion."""
        name, config = self.arms[1].name, self.arms[0].config
        losses, rates = self.losses(), self.rates()
        say()
        say(f"exhaustive validation loss after {config.steps} steps, in nats per character ({config.corpus})")
        wide = max(20, len(name) + 2)
        say(
            f"{'seed':>6}{self.arms[0].name:>14}{name:>{wide}}{'difference':>14}   negative: {name} is better"
        )
        for run, b, f in zip(self.runs[0], *losses):
            say(f"{run.seed:>6}{b:>14.4f}{f:>{wide}.4f}{f - b:>+14.4f}")
        difference = paired_difference(*losses)
        means = [statistics.fmean(of_arm) for of_arm in losses]
        interval = f"95 % interval {difference.low:+.4f} to {difference.high:+.4f}"
        say(f"{'mean':>6}{means[0]:>14.4f}{means[1]:>{wide}.4f}{difference.mean:>+14.4f}   {interval}")
        say()
        for arm, of_arm, rate in zip(self.arms, self.runs, rates):
            say(
                f"{arm.name:>{wide}}: {rate:>9,.0f} tokens/s, {of_arm[0].parameters:,} parameters, "
                f"{_made_of(arm.config)}"
            )
        if ratio := self.speed_ratio():
            say(f"{name} trains {ratio:.2f} x as fast as the baseline")
        else:
            say(
                sentence(
                    "The speeds are from different times, so they are not compared: another --out measures "
                    "them side by side."
                )
            )
        if steps := self.steps_to_baseline():
            say(
                f"{name} comes to the loss at which the baseline ends after {steps:.0f} of its "
                f"{config.steps} steps{self._seconds_to_baseline(steps)}"
            )
        say()
        say(sentence(conclusion(name, difference)))

    def show_positions(self, say) -> None:
        """The losses by position, and where the context is cropped."""
        length, wide = self.arms[0].config.block_size, max(20, len(self.arms[1].name) + 2)
        say()
        say(f"validation loss by position, trained on {length} positions (mean of {len(self.runs[0])} runs)")
        say(f"{'positions':>14}{self.arms[0].name:>14}{self.arms[1].name:>{wide}}")
        for first, last in position_ranges(length, self.stretch):
            values = [of_arm.mean(first, last) for of_arm in self.positions]
            mark = "" if last <= length else "   beyond the length of training"
            say(f"{f'{first} to {last - 1}':>14}{values[0]:>14.4f}{values[1]:>{wide}.4f}{mark}")
        values = [of_arm.cropped for of_arm in self.positions]
        say(f"{'cropped':>14}{values[0]:>14.4f}{values[1]:>{wide}.4f}   the last {length} tokens as context")
        say(
            sentence(
                "The baseline's position table ends where its training did: beyond it the rows keep their "
                "initial values and were never trained."
            )
        )

    def write(self, say) -> None:
        """results.json, losses.html and, with matplotlib, the plots, in the folder of the feature's runs."""
        folder = self.arms[1].folder
        found = {
            "arms": [dataclasses.asdict(arm.config) for arm in self.arms],
            "seeds": [run.seed for run in self.runs[0]],
            "losses": self.losses(),
            "tokens_per_second": self.rates(),
            "speed_ratio": self.speed_ratio(),
            "steps_to_baseline": self.steps_to_baseline(),
            "difference": dataclasses.asdict(paired_difference(*self.losses())),
            "positions": [dataclasses.asdict(of_arm) for of_arm in self.positions],
        }
        (folder / "results.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
        names = [arm.name for arm in self.arms]
        found = [
            curve_of(name, [run.folder for run in of_arm], colour=number)
            for number, (name, of_arm) in enumerate(zip(names, self.runs))
        ]
        write(curves_page.page(found, "steps", f"{names[1]} and the {names[0]}"), folder / "losses.html")
        try:
            plot.draw(found, folder / "losses.png")
            if self.positions:
                length = self.arms[0].config.block_size
                plot.draw_positions(
                    dict(zip(names, (of_arm.runs for of_arm in self.positions))),
                    dict(zip(names, (of_arm.cropped for of_arm in self.positions))),
                    length,
                    folder / "positions.png",
                    bin=max(1, length // 8),
                )
        except ImportError:
            say('No plots: matplotlib is not installed; get it with: pip install -e ".[plot]"')
        say(f"in {folder}: {', '.join(sorted(path.name for path in folder.iterdir() if path.is_file()))}")


def _steps_to(run: Run, loss: float) -> float | None:
    """The step at which a run's validation loss first comes down to `loss`; None where it never does."""
    rows = [(row["step"], row["val_loss"]) for row in read(run.folder) if row["kind"] == "eval"]
    for (before, above), (after, below) in zip(rows, rows[1:]):
        if below <= loss:
            return after if above <= loss else before + (after - before) * (above - loss) / (above - below)
    return None


def _made_of(config: TrainConfig) -> str:
    """The attention, and everything else that is not the workbook's."""
    parts = [
        f"{part.replace('_', '-')} {spec.partition(':')[2]}" for part, spec in config.own_classes().items()
    ]
    if not config.attention:
        parts.insert(0, "attention head by head")
    return ", ".join(parts if config.position_embedding else [*parts, "no position table"])


def position_ranges(block_size: int, factor: int) -> list[tuple[int, int]]:
    """The rows of the table: fine around the end of training, coarse elsewhere."""
    quarter = max(1, block_size // 4)
    edges = [0, quarter, 2 * quarter, block_size, block_size + quarter, block_size + 2 * quarter]
    edges += [n * block_size for n in range(2, factor + 1)]
    edges = sorted({edge for edge in edges if edge <= factor * block_size})
    return list(zip(edges, edges[1:]))
