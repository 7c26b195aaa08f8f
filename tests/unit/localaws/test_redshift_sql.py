"""The translation of Redshift's SQL, without a database: its form, and what is refused."""

import pytest

from localaws.redshift_sql import SqlError, has_outer_limit, translate


def steps(statement: str, **parameters: str) -> tuple[str, ...]:
    return translate(statement, parameters).steps


@pytest.mark.parametrize(
    ("redshift", "postgresql"),
    [
        ("SELECT GETDATE()", "SELECT GETDATE()"),
        ("SELECT SYSDATE", "SELECT SYSDATE()"),
        ("SELECT NVL(a, 1) FROM t", "SELECT COALESCE(a, 1) FROM t"),
        ("SELECT DATEADD(month, 1, a) FROM t", "SELECT DATEADD('month', 1, a) FROM t"),
        ("SELECT a::varchar FROM t", "SELECT CAST(a AS VARCHAR) FROM t"),
        (
            "SELECT a::varchar(3) FROM t",
            "SELECT CAST(redshift_catalog.LEFT_BYTES(CAST(a AS TEXT), 3) AS VARCHAR(3)) FROM t",
        ),
        ("SELECT a::decimal FROM t", "SELECT CAST(a AS DECIMAL(18, 0)) FROM t"),
        ("SELECT TOP 5 a FROM t", "SELECT a FROM t LIMIT 5"),
        (
            "SELECT LISTAGG(DISTINCT a, ',') WITHIN GROUP (ORDER BY a) FROM t",
            "SELECT LISTAGG(DISTINCT a, ',' ORDER BY a) FROM t",
        ),
        (r"SELECT 'it\'s', 'a\\b'", r"SELECT 'it''s', 'a\b'"),
        ("SELECT #t.a FROM #t;", 'SELECT "#t".a FROM "#t"'),
        ("CREATE TABLE #t (a INT)", 'CREATE TEMPORARY TABLE "#t" (a INT)'),
        ("GRANT SELECT ON t TO ROLE r, GROUP g, u", "GRANT SELECT ON t TO r , g , u"),
        ("GRANT ROLE r TO u", "GRANT r TO u"),
        ("LOCK a, b", "LOCK TABLE a, b IN ACCESS EXCLUSIVE MODE"),
        ("SET search_path TO s", "SET search_path TO s, redshift_catalog, pg_catalog"),
        ('CREATE USER "IAMR:x" PASSWORD DISABLE', 'CREATE ROLE "IAMR:x" LOGIN'),
    ],
)
def test_translation(redshift, postgresql):
    assert steps(redshift)[-1] == postgresql


def test_a_table_loses_what_postgresql_has_no_place_for():
    create, keys = steps(
        'CREATE TABLE IF NOT EXISTS s."T" (id INT IDENTITY(1, 1) PRIMARY KEY, "distkey" VARCHAR '
        "ENCODE lzo REFERENCES x (y), v VARCHAR(MAX) UNIQUE, UNIQUE (v), "
        "FOREIGN KEY (v) REFERENCES x) "
        "BACKUP NO DISTSTYLE KEY DISTKEY (id) INTERLEAVED SORTKEY (v, id)"
    )
    assert create == (
        'CREATE TABLE IF NOT EXISTS s."T" (id INT GENERATED ALWAYS AS IDENTITY (START WITH 1 '
        'INCREMENT BY 1 MINVALUE 1) NOT NULL, "distkey" VARCHAR(256), v VARCHAR(65535))'
    )
    assert keys == (
        "CALL redshift_catalog.set_table_keys('s.\"T\"', 'KEY', 'id', "
        "CAST(ARRAY['v', 'id'] AS text[]), jsonb_build_object('distkey', 'lzo'))"
    )


def test_merge_guards_its_source():
    guard, merge = steps(
        "MERGE INTO t USING s.x AS y ON t.a = y.a "
        "WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (y.a, y.b)"
    )
    assert guard == "SELECT redshift_catalog.require_table('s.x')"
    assert merge.endswith("WHEN NOT MATCHED THEN INSERT VALUES (y.a, y.b)")


def test_merge_remove_duplicates():
    assert steps("MERGE INTO t USING s ON t.a = s.a REMOVE DUPLICATES")[1:] == (
        "DELETE FROM t USING s WHERE t.a = s.a",
        "INSERT INTO t SELECT DISTINCT * FROM s",
    )


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("MERGE INTO t AS x USING s ON x.a = s.a REMOVE DUPLICATES", "no alias"),
        ("MERGE INTO t USING (SELECT 1 AS a) AS s ON t.a = s.a REMOVE DUPLICATES", "subquery"),
        ("MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE", "MERGE needs"),
        (
            "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED AND s.b > 1 THEN DELETE "
            "WHEN NOT MATCHED THEN INSERT VALUES (1)",
            "without conditions",
        ),
        ("SELECT a.b[0] FROM t a", "SUPER"),
        ("SELECT FIRST_VALUE(a IGNORE NULLS) OVER (ORDER BY a) FROM t", "IGNORE NULLS"),
        ("SELECT * FROM t QUALIFY ROW_NUMBER() OVER (ORDER BY a) = 1", "QUALIFY"),
        (f"SELECT 1 AS {'x' * 64}", "more than 63 bytes"),
        ("CREATE MATERIALIZED VIEW v AS SELECT 1", "MATERIALIZED VIEW"),
        ("CREATE VIEW v AS SELECT 1 AS a WITH NO SCHEMA BINDING", "a view is bound here"),
        ("CREATE PROCEDURE p() AS $$ BEGIN END $$ LANGUAGE plpgsql", "CREATE PROCEDURE"),
        ("ALTER TABLE t ALTER DISTSTYLE EVEN", "keys and encodings"),
        ("SELECT 'unfinished", "syntax error"),
        ("", "empty"),
        ("-- only a comment", "empty"),
        ("SELECT 1; SELECT 2", "multiple commands"),
    ],
)
def test_what_has_no_counterpart_is_refused(statement, complaint):
    with pytest.raises(SqlError, match=complaint):
        translate(statement)


def test_parameters_become_values():
    assert steps("SELECT :a, ':a', b::int FROM t", a="it's") == (
        "SELECT 'it''s', ':a', CAST(b AS INT) FROM t",
    )
    with pytest.raises(SqlError, match="Cannot find parameter: b"):
        translate("SELECT :b", {})
    with pytest.raises(SqlError, match="Unused parameters: c"):
        translate("SELECT 1", {"c": "1"})


@pytest.mark.parametrize(
    ("statement", "commits", "standalone"),
    [
        ("TRUNCATE t", True, None),
        ("VACUUM t", False, "VACUUM"),
        ("ALTER TABLE a APPEND FROM b", False, "ALTER TABLE APPEND"),
        ("DELETE FROM t", False, None),
    ],
)
def test_what_a_statement_does_to_its_transaction(statement, commits, standalone):
    plan = translate(statement)
    assert (plan.commits, plan.standalone) == (commits, standalone)


def test_copy_and_unload_are_left_as_they_are():
    assert translate("COPY t FROM 's3://b/k'").kind == "copy"
    assert translate("unload ('select 1') TO 's3://b/k'").kind == "unload"
    assert has_outer_limit("SELECT 1 LIMIT 1")
    assert not has_outer_limit("SELECT * FROM (SELECT 1 LIMIT 1) AS x")
