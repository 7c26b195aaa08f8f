"""Redshift's SQL on the real PostgreSQL: what it means there, and what it refuses."""

# pylint: disable=redefined-outer-name  # pytest's way of asking for fixtures

import pytest


@pytest.fixture(autouse=True)
def in_schema(warehouse, schema):
    """Give each test a run() and an error() that work in the test's own schema."""
    path = f"SET search_path TO {schema}, public"

    class Run:
        """Runs statements in the schema."""

        def __call__(self, *sqls: str) -> list[tuple]:
            return warehouse.run(path, *sqls)

        def error(self, *sqls: str) -> str:
            return warehouse.error(path, *sqls)

    return Run()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("5 / 2", 2),
        ("AVG(x) FROM (SELECT 1 AS x UNION ALL SELECT 2) AS t", 1),
        ("STRTOL('ff', 16)", 255),
        ("STRTOL('-777', 8)", -511),
        ("STRTOL(SUBSTRING(MD5('x'), 1, 15), 16)", 0x9DD4E461268C803),
        ("MD5('x')", "9dd4e461268c8034f5c8564e155c67a6"),
        ("NVL(NULL, 'a')", "a"),
        ("NVL2(1, 'a', 'b')", "a"),
        ("DECODE(NULL, NULL, 'null', 'other')", "null"),
        ("LEN('é')", 1),
        ("OCTET_LENGTH('é')", 2),
        ("CAST('ééé' AS VARCHAR(5))", "éé"),
        ("CAST(1.5 AS DECIMAL)", "2"),
        ("CONCAT('a', NULL)", None),
        ("DATEDIFF(month, '2009-01-31', '2009-02-01')", 1),
        ("DATEDIFF(day, '2009-01-31 23:59:59', '2009-02-01 00:00:00')", 1),
        ("DATEDIFF(hour, '2009-01-31 23:59:59', '2009-02-01 00:00:00')", 1),
        ("DATEADD(month, 1, '2009-01-31')", "2009-02-28 00:00:00"),
        ("DATEADD(day, -1, '2009-03-01')", "2009-02-28 00:00:00"),
        ("EXTRACT(day FROM DATE '2009-03-31') / 2", 15),
        ("GETDATE() BETWEEN SYSDATE - INTERVAL '1 minute' AND SYSDATE + INTERVAL '1 minute'", True),
        (
            "LISTAGG(x, ', ') WITHIN GROUP (ORDER BY x DESC) FROM (SELECT 1 AS x UNION SELECT 2)",
            "2, 1",
        ),
        (
            "LISTAGG(DISTINCT x, ',') WITHIN GROUP (ORDER BY x) "
            "FROM (SELECT 'a' AS x UNION ALL SELECT 'a')",
            "a",
        ),
        (r"'a\'b'", "a'b"),
        (r"'a\\b'", r"a\b"),
        ("JSON_PARSE('{\"a\": 1}')", '{"a": 1}'),
        ("COUNT(*) FROM (SELECT TOP 1 x FROM (SELECT 1 AS x UNION SELECT 2))", 1),
        ("current_database()", "warehouse"),
    ],
)
def test_an_expression_has_redshifts_value(warehouse, expression, expected):
    assert warehouse.run(f"SELECT {expression}") == [(expected,)]


@pytest.mark.parametrize(
    "value", ["'ééé'", "'12345'", "repeat('é', 3)"], ids=["multibyte", "ascii", "expression"]
)
def test_varchar_counts_bytes(in_schema, value):
    error = in_schema.error("CREATE TABLE t (v VARCHAR(4))", f"INSERT INTO t VALUES ({value})")
    assert "Value too long for character type" in error
    assert in_schema(
        "CREATE TABLE t (v VARCHAR(4))", "INSERT INTO t VALUES ('éé')", "SELECT v FROM t"
    ) == [("éé",)]


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE copied (LIKE t)",
        "CREATE TEMP TABLE copied (LIKE t)",
        "CREATE TABLE copied AS SELECT * FROM t",
        "ALTER TABLE t RENAME TO copied",
        "CREATE TABLE copied (a INT); ALTER TABLE copied ADD COLUMN v VARCHAR(4)",
        "CREATE TABLE copied (v VARCHAR(2)); ALTER TABLE copied ALTER COLUMN v TYPE VARCHAR(4)",
        "CREATE TABLE copied (v VARCHAR(40)); ALTER TABLE copied ALTER COLUMN v TYPE VARCHAR(4)",
    ],
)
def test_varchar_counts_bytes_however_the_column_was_made(in_schema, made):
    table = ["CREATE TABLE t (v VARCHAR(4))", *made.split("; ")]
    assert "too long" in in_schema.error(*table, "INSERT INTO copied (v) VALUES ('ééé')")
    in_schema(*table, "INSERT INTO copied (v) VALUES ('éé')")


def test_types_have_redshifts_defaults(in_schema):
    in_schema("CREATE TABLE t (a VARCHAR, b TEXT, c DECIMAL, d CHAR, e SUPER, f VARCHAR(MAX))")
    assert in_schema("SELECT \"column\", type FROM pg_table_def WHERE tablename = 't'") == [
        ("a", "character varying(256)"),
        ("b", "character varying(256)"),
        ("c", "numeric(18,0)"),
        ("d", "character(1)"),
        ("e", "super"),
        ("f", "character varying(65535)"),
    ]


def test_keys_are_kept_for_pg_table_def(in_schema):
    in_schema(
        "CREATE TABLE t (a INT ENCODE az64, b INT, c INT NOT NULL, PRIMARY KEY (b)) "
        "DISTSTYLE KEY DISTKEY (a) COMPOUND SORTKEY (b, a)",
        "CREATE TABLE copied (LIKE t)",
        "CREATE TABLE made DISTKEY (x) SORTKEY (x) AS SELECT 1 AS x",
    )
    columns = '"column", encoding, distkey, sortkey, "notnull"'
    expected = [
        ("a", "az64", True, 2, False),
        ("b", "none", False, 1, True),
        ("c", "none", False, 0, True),
    ]
    for table in ("t", "copied"):
        assert (
            in_schema(f"SELECT {columns} FROM pg_table_def WHERE tablename = '{table}'") == expected
        )
    assert in_schema(f"SELECT {columns} FROM pg_table_def WHERE tablename = 'made'") == [
        ("x", "none", True, 1, False)
    ]
    assert 'column "z" named in key does not exist' in in_schema.error(
        "CREATE TABLE bad (a INT) DISTKEY (z)"
    )


def test_primary_keys_are_informational(in_schema):
    rows = in_schema(
        "CREATE TABLE t (a INT PRIMARY KEY, b INT UNIQUE REFERENCES nowhere (x))",
        "INSERT INTO t VALUES (1, 1), (1, 1)",
        "SELECT COUNT(*) FROM t",
    )
    assert rows == [(2,)]
    assert "Cannot insert a NULL value into column a" in in_schema.error(
        "INSERT INTO t VALUES (NULL, 1)"
    )


def test_identity_columns_count_and_like_copies_them(in_schema):
    rows = in_schema(
        "CREATE TABLE t (id INT IDENTITY(0, 2), v INT)",
        "INSERT INTO t (v) VALUES (7), (8)",
        "CREATE TABLE copied (LIKE t)",
        "INSERT INTO copied (v) VALUES (9)",
        "SELECT id FROM t UNION ALL SELECT id FROM copied ORDER BY 1",
    )
    assert rows == [(0,), (0,), (2,)]
    assert "non-DEFAULT value" in in_schema.error("INSERT INTO t VALUES (5, 5)")


def test_like_takes_defaults_only_when_asked(in_schema):
    in_schema(
        "CREATE TABLE t (a INT DEFAULT 5, b INT NOT NULL)",
        "CREATE TABLE without_them (LIKE t)",
        "CREATE TABLE with_them (LIKE t INCLUDING DEFAULTS)",
        "INSERT INTO without_them (b) VALUES (1)",
        "INSERT INTO with_them (b) VALUES (1)",
    )
    assert in_schema("SELECT a FROM without_them UNION ALL SELECT a FROM with_them") == [
        (None,),
        (5,),
    ]
    assert "Cannot insert a NULL" in in_schema.error("INSERT INTO without_them (a) VALUES (1)")


def test_a_hash_names_a_temporary_table(in_schema, warehouse):
    rows = in_schema("CREATE TABLE #t (a INT)", "INSERT INTO #t VALUES (1)", "SELECT #t.a FROM #t")
    assert rows == [(1,)]
    assert "does not exist" in warehouse.error("SELECT * FROM #t")


MERGE = (
    "CREATE TABLE target (k INT, v VARCHAR(5))",
    "CREATE TABLE source (k INT, v VARCHAR(5))",
    "INSERT INTO target VALUES (1, 'old'), (2, 'old')",
)
UPSERT = (
    "MERGE INTO target USING source ON target.k = source.k "
    "WHEN MATCHED THEN UPDATE SET v = source.v WHEN NOT MATCHED THEN INSERT "
)


@pytest.mark.parametrize(
    "insert", ["VALUES (source.k, source.v)", "(k, v) VALUES (source.k, source.v)"]
)
def test_merge_updates_and_inserts(in_schema, insert):
    in_schema(*MERGE, "INSERT INTO source VALUES (2, 'new'), (3, 'new')", UPSERT + insert)
    assert in_schema("SELECT * FROM target ORDER BY k") == [(1, "old"), (2, "new"), (3, "new")]


def test_merge_deletes(in_schema):
    in_schema(
        *MERGE,
        "INSERT INTO source VALUES (2, 'x'), (3, 'new')",
        "MERGE INTO target USING source AS s ON target.k = s.k "
        "WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.k, s.v)",
    )
    assert in_schema("SELECT * FROM target ORDER BY k") == [(1, "old"), (3, "new")]


def test_merge_refuses_two_source_rows_for_one_target_row(in_schema):
    error = in_schema.error(
        *MERGE,
        "INSERT INTO source VALUES (2, 'a'), (2, 'b')",
        UPSERT + "VALUES (source.k, source.v)",
    )
    assert error.endswith("ERROR: Found multiple matches to update the same tuple.")


def test_merge_removes_duplicates(in_schema):
    in_schema(
        *MERGE,
        "INSERT INTO source VALUES (2, 'new'), (2, 'new'), (3, 'new')",
        "MERGE INTO target USING source ON target.k = source.k REMOVE DUPLICATES",
    )
    assert in_schema("SELECT * FROM target ORDER BY k") == [(1, "old"), (2, "new"), (3, "new")]


def test_merge_takes_no_view_as_its_source(in_schema):
    error = in_schema.error(
        *MERGE,
        "CREATE VIEW seen AS SELECT * FROM source",
        "MERGE INTO target USING seen ON target.k = seen.k REMOVE DUPLICATES",
    )
    assert "source_table of MERGE can't be a view" in error


def test_truncate_commits(in_schema):
    in_schema("CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1)")
    error = in_schema.error(
        "CREATE TABLE kept (a INT)", "TRUNCATE t", "CREATE TABLE lost (a INT)", "SELECT 1/0"
    )
    assert "Divide by zero" in error
    assert in_schema("SELECT COUNT(*) FROM t") == [(0,)]
    assert in_schema("SELECT COUNT(*) FROM kept") == [(0,)]
    assert 'relation "lost" does not exist' in in_schema.error("SELECT * FROM lost")


def test_rows_move_with_alter_table_append(warehouse, schema, in_schema):
    in_schema(
        "CREATE TABLE a (x INT, y INT)",
        "CREATE TABLE b (y INT, x INT)",
        "INSERT INTO b VALUES (2, 1)",
    )
    warehouse.run(f"ALTER TABLE {schema}.a APPEND FROM {schema}.b")
    assert in_schema("SELECT x, y FROM a") == [(1, 2)]
    assert in_schema("SELECT COUNT(*) FROM b") == [(0,)]


@pytest.mark.parametrize("command", ["VACUUM", "ALTER TABLE a APPEND FROM b"])
def test_some_commands_run_outside_transactions_only(in_schema, command):
    assert "cannot run inside a transaction block" in in_schema.error("SELECT 1", command)


def test_maintenance_does_nothing_wrong(warehouse, schema):
    warehouse.run(f"CREATE TABLE {schema}.t (a INT)")
    warehouse.run(f"VACUUM FULL {schema}.t TO 99 PERCENT")
    warehouse.run("VACUUM")
    warehouse.run(f"ANALYZE {schema}.t")
    assert "does not exist" in warehouse.error("VACUUM nothing_there")


def test_a_lock_makes_others_wait(warehouse, schema):
    warehouse.run(f"CREATE TABLE {schema}.t (a INT)")
    first = warehouse.submit(
        f"LOCK TABLE {schema}.t", "SELECT pg_sleep(1)", f"INSERT INTO {schema}.t VALUES (1)"
    )
    while (
        not warehouse.client.describe_statement(Id=first)["SubStatements"][0].get("Duration", -1)
        > 0
    ):
        pass
    assert warehouse.run(f"SELECT COUNT(*) FROM {schema}.t") == [(1,)]


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("CREATE TABLE t (a UUID)", 'type "uuid" is not a type of Redshift'),
        ("CREATE TABLE t (a INT[])", "is not a type of Redshift"),
        ("CREATE TABLE t (a SERIAL)", 'type "serial" is not a type of Redshift'),
        ("CREATE TABLE t (a VARCHAR(70000))", "cannot exceed 65535"),
        ("CREATE TABLE t (a INT CHECK (a > 0))", "CHECK constraints are not supported"),
        ("CREATE INDEX i ON t (a)", "CREATE INDEX"),
        ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "ON CONFLICT"),
        ("DELETE FROM t RETURNING a", "RETURNING"),
        ("SELECT DISTINCT ON (a) a FROM t", "DISTINCT ON"),
        ("SELECT COUNT(*) FILTER (WHERE a > 1) FROM t", "FILTER"),
        ("SELECT pg_read_file('/etc/passwd')", "pg_read_file"),
        ("SELECT not_a_function(1)", "function not_a_function(integer) does not exist"),
        ("CALL p()", "CALL is not there in local AWS"),
        ("SELECT 1; SELECT 2", "multiple commands"),
        ("COMMIT", "COMMIT"),
        ("SELEC 1", "syntax error"),
        ("SET enable_seqscan TO off", 'unrecognized configuration parameter "enable_seqscan"'),
    ],
)
def test_what_redshift_refuses_is_refused_by_name(warehouse, statement, complaint):
    assert complaint in warehouse.error(statement)
