"""A run's report as a page for a person: what became of the rows, and which rules hold."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

STYLE = """
:root { --good: #1a7f4b; --bad: #b3261e; --warn: #8a5a00; --quiet: #5f6671; --line: #d9dde3; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2026; background: #fff; margin: 2rem auto; max-width: 64rem;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p.facts { color: var(--quiet); margin: 0 0 1rem; overflow-wrap: anywhere; }
p.verdict { border-left: .4rem solid; padding: .6rem 1rem; margin: 0; font-weight: 600; background: #f6f7f9; }
.passed { color: var(--good); } .broken { color: var(--bad); } .warned { color: var(--warn); }
.quiet { color: var(--quiet); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
th { font-weight: 600; color: var(--quiet); white-space: nowrap; } td.state { white-space: nowrap; font-weight: 600; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.bar { width: 45%; } td.bar i { display: block; height: .7rem; margin-top: .4rem; background: currentColor; }
code { font: .85em ui-monospace, monospace; }
"""

# How a rule's state reads, and its colour; also the order of the page.
STATES = {
    "broken": ("broken", "broken"),
    "warned": ("warning", "warned"),
    "noted": ("not met", "quiet"),
    "not judged": ("not judged", "quiet"),
    "passed": ("holds", "passed"),
}

Report = Mapping[str, Any]


def state_of(rule: Mapping[str, Any]) -> str:
    """Returns one of STATES for a rule of a report."""
    if rule["success"] is None:
        return "not judged"
    if rule["success"]:
        return "passed"
    return {"critical": "broken", "warning": "warned"}.get(rule["severity"], "noted")


def report_page(report: Report) -> str:
    """Returns a whole HTML page, without scripts and without anything from elsewhere."""
    title = f"{report['dataset']} {report['run_date']}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{_facts(report)}{_verdict(report)}"
        f"<h2>Rows</h2>\n{_account(report)}{_reasons(report)}"
        f"<h2>Rules</h2>\n{_rules(report['rules'])}</body>\n</html>\n"
    )


def _facts(report: Report) -> str:
    return (
        f'<p class="facts">{escape(", ".join(report["source_files"]))}<br>\n'
        f"run {escape(report['run_id'])}, release {escape(report['release'])}, judged "
        f"{escape(report['finished_at'])}, the job took {report['seconds']} s</p>\n"
    )


def _verdict(report: Report) -> str:
    states = [state_of(rule) for rule in report["rules"]]
    broken, warned = states.count("broken"), states.count("warned")
    if broken:
        colour, text = "broken", f"Not loaded: {_rules_are(broken)} broken."
    elif warned:
        colour, text = "warned", f"May be loaded; {_rules_are(warned)} a warning."
    else:
        colour, text = "passed", "May be loaded: no rule is broken."
    return f'<p class="verdict {colour}">{text}</p>\n'


def _rules_are(count: int) -> str:
    return "1 rule is" if count == 1 else f"{count} rules are"


def _account(report: Report) -> str:
    lines = [
        ("in the file", report["rows_in"], "quiet"),
        ("can be loaded", report["loaded"], "passed"),
        ("rejected", report["rejected"], "broken"),
        ("superseded by a later row of the same key", report["superseded"], "warned"),
    ]
    return _bars(lines, report["rows_in"])


def _reasons(report: Report) -> str:
    reasons = sorted(report["rejected_by_reason"].items(), key=lambda item: (-item[1], item[0]))
    if not reasons:
        return ""
    lines = [(reason, rows, "broken") for reason, rows in reasons]
    return f"<h2>Rejected, by reason</h2>\n{_bars(lines, report['rejected'])}"


def _bars(lines: Iterable[tuple[str, int, str]], whole: int) -> str:
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="number">{rows:,}</td>'
        f'<td class="number">{_percent(rows, whole)}</td>'
        f'<td class="bar {colour}"><i style="width: {_percent(rows, whole)}"></i></td></tr>\n'
        for name, rows, colour in lines
    )
    return f"<table>\n{rows}</table>\n"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.4g}%" if whole else "0%"


def _rules(rules: Iterable[Mapping[str, Any]]) -> str:
    ranked = sorted(rules, key=lambda rule: list(STATES).index(state_of(rule)))
    if not ranked:
        return "<p>This dataset has no rules.</p>\n"
    head = "<tr><th></th><th>rule</th><th>severity</th><th>expected</th><th>observed</th></tr>\n"
    return f"<table>\n{head}{''.join(map(_rule, ranked))}</table>\n"


def _rule(rule: Mapping[str, Any]) -> str:
    word, colour = STATES[state_of(rule)]
    return (
        f'<tr><td class="state {colour}">{word}</td><td><code>{escape(rule["rule"])}</code></td>'
        f"<td>{escape(rule['severity'])}</td><td>{escape(rule['expected'])}</td>"
        f"<td>{escape(rule['observed'])}</td></tr>\n"
    )
