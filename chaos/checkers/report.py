"""The verdict on a scenario: the metrics of its JSON line, and every violation."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from chaos.checkers import rules
from chaos.checkers.metrics import longest_gap, rounded, taken_by_delivery, waits
from chaos.history import Breach, History
from testbed.sampling import percentile

MAX_SHOWN = 8


@dataclass(frozen=True)
class Verdict:
    """The metrics by name, in the order in which they are printed, and the violations."""

    figures: dict[str, object]
    breaches: Sequence[Breach]

    def line(self) -> str:
        """Return the verdict as one line of JSON."""
        return json.dumps(self.figures)

    def lines(self) -> list[str]:
        """Return the violations as text, the first few of each rule."""
        found: list[str] = []
        for rule, count in sorted(Counter(breach.rule for breach in self.breaches).items()):
            ours = [breach.what for breach in self.breaches if breach.rule == rule]
            found += [f"  {rules.RULE_NAMES[rule]}: {what}" for what in ours[:MAX_SHOWN]]
            if count > MAX_SHOWN:
                found.append(f"  {rules.RULE_NAMES[rule]}: … and {count - MAX_SHOWN} more")
        return found


def judge(history: History, *, scenario: str, seed: int, complaints: Sequence[str] = ()) -> Verdict:
    """Check the history against the eight rules; ``complaints`` are the problems that the harness itself noticed."""
    breaches = rules.check(history) + [Breach(0, complaint) for complaint in complaints]
    by_rule = Counter(breach.rule for breach in breaches)
    taken = taken_by_delivery(history)
    outcome = Counter(event.outcome for event in history.published)
    figures: dict[str, object] = {
        "scenario": scenario,
        "seed": seed,
        "accepted": outcome["acknowledged"],
        "unknown": outcome["unknown"],
        "delivered": len(taken),
        "failed": sum(one.state in {"failed", "held"} for one in history.deliveries),
        "lost": by_rule[1],
        "duplicated": sum(len(arrivals) - 1 for arrivals in taken.values()),
        "unexpected": by_rule[2],
        "kills": sum(one.is_kill for one in history.interruptions),
        "longest_gap_s": round(longest_gap(history), 3),
        # Not required by any rule: the most duplicates that the faults explain, and the latency of healthy webhooks,
        # which is null when more than 1 % of the events never arrived.
        "duplicates_allowed": rules.allowed_duplicates(history),
        "p99_s": rounded(percentile(waits(history), 99)),
        "breaches": len(breaches),
    }
    return Verdict(figures, breaches)
