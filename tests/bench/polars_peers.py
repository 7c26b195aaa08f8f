"""Polars: the job's work as lazy queries on the streaming engine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tests.bench.products import COLUMNS, NAMES, TEXTS, WHITESPACE

KEY = ["product_id", "time"]


def job(work: Mapping[str, Any]) -> dict[str, Any]:
    """Do the job's work; return what its report says of the rows.

    The good rows are kept, since three queries need them; the text is read once more for the few
    rejected ones.
    """
    output = Path(work["output"])
    for name in ("loaded", "rejected"):
        (output / name).mkdir(parents=True)
    rows = judged(work["files"])
    good = _collect(
        rows.filter(pl.col("_faults").is_null()).select("place", "_source", *NAMES)
    ).lazy()
    rejected = _collect(
        rows.filter(pl.col("_faults").is_not_null()).select(
            "place",
            "_source",
            *[pl.col(f"raw_{name}").alias(name) for name in NAMES],
            reasons=pl.concat_list(*faults()).list.drop_nulls(),
        )
    )
    repeated = _collect(
        good.group_by(KEY)
        .agg(rows=pl.len(), latest=pl.col("place").max())
        .filter(pl.col("rows") > 1)
    )
    _write_loaded(good, repeated, output / "loaded/rows.parquet")
    _write_rejected(good, rejected, work["files"], output / "rejected/rows.parquet")
    superseded = repeated["rows"].sum() - repeated.height
    broken = {KEY[0] + ", " + KEY[1]: repeated["rows"].sum()} | _broken(good)
    rows = broken.pop("rows")
    reasons = rejected["reasons"].list.first().value_counts().sort("reasons")
    return {
        "rows_in": rows + rejected.height,
        "loaded": rows - superseded,
        "rejected": rejected.height,
        "superseded": superseded,
        "rejected_by_reason": dict(reasons.iter_rows()),
        "broken": broken,
    }


PEERS = {"polars": job}


def _collect(query: pl.LazyFrame) -> pl.DataFrame:
    return query.collect(engine="streaming")


def judged(files: list[str]) -> pl.LazyFrame:
    """Return the rows with their types, `place`, `_source`, what the file says as `raw_...`, and
    `_faults`, the first reason why a row cannot be loaded."""
    return _typed(_read(files)).with_columns(_faults=pl.coalesce(*faults()))


def _read(files: list[str]) -> pl.LazyFrame:
    """Scan the text; `place` orders rows as the load has them."""
    numbers = {file: number for number, file in enumerate(files)}
    return (
        pl.scan_csv(
            files,
            schema=dict.fromkeys(COLUMNS, pl.String),
            glob=False,
            row_index_name="place",
            include_file_paths="file",
        )
        .rename({header: f"raw_{name}" for header, name in COLUMNS.items()})
        .with_columns(_source=pl.col("file").replace_strict(numbers, return_dtype=pl.Int32))
    )


def _typed(read: pl.LazyFrame) -> pl.LazyFrame:
    return read.with_columns(
        _number("product_id", pl.Int64),
        *[_text(name) for name in TEXTS],
        _number("price", pl.Decimal(12, 4)),
        _number("quantity", pl.Int32),
        _number("store_id", pl.Int32),
        _stripped("time")
        .str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
        .alias("time"),
    )


def _stripped(name: str) -> pl.Expr:
    return pl.col(f"raw_{name}").str.strip_chars(WHITESPACE)


def _text(name: str) -> pl.Expr:
    return pl.when(_stripped(name) != "").then(_stripped(name)).alias(name)


def _number(name: str, kind: pl.DataType) -> pl.Expr:
    # Exact, as the job's: 1.5 is no integer.
    return _stripped(name).cast(kind, strict=False).alias(name)


def faults() -> list[pl.Expr]:
    """Return every reason why a row cannot be loaded, NULL where it is none."""
    return [
        _any_contains("\ufffd", "invalid_utf8"),
        _any_contains("\0", "nul_character"),
        _number_fault("product_id", "integer", 1),
        *[
            pl.when(pl.col(name).str.len_bytes() > size).then(pl.lit(f"{name}_too_long"))
            for name, size in TEXTS.items()
        ],
        _number_fault("price", "decimal", 0),
        _number_fault("quantity", "integer", 0),
        _number_fault("store_id", "integer", 1),
        pl.when(pl.col("time").is_not_null())
        .then(None)
        .when(_is_blank("time"))
        .then(pl.lit("time_missing"))
        .otherwise(pl.lit("time_not_a_timestamp")),
    ]


def _any_contains(character: str, reason: str) -> pl.Expr:
    found = [pl.col(name).str.contains(character, literal=True) for name in TEXTS]
    return pl.when(pl.any_horizontal(found)).then(pl.lit(reason))


def _is_blank(name: str) -> pl.Expr:
    return _stripped(name).fill_null("") == ""


def _number_fault(name: str, kind: str, minimum: int) -> pl.Expr:
    article = "an" if kind == "integer" else "a"
    digits = r"^[+-]?[0-9]+$" if kind == "integer" else r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$"
    return (
        pl.when(pl.col(name) < minimum)
        .then(pl.lit(f"{name}_{'below_minimum' if minimum else 'negative'}"))
        .when(pl.col(name).is_not_null())
        .then(None)
        .when(_is_blank(name))
        .then(pl.lit(f"{name}_missing"))
        .when(_stripped(name).str.contains(digits))
        .then(pl.lit(f"{name}_out_of_range"))
        .otherwise(pl.lit(f"{name}_not_{article}_{kind}"))
    )


def _write_loaded(good: pl.LazyFrame, repeated: pl.DataFrame, file: Path) -> None:
    latest = pl.col("latest").is_null() | (pl.col("latest") == pl.col("place"))
    good.join(repeated.lazy(), on=KEY, how="left").filter(latest).select(
        *NAMES, "_source"
    ).sink_parquet(file, compression="snappy")


def _write_rejected(
    good: pl.LazyFrame, rejected: pl.DataFrame, files: list[str], file: Path
) -> None:
    places = pl.concat([good, rejected.lazy()], how="diagonal_relaxed").select("_source", "place")
    first = places.group_by("_source").agg(first=pl.col("place").min())
    names = {number: Path(name).name for number, name in enumerate(files)}
    rejected.lazy().join(first, on="_source").select(
        *NAMES,
        pl.col("_source").replace_strict(names, return_dtype=pl.String).alias("source_file"),
        pl.lit(0, pl.Int64).alias("source_block"),
        (pl.col("place") - pl.col("first")).cast(pl.Int64).alias("source_row"),
        pl.lit(None, pl.String).alias("row_text"),
        "reasons",
    ).sink_parquet(file, compression="snappy")


def _broken(good: pl.LazyFrame) -> dict[str, int]:
    """Count the rows, and those that break a rule of products.json, by the rule's columns."""
    (counts,) = _collect(
        good.select(
            rows=pl.len(),
            product_category=pl.col("product_category").is_null().sum(),
            brand=(~pl.col("brand").is_in(["National", "Private"])).sum(),
            department=(~pl.col("department").str.contains("^[A-Z][A-Z&/ -]*$")).sum(),
            product_name=(~pl.col("product_name").str.len_chars().is_between(2, 100)).sum(),
            price=(pl.col("price") > 200).sum(),
            time=(pl.col("time") < pl.datetime(2010, 1, 1)).sum(),
        )
    ).to_dicts()
    return counts
