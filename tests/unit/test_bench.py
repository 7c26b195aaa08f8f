"""The bench compares what can be compared: paired rounds, the same rows, what was measured."""

import copy
import itertools
from dataclasses import asdict
from datetime import timedelta

import pytest
from ops.data.real_feed import PRODUCTS

from tests.bench.costs import Job, costs_page, throughput
from tests.bench.data import count_files, repeated, write_file
from tests.bench.page import TARGETS, page, size_name
from tests.bench.peers import PEERS, RowsDiffer, compare
from tests.bench.products import COLUMNS, broken_by_column
from tests.bench.ratios import growth, ratio, typical
from tests.bench.runner import Bench, Run

ANSWER = {
    "rows_in": 10,
    "loaded": 7,
    "rejected": 2,
    "superseded": 1,
    "rejected_by_reason": {"price_missing": 2},
    "broken": {"brand": 3},
    "written": {"loaded": {"rows": 7, "hash": "a"}, "rejected": {"rows": 2, "hash": "b"}},
}
FLOOR_ANSWER = {
    "written": {"loaded": {"rows": 10, "hash": "x"}, "rejected": {"rows": 0, "hash": None}}
}
TEXTBOOK_ANSWER = {
    "rows_in": 10,
    "written": {"loaded": {"rows": 7, "hash": None}, "rejected": {"rows": 2, "hash": None}},
}


def runs(peer, megabytes, *seconds):
    return [
        {
            "peer": peer,
            "megabytes": megabytes,
            "round": number,
            "seconds": value,
            "cpu_seconds": value,
            "peak_gigabytes": 1.5,
        }
        for number, value in enumerate(seconds)
    ]


# ---- ratios --------------------------------------------------------------------------------------


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    # GIVEN a machine that was three times slower in the second round, and a hitch in the third
    measured = runs("job", 100, 20, 60, 99) + runs("duckdb", 100, 10, 30, 10)
    # THEN neither moves the ratio
    assert ratio(measured, "job", "duckdb", 100) == 2


def test_a_peer_that_ran_once_is_compared_within_its_own_round():
    measured = runs("job", 100, 10, 1, 1) + runs("textbook", 100, 50)
    assert ratio(measured, "textbook", "job", 100) == 5


def test_what_did_not_run_has_no_ratio():
    measured = runs("job", 100, 10)
    assert ratio(measured, "job", "duckdb", 100) is None
    assert ratio(measured, "job", "job", 1000) is None
    assert typical(measured, "duckdb", 100) is None
    assert growth(measured, "job", 100, 5000) is None


def test_growth_is_what_a_gigabyte_costs():
    measured = runs("job", 100, 3, 2, 9) + runs("job", 1000, 33)
    assert growth(measured, "job", 100, 1000) == pytest.approx(1.1)


# ---- rows ----------------------------------------------------------------------------------------


def changed(answer, path, value):
    answer = copy.deepcopy(answer)
    place = answer
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return answer


@pytest.mark.parametrize(
    "peer, answer",
    [
        ("duckdb", ANSWER),
        ("no-rules", changed(ANSWER, ["broken"], {})),
        ("floor", FLOOR_ANSWER),
        ("textbook", TEXTBOOK_ANSWER),
    ],
)
def test_the_same_rows_pass(peer, answer):
    compare(PEERS[peer], answer, ANSWER)


@pytest.mark.parametrize(
    "peer, answer, path, value",
    [
        ("duckdb", ANSWER, ["rows_in"], 9),
        ("duckdb", ANSWER, ["superseded"], 0),
        ("polars", ANSWER, ["rejected_by_reason"], {"price_negative": 2}),
        ("polars", ANSWER, ["broken"], {"brand": 4}),
        ("duckdb", ANSWER, ["written", "loaded", "rows"], 6),
        ("duckdb", ANSWER, ["written", "loaded", "hash"], "b"),
        ("duckdb", ANSWER, ["written", "rejected", "hash"], None),
        ("no-rules", ANSWER, ["written", "loaded", "hash"], "b"),
        ("floor", FLOOR_ANSWER, ["written", "loaded", "rows"], 9),
        ("textbook", TEXTBOOK_ANSWER, ["rows_in"], 9),
        ("textbook", TEXTBOOK_ANSWER, ["written", "rejected", "rows"], 3),
    ],
)
def test_other_rows_are_refused(peer, answer, path, value):
    with pytest.raises(RowsDiffer, match=f"^{PEERS[peer].title}: .* instead of"):
        compare(PEERS[peer], changed(answer, path, value), ANSWER)


def test_only_rules_that_judge_rows_are_compared():
    rules = [
        {"columns": ["brand"], "result": {"unexpected_count": 3}},
        {"columns": ["product_id", "time"], "result": {"unexpected_count": 0}},
        {"columns": [], "result": {"observed_value": 10}},
    ]
    assert broken_by_column(rules) == {"brand": 3, "product_id, time": 0}


def test_a_slow_peer_runs_once_at_a_large_size_and_not_at_the_largest():
    peer = PEERS["textbook"]
    assert [peer.runs(100, number) for number in range(3)] == [True, True, True]
    assert [peer.runs(1000, number) for number in range(3)] == [True, False, False]
    assert not peer.runs(5000, 0)
    assert PEERS["job"].runs(1000, 2) and not PEERS["job"].runs(5000, 1)


# ---- data ----------------------------------------------------------------------------------------


def test_a_size_at_which_each_peer_runs_once_is_done_after_its_first_round(tmp_path, monkeypatch):
    run = Run("job", 5000, 0, 1.0, 1.0, 1.0)
    monkeypatch.setattr(Bench, "_measure", lambda *_: (ANSWER, run))
    bench = Bench(tmp_path, lambda words: None)
    # pylint: disable-next=protected-access  # run would first make files of 5 GB
    assert bench._rounds(5000, [PEERS["job"]], rounds=2) == {
        key: ANSWER[key] for key in ("rows_in", "loaded", "rejected", "superseded")
    }
    assert bench.measured["runs"] == [asdict(run)]


def test_the_feed_is_repeated_with_its_days_shifted():
    lines = ["1,Tea,2017-12-31 10:20:30\n", "2,Été,2017-01-01 00:00:00\n"]
    assert list(itertools.islice(repeated(lines, timedelta(days=1)), 5)) == [
        *lines,
        "1,Tea,2018-01-01 10:20:30\n",
        "2,Été,2017-01-02 00:00:00\n",
        "1,Tea,2018-01-02 10:20:30\n",
    ]


def test_a_file_has_its_header_and_whole_rows_up_to_its_size(tmp_path):
    # GIVEN rows without end
    lines = itertools.repeat("1,Tea,2017-12-31 10:20:30\n")
    # WHEN two files are cut from them
    write_file(tmp_path / "a.csv", lines, 200)
    # THEN the file ends with the row that reaches the size
    content = (tmp_path / "a.csv").read_text(encoding="utf-8")
    header, *rows = content.splitlines(keepends=True)
    assert header == ",".join(PRODUCTS.header) + "\n"
    assert 200 <= len(content) < 200 + len(rows[0])
    assert set(rows) == {next(lines)}


def test_a_size_is_a_number_of_whole_files():
    assert count_files(100) == 2
    for wrong in (0, 30, 120):
        with pytest.raises(ValueError, match="sizes are multiples of 50 MB"):
            count_files(wrong)


def test_the_peers_know_the_columns_that_the_feed_has():
    assert tuple(COLUMNS) == PRODUCTS.header


# ---- page ----------------------------------------------------------------------------------------

FACTS = {
    "date": "2026-11-27 04:00 UTC",
    "commit": "abc",
    "machine": "Linux, 2 cores",
    "versions": "Spark 3.5.6",
    "rounds": "3",
    "load": "1.0",
    "heap": "4",
}


def measured(*all_runs, peers=("duckdb", "job")):
    rows = {"rows_in": 1234567, "loaded": 1, "rejected": 2, "superseded": 3}
    found = list(itertools.chain(*all_runs))
    sizes = sorted({run["megabytes"] for run in found})
    return {
        "runs": found,
        "rows": {str(size): rows for size in sizes},
        "sizes": sizes,
        "peers": list(peers),
        "facts": FACTS,
    }


def test_the_page_has_a_line_a_peer():
    text = page(measured(runs("job", 1000, 21, 25, 22), runs("duckdb", 1000, 10, 10, 10)))
    assert "### 1 GB: 1,234,567 rows" in text
    assert "| the job | 22.0 | 21.0 | 22.0 | 1.5, shared | 2.20 |  | 3 |" in text
    assert "| DuckDB | 10.0 | 10.0 | 10.0 | 1.5 | 1.00 |  | 3 |" in text
    assert "textbook job |" not in text.partition("### 1 GB")[2]


@pytest.mark.parametrize("seconds, verdict", [(22, "2.20 | yes |"), (23, "2.30 | **no** |")])
def test_a_target_that_is_missed_is_said_to_be(seconds, verdict):
    text = page(measured(runs("job", 1000, seconds), runs("duckdb", 1000, 10)))
    assert f"| {TARGETS[0].promise} | {verdict}" in text


def test_what_was_not_measured_is_not_called_met():
    text = page(measured(runs("job", 100, 2), runs("duckdb", 100, 1)))
    for target in TARGETS:
        assert f"| {target.promise} | not measured | |" in text
    assert "| 5 GB within a heap of 4 GB | not measured |  |" in text


def test_a_heap_of_more_is_not_called_one_of_4_gb():
    found = measured(runs("job", 5000, 300), runs("duckdb", 5000, 60))
    assert "| 5 GB within a heap of 4 GB | finished | yes |" in page(found)
    found["facts"] = FACTS | {"heap": "8"}
    assert "| 5 GB within a heap of 4 GB | finished | **no**: it was 8 GB |" in page(found)


def test_each_target_knows_both_sides_of_its_limit():
    for target, good, bad in zip(
        TARGETS, ([2.2], [1.6], [5], [1.1], [0.85, 1.15]), ([2.3], [1.7], [4.9], [1.2], [0.8, 1.2])
    ):
        assert all(map(target.holds, good)) and not any(map(target.holds, bad))


def test_sizes_are_named_as_people_say_them():
    assert [size_name(size) for size in (100, 1000, 1500)] == ["100 MB", "1 GB", "1.5 GB"]


# ---- costs ---------------------------------------------------------------------------------------


def test_a_run_takes_its_share_of_the_cores_that_run_tasks():
    # GIVEN 4 workers of 4 vCPUs, of which one is the driver, and a job that takes 120 CPU seconds
    job = Job("prod", "G.1X", 4, "STANDARD")
    # THEN 12 vCPUs share them, and all 4 workers are paid for
    assert job.seconds(1000, 120) == 10
    assert job.price(3600) == pytest.approx(4 * 0.44)


def test_a_short_run_is_billed_for_a_minute_and_flex_costs_less():
    standard, flex = (Job("dev", "G.2X", 2, name) for name in ("STANDARD", "FLEX"))
    assert standard.price(1) == standard.price(60) == pytest.approx(2 * 2 * 0.44 / 60)
    assert flex.price(120) == pytest.approx(2 * 2 * 2 * 0.29 / 60)


def test_costs_follow_from_the_largest_size_that_was_measured():
    found = measured(runs("job", 100, 1, 1, 1), runs("job", 1000, 90, 120, 150))
    assert throughput(found["runs"], found["sizes"]) == (1000, 120)
    text = costs_page(found, [Job("prod", "G.1X", 4, "STANDARD")])
    assert "| prod | 4 × G.1X, STANDARD | 5 GB | 50 | 0.0293 | 0.88 |" in text


def test_a_job_is_sized_by_its_environments_configuration():
    application = {
        "GlueWorkerType": "G.1X",
        "GlueNumberOfWorkers": 2,
        "GlueExecutionClass": "STANDARD",
    }
    settings = {"parameters": {"application": application}}
    assert Job.of("dev", settings) == Job("dev", "G.1X", 2, "STANDARD")
