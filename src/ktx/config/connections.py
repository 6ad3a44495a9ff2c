"""Connections of ktx.yaml: one typed block per driver, told apart by the key `driver`.

Whatever may hold a secret stays text as written (`env:NAME`, `file:path` or a plain value) and is resolved by
`ktx.config.secrets` at the moment of use.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import Field, PositiveInt

from ktx.config.block import Block, CamelBlock, Inert, Names, SecretText, keys

QueryPolicy: TypeAlias = Literal["read-only-sql", "semantic-layer-only"]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]


class ServiceAccounts(CamelBlock):
    """Which users of the query history are programs."""

    patterns: Names = Field(default=(), description="Regular expressions that match user names.")
    mode: Literal["exclude", "include", "mark-only"] = Field(
        default="exclude", description="What happens to queries that only such users ran."
    )


class Orchestrators(CamelBlock):
    """What happens to queries that a scheduler sent."""

    mode: Annotated[Literal["mark-only"], Inert(reason="their queries are kept like any other")] = Field(
        default="mark-only", description="Mark them and keep them."
    )


class DropFailed(CamelBlock):
    """When a query that often fails is left out."""

    error_rate: float = Field(default=1.0, ge=0, le=1, description="Share of failed executions.")
    executions: int = Field(default=1, ge=0, description="Executions from which the share counts.")


class HistoryFilters(CamelBlock):
    """Which queries of the history are worth reading."""

    service_accounts: ServiceAccounts = Field(default_factory=ServiceAccounts, description="Programs.")
    orchestrators: Orchestrators = Field(default_factory=Orchestrators, description="Schedulers.")
    drop_trivial_probes: bool = Field(default=True, description="Leave out `select 1` and its like.")
    drop_failed_below: DropFailed | None = Field(
        default=None, description="Leave out queries that mostly fail."
    )


class QueryHistory(CamelBlock):
    """What is read from the warehouse's own record of past queries."""

    enabled: bool = Field(default=False, description="Read the query history during ingest.")
    window_days: PositiveInt = Field(default=90, description="How far back, where the warehouse keeps times.")
    min_executions: PositiveInt = Field(default=5, description="Rarer queries are left out.")
    enabled_tables: Names = Field(default=(), description="Only queries that touch these tables.")
    enabled_schemas: Names = Field(default=(), description="Only queries in these schemas; `*` means all.")
    filters: HistoryFilters = Field(default_factory=HistoryFilters, description="What else is left out.")
    redaction_patterns: Names = Field(
        default=(), description="Regular expressions to blank out in query text."
    )
    stale_archive_after_days: Annotated[
        PositiveInt, Inert(reason="past queries become `usage` of tables, and no pages that could go stale")
    ] = Field(default=90, description="When an unseen pattern is archived.")


class WarehouseContext(CamelBlock):
    """Context that a warehouse offers beside its catalog."""

    query_history: QueryHistory = Field(default_factory=QueryHistory, description="Past queries.")


class WarehouseFields(Block):
    """The keys that every warehouse has."""

    enabled_tables: Names = Field(
        default=(),
        description="Only these tables, as `schema.table`; `*` stands for any part. Empty means all.",
    )
    schemas: Names = Field(
        default=(),
        validation_alias=keys("schemas", "schema"),
        description="Only these schemas. Empty means all.",
    )
    query_timeout_ms: PositiveInt = Field(default=30_000, description="Longest run of one statement.")
    max_connections: PositiveInt = Field(
        default=10,
        validation_alias=keys("maxConnections", "max_connections"),
        description="Most connections open at once.",
    )
    query_policy: QueryPolicy = Field(
        default="read-only-sql", description="Whether agents may send SQL, or only semantic queries."
    )
    context: WarehouseContext = Field(default_factory=WarehouseContext, description="More context to read.")


class SqliteConnection(WarehouseFields):
    """A SQLite file."""

    driver: Literal["sqlite"]
    path: str | None = Field(default=None, description="The file, relative to the project.")
    url: str | None = Field(default=None, description="The same as `sqlite:///path`.")


class DuckdbConnection(WarehouseFields):
    """A DuckDB file."""

    driver: Literal["duckdb"]
    path: str | None = Field(default=None, description="The file, relative to the project.")
    url: str | None = Field(default=None, description="The same as `duckdb:///path`.")


class TlsOptions(CamelBlock):
    """How strictly the server's certificate is checked."""

    reject_unauthorized: bool = Field(
        default=True, description="Refuse a certificate that cannot be verified."
    )


class ServerFields(WarehouseFields):
    """The keys of a warehouse that is reached by host and port, or by one URL."""

    url: SecretText | None = Field(default=None, description="Everything in one; other keys complete it.")
    host: str | None = Field(default=None, description="Name or address of the server.")
    port: Port | None = Field(default=None, description="Its port; the database's usual one if absent.")
    database: str | None = Field(default=None, description="The database to read.")
    user: str | None = Field(
        default=None, validation_alias=keys("user", "username"), description="Who logs in."
    )
    password: SecretText | None = Field(default=None, description="The password, best as `env:NAME`.")


class PostgresFields(ServerFields):
    """The keys of databases that speak the PostgreSQL protocol."""

    ssl: bool | TlsOptions | None = Field(default=None, description="Use TLS, and how strictly.")
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = Field(
        default=None, validation_alias=keys("sslmode", "ssl_mode"), description="TLS in libpq's words."
    )
    reject_unauthorized: bool | None = Field(
        default=None,
        validation_alias=keys("rejectUnauthorized", "reject_unauthorized"),
        description="Refuse a certificate that cannot be verified.",
    )


class PostgresConnection(PostgresFields):
    """PostgreSQL."""

    driver: Literal["postgres"]


class RedshiftConnection(PostgresFields):
    """Amazon Redshift."""

    driver: Literal["redshift"]


class MysqlConnection(ServerFields):
    """MySQL or MariaDB."""

    driver: Literal["mysql"]
    ssl: bool | TlsOptions | None = Field(default=None, description="Use TLS, and how strictly.")


class SqlserverConnection(ServerFields):
    """Microsoft SQL Server; the connection is always encrypted."""

    driver: Literal["sqlserver"]
    trust_server_certificate: bool = Field(
        default=False,
        validation_alias=keys("trustServerCertificate", "trust_server_certificate"),
        description="Accept a certificate that cannot be verified.",
    )


class SnowflakeConnection(WarehouseFields):
    """Snowflake."""

    driver: Literal["snowflake"]
    account: str = Field(description="Account identifier, as in `org-account`.")
    auth_method: Literal["password", "rsa"] = Field(
        default="password",
        validation_alias=keys("authMethod", "auth_method"),
        description="Log in by password or by key pair.",
    )
    username: str = Field(validation_alias=keys("username", "user"), description="Who logs in.")
    password: SecretText | None = Field(default=None, description="For `password`.")
    private_key: SecretText | None = Field(
        default=None, validation_alias=keys("privateKey", "private_key"), description="PEM text, for `rsa`."
    )
    passphrase: SecretText | None = Field(default=None, description="Passphrase of the private key.")
    warehouse: str | None = Field(default=None, description="Virtual warehouse that runs the queries.")
    database: str | None = Field(default=None, description="The database to read.")
    role: str | None = Field(default=None, description="Role to take.")
    schemas: Names = Field(
        default=(),
        validation_alias=keys("schema_names", "schema_name", "schemas", "schema"),
        description="Only these schemas. Empty means all.",
    )
    max_connections: PositiveInt = Field(
        default=4,
        validation_alias=keys("maxConnections", "max_connections"),
        description="Most connections open at once.",
    )


class BigqueryConnection(WarehouseFields):
    """Google BigQuery."""

    driver: Literal["bigquery"]
    project: str | None = Field(
        default=None,
        validation_alias=keys("project", "project_id"),
        description="Project that pays; the credentials' own if absent.",
    )
    schemas: Names = Field(
        default=(),
        validation_alias=keys("dataset_ids", "dataset_id", "schemas", "schema"),
        description="Datasets to read, as `dataset` or `project.dataset`.",
    )
    credentials_json: SecretText | None = Field(
        default=None, description="Service-account key, best as `file:path`; default credentials if absent."
    )
    location: str | None = Field(default=None, description="Where jobs run, for instance `EU`.")
    max_bytes_billed: PositiveInt | None = Field(
        default=None, description="A query that would bill more is refused."
    )
    job_timeout_ms: PositiveInt | None = Field(default=None, description="Longest run of one job.")


class ClickhouseConnection(ServerFields):
    """ClickHouse."""

    driver: Literal["clickhouse"]
    schemas: Names = Field(
        default=(),
        validation_alias=keys("databases", "schemas", "schema"),
        description="Only these databases. Empty means the one of `database`.",
    )
    ssl: bool = Field(default=False, description="Use TLS.")


class DatabricksConnection(WarehouseFields):
    """Databricks SQL."""

    driver: Literal["databricks"]
    host: str = Field(
        validation_alias=keys("host", "server_hostname"), description="Workspace host, without `https://`."
    )
    http_path: str = Field(description="HTTP path of the SQL warehouse.")
    token: SecretText | None = Field(
        default=None, validation_alias=keys("token", "access_token"), description="Personal access token."
    )
    client_id: str | None = Field(default=None, description="Service principal, instead of a token.")
    client_secret: SecretText | None = Field(default=None, description="Secret of the service principal.")
    catalog: str | None = Field(default=None, description="The catalog to read.")
    schemas: Names = Field(
        default=(),
        validation_alias=keys("schema_names", "schema_name", "schemas", "schema"),
        description="Only these schemas. Empty means all.",
    )


class TrinoConnection(ServerFields):
    """Trino."""

    driver: Literal["trino"]
    catalogs: Names = Field(
        default=(),
        validation_alias=keys("catalogs", "catalog"),
        description="Only these catalogs. Empty means all.",
    )
    ssl: bool = Field(default=False, description="Use HTTPS.")


class SqlalchemyConnection(WarehouseFields):
    """Any other database that SQLAlchemy has a dialect for."""

    driver: Literal["sqlalchemy"]
    url: SecretText = Field(description="SQLAlchemy URL, for instance `oracle+oracledb://…`.")
    dialect: str | None = Field(
        default=None, description="The SQL dialect, by sqlglot's name, if the URL's is no guide."
    )


class GitFields(Block):
    """The keys of files that are read from a git repository."""

    repo_url: str | None = Field(
        default=None, validation_alias=keys("repoUrl", "repo_url"), description="Repository, by HTTPS or SSH."
    )
    branch: str = Field(default="main", description="Branch to read.")
    path: str | None = Field(default=None, description="Folder inside the repository.")
    auth_token: SecretText | None = Field(
        default=None,
        validation_alias=keys("auth_token_ref", "auth_token"),
        description="Access token, as `env:NAME` or `file:path`.",
    )


class DbtConnection(GitFields):
    """A dbt project, in a folder or a repository."""

    driver: Literal["dbt"]
    source_dir: str | None = Field(default=None, description="Folder of the project, relative to ktx.yaml.")
    project_name: Annotated[str | None, Inert(reason="the project names itself in dbt_project.yml")] = Field(
        default=None, description="Name of the project."
    )
    profiles_path: Annotated[str | None, Inert(reason="ktx reads files and never runs dbt")] = Field(
        default=None, description="dbt's profiles."
    )
    target: Annotated[str | None, Inert(reason="ktx reads files and never runs dbt")] = Field(
        default=None, description="dbt's target."
    )


class MetricflowConnection(Block):
    """MetricFlow semantic models in a repository."""

    driver: Literal["metricflow"]
    metricflow: GitFields = Field(description="Where the files are.")


class LookmlMappings(CamelBlock):
    """Which of the repository's models belong to this project."""

    expected_looker_connection_name: str | None = Field(
        default=None, description="Models on another Looker connection give pages only."
    )


class LookmlConnection(GitFields):
    """LookML files in a repository."""

    driver: Literal["lookml"]
    mappings: LookmlMappings = Field(default_factory=LookmlMappings, description="What belongs here.")


class LookerMappings(CamelBlock):
    """Which warehouse stands behind each Looker connection."""

    connection_mappings: Mapping[str, str | None] = Field(
        default_factory=dict[str, str | None],
        description="Looker connection to connection id; null leaves it out.",
    )


class LookerConnection(Block):
    """A Looker instance."""

    driver: Literal["looker"]
    base_url: str = Field(description="Address of the instance.")
    client_id: str = Field(description="API client id.")
    client_secret: SecretText = Field(
        validation_alias=keys("client_secret", "client_secret_ref"), description="API client secret."
    )
    mappings: LookerMappings = Field(default_factory=LookerMappings, description="Warehouses behind it.")


class MetabaseSelections(CamelBlock):
    """Named parts of a Metabase."""

    collections: tuple[int | str, ...] = Field(default=(), description="Collections, with all they hold.")
    items: tuple[int | str, ...] = Field(default=(), description="Single cards.")


class MetabaseMappings(CamelBlock):
    """Which warehouse stands behind each Metabase database, and what is read."""

    database_mappings: Mapping[str, str | None] = Field(
        default_factory=dict[str, str | None],
        description="Metabase database to connection id; null leaves it out.",
    )
    sync_enabled: Mapping[str, bool] = Field(
        default_factory=dict[str, bool], description="Metabase database to whether it is read."
    )
    sync_mode: Literal["ALL", "ONLY", "EXCEPT"] = Field(default="ALL", description="All, or by `selections`.")
    selections: MetabaseSelections = Field(default_factory=MetabaseSelections, description="The named parts.")
    default_tag_names: Names = Field(default=(), description="Tags for every page made from it.")


class MetabaseConnection(Block):
    """A Metabase instance."""

    driver: Literal["metabase"]
    api_url: str = Field(description="Address of the instance.")
    api_key: SecretText = Field(validation_alias=keys("api_key", "api_key_ref"), description="API key.")
    network_proxy: str | None = Field(default=None, description="HTTP proxy on the way to it.")
    mappings: MetabaseMappings = Field(default_factory=MetabaseMappings, description="Warehouses behind it.")


class NotionConnection(Block):
    """A Notion workspace."""

    driver: Literal["notion"]
    auth_token: SecretText = Field(
        validation_alias=keys("auth_token", "auth_token_ref"), description="Integration token."
    )
    crawl_mode: Literal["selected_roots", "all_accessible"] = Field(
        default="selected_roots", description="Read from given roots, or all that the integration can see."
    )
    root_page_ids: Names = Field(default=(), description="Pages to start from.")
    root_database_ids: Names = Field(default=(), description="Databases to start from.")
    root_data_source_ids: Names = Field(default=(), description="Data sources to start from.")
    max_pages_per_run: PositiveInt = Field(default=1000, description="Most pages read in one run.")
    max_knowledge_creates_per_run: int = Field(default=25, ge=0, description="Most new pages in one run.")
    max_knowledge_updates_per_run: int = Field(default=20, ge=0, description="Most changed pages in one run.")


WarehouseConnection: TypeAlias = (
    SqliteConnection
    | DuckdbConnection
    | PostgresConnection
    | MysqlConnection
    | SqlserverConnection
    | SnowflakeConnection
    | BigqueryConnection
    | ClickhouseConnection
    | RedshiftConnection
    | DatabricksConnection
    | TrinoConnection
    | SqlalchemyConnection
)
SourceConnection: TypeAlias = (
    DbtConnection
    | MetricflowConnection
    | LookmlConnection
    | LookerConnection
    | MetabaseConnection
    | NotionConnection
)
Connection: TypeAlias = Annotated[WarehouseConnection | SourceConnection, Field(discriminator="driver")]

DRIVERS: tuple[str, ...] = tuple(
    name
    for block in (*get_args(WarehouseConnection), *get_args(SourceConnection))
    for name in get_args(block.model_fields["driver"].annotation)
)
"""Every value of `driver`, warehouses first."""


def is_warehouse(connection: Connection) -> bool:
    """Tell whether a connection is a database that ktx queries, and not a context source."""
    return isinstance(connection, WarehouseFields)
