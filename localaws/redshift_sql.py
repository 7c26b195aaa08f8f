"""Redshift's SQL, translated to what PostgreSQL runs with the same meaning, or refused.

sqlglot parses and writes the statement; functions keep their names, so that one which PostgreSQL
and ``redshift_catalog.sql`` do not have fails as unknown instead of becoming another. What has no
counterpart raises SqlError, naming it: a statement is never run with another meaning in silence.
Known difference: the scale of a quotient of decimals is PostgreSQL's. Pure: no database is asked.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.dialects.redshift import Redshift
from sqlglot.errors import ParseError, TokenError, UnsupportedError
from sqlglot.tokens import Token, TokenType

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns where we raise

LONGEST_VARCHAR = 65535
LONGEST_CHAR = 4096
_LONGEST_NAME = 63  # PostgreSQL cuts longer names silently; Redshift has 127
CATALOG_SCHEMA = "redshift_catalog"


class SqlError(ValueError):
    """A statement that Redshift refuses, or that cannot be run here; the message is the error's."""


@dataclass(frozen=True)
class Plan:
    """What to run in PostgreSQL for one Redshift statement.

    kind: ``sql``, or ``copy`` and ``unload`` (run by redshift_copy from the original text).
    steps: PostgreSQL statements; the last one gives the result.
    commits: whether it ends the transaction that it runs in (TRUNCATE).
    standalone: the command's name where it cannot run inside a transaction block.
    """

    kind: str
    steps: tuple[str, ...]
    commits: bool = False
    standalone: str | None = None


def translate(statement: str, parameters: Mapping[str, str] | None = None) -> Plan:
    """Translate one Redshift statement with its named parameters (``:name``) to a Plan.

    Raises SqlError on bad syntax, several statements, and what Redshift or localaws does not have.
    """
    values = dict(parameters or {})
    statement = statement.strip().rstrip("; \n\t")
    tokens = tokenize(statement)
    if not tokens:
        raise SqlError("syntax error: the statement is empty")
    if any(token.token_type is TokenType.SEMICOLON for token in tokens):
        raise SqlError("cannot insert multiple commands into a prepared statement")
    words = [token.text.upper() for token in tokens]
    plan = _by_hand(statement, tokens, words)
    if plan is not None:
        if values:
            raise SqlError(f"{words[0]} takes no parameters")
        return plan
    cleaned, keys = _take_table_attributes(statement, tokens)
    if words[0] == "MERGE" and words[-2:] == ["REMOVE", "DUPLICATES"]:
        # sqlglot does not know this clause: it parses the rest with one that it knows.
        cleaned = _join(statement, tokens[:-2], set(), {}) + " WHEN MATCHED THEN DELETE"
    tree = _parse(cleaned)
    _bind(tree, values)
    return _plan(tree, keys, words[-2:] == ["REMOVE", "DUPLICATES"])


# ---- commands that sqlglot does not know --------------------------------------------------------

_IGNORED_SETTINGS = {
    "analyze_threshold_percent",
    "enable_result_cache_for_session",
    "query_group",
    "wlm_query_slot_count",
}
_SETTINGS = {"search_path", "statement_timeout", "timezone"}
_TRANSACTION_WORDS = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"}
_UNKNOWN_COMMANDS = {"CALL", "DECLARE", "FETCH", "CLOSE", "PREPARE", "EXECUTE", "DO", "CANCEL"}


def _by_hand(statement: str, tokens: list[Token], words: list[str]) -> Plan | None:
    """Return the plan of a command that needs no parser, None for what sqlglot parses."""
    command = words[0]
    if command in _TRANSACTION_WORDS:
        raise SqlError(f"{command}: run the statements of a transaction with BatchExecuteStatement")
    if command in _UNKNOWN_COMMANDS:
        raise SqlError(f"{command} is not there in local AWS")
    for beginning, plan in _COMMANDS.items():
        if " ".join(words[: beginning.count(" ") + 1]) == beginning:
            return plan(statement, tokens, words)
    return None


def _move(_statement: str, _tokens: list[Token], words: list[str]) -> Plan:
    return Plan(words[0].lower(), ())


def _lock(statement: str, tokens: list[Token], words: list[str]) -> Plan:
    names = _rest(statement, tokens, 2 if words[1:2] == ["TABLE"] else 1)
    return Plan("sql", (f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE",))


def _show(statement: str, tokens: list[Token], _words: list[str]) -> Plan:
    return Plan("sql", (f"SHOW {_rest(statement, tokens, 1)}",))


def _explain(statement: str, tokens: list[Token], _words: list[str]) -> Plan:
    return Plan("sql", (f"EXPLAIN {translate(_rest(statement, tokens, 1)).steps[-1]}",))


def _drop_user(statement: str, tokens: list[Token], _words: list[str]) -> Plan:
    return Plan("sql", (f"DROP ROLE {_rest(statement, tokens, 2)}",))


def _as_it_is(statement: str, tokens: list[Token], _words: list[str]) -> Plan:
    return Plan("sql", (_rest(statement, tokens, 0),))


def _vacuum(_statement: str, tokens: list[Token], words: list[str]) -> Plan:
    position = 1
    while words[position : position + 1] and words[position] in (
        "FULL", "SORT", "DELETE", "ONLY", "REINDEX", "RECLUSTER",
    ):  # fmt: skip
        position += 1
    name = _name(tokens, position)
    check = (f"SELECT CAST('{name}' AS regclass)",) if name else ()
    # PostgreSQL's autovacuum does what there is to do.
    return Plan("sql", (*check, "SET application_name = 'vacuum'"), standalone="VACUUM")


def _analyze(_statement: str, tokens: list[Token], words: list[str]) -> Plan:
    if words[1:2] == ["COMPRESSION"]:
        raise SqlError("ANALYZE COMPRESSION is not there in local AWS: nothing is compressed")
    position = 2 if words[1:2] == ["VERBOSE"] else 1
    return Plan("sql", (f"ANALYZE {_name(tokens, position) or ''}".rstrip(),))


def _setting(statement: str, tokens: list[Token], words: list[str]) -> Plan:
    name = next(word.lower() for word in words[1:] if word not in ("SESSION", "LOCAL"))
    if name in _IGNORED_SETTINGS:
        return Plan("sql", ("SET application_name = 'redshift-data'",))
    if name not in _SETTINGS:
        raise SqlError(f'unrecognized configuration parameter "{name}"')
    text = statement[tokens[0].start : tokens[-1].end + 1]
    if name == "search_path" and words[0] == "SET":
        text += f", {CATALOG_SCHEMA}, pg_catalog"
    return Plan("sql", (text,))


def _grant(statement: str, tokens: list[Token], words: list[str]) -> Plan:
    """Leave out the words USER, ROLE and GROUP before names."""
    dropped = {
        position
        for position, word in enumerate(words)
        if word in ("ROLE", "GROUP", "USER")
        and words[position - 1] in ("TO", "FROM", ",", "GRANT", "REVOKE")
    }
    replaced = {
        position: "ROLE"
        for position, word in enumerate(words)
        if word == "USER" and words[position - 1] == "FOR"
    }
    return Plan("sql", (_join(statement, tokens, dropped, replaced),))


def _create_user(statement: str, tokens: list[Token], words: list[str]) -> Plan:
    name = statement[tokens[2].start : tokens[2].end + 1]
    options = words[3:]
    if words[1] == "USER":
        if options[:2] != ["PASSWORD", "DISABLE"] or len(options) > 2:
            raise SqlError(
                "CREATE USER: only PASSWORD DISABLE is there in local AWS; users come from IAM"
            )
        return Plan("sql", (f"CREATE ROLE {name} LOGIN",))
    if options:
        raise SqlError(f"CREATE {words[1]} {name}: {options[0]} is not there in local AWS")
    return Plan("sql", (f"CREATE ROLE {name}",))


def _alter_table(_statement: str, tokens: list[Token], words: list[str]) -> Plan | None:
    """Return the plan of ALTER TABLE ... APPEND and refuse what changes only Redshift's layout."""
    if "APPEND" in words[3:6]:
        position = words.index("APPEND")
        target, source = _name(tokens, 2), _name(tokens, position + 2)
        if words[position + 1] != "FROM" or len(words) > position + 3 + 2 * source.count("."):
            raise SqlError("ALTER TABLE APPEND: only APPEND FROM <table> is there in local AWS")
        return Plan(
            "sql",
            (f"SELECT {CATALOG_SCHEMA}.append_table('{target}', '{source}')", f"TRUNCATE {source}"),
            standalone="ALTER TABLE APPEND",
        )
    attributes = {"DISTSTYLE", "DISTKEY", "SORTKEY", "COMPOUND", "INTERLEAVED", "ENCODE"}
    if "ALTER" in words[2:] and attributes & set(words):
        raise SqlError("ALTER TABLE ... ALTER of keys and encodings is not there in local AWS")
    return None


_COMMANDS = {
    "ALTER DEFAULT PRIVILEGES": _grant,
    "ALTER TABLE": _alter_table,
    "ANALYZE": _analyze,
    "COPY": _move,
    "CREATE GROUP": _create_user,
    "CREATE ROLE": _create_user,
    "CREATE SCHEMA": _as_it_is,
    "CREATE USER": _create_user,
    "DROP GROUP": _drop_user,
    "DROP ROLE": _drop_user,
    "DROP USER": _drop_user,
    "EXPLAIN": _explain,
    "GRANT": _grant,
    "LOCK": _lock,
    "RESET": _setting,
    "REVOKE": _grant,
    "SET": _setting,
    "SHOW": _show,
    "UNLOAD": _move,
    "VACUUM": _vacuum,
}


def _rest(statement: str, tokens: list[Token], position: int) -> str:
    if position >= len(tokens):
        raise SqlError(f"syntax error at end of input: {statement.strip()}")
    return statement[tokens[position].start : tokens[-1].end + 1]


def _name(tokens: list[Token], position: int) -> str:
    """Return the possibly qualified name at a position, quoted; "" where there is none."""
    parts = []
    while position < len(tokens):
        parts.append(quoted(folded(tokens[position])))
        if position + 1 >= len(tokens) or tokens[position + 1].text != ".":
            break
        position += 2
    return ".".join(parts)


def quoted(name: str) -> str:
    """Return a name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def _join(statement: str, tokens: list[Token], dropped: set[int], replaced: dict[int, str]) -> str:
    """Return the statement without some tokens and with others replaced; comments are lost."""
    parts = []
    for position, token in enumerate(tokens):
        if position in dropped:
            continue
        parts.append(replaced.get(position, statement[token.start : token.end + 1]))
    return " ".join(parts)


# ---- CREATE TABLE's attributes that PostgreSQL has no place for ---------------------------------


@dataclass
class _Keys:
    """A table's distribution and sort keys and encodings, as pg_table_def shows them."""

    diststyle: str = "AUTO"
    distkey: str | None = None
    sortkeys: list[str] = field(default_factory=list)
    encodings: dict[str, str] = field(default_factory=dict)

    def step(self, table: str) -> str | None:
        """Return the statement that records them, None where there is nothing to record."""
        if self == _Keys():
            return None
        distkey = "NULL" if self.distkey is None else _literal(self.distkey)
        sortkeys = ", ".join(_literal(name) for name in self.sortkeys)
        encodings = ", ".join(
            f"{_literal(column)}, {_literal(encoding)}"
            for column, encoding in self.encodings.items()
        )
        return (
            f"CALL {CATALOG_SCHEMA}.set_table_keys({_literal(table)}, {_literal(self.diststyle)},"
            f" {distkey}, CAST(ARRAY[{sortkeys}] AS text[]), jsonb_build_object({encodings}))"
        )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _take_table_attributes(statement: str, tokens: list[Token]) -> tuple[str, _Keys]:
    """Return CREATE or ALTER TABLE without DISTKEY, SORTKEY, ENCODE and the like, and those."""
    words = [token.text.upper() for token in tokens]
    keys = _Keys()
    if words[0] not in ("CREATE", "ALTER") or "TABLE" not in words[1:4]:
        return statement, keys
    end = next((i for i, word in enumerate(words) if word == "AS" and i > 2), len(words))
    dropped: set[int] = set()
    depth, column, position = 0, None, 0
    altering = words[0] == "ALTER"
    while position < end:
        word = words[position]
        if word == "(":
            depth += 1
            if depth == 1:
                column = None
        elif word == ")":
            depth -= 1
        elif word == "," and depth == 1:
            column = None
        elif depth == 1 and column is None:
            column = folded(tokens[position])
        elif tokens[position].token_type is not TokenType.IDENTIFIER and depth <= 1:
            used = _attribute(tokens, words, position, column if depth or altering else None, keys)
            dropped.update(range(position, position + used))
            position += used
            if used:
                continue
        position += 1
    return (_join(statement, tokens, dropped, {}) if dropped else statement), keys


_KEYS = ("DISTKEY", "SORTKEY")


def _attribute(
    tokens: list[Token], words: list[str], position: int, column: str | None, keys: _Keys
) -> int:
    """Record the attribute that begins at a position; return how many tokens it has, 0 for none."""
    word = words[position]
    following = words[position + 1] if position + 1 < len(words) else ""
    used = 0
    if word == "ENCODE":
        used = 2
        if column:
            keys.encodings[column] = following.lower()
    elif word == "DISTSTYLE":
        used, keys.diststyle = 2, following
    elif word == "BACKUP" and following in ("YES", "NO") or following == "AUTO" and word in _KEYS:
        used = 2
    elif word in ("COMPOUND", "INTERLEAVED") and following == "SORTKEY":
        used = 1 + _attribute(tokens, words, position + 1, column, keys)
    elif word in _KEYS:
        used, names = 1, [column] if column else []
        if following == "(":
            used = words.index(")", position) - position + 1
            listed = tokens[position + 2 : position + used - 1]
            names = [folded(token) for token in listed if token.text != ","]
        if word == "DISTKEY":
            keys.diststyle, keys.distkey = "KEY", names[0] if names else None
        else:
            keys.sortkeys += names
    return used


def folded(token: Token) -> str:
    """Return the name that a token is: lower case unless it is quoted."""
    return token.text if token.token_type is TokenType.IDENTIFIER else token.text.lower()


# ---- what sqlglot parses ------------------------------------------------------------------------


class _RedshiftParser(Redshift.Parser):
    """Redshift's grammar; functions stay as they are written."""

    FUNCTIONS: dict = {}
    FUNCTION_PARSERS = {
        name: parser
        for name, parser in Redshift.Parser.FUNCTION_PARSERS.items()
        if name in ("CAST", "CONVERT", "EXTRACT", "POSITION", "SUBSTRING", "TRIM")
    }
    NO_PAREN_FUNCTION_PARSERS = {
        name: parser
        for name, parser in Redshift.Parser.NO_PAREN_FUNCTION_PARSERS.items()
        if name in ("ANY", "CASE", "SYSDATE")
    }


class _RedshiftTokenizer(Redshift.Tokenizer):
    """Redshift's tokens; a command that sqlglot does not know is still cut into words."""

    COMMANDS: set = set()


class _Redshift(Redshift):
    Parser = _RedshiftParser
    Tokenizer = _RedshiftTokenizer


def _within_group(generator: Postgres.Generator, node: exp.WithinGroup) -> str:
    """Write LISTAGG's order into its arguments."""
    call = node.this
    if isinstance(call, exp.Anonymous) and call.name.upper() == "LISTAGG":
        arguments = generator.expressions(call, flat=True)
        order = generator.sql(node, "expression").strip()
        return f"LISTAGG({arguments} {order})"
    return (
        f"{generator.sql(node, 'this')} WITHIN GROUP ({generator.sql(node, 'expression').strip()})"
    )


def _extract(generator: Postgres.Generator, node: exp.Extract) -> str:
    """Write EXTRACT, which gives an integer."""
    part, source = generator.sql(node, "this"), generator.sql(node, "expression")
    return f"CAST(TRUNC(EXTRACT({part} FROM {source})) AS BIGINT)"


def _cast(generator: Postgres.Generator, node: exp.Cast) -> str:
    """Write CAST; to VARCHAR(n) it keeps what fits into n bytes."""
    source = generator.sql(node, "this")
    target = _type(node.to, in_table=False)
    length = _length(target)
    if target.this is _T.VARCHAR and length:
        source = f"{CATALOG_SCHEMA}.LEFT_BYTES(CAST({source} AS TEXT), {length})"
    return f"CAST({source} AS {generator.sql(target)})"


class _PostgresGenerator(Postgres.Generator):
    """PostgreSQL's grammar; names of temporary tables such as #stage are quoted."""

    TRANSFORMS = {
        **Postgres.Generator.TRANSFORMS,
        exp.WithinGroup: _within_group,
        exp.Extract: _extract,
        exp.Cast: _cast,
    }


class _Postgres(Postgres):
    Generator = _PostgresGenerator


_DIALECT = _Redshift()
_TARGET = _Postgres()


def tokenize(statement: str) -> list[Token]:
    """Return a statement's tokens, without the semicolons at its end."""
    try:
        tokens = _DIALECT.tokenize(statement)
    except TokenError as error:
        raise SqlError(f"syntax error: {str(error).splitlines()[0]}") from error
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        tokens.pop()
    return tokens


def is_string(token: Token) -> bool:
    """Whether a token is a string."""
    return token.token_type is TokenType.STRING


def has_outer_limit(query: str) -> bool:
    """Whether a query's outermost SELECT has a LIMIT."""
    return _parse(query).args.get("limit") is not None


def _parse(statement: str) -> exp.Expression:
    try:
        tree = sqlglot.parse_one(statement, dialect=_DIALECT)
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        near = first.get("highlight")
        where = f' at or near "{near}"' if near else f": {error}"
        raise SqlError(f"syntax error{where}") from error
    if isinstance(tree, exp.Command):
        raise SqlError(f"cannot be translated by local AWS: {' '.join(statement.split())[:200]}")
    return tree


def _sql(node: exp.Expression) -> str:
    try:
        return node.sql(
            dialect=_TARGET, unsupported_level=sqlglot.ErrorLevel.RAISE, normalize_functions=False
        )
    except UnsupportedError as error:
        raise SqlError(f"cannot be translated by local AWS: {error}") from error


def _bind(tree: exp.Expression, values: Mapping[str, str]) -> None:
    """Put the parameters' values, which have no type yet, in the places of their names."""
    used = set()
    for place in list(tree.find_all(exp.Placeholder)):
        name = place.this
        if name not in values:
            raise SqlError(f"Cannot find parameter: {name}")
        used.add(name)
        place.replace(exp.Literal.string(values[name]))
    unused = sorted(set(values) - used)
    if unused:
        raise SqlError(
            f"Parameters list contains unused parameters. Unused parameters: {', '.join(unused)}"
        )


_PLANNED = (
    exp.Query,
    exp.Insert,
    exp.Update,
    exp.Delete,
    exp.Merge,
    exp.Create,
    exp.Drop,
    exp.TruncateTable,
    exp.Alter,
    exp.Comment,
)
_REFUSED = {
    exp.OnConflict: "INSERT ... ON CONFLICT",
    exp.Returning: "RETURNING",
    exp.Filter: "FILTER",
    exp.Lateral: "LATERAL",
    exp.Array: "ARRAY",
    exp.Lock: "FOR UPDATE",
    exp.Bracket: "navigation into SUPER",
    exp.Dot: "navigation into SUPER",
    exp.Index: "CREATE INDEX",
}


# PostgreSQL's ways to the machine, which its superusers have and Redshift's do not.
_HOST_FUNCTIONS = ("dblink", "lo_", "pg_file", "pg_ls", "pg_read", "pg_reload", "pg_stat_file")


def _plan(tree: exp.Expression, keys: _Keys, remove_duplicates: bool) -> Plan:
    if not isinstance(tree, _PLANNED):
        raise SqlError(f"{tree.key.upper()} cannot be translated by local AWS")
    _refuse(tree)
    tree = tree.transform(_mend)
    if isinstance(tree, exp.Create):
        return _create(tree, keys)
    if isinstance(tree, exp.Merge):
        return _merge(tree, remove_duplicates)
    return Plan("sql", (_sql(tree),), commits=isinstance(tree, exp.TruncateTable))


def _refuse(tree: exp.Expression) -> None:
    for node in tree.walk():
        for kind, name in _REFUSED.items():
            if isinstance(node, kind):
                raise SqlError(f"{name} is not supported on Redshift, or not in local AWS")
        if isinstance(node, exp.Distinct) and node.args.get("on"):
            raise SqlError("SELECT DISTINCT ON is not supported")
        if isinstance(node, exp.Identifier) and len(node.name.encode()) > _LONGEST_NAME:
            raise SqlError(f'the name "{node.name}" has more than {_LONGEST_NAME} bytes')
        if isinstance(node, exp.Qualify) and node.parent.is_star:
            raise SqlError("QUALIFY with SELECT * cannot be translated: name the columns")
        if isinstance(node, exp.Anonymous) and node.name.lower().startswith(_HOST_FUNCTIONS):
            raise SqlError(f"function {node.name.lower()} does not exist")
        if isinstance(node, exp.DataType):
            _check_type(node)


# ---- types --------------------------------------------------------------------------------------

_T = exp.DataType.Type
_TYPES = {
    _T.SMALLINT, _T.INT, _T.BIGINT, _T.DECIMAL, _T.FLOAT, _T.DOUBLE, _T.BOOLEAN, _T.CHAR, _T.NCHAR,
    _T.VARCHAR, _T.NVARCHAR, _T.BPCHAR, _T.TEXT, _T.DATE, _T.TIME, _T.TIMETZ, _T.TIMESTAMP,
    _T.TIMESTAMPTZ, _T.SUPER, _T.VARBINARY, _T.INTERVAL,
}  # fmt: skip
_TEXT_TYPES = {_T.VARCHAR, _T.NVARCHAR, _T.TEXT}
_CHAR_TYPES = {_T.CHAR, _T.NCHAR, _T.BPCHAR}


def _check_type(node: exp.DataType) -> None:
    if node.this not in _TYPES or node.args.get("nested"):
        raise SqlError(f'type "{node.sql(dialect=_DIALECT).lower()}" is not a type of Redshift')
    length = _length(node)
    longest = LONGEST_CHAR if node.this in _CHAR_TYPES else LONGEST_VARCHAR
    if length is not None and node.this in _TEXT_TYPES | _CHAR_TYPES and length > longest:
        kind = "character" if node.this in _CHAR_TYPES else "character varying"
        raise SqlError(f"length for type {kind} cannot exceed {longest}")
    if node.this is _T.DECIMAL and length is not None and length > 38:
        raise SqlError(f"DECIMAL precision {length} must be between 1 and 38")


def _length(node: exp.DataType) -> int | None:
    """Return the first parameter of a type; MAX is the longest."""
    if not node.expressions:
        return None
    text = node.expressions[0].name.upper()
    return LONGEST_VARCHAR if text == "MAX" else int(text)


def _type(node: exp.DataType, in_table: bool) -> exp.DataType:
    """Return PostgreSQL's type: with Redshift's default length and precision."""
    kind, length = node.this, _length(node)
    if kind is _T.SUPER:
        return exp.DataType.build("jsonb", dialect="postgres")
    if kind is _T.DECIMAL and length is None:
        return exp.DataType.build("decimal(18, 0)", dialect="postgres")
    if kind in _TEXT_TYPES:
        length = length or (256 if in_table else None)
        return exp.DataType.build(f"varchar({length})" if length else "varchar", dialect="postgres")
    if kind in _CHAR_TYPES:
        length = length or (256 if kind is _T.BPCHAR else 1)
        return exp.DataType.build(f"char({length})", dialect="postgres")
    return node


# ---- expressions --------------------------------------------------------------------------------

_DATE_PART_FUNCTIONS = {
    "DATEADD",
    "DATE_ADD",
    "DATEDIFF",
    "DATE_DIFF",
    "DATE_PART",
    "DATE_PART_YEAR",
}
_RENAMED = {"NVL": "COALESCE", "IFNULL": "COALESCE", "DATE_ADD": "DATEADD", "DATE_DIFF": "DATEDIFF"}


def _mend(node: exp.Expression) -> exp.Expression:
    """Give one node of the tree PostgreSQL's form."""
    if isinstance(node, exp.Identifier) and node.name.startswith("#"):
        return exp.to_identifier(node.name, quoted=True)
    if isinstance(node, exp.Anonymous) and isinstance(node.this, str):
        return _function(node)
    if isinstance(node, exp.CurrentTimestamp) and node.args.get("sysdate"):
        return exp.Anonymous(this="SYSDATE")
    return node


def _function(node: exp.Anonymous) -> exp.Expression:
    name = node.this.upper()
    arguments = node.expressions
    if name in _DATE_PART_FUNCTIONS and isinstance(arguments[0], exp.Column):
        arguments[0].replace(exp.Literal.string(arguments[0].name))
    if name == "NVL2":
        test, then, otherwise = node.expressions
        condition = exp.Not(this=exp.Is(this=test, expression=exp.Null()))
        return exp.Case(ifs=[exp.If(this=condition, true=then)], default=otherwise)
    if name == "DECODE":
        return _decode(arguments)
    if name == "LISTAGG" and isinstance(arguments[0], exp.Distinct):
        values = arguments[0].expressions  # DISTINCT belongs to the value, not to the separator
        node.set("expressions", [exp.Distinct(expressions=values[:1]), *values[1:]])
    node.set("this", _RENAMED.get(name, name))
    return node


def _decode(arguments: list[exp.Expression]) -> exp.Case:
    """Return DECODE as a CASE; unlike ``=``, it takes two NULLs for equal."""
    value, *rest = arguments
    branches = [
        exp.If(this=exp.NullSafeEQ(this=value.copy(), expression=search), true=result)
        for search, result in zip(rest[::2], rest[1::2])
    ]
    return exp.Case(ifs=branches, default=rest[-1] if len(rest) % 2 else None)


# ---- CREATE and MERGE ---------------------------------------------------------------------------

_INFORMATIONAL = (exp.PrimaryKey, exp.ForeignKey, exp.UniqueColumnConstraint, exp.Reference)


def _create(tree: exp.Create, keys: _Keys) -> Plan:
    kind = tree.kind.upper()
    if kind == "VIEW":
        return _create_view(tree)
    if kind != "TABLE":
        raise SqlError(f"CREATE {kind} cannot be translated by local AWS")
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    liked = tree.find(exp.LikeProperty)
    if target.name.startswith("#"):
        properties = tree.args.get("properties") or exp.Properties(expressions=[])
        properties.append("expressions", exp.TemporaryProperty())
        tree.set("properties", properties)
    for column in tree.find_all(exp.ColumnDef):
        _mend_column(column)
    if isinstance(tree.this, exp.Schema):
        _mend_constraints(tree.this)
    if liked:
        # Columns, NOT NULL and identity always; defaults only where the statement asks for them.
        liked.append("expressions", exp.Property(this="INCLUDING", value=exp.Var(this="IDENTITY")))
    name = _sql(target)
    steps = [_sql(tree)]
    if liked:
        source = _sql(liked.this)
        steps.append(f"CALL {CATALOG_SCHEMA}.copy_table_keys({_literal(source)}, {_literal(name)})")
    elif record := keys.step(name):
        steps.append(record)
    return Plan("sql", tuple(steps))


def _create_view(tree: exp.Create) -> Plan:
    properties = tree.args.get("properties")
    for node in list(properties.expressions if properties else []):
        if isinstance(node, exp.MaterializedProperty):
            raise SqlError("CREATE MATERIALIZED VIEW is not there in local AWS")
    if tree.args.get("no_schema_binding"):
        raise SqlError("WITH NO SCHEMA BINDING is not there in local AWS: a view is bound here")
    return Plan("sql", (_sql(tree),))


def _mend_column(column: exp.ColumnDef) -> None:
    """Give a column PostgreSQL's type and identity; drop constraints that Redshift ignores."""
    if column.kind is not None:
        column.set("kind", _type(column.kind, in_table=True))
    kept = []
    for constraint in column.constraints:
        kind = constraint.kind
        if isinstance(kind, exp.CheckColumnConstraint):
            raise SqlError("CHECK constraints are not supported on Redshift")
        if isinstance(kind, exp.PrimaryKeyColumnConstraint):
            kept.append(exp.ColumnConstraint(kind=exp.NotNullColumnConstraint()))
        elif isinstance(kind, exp.GeneratedAsIdentityColumnConstraint):
            start = kind.args.get("start") or exp.Literal.number(1)
            step = kind.args.get("increment") or exp.Literal.number(1)
            identity = exp.GeneratedAsIdentityColumnConstraint(
                this="on_null" not in kind.args,  # else it is GENERATED BY DEFAULT
                start=start,
                increment=step,
                minvalue=start.copy(),
            )
            kept.append(exp.ColumnConstraint(kind=identity))
        elif not isinstance(kind, _INFORMATIONAL):
            kept.append(constraint)
    column.set("constraints", kept)


def _mend_constraints(schema: exp.Schema) -> None:
    """Drop PRIMARY KEY, UNIQUE and FOREIGN KEY; a primary key's columns are NOT NULL."""
    required: set[str] = set()
    kept = []
    for node in schema.expressions:
        parts = node.expressions if isinstance(node, exp.Constraint) else [node]
        if any(isinstance(part, exp.CheckColumnConstraint) for part in parts):
            raise SqlError("CHECK constraints are not supported on Redshift")
        for part in parts:
            if isinstance(part, exp.PrimaryKey):
                required |= {column.name.lower() for column in part.expressions}
        if not any(isinstance(part, _INFORMATIONAL) for part in parts):
            kept.append(node)
    for column in kept:
        if isinstance(column, exp.ColumnDef) and column.name.lower() in required:
            column.append("constraints", exp.ColumnConstraint(kind=exp.NotNullColumnConstraint()))
    schema.set("expressions", kept)


_MERGE_SYNTAX = (
    "MERGE needs WHEN MATCHED THEN UPDATE or DELETE and WHEN NOT MATCHED THEN INSERT, "
    "once each and without conditions, or REMOVE DUPLICATES"
)


def _merge(tree: exp.Merge, remove_duplicates: bool) -> Plan:
    target, source = tree.this, tree.args["using"]
    if target.alias:
        raise SqlError(f'syntax error at or near "{target.alias}": MERGE gives its target no alias')
    if not isinstance(source, exp.Table):
        raise SqlError("source_table of MERGE can't be a view or a subquery")
    table = source.copy()
    table.set("alias", None)
    guard = f"SELECT {CATALOG_SCHEMA}.require_table({_literal(_sql(table))})"
    if remove_duplicates:
        return Plan("sql", (
            guard,
            f"DELETE FROM {_sql(target)} USING {_sql(source)} WHERE {_sql(tree.args['on'])}",
            f"INSERT INTO {_sql(target)} SELECT DISTINCT * FROM {_sql(table)}",
        ))  # fmt: skip
    whens = tree.args["whens"].expressions
    matched = [when for when in whens if when.args["matched"]]
    if len(whens) != 2 or len(matched) != 1 or any(when.args.get("condition") for when in whens):
        raise SqlError(_MERGE_SYNTAX)
    for when in whens:
        insert = when.args["then"]
        if isinstance(insert, exp.Insert) and not insert.expression:
            # INSERT VALUES (...) without columns: sqlglot takes VALUES for a function of columns.
            (values,) = insert.this.expressions
            insert.set("this", None)
            insert.set("expression", exp.Tuple(expressions=values.expressions))
    return Plan("sql", (guard, _sql(tree)))
