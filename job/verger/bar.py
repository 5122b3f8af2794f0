"""The bar of the extraction on a terminal."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from verger.meter import Meter
from verger.text import one_line
from verger.waits import Waits


class Bar(Progress):
    """A bar, and a line below it while the run waits for something.

    Parameters
    ----------
    meter : Meter
        Its counts and rate are shown.
    waits : Waits
        What the run waits for.
    console : rich.console.Console
        Of the terminal.
    """

    def __init__(self, meter: Meter, waits: Waits, console: Console) -> None:
        self._waits = waits
        super().__init__(
            SpinnerColumn(),
            TextColumn("Features"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _MeterColumn(meter),
            console=console,
            expand=True,
        )
        task = self.add_task("", total=meter.total)
        meter.changed = lambda: self.update(task, completed=meter.done)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, and what the run waits for.

        Yields
        ------
        rich.console.RenderableType
            One or two.
        """
        yield self.make_tasks_table(self.tasks)
        if waits := self._waits.text:
            yield Text(f"  {one_line(waits)}")


class _MeterColumn(TextColumn):
    """Rate, time left and rejected photographs beside the bar."""

    def __init__(self, meter: Meter) -> None:
        super().__init__("")
        self._fields = meter.fields

    def render(self, task: object) -> Text:
        fields = self._fields()
        rate, eta = fields["photographs_per_s"], fields["eta_s"]
        if not fields["done"]:  # nothing is known yet
            return Text("")
        left = "-:--:--" if eta is None else datetime.timedelta(seconds=eta)
        return Text(f"{rate:.{0 if rate >= 10 else 1}f}/s  {left} left  {fields['rejected']:,} rejected")
