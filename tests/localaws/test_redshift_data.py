"""The Redshift Data API: statements, their life, their results and who may see them."""

# pylint: disable=redefined-outer-name  # pytest's way of asking for fixtures

import time
import uuid

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.localaws.redshift_warehouse import Warehouse, make_role, make_warehouse


@pytest.fixture(scope="module")
def client(warehouse):
    return warehouse.client


@pytest.fixture(scope="module")
def target(warehouse) -> dict[str, str]:
    place = {"WorkgroupName": warehouse.workgroup, "Database": "warehouse"}
    return {**place, **warehouse.arguments}


def code(error: pytest.ExceptionInfo) -> tuple[str, str]:
    answer = error.value.response["Error"]
    return answer["Code"], answer["Message"]


def test_a_statement_is_described(client, target, warehouse):
    submitted = client.execute_statement(
        Sql="SELECT 1 AS one", StatementName="named", WaitTimeSeconds=10, **target
    )
    assert submitted["Status"] == "FINISHED" and submitted["HasResultSet"]
    described = client.describe_statement(Id=submitted["Id"])
    assert described["Status"] == "FINISHED"
    assert described["QueryString"] == "SELECT 1 AS one"
    assert (described["ResultRows"], described["HasResultSet"]) == (1, True)
    assert (described["WorkgroupName"], described["Database"]) == (
        warehouse.workgroup,
        "warehouse",
    )
    assert described["DbUser"] == "wadmin"
    assert 0 < described["Duration"] < 10_000_000_000
    assert described["CreatedAt"] <= described["UpdatedAt"]
    assert described["ResultSize"] > 0 and described["RedshiftPid"] > 0


def test_a_results_columns_have_redshifts_types(client, warehouse):
    statement = warehouse.submit(
        "SELECT 1::smallint AS a, 2::int AS b, 3::bigint AS c, 1.5::decimal(5,2) AS d,"
        " 1.5::float8 AS e,"
        " true AS f, 'x'::varchar(3) AS g, 'y'::char(2) AS h, date '2017-01-15' AS i,"
        " timestamp '2017-01-15 10:00:00' AS j, NULL AS k"
    )
    warehouse.wait(statement)
    result = client.get_statement_result(Id=statement)
    assert [(c["name"], c["typeName"]) for c in result["ColumnMetadata"]] == [
        ("a", "int2"),
        ("b", "int4"),
        ("c", "int8"),
        ("d", "numeric"),
        ("e", "float8"),
        ("f", "bool"),
        ("g", "varchar"),
        ("h", "bpchar"),
        ("i", "date"),
        ("j", "timestamp"),
        ("k", "varchar"),
    ]
    assert (result["ColumnMetadata"][3]["precision"], result["ColumnMetadata"][3]["scale"]) == (
        5,
        2,
    )
    assert result["Records"] == [
        [
            {"longValue": 1},
            {"longValue": 2},
            {"longValue": 3},
            {"stringValue": "1.50"},
            {"doubleValue": 1.5},
            {"booleanValue": True},
            {"stringValue": "x"},
            {"stringValue": "y "},
            {"stringValue": "2017-01-15"},
            {"stringValue": "2017-01-15 10:00:00"},
            {"isNull": True},
        ]
    ]
    assert result["TotalNumRows"] == 1


def test_a_long_result_comes_in_pages(client, warehouse):
    ten = f"({' UNION '.join(f'SELECT {n} AS n' for n in range(10))})"
    query = (
        "SELECT a.n + 10*b.n + 100*c.n + 1000*d.n "
        f"FROM {ten} a, {ten} b, {ten} c, {ten} d ORDER BY 1"
    )
    statement = warehouse.submit(query)
    warehouse.wait(statement)
    first = client.get_statement_result(Id=statement)
    assert 0 < len(first["Records"]) < 10_000 and first["NextToken"]
    assert first["TotalNumRows"] == 10_000
    assert warehouse.rows(statement) == [(n,) for n in range(10_000)]
    with pytest.raises(ClientError) as error:
        client.get_statement_result(Id=statement, NextToken="999999")
    assert code(error) == ("ValidationException", "Invalid NextToken.")


def test_a_result_as_csv(client, warehouse):
    statement = warehouse.submit(
        "SELECT 1 AS a, 'x,\"y' AS b UNION ALL SELECT 2, NULL ORDER BY 1", ResultFormat="CSV"
    )
    warehouse.wait(statement)
    result = client.get_statement_result_v2(Id=statement)
    assert result["Records"] == [{"CSVRecords": 'a,b\r\n1,"x,""y"\r\n2,\r\n'}]
    with pytest.raises(ClientError):
        client.get_statement_result(Id=statement)


def test_an_update_has_rows_but_no_result(client, warehouse, schema):
    warehouse.run(f"CREATE TABLE {schema}.t (a INT) DISTKEY (a)")
    described = warehouse.wait(warehouse.submit(f"INSERT INTO {schema}.t VALUES (1), (2)"))
    assert (described["ResultRows"], described["HasResultSet"]) == (2, False)
    with pytest.raises(ClientError) as error:
        client.get_statement_result(Id=described["Id"])
    assert code(error) == (
        "ResourceNotFoundException",
        "Query does not have result. Please check query status with DescribeStatement.",
    )


def test_named_parameters_are_values_only(warehouse):
    evil = "x'; DROP TABLE t; --"
    rows = warehouse.run(
        "SELECT :a, CAST(:b AS INT) + 1, 'a:b', '2017-01-15'::date WHERE 5 = :b",
        Parameters=[{"name": "a", "value": evil}, {"name": "b", "value": "5"}],
    )
    assert rows == [(evil, 6, "a:b", "2017-01-15")]
    assert "Cannot find parameter: b" in warehouse.error(
        "SELECT :a, :b", Parameters=[{"name": "a", "value": "1"}]
    )
    assert "Unused parameters: z" in warehouse.error(
        "SELECT 1", Parameters=[{"name": "z", "value": "1"}]
    )


def test_a_batch_is_one_transaction(warehouse, schema):
    statement = warehouse.submit(
        f"CREATE TABLE {schema}.t (a INT)",
        f"INSERT INTO {schema}.t VALUES (1)",
        f"SELECT * FROM {schema}.nothing",
        "SELECT 1",
    )
    described = warehouse.wait(statement)
    complaint = f'ERROR: relation "{schema}.nothing" does not exist'
    assert described["Status"] == "FAILED"
    assert described["Error"] == f"Query #3 failed with {complaint}"
    assert [part["Id"] for part in described["SubStatements"]] == [
        f"{statement}:{n}" for n in (1, 2, 3, 4)
    ]
    assert [part["Status"] for part in described["SubStatements"]] == [
        "FINISHED",
        "FINISHED",
        "FAILED",
        "ABORTED",
    ]
    assert described["SubStatements"][2]["Error"] == complaint
    assert f'relation "{schema}.t" does not exist' in warehouse.error(f"SELECT * FROM {schema}.t")


def test_each_part_of_a_batch_has_its_result(warehouse):
    statement = warehouse.submit("SELECT 1", "SELECT 2")
    described = warehouse.wait(statement)
    assert [part["QueryString"] for part in described["SubStatements"]] == ["SELECT 1", "SELECT 2"]
    assert warehouse.rows(f"{statement}:1") == [(1,)]
    assert warehouse.rows(f"{statement}:2") == [(2,)]
    with pytest.raises(ClientError) as error:
        warehouse.rows(f"{statement}:3")
    assert code(error)[0] == "ResourceNotFoundException"


def test_a_repeated_client_token_gives_the_first_statement(client, target, warehouse, schema):
    warehouse.run(f"CREATE TABLE {schema}.t (a INT)")
    token = uuid.uuid4().hex
    insert = f"INSERT INTO {schema}.t VALUES (1)"
    ids = {
        client.execute_statement(Sql=insert, ClientToken=token, **target)["Id"] for _ in range(3)
    }
    assert len(ids) == 1
    warehouse.wait(ids.pop())
    assert warehouse.run(f"SELECT COUNT(*) FROM {schema}.t") == [(1,)]


def test_cancelling_really_stops_it(client, warehouse, schema):
    warehouse.run(f"CREATE TABLE {schema}.t (a INT)")
    statement = warehouse.submit(
        f"INSERT INTO {schema}.t VALUES (1)", "SELECT pg_sleep(60)", "SELECT 1"
    )
    while client.describe_statement(Id=statement)["SubStatements"][1]["Status"] != "STARTED":
        time.sleep(0.02)
    assert client.cancel_statement(Id=statement)["Status"] is True
    described = warehouse.wait(statement)
    assert described["Status"] == "ABORTED"
    assert [part["Status"] for part in described["SubStatements"]] == [
        "FINISHED",
        "ABORTED",
        "ABORTED",
    ]
    assert warehouse.run(f"SELECT COUNT(*) FROM {schema}.t") == [(0,)]
    assert warehouse.run(
        "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(6' || '0)'"
    ) == [(0,)]
    with pytest.raises(ClientError) as error:
        client.cancel_statement(Id=statement)
    assert code(error)[0] == "ValidationException"
    assert "already in ABORTED state" in code(error)[1]


def test_statements_run_side_by_side(warehouse):
    begun = time.monotonic()
    statements = [warehouse.submit("SELECT pg_sleep(1)") for _ in range(5)]
    assert [warehouse.wait(one)["Status"] for one in statements] == ["FINISHED"] * 5
    assert time.monotonic() - begun < 4


def test_statements_are_listed_the_newest_first(client, warehouse):
    name = uuid.uuid4().hex
    first = warehouse.submit("SELECT 1", StatementName=f"{name}-1")
    second = warehouse.submit("SELECT 1/0", "SELECT 1", StatementName=f"{name}-2")
    warehouse.wait(first)
    warehouse.wait(second)
    found = client.list_statements(StatementName=name, Status="ALL")["Statements"]
    assert [(one["Id"], one["Status"], one["IsBatchStatement"]) for one in found] == [
        (second, "FAILED", True),
        (first, "FINISHED", False),
    ]
    failed = client.list_statements(StatementName=name, Status="FAILED")["Statements"]
    assert [one["QueryStrings"] for one in failed] == [["SELECT 1/0", "SELECT 1"]]
    finished = client.list_statements(StatementName=name)["Statements"]
    assert [one["Id"] for one in finished] == [first], "finished ones unless asked for others"
    asked = {"StatementName": name, "Status": "ALL", "MaxResults": 1}
    page = client.list_statements(**asked)
    assert [one["Id"] for one in page["Statements"]] == [second]
    page = client.list_statements(**asked, NextToken=page["NextToken"])
    assert [one["Id"] for one in page["Statements"]] == [first] and "NextToken" not in page


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"WorkgroupName": None},
            (
                "ValidationException",
                "Either ClusterIdentifier or WorkgroupName needs to be specified.",
            ),
        ),
        (
            {"WorkgroupName": "no-such-one"},
            ("ValidationException", "Redshift endpoint doesn't exist in this region."),
        ),
        ({"Database": None}, ("ValidationException", "Database needs to be specified.")),
        ({"Database": "nope"}, ("ValidationException", 'FATAL: database "nope" does not exist')),
        (
            {"ClusterIdentifier": "cluster"},
            ("ValidationException", "provisioned clusters are not there in local AWS"),
        ),
        (
            {"SessionKeepAliveSeconds": 5},
            ("ValidationException", "sessions are not there in local AWS"),
        ),
        ({"WithEvent": True}, ("ValidationException", "WithEvent is not there in local AWS")),
        ({"Sql": " "}, ("ValidationException", "SQL statement is empty.")),
        (
            {"Sql": None},
            (
                "ValidationException",
                "1 validation error detected: Value null at 'sql' failed to satisfy constraint: "
                "Member must not be null",
            ),
        ),
    ],
)
def test_a_bad_request_gets_awss_error(warehouse, target, change, expected):
    client = warehouse.aws.session().client(
        "redshift-data", config=Config(parameter_validation=False)
    )
    request = {**target, "Sql": "SELECT 1", **change}
    with pytest.raises(ClientError) as error:
        client.execute_statement(**{k: v for k, v in request.items() if v is not None})
    assert code(error) == expected


@pytest.mark.parametrize("identifier", ["00000000-0000-4000-8000-000000000000", "not-an-id"])
def test_an_unknown_statement(warehouse, identifier):
    with pytest.raises(ClientError) as error:
        warehouse.client.describe_statement(Id=identifier)
    if identifier == "not-an-id":
        assert code(error)[0] == "ValidationException"
        assert "Member must satisfy regular expression pattern" in code(error)[1]
    else:
        assert code(error) == ("ResourceNotFoundException", "Query does not exist.")


def test_the_catalogue_is_listed(client, target, schema, warehouse):
    warehouse.run(
        f"CREATE TABLE {schema}.b (x INT NOT NULL DEFAULT 5, y VARCHAR(9), z DECIMAL(5,2))"
    )
    warehouse.run(f"CREATE VIEW {schema}.a AS SELECT x FROM {schema}.b")
    assert client.list_databases(**target)["Databases"] == ["warehouse"]
    assert {schema, "public"} <= set(client.list_schemas(**target)["Schemas"])
    assert client.list_schemas(SchemaPattern=schema, **target)["Schemas"] == [schema]
    assert client.list_tables(SchemaPattern=schema, **target)["Tables"] == [
        {"name": "a", "type": "VIEW", "schema": schema},
        {"name": "b", "type": "TABLE", "schema": schema},
    ]
    columns = client.describe_table(Schema=schema, Table="b", **target)["ColumnList"]
    assert [
        (c["name"], c["typeName"], c["length"], c["scale"], c["nullable"]) for c in columns
    ] == [
        ("x", "int4", 0, 0, 0),
        ("y", "varchar", 9, 0, 1),
        ("z", "numeric", 5, 2, 1),
    ]
    with pytest.raises(ClientError) as error:
        client.describe_table(Schema=schema, Table="nope", **target)
    assert code(error)[0] == "ResourceNotFoundException"


def test_accounts_are_apart(warehouse, local_aws):
    other = make_warehouse(local_aws, "qa")
    statement = warehouse.submit("CREATE TABLE apart (a INT)")
    warehouse.wait(statement)
    assert 'relation "apart" does not exist' in other.error("SELECT * FROM apart")
    with pytest.raises(ClientError) as error:
        other.client.describe_statement(Id=statement)
    assert code(error)[0] == "ResourceNotFoundException"
    with pytest.raises(ClientError) as error:
        Warehouse(local_aws, warehouse.workgroup, "qa").submit("SELECT 1")
    assert code(error)[1] == "Redshift endpoint doesn't exist in this region."


# ---- identities and their rights ----------------------------------------------------------------


def allow(warehouse, *actions: str, resource: str | None = None, **condition) -> dict:
    """Return a policy statement, on the workgroup unless another resource is given."""
    serverless = warehouse.aws.session().client("redshift-serverless")
    arn = serverless.get_workgroup(workgroupName=warehouse.workgroup)["workgroup"]["workgroupArn"]
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource or arn}
    return {**statement, "Condition": condition} if condition else statement


def as_role(warehouse, role: str, session: str = "session") -> Warehouse:
    """Return the warehouse as a session of the role reaches it."""
    keys = (
        warehouse.aws.session()
        .client("sts")
        .assume_role(RoleArn=role, RoleSessionName=session)["Credentials"]
    )
    found = Warehouse(warehouse.aws, warehouse.workgroup)
    found.client = boto3.client(
        "redshift-data",
        endpoint_url=warehouse.aws.url,
        region_name="us-east-1",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    return found


@pytest.fixture
def make(local_aws):
    """Give a function that makes a role which this account may assume, with a policy and tags."""

    def role(*policy: dict, tags=()) -> str:
        return make_role(
            local_aws, "dev", {"AWS": "arn:aws:iam::111111111111:root"}, list(policy), tags
        )

    return role


def usual(warehouse) -> list[dict]:
    """Return what a role needs to run statements and read their results."""
    return [
        allow(
            warehouse,
            "redshift-data:ExecuteStatement",
            "redshift-data:BatchExecuteStatement",
            "redshift-serverless:GetCredentials",
        ),
        allow(
            warehouse,
            "redshift-data:DescribeStatement",
            "redshift-data:GetStatementResult",
            resource="*",
        ),
    ]


def test_a_role_is_a_database_user_without_grants(warehouse, schema, make):
    warehouse.run(f"CREATE TABLE {schema}.t (a INT)")
    arn = make(*usual(warehouse))
    user = f"IAMR:{arn.rpartition('/')[2]}"
    role = as_role(warehouse, arn)
    assert role.run("SELECT current_user") == [(user,)]
    assert f"permission denied for schema {schema}" in role.error(f"SELECT * FROM {schema}.t")
    warehouse.run(f'GRANT USAGE ON SCHEMA {schema} TO "{user}"')
    assert "permission denied for table t" in role.error(f"SELECT * FROM {schema}.t")
    warehouse.run(f'GRANT SELECT ON {schema}.t TO "{user}"')
    assert role.run(f"SELECT * FROM {schema}.t") == []
    assert "permission denied" in role.error(f"INSERT INTO {schema}.t VALUES (1)")


def test_an_iam_administrator_is_nobody_in_the_database(warehouse, schema):
    iam_user = Warehouse(warehouse.aws, warehouse.workgroup)
    assert iam_user.run("SELECT current_user") == [("IAM:admin",)]
    assert "permission denied for database" in iam_user.error("CREATE SCHEMA forbidden")
    assert f"permission denied for schema {schema}" in iam_user.error(
        f"CREATE TABLE {schema}.forbidden (a INT)"
    )


def test_the_tag_may_name_a_system_role(warehouse, schema, make):
    tag = {"Key": "RedshiftDbRoles", "Value": "sys:superuser"}
    role = as_role(warehouse, make(*usual(warehouse), tags=[tag]))
    role.run(f"CREATE TABLE {schema}.allowed (a INT)")


def test_the_tag_redshiftdbroles_gives_database_roles(warehouse, schema, make):
    name = f"loader_{schema}"
    warehouse.run(
        f"CREATE ROLE {name}",
        f"CREATE TABLE {schema}.t (a INT)",
        f"GRANT USAGE ON SCHEMA {schema} TO ROLE {name}",
        f"GRANT INSERT ON {schema}.t TO ROLE {name}",
    )
    role = as_role(
        warehouse,
        make(*usual(warehouse), tags=[{"Key": "RedshiftDbRoles", "Value": f"nothing:{name}"}]),
    )
    role.run(f"INSERT INTO {schema}.t VALUES (1)")
    assert "permission denied" in role.error(f"SELECT * FROM {schema}.t")


def test_the_administrators_secret_opens_everything(warehouse, schema, make):
    warehouse.run(f"CREATE TABLE {schema}.t (a INT)")
    serverless = warehouse.aws.session().client("redshift-serverless")
    secret = serverless.get_namespace(namespaceName=warehouse.workgroup)["namespace"][
        "adminPasswordSecretArn"
    ]
    execute = allow(warehouse, "redshift-data:ExecuteStatement")
    read = allow(
        warehouse,
        "redshift-data:DescribeStatement",
        "redshift-data:GetStatementResult",
        resource="*",
    )
    use = allow(warehouse, "secretsmanager:GetSecretValue", resource=secret)
    administrator = as_role(warehouse, make(execute, read, use))
    administrator.arguments = {"SecretArn": secret}
    assert administrator.run("SELECT current_user") == [("wadmin",)]
    assert administrator.run(f"SELECT * FROM {schema}.t") == []
    stranger = as_role(warehouse, make(execute, read))
    stranger.arguments = {"SecretArn": secret}
    with pytest.raises(ClientError) as error:
        stranger.submit("SELECT 1")
    assert "secretsmanager:GetSecretValue" in code(error)[1]


@pytest.mark.parametrize(
    "missing", ["redshift-data:ExecuteStatement", "redshift-serverless:GetCredentials"]
)
def test_policies_decide_who_submits(warehouse, make, missing):
    needed = {"redshift-data:ExecuteStatement", "redshift-serverless:GetCredentials"}
    role = as_role(warehouse, make(allow(warehouse, *needed - {missing})))
    with pytest.raises(ClientError) as error:
        role.submit("SELECT 1")
    assert code(error)[0] == "AccessDeniedException"
    assert f"not authorized to perform: {missing}" in code(error)[1]


def test_policies_name_the_workgroup(warehouse, make):
    arn = "arn:aws:redshift-serverless:us-east-1:111111111111:workgroup/another"
    everywhere = allow(warehouse, "redshift-serverless:GetCredentials")
    elsewhere = allow(warehouse, "redshift-data:ExecuteStatement", resource=arn)
    with pytest.raises(ClientError) as error:
        as_role(warehouse, make(everywhere, elsewhere)).submit("SELECT 1")
    assert "redshift-data:ExecuteStatement" in code(error)[1]


def test_a_statement_is_its_roles_own(warehouse, make):
    arn = make(*usual(warehouse))
    statement = as_role(warehouse, arn).submit("SELECT 1")
    assert as_role(warehouse, arn, "another").wait(statement)["Status"] == "FINISHED"
    for stranger in (as_role(warehouse, make(*usual(warehouse))), warehouse):
        with pytest.raises(ClientError) as error:
            stranger.client.describe_statement(Id=statement)
        assert code(error) == ("ResourceNotFoundException", "Query does not exist.")


def test_a_condition_can_narrow_it_to_the_session(warehouse, make):
    own = {"StringEquals": {"redshift-data:statement-owner-iam-userid": "${aws:userid}"}}
    submit, _ = usual(warehouse)
    read = allow(warehouse, "redshift-data:DescribeStatement", resource="*", **own)
    arn = make(submit, read)
    mine = as_role(warehouse, arn, "mine")
    statement = mine.submit("SELECT 1")
    assert mine.wait(statement)["Status"] == "FINISHED"
    with pytest.raises(ClientError) as error:
        as_role(warehouse, arn, "other").client.describe_statement(Id=statement)
    assert code(error)[0] == "AccessDeniedException"
