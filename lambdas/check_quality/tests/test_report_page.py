"""The report as a page: whole, escaped, without scripts; what needs a person comes first."""

from html.parser import HTMLParser

from report_page import report_page

RULE = {
    "rule": "expect_column_values_to_match_regex(<name>)",
    "severity": "critical",
    "success": True,
    "expected": "a match of <b>&",
    "observed": "all 3 rows are so",
    "result": {},
}
REPORT = {
    "run_id": "run-1",
    "dataset": "products",
    "run_date": "20170115",
    "release": "1",
    "source_files": ["<script>alert(1)</script>.csv"],
    "rows_in": 4,
    "loaded": 2,
    "rejected": 1,
    "superseded": 1,
    "rejected_by_reason": {"price_missing": 1},
    "rules": [RULE],
    "finished_at": "2017-01-16T05:04:03+00:00",
    "seconds": 1.5,
}


class Page(HTMLParser):
    """The tags and texts of a page; raises AssertionError where a tag is not closed in turn."""

    VOID = {"meta", "br"}

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.open = set(), [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def page(**changes):
    return Page(report_page({**REPORT, **changes}))


def rules(*states):
    return [
        {**RULE, "rule": f"rule-{number}", "success": success, "severity": severity}
        for number, (success, severity) in enumerate(states)
    ]


def test_what_a_file_is_called_stays_text():
    made = page()
    assert "script" not in made.tags
    assert "<script>alert(1)</script>.csv" in made.text
    assert "a match of <b>&" in made.text


def test_nothing_is_fetched_from_elsewhere():
    assert page().tags.isdisjoint({"link", "img", "iframe", "script"})
    assert "http" not in report_page(REPORT)


def test_the_row_account_is_in_rows_and_percent():
    text = page().text
    assert "in the file 4 100%" in text
    assert "can be loaded 2 50%" in text
    assert "rejected 1 25%" in text
    assert "price_missing 1 100%" in text


def test_a_run_without_rows_has_a_page_too():
    empty = page(rows_in=0, loaded=0, rejected=0, superseded=0, rejected_by_reason={}, rules=[])
    assert "loaded 0 0%" in empty.text
    assert "by reason" not in empty.text
    assert "This dataset has no rules." in empty.text


def test_broken_rules_come_first_and_the_headline_counts_them():
    text = page(
        rules=rules(
            (True, "critical"),
            (None, "warning"),
            (False, "info"),
            (False, "warning"),
            (False, "critical"),
            (False, "critical"),
        )
    ).text
    assert "Not loaded: 2 rules are broken." in text
    order = [text.index(f"rule-{number}") for number in (4, 5, 3, 2, 1, 0)]
    assert order == sorted(order)


def test_a_warning_does_not_stop_the_load():
    assert "May be loaded; 1 rule is a warning." in page(rules=rules((False, "warning"))).text
    assert "May be loaded: no rule is broken." in page().text
