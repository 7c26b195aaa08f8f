"""validate_input: what is accepted, what each refused file is told, the run that comes of it."""

import gzip
import json

import pytest
from botocore.exceptions import ClientError
from pipeline_common import aws
from pipeline_common.errors import ConfigurationError, InvalidSourceFile
from source_file import HEAD_BYTES
from validate_input import MAX_BYTES, handler

NAME = "Products_20170115.csv"
HEADER = b"Product@ID,Product Name!,Price ($),Time\n"
ROW = b"1,Milk,1.99,2017-01-15 10:00:00\n"
GOOD = HEADER + ROW
RANDOM = bytes(i * i * 7919 % 251 for i in range(50_000))  # compresses badly: a .gz of some size


def execution_input(bucket, *sources, **changes):
    """Returns what the state machine passes to the function."""
    return {
        "run_id": "run-1",
        "sources": list(sources),
        "target": {
            "schema": "public",
            "archive_prefix": "data/archive/",
            "failed_prefix": "data/failed/",
        },
        "config_uri": bucket.config_uri,
        "release": "1",
        "execution": "arn:x",
        **changes,
    }


def validate(bucket, context, *sources):
    return handler(execution_input(bucket, *sources), context)


def refusal(bucket, context, body, name=NAME, folder="data/in/"):
    """Returns the message with which a file is refused; checks that nothing was staged of it."""
    with pytest.raises(InvalidSourceFile) as refused:
        validate(bucket, context, bucket.put(folder + name, body))
    message = str(refused.value)
    assert message.startswith(name) and bucket.versions("data/staging/") == []
    return message


def test_a_good_file_becomes_a_run(bucket, context):
    source = bucket.put(f"data/in/{NAME}", GOOD)

    run = validate(bucket, context, source)

    assert run == {
        "run_id": "run-1",
        "dataset": "products",
        "run_date": "2017-01-15",
        "release": "1",
        "config_uri": bucket.config_uri,
        "schema": "public",
        "table": "products",
        "replay": False,
        "source_prefix": "s3://data/data/staging/run-1/",
        "source_file_name": NAME,
        "output_prefix": "s3://data/data/runs/run-1/",
        "report_uri": "s3://data/data/runs/run-1/report.json",
        "page_uri": "s3://data/data/runs/run-1/report.html",
        "history_prefix": "s3://data/data/history/public/products/",
        "manifest_uri": "s3://data/data/runs/run-1/manifest.json",
        "sources": [
            {
                **source,
                "run_date": "2017-01-15",
                "safe_name": NAME,
                "staging_copy_source": f"data/data/staging/run-1/{NAME}",
                "archive_key": f"data/archive/products/2017-01-15/{NAME}",
            }
        ],
    }
    assert bucket.read(f"data/staging/run-1/{NAME}") == GOOD


def test_a_replay_leaves_its_files_in_the_archive_in_the_order_of_their_rows(bucket, context):
    # GIVEN two versions of a day's file and the file of the day before, in no order
    key = f"data/archive/products/2017-01-15/{NAME}"
    old, new = (
        bucket.put(key, GOOD) | {"arrived_at": f"2017-01-{day}T02:00:00Z"} for day in (16, 18)
    )
    before = bucket.put("data/archive/products/2017-01-14/Products_20170114.csv", GOOD)
    target = {"schema": "public", "table": "products__rebuild"}

    run = handler(execution_input(bucket, new, old, before, target=target), context)

    assert (run["replay"], run["table"], run["run_date"]) == (
        True,
        "products__rebuild",
        "2017-01-15",
    )
    assert [source["version_id"] for source in run["sources"]] == [
        source["version_id"] for source in (before, old, new)
    ]
    assert [source["archive_key"] for source in run["sources"]] == [before["key"], key, key]
    assert run["source_file_name"] == f"Products_20170114.csv,{NAME},Products_20170115-2.csv"


def test_a_source_without_its_arrival_arrived_when_s3_says_so(bucket, context):
    source = bucket.put(f"data/in/{NAME}", GOOD)
    del source["arrived_at"]
    head = bucket.s3.head_object(Bucket="data", Key=f"data/in/{NAME}")

    [staged] = validate(bucket, context, source)["sources"]

    assert staged["arrived_at"] == f"{head['LastModified']:%Y-%m-%dT%H:%M:%SZ}"


def test_a_file_may_lack_an_optional_column_and_no_other(bucket, context):
    config = json.loads(aws.read_s3(bucket.config_uri))
    brand = {"source": "Brand", "name": "brand", "type": "varchar(9)", "optional": True}
    config["datasets"]["products"]["columns"].insert(2, brand)
    bucket.put_json(bucket.config_uri.removeprefix("s3://data/"), config)
    with_it = GOOD.replace(b",Price ($)", b",Brand,Price ($)").replace(b",1.99", b",Alpine,1.99")

    for body in (GOOD, with_it):
        assert (
            validate(bucket, context, bucket.put(f"data/in/{NAME}", body))["dataset"] == "products"
        )
    with pytest.raises(InvalidSourceFile, match="column 'Time' is missing"):
        validate(bucket, context, bucket.put(f"data/in/{NAME}", GOOD.replace(b",Time", b"")))
    with pytest.raises(InvalidSourceFile, match="in another order|is named"):
        validate(
            bucket,
            context,
            bucket.put(f"data/in/{NAME}", b"Brand," + with_it.replace(b"Brand,", b"")),
        )


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b"\n", b"\r\n"),
        b'"Product@ID","Product Name!","Price ($)","Time"\n' + ROW,
        GOOD.removesuffix(b"\n"),
        HEADER + b'1,"a quoted\nline break",1.99,2017-01-15 10:00:00\n',
        HEADER + b"1,Caf\xe9 (Latin-1),1.99,2017-01-15 10:00:00\n",  # a row is the job's to reject
        HEADER + b"\n" * 2 * HEAD_BYTES + ROW,
        HEADER + ROW * (HEAD_BYTES // len(ROW)),
    ],
    ids=["bom", "crlf", "quoted", "no-eol", "newline", "latin-1-row", "far-row", "long"],
)
def test_accepts(bucket, context, body):
    validate(bucket, context, bucket.put(f"data/in/{NAME}", body))

    assert bucket.read(f"data/staging/run-1/{NAME}") == body


@pytest.mark.parametrize("body", [GOOD, HEADER + RANDOM, GOOD * HEAD_BYTES])
def test_accepts_gzip_and_keeps_it(bucket, context, body):
    zipped = gzip.compress(body, compresslevel=1)

    run = validate(bucket, context, bucket.put(f"data/in/{NAME}.gz", zipped))

    assert run["source_file_name"] == f"{NAME}.gz"
    assert bucket.read(f"data/staging/run-1/{NAME}.gz") == zipped


def header(*columns, delimiter=","):
    """Returns a file of these columns and a row."""
    return (delimiter.join(columns) + "\n").encode() + ROW


@pytest.mark.parametrize(
    "body, told",
    [
        (b"", ["empty", "0 bytes", "send it again"]),
        (b"\n\r\n  ", ["empty"]),
        (b"\xef\xbb\xbf", ["empty"]),
        (HEADER, ["a header but no rows"]),
        (HEADER + b"\r\n \n", ["a header but no rows"]),
        (GOOD.decode().encode("utf-16"), ["UTF-16", "save it as UTF-8"]),
        (GOOD.decode().encode("utf-16-le"), ["UTF-16", "save it as UTF-8"]),
        (b"Product@ID,Na\xefve\n" + ROW, ["not UTF-8", "0xEF in column 2", "Latin-1"]),
        (
            header("Product@ID", "Product Name!", "Price ($)", "Time", delimiter=";"),
            ["separated by a semicolon", "expected a comma"],
        ),
        (
            header("Product@ID", "Product Name!", "Price ($)", "Time", delimiter="\t"),
            ["separated by a tab", "expected a comma"],
        ),
        (
            header("Product@ID", "Product Name!", "Time"),
            ["column 'Price ($)' is missing", "expected the columns Product@ID, Product Name!"],
        ),
        (
            header("Product@ID", "Product Name!", "Price ($)", "Colour", "Time"),
            ["column 4 'Colour' is not known"],
        ),
        (
            header("Product@ID", "Product Name", "Price ($)", "Time"),
            ["column 2 is named 'Product Name' instead of 'Product Name!'"],
        ),
        (
            header("Product@ID", "Time", "Price ($)", "Time"),
            ["column 'Time' is repeated (columns 2, 4)", "column 'Product Name!' is missing"],
        ),
        (
            header("Product@ID", "Product Name!", "Price ($)", "Time", "Time"),
            ["column 'Time' is repeated (columns 4, 5)"],
        ),
        (
            header("Product@ID", "Price ($)", "Product Name!", "Time"),
            ["another order", "column 2 is 'Price ($)' instead of 'Product Name!'"],
        ),
        (header("Product@ID", "Product Name!", "Price ($)", "Time", ""), ["column 5 '' is not"]),
        (ROW * 2, ["the first line is no header, but '1,Milk,1.99"]),
        (b"\n" + GOOD, ["the first line is no header, but ''"]),
        (b'"Product@ID,Product Name!,Price ($),Time\n' + ROW, ["header cannot be read", "quotes"]),
        (b'"' + b"x" * 200_000, ["header cannot be read"]),
    ],
)
def test_refuses_and_says_what_is_wrong_where(bucket, context, body, told):
    message = refusal(bucket, context, body)

    assert all(part in message for part in told), message


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(HEADER + RANDOM)[:-100],
        gzip.compress(GOOD * HEAD_BYTES)[:-100],  # far behind the head
        gzip.compress(GOOD)[:-8] + b"\0" * 8,  # wrong checksum
        gzip.compress(HEADER + RANDOM)[:100] + b"\xff" * 100,
        GOOD,
    ],
    ids=["truncated", "truncated-late", "checksum", "corrupt", "not-gzip"],
)
def test_refuses_a_gzip_that_is_not_whole(bucket, context, body):
    message = refusal(bucket, context, body, name=f"{NAME}.gz")

    assert "is not a whole gzip file" in message and "compress it and send it again" in message


def test_refuses_an_empty_file_in_a_gzip(bucket, context):
    assert "is empty" in refusal(bucket, context, gzip.compress(b""), name=f"{NAME}.gz")


@pytest.mark.parametrize(
    "name, told",
    [
        ("Sales_20170115.csv", ["no dataset's file pattern", "products: ^Products_", "rename"]),
        ("Products_2017.csv", ["no dataset's file pattern"]),
        ("Products_20170115.csv.bak", ["no dataset's file pattern"]),
        ("Products_20170230.csv", ["20170230, which is not a date", "rename"]),
    ],
)
def test_refuses_a_name(bucket, context, name, told):
    message = refusal(bucket, context, GOOD, name=name)

    assert all(part in message for part in told), message


def test_refuses_what_s3_cannot_copy(bucket, context):
    source = {**bucket.put(f"data/in/{NAME}", GOOD), "size": MAX_BYTES + 1}

    with pytest.raises(InvalidSourceFile, match="5,368,709,121 bytes.*split it"):
        validate(bucket, context, source)


def two_datasets(bucket, sales_pattern):
    """Adds a second dataset to the configuration."""
    config = json.loads(bucket.read(bucket.config_uri.removeprefix("s3://data/")))
    config["datasets"]["sales"] = {
        **config["datasets"]["products"],
        "name": "sales",
        "file_pattern": sales_pattern,
    }
    bucket.put_json(bucket.config_uri.removeprefix("s3://data/"), config)


def test_the_folder_tells_the_dataset(bucket, context):
    two_datasets(bucket, r"Products_(?P<run_date>\d{8})\.csv")

    message = refusal(bucket, context, GOOD, name="S_20170115.csv", folder="data/in/sales/")
    run = validate(bucket, context, bucket.put(f"data/in/sales/{NAME}", GOOD))

    assert "products:" not in message and run["dataset"] == "sales"


def test_a_name_of_two_datasets_needs_a_folder(bucket, context):
    two_datasets(bucket, r"Products_(?P<run_date>\d{8})\.csv")

    assert "of products and sales: put it into" in refusal(bucket, context, GOOD)


def test_a_run_of_several_files(bucket, context):
    sources = [
        bucket.put("data/in/Products_20170116.csv", GOOD),
        bucket.put("data/in/a/Products_20170115.csv", GOOD + ROW),
        bucket.put("data/in/b/Products_20170115.csv", GOOD),
    ]

    run = validate(bucket, context, *sources)

    assert run["run_date"] == "2017-01-16"
    assert run["source_file_name"] == (
        "Products_20170115.csv,Products_20170115-2.csv,Products_20170116.csv"
    )
    assert [source["archive_key"] for source in run["sources"]] == [
        "data/archive/products/2017-01-15/Products_20170115.csv",
        "data/archive/products/2017-01-15/Products_20170115-2.csv",
        "data/archive/products/2017-01-16/Products_20170116.csv",
    ]
    assert bucket.read("data/staging/run-1/Products_20170115.csv") == GOOD + ROW


def test_one_bad_file_stops_the_whole_run(bucket, context):
    good = bucket.put("data/in/Products_20170115.csv", GOOD)
    bad = bucket.put("data/in/Products_20170116.csv", HEADER)

    with pytest.raises(InvalidSourceFile, match="^Products_20170116.csv has a header but no rows"):
        validate(bucket, context, good, bad)
    assert bucket.versions("data/staging/") == []


def test_a_run_is_of_one_dataset(bucket, context):
    two_datasets(bucket, r"Sales_(?P<run_date>\d{8})\.csv")
    sources = [bucket.put(f"data/in/{name}_20170115.csv", GOOD) for name in ("Products", "Sales")]

    with pytest.raises(InvalidSourceFile, match="'sales' but Products_20170115.csv is of 'prod"):
        validate(bucket, context, *sources)
    with pytest.raises(InvalidSourceFile, match="no source files"):
        validate(bucket, context)


def test_a_key_with_spaces_and_unicode_is_staged_under_a_plain_name(bucket, context):
    two_datasets(bucket, r"Größe (?P<run_date>\d{8})\.csv")

    run = validate(bucket, context, bucket.put("data/in/ein Ordner/Größe 20170115.csv", GOOD))

    [source] = run["sources"]
    assert source["safe_name"] == "Groe-20170115.csv"
    assert source["archive_key"] == "data/archive/sales/2017-01-15/Größe 20170115.csv"
    assert bucket.read("data/staging/run-1/Groe-20170115.csv") == GOOD


def test_the_version_that_was_announced_is_the_one_that_is_checked_and_copied(bucket, context):
    source = bucket.put(f"data/in/{NAME}", GOOD)
    bucket.put(f"data/in/{NAME}", b"somebody's later file")

    validate(bucket, context, source)

    assert bucket.read(f"data/staging/run-1/{NAME}") == GOOD


def test_a_version_that_is_gone_is_said_to_be_gone(bucket, context, monkeypatch):
    source = bucket.put(f"data/in/{NAME}", GOOD)
    bucket.s3.delete_object(Bucket="data", Key=source["key"], VersionId=source["version_id"])
    with pytest.raises(InvalidSourceFile, match=f"^{NAME} is gone: version {source['version_id']}"):
        validate(bucket, context, source)

    def gone(**_arguments):
        raise ClientError({"Error": {"Code": "NoSuchKey"}}, "CopyObject")

    later = bucket.put(f"data/in/{NAME}", GOOD)
    monkeypatch.setattr(aws.client("s3"), "copy_object", gone)
    with pytest.raises(InvalidSourceFile, match=f"^{NAME} is gone"):
        validate(bucket, context, later)


def test_other_errors_of_s3_pass_so_that_the_state_is_retried(bucket, context):
    source = {**bucket.put(f"data/in/{NAME}", GOOD), "bucket": "elsewhere"}

    with pytest.raises(ClientError, match="NoSuchBucket"):
        validate(bucket, context, source)


def test_a_missing_configuration_is_no_fault_of_the_file(bucket, context):
    event = execution_input(
        bucket, bucket.put(f"data/in/{NAME}", GOOD), config_uri="s3://data/none.json"
    )

    with pytest.raises(ConfigurationError, match="none.json does not exist"):
        handler(event, context)
