"""A real MariaDB for tests: started on loopback from the installed programs, thrown away at the end."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pymysql

from servers.ports import free_port

MISSING = (
    "MariaDB's `mariadbd` and `mariadb-install-db` are not installed (Debian: apt-get install mariadb-server)"
)


@dataclass(frozen=True, kw_only=True)
class MariadbServer:
    """A running server with an administrator and a reader who may only SELECT."""

    port: int
    host: str = "127.0.0.1"
    user: str = "ktx_admin"
    password: str = "admin-pw-2718"
    reader: str = "ktx_reader"
    reader_password: str = "reader-pw-5772"

    def url(self, database: str, *, as_reader: bool = False) -> str:
        user, password = (self.reader, self.reader_password) if as_reader else (self.user, self.password)
        return f"mysql://{user}:{password}@{self.host}:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty database (dropping one of that name) and give the administrator's URL to it."""
        self.execute(
            None, f"DROP DATABASE IF EXISTS `{name}`; CREATE DATABASE `{name}` CHARACTER SET utf8mb4"
        )
        return self.url(name)

    def execute(self, database: str | None, script: str) -> None:
        """Run a script of several statements as administrator."""
        connection = pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(script)
            while cursor.nextset():
                pass


def find_programs() -> tuple[str, str] | None:
    """Find `mariadbd` and `mariadb-install-db`."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin", "/opt/homebrew/bin"])
    daemon, install = (shutil.which(name, path=path) for name in ("mariadbd", "mariadb-install-db"))
    return (daemon, install) if daemon and install else None


@contextmanager
def running_mariadb() -> Iterator[MariadbServer]:
    """Create a data folder, start the server, and stop it at the end."""
    programs = find_programs()
    assert programs is not None, MISSING
    daemon, install = programs
    server = MariadbServer(port=free_port())
    folder = Path(tempfile.mkdtemp(prefix="ktx-mariadb-"))
    data, socket, log = folder / "data", folder / "s", folder / "log"
    user = ["--user=root"] if os.geteuid() == 0 else []
    init = folder / "init.sql"
    init.write_text(
        f"CREATE USER '{server.user}'@'%' IDENTIFIED BY '{server.password}';\n"
        f"GRANT ALL ON *.* TO '{server.user}'@'%' WITH GRANT OPTION;\n"
        f"CREATE USER '{server.reader}'@'%' IDENTIFIED BY '{server.reader_password}';\n"
    )
    try:
        subprocess.run(
            [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal",
             "--skip-test-db", *user],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with log.open("w") as stream:
            process = subprocess.Popen(
                [daemon, "--no-defaults", f"--datadir={data}", f"--socket={socket}", f"--port={server.port}",
                 "--bind-address=127.0.0.1", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0",
                 "--innodb-flush-method=nosync", "--innodb-buffer-pool-size=32M", "--sync-binlog=0",
                 "--secure-file-priv=", f"--init-file={init}", *user],
                stdout=stream, stderr=stream,
            )  # fmt: skip
        try:
            _wait_until_ready(server, process, log)
            yield server
        finally:
            process.terminate()
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(server: MariadbServer, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1200):
        try:
            server.execute(None, "SELECT 1")
        except pymysql.err.OperationalError:
            try:
                process.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
        else:
            return
        break
    raise RuntimeError(f"mariadbd did not start:\n{log.read_text()}")
