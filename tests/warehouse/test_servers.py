"""The servers that tests start are real and answer."""

import psycopg
import pymysql

from servers.mariadb import MariadbServer
from servers.postgres import PostgresServer


def test_postgres_server_answers_and_the_reader_cannot_create(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database("probe")
    with psycopg.connect(url) as connection:
        assert connection.execute("select 41 + 1").fetchone() == (42,)
    with psycopg.connect(postgres_server.url("probe", as_reader=True)) as connection:
        assert connection.execute("select current_user").fetchone() == ("ktx_reader",)


def test_mariadb_server_answers(mariadb_server: MariadbServer) -> None:
    mariadb_server.create_database("probe")
    connection = pymysql.connect(
        host=mariadb_server.host,
        port=mariadb_server.port,
        user=mariadb_server.user,
        password=mariadb_server.password,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("select 41 + 1")
        assert cursor.fetchall() == ((42,),)
