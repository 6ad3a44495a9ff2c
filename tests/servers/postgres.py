"""A real PostgreSQL for tests: started on loopback from the installed programs, thrown away at the end."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from servers.ports import free_port

MISSING = "PostgreSQL's `initdb` is not installed (Debian: apt-get install postgresql)"


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    """A running server with a superuser and a reader who may only SELECT."""

    port: int
    host: str = "127.0.0.1"
    user: str = "ktx_admin"
    password: str = "admin-pw-7141"
    reader: str = "ktx_reader"
    reader_password: str = "reader-pw-3093"

    def url(self, database: str, *, as_reader: bool = False) -> str:
        user, password = (self.reader, self.reader_password) if as_reader else (self.user, self.password)
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty database (dropping one of that name) and give the superuser's URL to it."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def execute(self, database: str, script: str) -> None:
        """Run a script of several statements as superuser."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(script)


def find_programs() -> Path | None:
    """Find the newest installation that can create a cluster."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True
    )
    places += sorted(Path("/opt/homebrew/opt").glob("postgresql*/bin"), reverse=True)
    return next(
        (place for place in places if (place / "initdb").exists() and (place / "pg_ctl").exists()), None
    )


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Create a cluster, start it, and stop it at the end. Root starts it as the user `postgres`, as PostgreSQL demands."""
    programs = find_programs()
    assert programs is not None, MISSING
    server = PostgresServer(port=free_port())
    folder = Path(tempfile.mkdtemp(prefix="ktx-postgres-"))
    as_owner: list[str] = []
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        as_owner = ["runuser", "-u", "postgres", "--"]
    data, password = folder / "data", folder / "pw"
    password.write_text(server.password)
    password.chmod(0o644)
    settings = (
        f"-p {server.port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off -c synchronous_commit=off "
        "-c full_page_writes=off -c shared_buffers=32MB -c max_connections=60 "
        "-c shared_preload_libraries=pg_stat_statements"
    )
    try:
        _run([*as_owner, str(programs / "initdb"), "-D", str(data), "-U", server.user, "-A", "scram-sha-256",
              "--pwfile", str(password), "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"], folder)  # fmt: skip
        _run([*as_owner, str(programs / "pg_ctl"), "-D", str(data), "-w", "-t", "60", "-l", str(folder / "log"),
              "-o", settings, "start"], folder)  # fmt: skip
        try:
            with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                        sql.Identifier(server.reader), sql.Literal(server.reader_password)
                    )
                )
            yield server
        finally:
            _run(
                [*as_owner, str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop"],
                folder,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        log = folder / "log"
        raise RuntimeError(f"{command}: {done.stderr}\n{log.read_text() if log.exists() else ''}")
