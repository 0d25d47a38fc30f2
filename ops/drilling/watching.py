"""What steps wait for: alerts that must fire, calm afterwards, and that nothing was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ops.drilling.panels import PROVOKED, panel_queries
from ops.drilling.prometheus import DrillFailed, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from ops.drilling.ring import Ring

LASTING: Final = frozenset(
    # These look back over minutes, and so go on for a while after their cause has gone.
    {
        "CometringMemberDied", "CometringTakeoverLossy", "CometringGapReported",
        "CometringLinkRefused", "CometringSlowConsumers", "CometringAppendsRefused",
        "CometringPublishesRefused", "CometringCommitSlow", "CometringDeliverySlow",
    }
)  # fmt: skip
LOSS: Final = frozenset({"CometringTakeoverLossy", "CometringGapReported"})


def expect(ring: Ring, say: Callable[[str], None], *names: str, within: float = 120.0) -> None:
    """Wait for alerts to fire, and say when each did."""
    wanted = {f"Cometring{name}" for name in names}
    for name, seconds in sorted(ring.prometheus.wait_for_alerts(wanted, within).items()):
        say(f"{name} fires after {seconds:.0f} s")


def settle(ring: Ring, say: Callable[[str], None]) -> None:
    """Wait until the ring is whole and nothing fires that does not look back."""
    whole = ring.wait_whole()
    quiet = ring.prometheus.wait_until_quiet(120.0, LASTING)
    say(f"whole again after {whole:.1f} s, quiet {quiet:.0f} s later")


def intact(ring: Ring, say: Callable[[str], None], before: set[str]) -> None:
    """Fail if something was lost; `before`: what fired when the step began."""
    if lost := (ring.prometheus.alerts("firing") & LOSS) - before:
        raise DrillFailed(f"a copy was left of everything, and there is {sorted(lost)}")
    say("no slot was opened without its log, no reader was told of a gap")


def seen(ring: Ring, say: Callable[[str], None], step: str) -> None:
    """Wait until the panel that only this step gives data has some."""
    dashboard, title = PROVOKED[step]
    for query in panel_queries(dashboard, title, "1m"):
        wait_for(
            lambda query=query: ring.prometheus.value(query) is not None,  # type: ignore[misc]
            30.0,
            lambda: f"nothing to see on {dashboard}: {title}",
        )
    say(f"{dashboard}: {title} has data")
