"""What ktx keeps in `.ktx/` for itself."""

from pathlib import Path

from ktx.sqlite import open_state


def test_state_that_may_hold_warehouse_values_is_for_its_owner_alone(tmp_path: Path) -> None:
    connection = open_state(tmp_path / ".ktx" / "scan.sqlite", migrations=["CREATE TABLE t (x);"])
    connection.execute("INSERT INTO t VALUES (1)")
    files = list((tmp_path / ".ktx").iterdir())
    assert {file.name for file in files} >= {"scan.sqlite", "scan.sqlite-wal"}
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}
    connection.close()
