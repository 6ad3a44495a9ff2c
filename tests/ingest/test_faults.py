"""An ingest of a context source that is killed, crowded out, or failed by its surroundings: whole before, whole after, paid once."""

import contextlib
import os
import random
import re
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.forked import Ended, Forker, open_forker
from ktx.files import digest
from ktx.ingest.runs import FILE_NAME
from ktx.project import create_project
from modelserver.replies import Reply, calls, text
from modelserver.server import ModelServer

UNITS, STEPS, AT_ONCE, KILLS = 12, 3, 4, 100
CONFIG = f"""\
connections:
  shop: {{driver: sqlite, path: ../shop.sqlite}}
  models: {{driver: dbt, source_dir: ../dbt}}
llm:
  provider: {{backend: anthropic, anthropic: {{api_key: test-key, base_url: "URL"}}}}
  models: {{default: claude-haiku-5-5}}
ingest:
  workUnits: {{maxConcurrency: {AT_ONCE}}}
  rateLimit: {{retry: {{maxAttempts: 1}}}}
scan:
  relationships: {{enabled: false}}
"""
YAML = """\
version: 2
models:
  - name: m{n}
    description: Orders of area {n}, one row each.
    columns: [{{name: total, description: Amount in kroner.}}]
"""
GIT = """\
#!/bin/sh
for one in "$@"; do
  case "$one" in
    BLOCKED) echo $$ > "FIFO"; exec sleep 600;;
  esac
done
exec GIT "$@"
"""


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    with open_forker() as running:
        yield running


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        running.script(work)
        yield running


def area(request) -> int:
    found = re.search(r"Unit: models/area(\d+)", request.prompt_text)
    assert found
    return int(found.group(1))


def work(request) -> Reply:
    """Three steps: look, write a measure and a page, done."""
    if "Unit: " not in request.prompt_text:
        return text("I cannot mend it.")
    n = area(request)
    yaml = f"name: m{n}\nmeasures:\n  - {{name: paid{n}, expr: sum(total), filter: status = 'paid'}}\n"
    page = {"key": f"area-{n}", "summary": f"Area {n}.", "body": f"# Area {n}\n\nUse `m{n}.paid{n}`.\n"}
    steps = (
        calls(
            ("read_source", {"connection_id": "shop", "name": f"m{n}"}), ("search", {"query": f"area {n}"})
        ),
        calls(("write_source", {"connection_id": "shop", "yaml": yaml}), ("write_page", page)),
        text(f"One measure and one page for area {n}."),
    )
    return steps[min(request.assistant_turns, STEPS - 1)].delayed(0.005)


def write_dbt(folder: Path) -> None:
    folder.mkdir()
    (folder / "dbt_project.yml").write_text(
        "name: areas\nversion: '1.0'\nprofile: x\nmodel-paths: [models]\n"
    )
    for n in range(UNITS):
        mine = folder / "models" / f"area{n}"
        mine.mkdir(parents=True)
        (mine / f"m{n}.sql").write_text("select id, status, total from raw_orders\n")
        (mine / "schema.yml").write_text(YAML.format(n=n))


def write_shop(file: Path) -> None:
    connection = sqlite3.connect(file)
    for n in range(UNITS):
        connection.execute(f"CREATE TABLE m{n} (id INTEGER PRIMARY KEY, status TEXT, total REAL)")
        connection.execute(f"INSERT INTO m{n} VALUES (1, 'paid', 2.5), (2, 'open', 4.0)")
    connection.commit()
    connection.close()


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory, forker: Forker) -> Path:
    """A folder with a warehouse, a dbt project, and a ktx project whose warehouse is scanned; no model is named yet."""
    folder = tmp_path_factory.mktemp("scanned")
    write_shop(folder / "shop.sqlite")
    write_dbt(folder / "dbt")
    create_project(folder / "project", config_text=CONFIG.replace("URL", "http://127.0.0.1:9"))
    done = forker.start(["ingest", "shop", "--project-dir", folder / "project"]).wait()
    assert done.code == 0, done.said
    return folder


class Place:
    """A copy of the scanned project, with a model."""

    def __init__(self, scanned: Path, folder: Path, server: ModelServer, forker: Forker) -> None:
        shutil.copytree(scanned, folder)
        self.folder, self.root = folder, folder / "project"
        self.forker, self.server = forker, server
        (self.root / "ktx.yaml").write_text(CONFIG.replace("URL", server.url))
        self.git("-c", "user.name=Ana", "-c", "user.email=ana@example.com", "commit", "-qam", "Name a model")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout

    def start(self, **options):
        return self.forker.start(["ingest", "models", "--project-dir", self.root], **options)

    def ingest(self, **options) -> Ended:
        return self.start(**options).wait()

    def tree(self) -> str:
        """What is committed of the layer and the wiki."""
        return self.git("ls-tree", "-r", "HEAD", "--", "semantic-layer", "wiki")

    def kept(self) -> int:
        """Answers that are kept: single ones, and those of finished units."""
        with contextlib.closing(sqlite3.connect(self.root / ".ktx" / FILE_NAME, timeout=30)) as store:
            (answers,) = store.execute("SELECT count(*) FROM answer WHERE key <> 'begun'").fetchone()
            (units,) = store.execute("SELECT count(*) FROM unit").fetchone()
        return answers + STEPS * units

    def page(self, n: int) -> Path:
        return self.root / "wiki" / "global" / f"area-{n}.md"

    def overlay(self, n: int) -> Path:
        return self.root / "semantic-layer" / "shop" / f"m{n}.yaml"


@pytest.fixture
def place(scanned: Path, tmp_path: Path, server: ModelServer, forker: Forker) -> Place:
    return Place(scanned, tmp_path / "place", server, forker)


def asked(server: ModelServer, start: int = 0) -> Counter[str]:
    return Counter(digest(request.prompt_text) for request in server.requests[start:])


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_hundred_kills_end_in_the_same_tree_and_repeat_no_kept_answer(
    scanned: Path, tmp_path: Path, server: ModelServer, forker: Forker
) -> None:
    """What a kill can cost again is the request in flight, one per unit at work; a kept answer is never asked for again."""
    whole = Place(scanned, tmp_path / "whole", server, forker)
    before = whole.tree()
    began = time.monotonic()
    assert whole.ingest().code == 0
    whole_s = time.monotonic() - began
    wanted, chance, kills, landings = whole.tree(), random.Random(7), 0, Counter[str]()
    assert len(server.requests) == UNITS * STEPS
    round_ = 0
    while kills < KILLS:
        round_ += 1
        place = Place(scanned, tmp_path / f"round{round_}", server, forker)
        start, lost, is_done = len(server.requests), 0, False
        while not is_done:
            asked_before, kept_before = len(server.requests), kept_or_none(place)
            ended = place.start().kill_after(whole_s * chance.uniform(0.02, 0.6)).wait()
            assert ended.code in (0, -9), ended.said
            is_done = ended.code == 0
            kills += not is_done
            server.wait_until(
                lambda server: all(one.is_finished or one.is_disconnected for one in server.requests)
            )
            paid, kept = len(server.requests) - asked_before, kept_or_none(place) - kept_before
            assert 0 <= paid - kept <= (0 if is_done else AT_ONCE)
            lost += paid - kept
            assert place.tree() in (before, wanted)
            landings["after" if place.tree() == wanted else "before"] += 1
        place.git("fsck", "--strict")
        assert place.tree() == wanted
        assert place.git("status", "--porcelain") == ""
        assert place.git("log", "--format=%s").count("Ingest models") == 1
        requests = asked(server, start)
        assert len(requests) == UNITS * STEPS
        assert sum(requests.values()) == UNITS * STEPS + lost
        again = len(server.requests)
        assert place.ingest().code == 0
        assert len(server.requests) == again
        shutil.rmtree(place.folder)
    assert round_ < KILLS / 2


def kept_or_none(place: Place) -> int:
    try:
        return place.kept()
    except sqlite3.OperationalError:  # killed before there was such a file
        return 0


@pytest.mark.parametrize("blocked", ["commit-tree", "update-ref", "reset"])
def test_a_kill_between_journal_and_commit_is_made_up_for_by_the_next_run(
    place: Place, server: ModelServer, tmp_path: Path, blocked: str
) -> None:
    fifo, bin_ = tmp_path / "blocked", tmp_path / "bin"
    bin_.mkdir()
    os.mkfifo(fifo)
    program = (
        GIT.replace("BLOCKED", blocked).replace("FIFO", str(fifo)).replace("GIT", shutil.which("git") or "")
    )
    (bin_ / "git").write_text(program)
    (bin_ / "git").chmod(0o755)
    head = place.git("rev-parse", "HEAD")

    running = place.start(environment={"PATH": f"{bin_}:{os.environ['PATH']}"})
    git_pid = int(fifo.read_text())
    running.kill()
    assert running.wait().code == -9
    os.kill(git_pid, 9)
    assert (place.git("rev-parse", "HEAD") == head) == (blocked != "reset")
    assert (place.root / ".ktx" / "apply.json").exists()
    count = len(server.requests)
    done = place.ingest()

    assert done.code == 0, done.said
    assert "was interrupted while writing" in done.said
    assert len(server.requests) == count == UNITS * STEPS
    assert place.git("log", "--format=%s").count("Ingest models") == 1
    assert place.git("status", "--porcelain") == ""
    assert place.page(3).exists()
    assert not (place.root / ".ktx" / "apply.json").exists()


def test_two_ingests_at_once_pay_and_commit_once(place: Place, server: ModelServer) -> None:
    with open_forker() as other:
        first = place.start()
        second = other.start(["ingest", "models", "--project-dir", place.root])
        ends = (second.wait(), first.wait())
    assert [one.code for one in ends] == [0, 0], ends
    assert max(asked(server).values()) == 1
    assert len(server.requests) == UNITS * STEPS
    assert place.git("log", "--format=%s").count("Ingest models") == 1
    assert place.git("status", "--porcelain") == ""


def test_a_users_uncommitted_work_survives_byte_for_byte(place: Place) -> None:
    untracked, staged, unstaged = place.page(3), place.root / "notes.txt", place.root / "ktx.yaml"
    untracked.parent.mkdir(parents=True, exist_ok=True)
    untracked.write_bytes(b"---\nsummary:   Mine, not finished\n---\n# Area 3\n\nI am  still writing\n")
    staged.write_bytes(b"staged\r\n")
    place.git("add", "notes.txt")
    staged.write_bytes(b"staged, and more\r\n")
    unstaged.write_bytes(unstaged.read_bytes() + b"# a thought\n")
    mine = {file: file.read_bytes() for file in (untracked, staged, unstaged)}
    index = place.git("ls-files", "--stage", "notes.txt", "ktx.yaml")

    done = place.ingest()

    assert done.code == 0, done.said
    assert {file: file.read_bytes() for file in mine} == mine
    assert place.git("ls-files", "--stage", "notes.txt", "ktx.yaml") == index
    assert place.git("show", "--name-only", "--format=", "HEAD").split() == sorted(
        [f"semantic-layer/shop/m{n}.yaml" for n in range(UNITS)]
        + [f"wiki/global/area-{n}.md" for n in range(UNITS) if n != 3]
    )
    assert place.git("status", "--porcelain").splitlines() == [
        " M ktx.yaml",
        "AM notes.txt",
        "?? wiki/global/area-3.md",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to mount a small file system; run as root")
@pytest.mark.parametrize(
    ("room_kib", "at_request"),
    [(4, 0), (400, 0), (20, UNITS * STEPS), (100, UNITS * STEPS), (200, UNITS * STEPS)],
)
def test_a_full_disk_is_one_sentence_and_the_next_run_finishes(
    scanned: Path, tmp_path: Path, server: ModelServer, forker: Forker, room_kib: int, at_request: int
) -> None:
    """The disk fills up before the run, or with its last answer: then what is left for the files and git is too little."""
    full = tmp_path / "full"
    full.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(full)], check=False)
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a file system")
    try:
        place = Place(scanned, full / "place", server, forker)
        before = place.tree()

        def fill() -> None:
            stat = os.statvfs(full)
            with contextlib.suppress(OSError):  # somebody else was quicker
                (full / "ballast").write_bytes(b"x" * (stat.f_bavail * stat.f_frsize - room_kib * 1024))

        def script(request) -> Reply:
            if len(server.requests) == at_request:
                fill()
            return work(request)

        server.script(script)
        if not at_request:
            fill()

        ended = place.ingest()
        errors = [line for line in ended.said.splitlines() if line.startswith("error")]
        assert ended.code in (0, 3), ended.said
        assert "Traceback" not in ended.said
        assert (ended.code == 0) == (not errors)
        (full / "ballast").unlink()
        between = place.tree()
        assert between != before or ended.code == 3
        count = len(server.requests)
        done = place.ingest()
        assert done.code == 0, done.said
        assert between in (before, place.tree()), "the commit is whole, or there is none"
        assert place.page(3).exists()
        assert place.git("status", "--porcelain") == ""
        place.git("fsck", "--strict")
        assert len(server.requests) - UNITS * STEPS <= AT_ONCE
        if at_request:
            assert len(server.requests) - count <= AT_ONCE
    finally:
        subprocess.run(["umount", "-l", str(full)], check=True)


def test_a_dbt_folder_that_is_away_evicts_nothing(place: Place, server: ModelServer) -> None:
    assert place.ingest().code == 0
    tree, count = place.tree(), len(server.requests)
    (place.folder / "dbt").rename(place.folder / "away")

    gone = place.ingest()

    assert gone.code in (2, 3), gone.said
    assert place.tree() == tree
    (place.folder / "away").rename(place.folder / "dbt")
    assert place.ingest().code == 0
    assert (place.tree(), len(server.requests)) == (tree, count)


def test_a_deleted_dbt_file_takes_away_what_only_it_had_said_and_no_persons_edit(
    place: Place, server: ModelServer
) -> None:
    assert place.ingest().code == 0
    before, count = place.tree(), len(server.requests)
    page = place.page(5).read_text().replace("Use `m5.paid5`.", "Use `m5.paid5`, says Ana.")
    place.page(5).write_text(page)
    overlay = place.overlay(5).read_text().replace("Amount in kroner", "Amount in kroner, VAT excluded")
    place.overlay(5).write_text(overlay)
    place.git("-c", "user.name=Ana", "-c", "user.email=ana@example.com", "commit", "-qam", "Know better")
    for n in (4, 5):
        shutil.rmtree(place.folder / "dbt" / "models" / f"area{n}")

    done = place.ingest()

    assert done.code == 0, done.said
    assert len(server.requests) == count
    assert not place.page(4).exists()
    assert not place.overlay(4).exists()
    assert "says Ana" in place.page(5).read_text()
    left = place.overlay(5).read_text()
    assert "VAT excluded" in left
    assert "one row each" not in left
    # What the person's page points at stays with it, and is named.
    assert "name: paid5" in left
    assert "shop/m5 measures.paid5: Page `area-5` points at `m5.paid5`" in done.said
    others = [line for line in before.splitlines() if not re.search(r"(m|area-)[45]\.", line)]
    assert set(others) <= set(place.tree().splitlines())
    assert place.git("status", "--porcelain") == ""
    tree = place.tree()
    assert place.ingest().code == 0
    assert (place.tree(), len(server.requests)) == (tree, count)
