"""Every kind of bad file either loads with its bad rows rejected by reason, or fails whole.

Failing whole means: its bytes and the reason in data/failed, a notification, and no row of it in
the warehouse. Never half, never silent.
"""

import csv
import gzip
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from tests.e2e.project import DATA_BUCKET, PREFIX
from tests.e2e.reference import Expected, expect_of
from tests.e2e.warehouse import rows_where
from tests.localaws.workshop import wait_until

HEADER = (
    "Product@ID,Product Name!,Department,Brand,Product Category,Package Size,"
    "Price ($),Quantity,Store ID,Time"
)
GOOD_ROWS = 240  # so that a dozen bad rows stay below the limit of rejected rows


def good(product: int, second: int) -> str:
    """A good row; `product` tells the file that it came from."""
    return (
        f"{product},Apples,GROCERY,National,FRUIT,1 LB,2.50,1,7,"
        f"2017-03-01 10:{second // 60:02}:{second % 60:02}"
    )


def body(product: int, *bad: str, rows: int = GOOD_ROWS, header: str = HEADER) -> bytes:
    """A file of good rows of one product, with bad ones behind them."""
    lines = [header, *(good(product, second) for second in range(rows)), *bad]
    return ("\n".join(lines) + "\n").encode()


@dataclass(frozen=True)
class Case:  # pylint: disable=too-many-instance-attributes
    """A file, and what must become of it."""

    name: str  # of the case
    content: bytes
    product: int  # its product_id: the file's rows in the warehouse
    error: str = ""  # the run's error; empty where the file is to be loaded
    says: tuple[str, ...] = ()  # words that the reason must hold
    loaded: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    file_name: str = ""


def bad_row(product: int, second: int, **changes: str) -> str:
    """A row with some values replaced, by their position (p0, p1 ...)."""
    values = good(product, second).split(",")
    for position, value in changes.items():
        values[int(position[1:])] = value
    return ",".join(values)


BAD_ROWS = {
    # reason: (position, value)
    "price_not_a_decimal": [("p6", "abc"), ("p6", '"1,50"')],
    "price_negative": [("p6", "-1")],
    "price_out_of_range": [("p6", "1e400")],
    "price_missing": [("p6", "")],
    "time_not_a_timestamp": [("p9", "2017-02-30 10:00:00")],
    "time_missing": [("p9", "")],
    "product_id_missing": [("p0", "")],
    "product_name_too_long": [("p1", "né" * 100)],  # 200 characters in 300 bytes
}

FAILING = (
    Case("an empty file", b"", 101, "InvalidSourceFile", ("empty",)),
    Case("a header alone", body(102, rows=0), 102, "InvalidSourceFile", ("no row",)),
    Case(
        "a missing column",
        body(103, header=HEADER.replace(",Brand", "")),
        103,
        "InvalidSourceFile",
        ("Brand", "missing"),
    ),
    Case(
        "an extra column",
        body(104, header=HEADER + ",Colour"),
        104,
        "InvalidSourceFile",
        ("Colour",),
    ),
    Case(
        "a renamed column",
        body(105, header=HEADER.replace("Brand", "Label")),
        105,
        "InvalidSourceFile",
        ("Brand", "Label"),
    ),
    Case(
        "a repeated column",
        body(106, header=HEADER.replace("Brand", "Department")),
        106,
        "InvalidSourceFile",
        ("Department",),
    ),
    Case(
        "another delimiter",
        body(107).replace(b",", b";"),
        107,
        "InvalidSourceFile",
        ("delimiter",),
    ),
    Case(
        "UTF-16",
        body(108).decode().encode("utf-16"),
        108,
        "InvalidSourceFile",
        ("UTF-16", "UTF-8"),
    ),
    Case(
        "a truncated gzip",
        gzip.compress(body(109, rows=20_000), mtime=0)[:-2000],
        109,
        "",
        ("gzip",),
        file_name="Products_20170309.csv.gz",
    ),
    Case(
        "a name that no dataset has",
        body(110),
        110,
        "InvalidSourceFile",
        ("purchases.csv", "Products_"),
        file_name="purchases.csv",
    ),
    Case(
        "no good row",
        body(111, *(bad_row(111, second, p6="abc") for second in range(20)), rows=0),
        111,
        "QualityBreach",
        ("expect_table_row_count_to_be_between",),
    ),
)

LOADING = (
    Case(
        "bad rows of every kind",
        body(
            201,
            *(
                bad_row(201, 1000 + number, **{position: value})
                for number, (position, value) in enumerate(
                    change for changes in BAD_ROWS.values() for change in changes
                )
            ),
        ),
        201,
        loaded=GOOD_ROWS,
        rejected={reason: len(changes) for reason, changes in BAD_ROWS.items()},
    ),
    Case(
        "Latin-1 in one row",
        body(202) + bad_row(202, 999, p1="Café").encode("latin-1") + b"\n",
        202,
        loaded=GOOD_ROWS,
        rejected={"invalid_utf8": 1},
    ),
    Case(
        "a byte order mark, CRLF and a quoted newline",
        b"\xef\xbb\xbf"
        + (body(203) + bad_row(203, 999, p1='"two\nlines"').encode() + b"\n").replace(
            b"\n", b"\r\n"
        ),
        203,
        loaded=GOOD_ROWS + 1,
    ),
    Case(
        "a good gzip",
        gzip.compress(body(204), mtime=0),
        204,
        loaded=GOOD_ROWS,
        file_name="Products_20170404.csv.gz",
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What `make feed` said, and the bytes that it was given."""

    done: subprocess.CompletedProcess
    file_name: str


@pytest.fixture(scope="module")
def outcomes(project, notifications, alarms, tmp_path_factory) -> dict[str, Outcome]:
    """Every case fed, several at a time, as files arrive in life."""
    notifications()  # subscribed before the first file arrives
    alarms()

    files = {}
    for number, case in enumerate((*LOADING, *FAILING), start=1):
        name = case.file_name or f"Products_201705{number:02}.csv"
        files[case.name] = tmp_path_factory.mktemp("bad") / name
        files[case.name].write_bytes(case.content)
    with ThreadPoolExecutor(4) as pool:
        done = pool.map(project.feed, files.values())
        return {
            case: Outcome(process, file.name)
            for (case, file), process in zip(files.items(), done, strict=True)
        }


def rows_of(project, case: Case) -> str:
    """Count and hash of the rows of the case's product in the warehouse."""
    return rows_where(project, f"product_id = {case.product}")


@pytest.mark.parametrize("case", FAILING, ids=lambda case: case.name)
def test_a_bad_file_fails_whole_and_says_why(project, notifications, outcomes, case):
    outcome = outcomes[case.name]

    # THEN the command fails and names the fault
    assert outcome.done.returncode != 0, outcome.done.stdout + outcome.done.stderr
    for word in (case.error, *case.says):
        assert word in outcome.done.stderr
    # AND no row of it is in the warehouse
    assert rows_of(project, case) == Expected().fingerprint()
    # AND its bytes and the reason lie in data/failed, and not in the inbox any more
    s3 = project.client("s3")
    inbox = s3.list_objects_v2(Bucket=DATA_BUCKET, Prefix=f"data/in/{outcome.file_name}")
    assert inbox["KeyCount"] == 0
    (reason_key,) = [
        item["Key"]
        for item in s3.list_objects_v2(Bucket=DATA_BUCKET, Prefix="data/failed/")["Contents"]
        if item["Key"].endswith(f"/{outcome.file_name}.reason.json")
    ]
    reason = json.load(s3.get_object(Bucket=DATA_BUCKET, Key=reason_key)["Body"])
    for word in case.says:
        assert word in reason["cause"]
    kept = s3.get_object(Bucket=DATA_BUCKET, Key=reason_key.removesuffix(".reason.json"))
    assert kept["Body"].read() == case.content
    # AND somebody was told, with the reason
    (note,) = [note for note in notifications() if note.get("run_id") == reason["run_id"]]
    assert (note["status"], note["cause"]) == ("failed", reason["cause"])


def test_each_failed_run_is_a_line_in_the_warehouse(project, outcomes):
    def errors() -> dict[str, str]:
        lines = csv.reader(project.query("select source_files, error from failed_runs"))
        return {name: error for files, error in lines for name in json.loads(files)}

    expected = {outcomes[case.name].file_name: case.error for case in FAILING}
    # Nobody waits for the line to be written: it comes after the notification.
    wait_until(lambda: expected.keys() <= errors().keys(), seconds=30)
    found = errors()
    for name, error in expected.items():
        assert error in found[name]


@pytest.mark.usefixtures("outcomes")
def test_too_many_rejected_rows_ring_an_alarm(alarms):
    def states() -> list[str]:
        return [
            change["NewStateValue"]
            for change in alarms()
            if change["AlarmName"] == f"{PREFIX}-rejected-rows"
        ]

    wait_until(lambda: "ALARM" in states(), seconds=60)


@pytest.mark.parametrize("case", LOADING, ids=lambda case: case.name)
def test_bad_rows_are_rejected_by_reason_and_the_good_ones_loaded(project, outcomes, case):
    done = outcomes[case.name].done
    assert done.returncode == 0, done.stderr
    account = [line.split() for line in done.stdout.splitlines()]
    assert ["loaded", str(case.loaded)] in account
    assert ["rejected", str(sum(case.rejected.values()))] in account
    for reason, rows in case.rejected.items():
        assert [str(rows), reason] in account
    # AND the warehouse holds what plain Python makes of the file
    expected = expect_of(case.content)
    assert expected.loaded == case.loaded
    assert rows_of(project, case) == expected.fingerprint()
    assert project.query("select count(*) from products where product_id is null") == ["0"]


def test_a_key_with_spaces_and_unicode_is_loaded(project):
    # GIVEN a file in a folder that only a person would name so
    s3 = project.client("s3")
    key = "data/in/März Lieferung (2)/Products_20170601.csv"
    case = Case("unicode", body(301), 301)
    s3.put_object(Bucket=DATA_BUCKET, Key=key, Body=case.content)

    # WHEN it has left the inbox, which it does at its run's end
    wait_until(lambda: not s3.list_objects_v2(Bucket=DATA_BUCKET, Prefix=key)["KeyCount"], 180)

    # THEN its rows are in the warehouse
    assert rows_of(project, case) == expect_of(case.content).fingerprint()
    # AND its bytes in the archive
    archived = [
        item["Key"]
        for item in s3.list_objects_v2(Bucket=DATA_BUCKET, Prefix="data/archive/")["Contents"]
        if item["Key"].endswith("/Products_20170601.csv")
    ]
    assert case.content in [
        s3.get_object(Bucket=DATA_BUCKET, Key=key)["Body"].read() for key in archived
    ]
