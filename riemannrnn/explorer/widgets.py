"""The widgets of the explorer, all with one width. Panel's classes have no types, so they are made in one place."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import panel

pane: Any = panel.pane
"""Panes."""

make: Any = panel.widgets
"""Widgets."""

Progress: Any = panel.indicators.Progress
"""A progress bar."""

WIDTH = 240
"""Width in pixels."""


def whole(name: str, value: int, least: int, most: int) -> Any:
    """Return a field for a whole number."""
    return make.IntInput(label=name, value=value, start=least, end=most, width=WIDTH)


def real(name: str, value: float, least: float, most: float, step: float = 0.1) -> Any:
    """Return a field for a number."""
    return make.FloatInput(label=name, value=value, start=least, end=most, step=step, width=WIDTH)


def slider(name: str, value: float, least: float, most: float, step: float) -> Any:
    """Return a slider for a number."""
    return make.FloatSlider(label=name, value=value, start=least, end=most, step=step, width=WIDTH)


def one_of(name: str, value: Any, options: Sequence[str] | Mapping[str, Any]) -> Any:
    """Return a menu for one of several values; a mapping goes from what is shown to the value."""
    return make.Select(label=name, value=value, options=_options(options), width=WIDTH)


def some_of(name: str, value: Sequence[str], options: Sequence[str] | Mapping[str, str]) -> Any:
    """Return a field for some of several names."""
    return make.MultiChoice(label=name, value=list(value), options=_options(options), width=WIDTH)


def buttons(actions: Mapping[str, Callable[[], None]]) -> Any:
    """Return a row of buttons, each with its action."""
    made = []
    for name, action in actions.items():
        button = make.Button(label=name, width=78, margin=3)
        button.on_click(_called(action))
        made.append(button)
    return panel.Row(*made)


def _called(action: Callable[[], None]) -> Callable[[Any], None]:
    return lambda event: action()


def _options(options: Sequence[str] | Mapping[str, Any]) -> Any:
    return dict(options) if isinstance(options, Mapping) else list(options)


def steps(last: int) -> Any:
    """Return a slider through the steps of learning."""
    return make.IntSlider(label="Step of learning", start=0, end=last, value=0, width=WIDTH)
