"""What a section of the check came to, and the table of all sections."""
import dataclasses
import json


@dataclasses.dataclass
class Outcome:
    """Counts of cases, and what a reader must know of those that did not pass."""
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    notes: list = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def fail(self, note):
        self.failed += 1
        self.notes.append(f"failed: {note}")

    def skip(self, note):
        self.skipped += 1
        self.notes.append(f"skipped: {note}")

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.notes += other.notes

    def word(self):
        if self.failed:
            return "FAILED"
        return "passed" if self.passed else "skipped"


def render(outcomes, notes_max=6):
    """Notes of each section, then one line for each. outcomes: {section: Outcome}, in order."""
    lines = []
    for section, outcome in outcomes.items():
        for note in outcome.notes[:notes_max]:
            lines.append(f"{section}: {note}")
        if len(outcome.notes) > notes_max:
            lines.append(f"{section}: and {len(outcome.notes) - notes_max} more, see its log")
    heads = ("passed", "failed", "skipped", "seconds")
    lines += ["", f"{'section':<10} {'result':<8}" + "".join(f" {head:>8}" for head in heads)]
    for section, outcome in outcomes.items():
        lines.append(f"{section:<10} {outcome.word():<8} {outcome.passed:>8} {outcome.failed:>8} "
                     f"{outcome.skipped:>8} {outcome.seconds:>8.1f}")
    return "\n".join(lines)


def write(path, outcomes):
    rows = {section: dataclasses.asdict(outcome) for section, outcome in outcomes.items()}
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def status(outcomes):
    """The exit status: 1 when anything failed, or when nothing passed."""
    if any(outcome.failed for outcome in outcomes.values()):
        return 1
    return 0 if any(outcome.passed for outcome in outcomes.values()) else 1
