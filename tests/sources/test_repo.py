import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ktx.errors import ConfigError, KtxError, SourceError
from ktx.sources.repo import open_folder, open_repository
from ktx.sources.tree import Tree
from servers.git import ENV, commit_files, git, git_server

TOKEN = "glpat-S3cret%Value/with+signs"


def opened(
    url: str | Path,
    cache: Path,
    *,
    branch: str = "main",
    subpath: str = "",
    token: str | None = None,
    environment: dict[str, str] = ENV,
) -> Tree:
    return open_repository(
        url=str(url), branch=branch, subpath=subpath, token=token, cache_dir=cache, environment=environment
    )


def held(tree: Tree) -> dict[str, str]:
    files = (file for file in tree.root.rglob("*") if not file.is_dir())
    return {str(file.relative_to(tree.root)): file.read_text() for file in files}


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "served" / "shop"
    commit_files(folder, {"dbt/models/a.yml": "a\n", "dbt/gone.yml": "old\n", "README.md": "read\r\nme\n"})
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.mark.parametrize("form", ["{path}", "file://{path}", "{path}/"])
def test_a_path_and_a_file_address_give_the_committed_files_of_the_branch(
    origin: Path, cache: Path, form: str
) -> None:
    (origin / "uncommitted.yml").write_text("x")
    tree = opened(form.format(path=origin), cache)
    assert tree.commit == git(origin, "rev-parse", "HEAD").strip()
    assert held(tree) == {"dbt/models/a.yml": "a\n", "dbt/gone.yml": "old\n", "README.md": "read\nme\n"}
    assert (tree.root / "README.md").read_bytes() == b"read\r\nme\n"


def test_a_subpath_is_the_root_of_what_is_given(origin: Path, cache: Path) -> None:
    assert held(opened(origin, cache, subpath="./dbt/models/")) == {"a.yml": "a\n"}
    assert held(opened(origin, cache, subpath="dbt")) == {"models/a.yml": "a\n", "gone.yml": "old\n"}


def test_a_wrong_subpath_names_the_near_ones(origin: Path, cache: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no folder `dbt/model` on this branch. Did you mean `dbt/models`\?"
    ) as said:
        opened(origin, cache, subpath="dbt/model")
    assert said.value.hint == "Folders at its top: `dbt`."
    with pytest.raises(ConfigError, match="is a file, not a folder"):
        opened(origin, cache, subpath="README.md")


@pytest.mark.parametrize("subpath", ["..", "dbt/../..", "/etc", "a\\b", "a\nb"])
def test_a_subpath_that_leads_out_is_refused(origin: Path, cache: Path, subpath: str) -> None:
    with pytest.raises(ConfigError, match="is not a folder inside a repository"):
        opened(origin, cache, subpath=subpath)


def test_a_missing_branch_is_answered_with_those_that_exist(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "old"
    commit_files(folder, {"a": "1"}, branch="master")
    git(folder, "branch", "develop")
    with pytest.raises(ConfigError, match="has no branch `main`") as said:
        opened(folder, cache)
    assert said.value.hint == "Set `branch` to one that it has: `develop`, `master`."
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    with pytest.raises(ConfigError, match="has no branch yet"):
        opened(empty, cache)


def test_a_deleted_branch_is_an_error_and_not_what_it_once_held(origin: Path, cache: Path) -> None:
    git(origin, "branch", "feature")
    assert held(opened(origin, cache, branch="feature"))
    git(origin, "branch", "-D", "feature")
    with pytest.raises(ConfigError, match="has no branch `feature`"):
        opened(origin, cache, branch="feature")


def test_a_new_commit_is_laid_out_without_files_of_the_old_one(origin: Path, cache: Path) -> None:
    old = opened(origin, cache)
    commit = commit_files(origin, {"dbt/gone.yml": None, "dbt/new.yml": "new\n"})
    new = opened(origin, cache)
    assert new.commit == commit
    assert set(held(new)) == {"README.md", "dbt/models/a.yml", "dbt/new.yml"}
    assert "dbt/gone.yml" in held(old)  # whoever still reads it does so in peace


def test_a_force_pushed_branch_is_given_as_it_is_now(origin: Path, cache: Path) -> None:
    opened(origin, cache)
    git(origin, "checkout", "-q", "--orphan", "fresh")
    git(origin, "rm", "-rqf", ".")
    commit = commit_files(origin, {"only.yml": "1"})
    git(origin, "branch", "-M", "fresh", "main")
    tree = opened(origin, cache)
    assert (tree.commit, held(tree)) == (commit, {"only.yml": "1"})


def test_branches_whose_names_nest_follow_each_other(origin: Path, cache: Path) -> None:
    git(origin, "branch", "release")
    opened(origin, cache, branch="release")
    git(origin, "branch", "-m", "release", "release/2")
    assert held(opened(origin, cache, branch="release/2"))


def test_an_unchanged_branch_costs_one_question_and_writes_nothing(origin: Path, cache: Path) -> None:
    with git_server(origin.parent) as server:
        url = f"{server.url}/shop/.git"
        first = opened(url, cache)
        before = (first.root / "README.md").stat().st_ino
        server.requests.clear()
        again = opened(url, cache)
        assert again == first
        assert (again.root / "README.md").stat().st_ino == before
        packs = [request for request in server.requests if "git-upload-pack" in request and "POST" in request]
        assert len(packs) == 1  # protocol 2 asks for the branches in a POST; a fetch would be two more


def test_a_file_that_someone_took_from_the_cache_comes_back(origin: Path, cache: Path) -> None:
    tree = opened(origin, cache)
    (tree.root / "dbt/models/a.yml").unlink()
    assert "dbt/models/a.yml" in held(opened(origin, cache))


def test_a_broken_cache_is_made_anew(origin: Path, cache: Path) -> None:
    tree = opened(origin, cache)
    commit_files(origin, {"b.yml": "b"})
    for each in next(tree.root.parent.parent.glob("objects-*.git/objects")).rglob("*"):
        if each.is_file():
            each.unlink()
    assert "b.yml" in held(opened(origin, cache))


def test_only_the_last_few_commits_are_kept(origin: Path, cache: Path) -> None:
    for number in range(5):
        commit_files(origin, {"n.yml": str(number)})
        tree = opened(origin, cache)
    assert len(list(tree.root.parent.iterdir())) == 3
    assert held(tree)["n.yml"] == "4"


def test_the_token_reaches_the_server_and_no_file(origin: Path, cache: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[credential]\n\thelper = store\n")
    environment = {**ENV, "HOME": str(home)}
    with git_server(origin.parent, password=TOKEN) as server:
        tree = opened(f"{server.url}/shop/.git", cache, token=TOKEN, environment=environment)
        assert held(tree)
        assert server.credentials
        assert set(server.credentials) == {f"x-access-token:{TOKEN}"}
        own_user = opened(
            f"http://deployer@127.0.0.1:{server.port}/shop/.git", cache, token=TOKEN, environment=environment
        )
        assert server.credentials[-1] == f"deployer:{TOKEN}"
        assert held(own_user)
    needles = (TOKEN.encode(), b"S3cret")
    for file in (each for folder in (cache, home) for each in folder.rglob("*") if each.is_file()):
        assert not any(needle in file.read_bytes() for needle in needles), file
    assert not (home / ".git-credentials").exists()


def test_a_password_in_the_address_works_and_is_nowhere_to_be_seen(origin: Path, cache: Path) -> None:
    with git_server(origin.parent, password="hunter2secret") as server:
        url = f"http://me:hunter2secret@127.0.0.1:{server.port}/shop"
        assert held(opened(f"{url}/.git", cache))
        with pytest.raises(ConfigError) as said:
            opened(f"{url}/.git", cache, branch="nope")
    assert "hunter2secret" not in f"{said.value.message}{said.value.hint}"
    assert not any(b"hunter2secret" in each.read_bytes() for each in cache.rglob("*") if each.is_file())


@pytest.mark.parametrize(
    ("token", "hint"), [("wrong-token-value", "may have expired"), (None, "auth_token_ref")]
)
def test_a_refused_login_says_so_without_the_secret(
    origin: Path, cache: Path, token: str | None, hint: str
) -> None:
    with git_server(origin.parent, password=TOKEN) as server, pytest.raises(ConfigError) as said:
        opened(f"{server.url}/shop/.git", cache, token=token)
    assert "refused" in said.value.message
    assert hint in (said.value.hint or "")
    assert "wrong-token-value" not in f"{said.value.message}{said.value.hint}"


def test_a_redirect_to_another_host_does_not_get_the_token(origin: Path, cache: Path) -> None:
    with (
        git_server(origin.parent, password=TOKEN) as thief,
        git_server(origin.parent, redirect=thief.url) as server,
        pytest.raises(KtxError),
    ):
        opened(f"{server.url}/shop/.git", cache, token=TOKEN)
    assert thief.requests
    assert thief.credentials == []


def test_a_token_is_not_sent_unencrypted(cache: Path) -> None:
    with pytest.raises(ConfigError, match=r"unencrypted to `git\.example\.com`"):
        opened("http://git.example.com/a.git", cache, token="t")


def test_a_line_that_breaks_in_the_middle_is_an_error_and_the_next_try_is_whole(
    origin: Path, cache: Path
) -> None:
    commit_files(origin, {f"many/{number}.yml": os.urandom(512).hex() for number in range(200)})
    with git_server(origin.parent, breaks_packs=True) as server:
        url = f"{server.url}/shop/.git"
        with pytest.raises(SourceError, match="could not be read"):
            opened(url, cache)
        assert not list(cache.glob("*/commits/*"))
        server.breaks_packs = False
        assert len(held(opened(url, cache))) == 203
        commit_files(origin, {f"more/{number}.yml": os.urandom(512).hex() for number in range(200)})
        server.breaks_packs = True
        with pytest.raises(SourceError, match="could not be read"):
            opened(url, cache)  # what was fetched before is not given in its place


def test_a_server_that_is_gone_is_an_error(origin: Path, cache: Path) -> None:
    with git_server(origin.parent) as server:
        url = f"{server.url}/shop/.git"
        opened(url, cache)
    with pytest.raises(SourceError, match="could not be read"):
        opened(url, cache)
    with pytest.raises(SourceError, match=r"could not be read: .*does not appear to be a git repository"):
        opened(origin.parent / "nothing", cache)


def stub(tmp_path: Path, body: str) -> Path:
    script = tmp_path / "ssh-stub"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return script


@pytest.mark.parametrize("url", ["git@git.example.com:{path}", "ssh://git@git.example.com:2222{path}"])
def test_ssh_and_scp_like_addresses_go_through_the_users_ssh(
    origin: Path, cache: Path, tmp_path: Path, url: str
) -> None:
    log = tmp_path / "log"
    script = stub(tmp_path, f'echo "$@" >> {log}\nfor last; do :; done\nexec sh -c "$last"')
    tree = opened(
        url.format(path=origin),
        cache,
        token="unused-for-ssh",
        environment={**ENV, "GIT_SSH": str(script), "GIT_SSH_VARIANT": "ssh"},
    )
    assert "dbt/models/a.yml" in held(tree)
    assert "git@git.example.com" in log.read_text()
    assert "unused-for-ssh" not in log.read_text()


def test_ssh_is_asked_never_to_prompt_and_its_refusal_is_told(cache: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = stub(tmp_path, f'echo "$@" >> {log}\necho "git@h: Permission denied (publickey)." >&2\nexit 255')
    with pytest.raises(ConfigError, match=r"refused: git@h: Permission denied \(publickey\).") as said:
        opened("git@git.example.com:team/a.git", cache, environment={**ENV, "GIT_SSH_COMMAND": str(script)})
    assert "BatchMode=yes" in log.read_text()
    assert "ssh agent" in (said.value.hint or "")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "-upload-pack=touch /tmp/x",
        "--upload-pack=x",
        "ext::sh -c touch% /tmp/x",
        "fd::17",
        "git://host/a.git",
        "ftp://host/a.git",
        "ssh://-oProxyCommand=x/a",
        "-oProxyCommand=x:a",
        "relative/folder",
        "https://",
        "https://host:port/a",
        "https://host/a\nb",
        "file://otherhost/a",
    ],
)
def test_other_addresses_are_refused_before_git_sees_them(cache: Path, url: str) -> None:
    with pytest.raises(ConfigError):
        opened(url, cache)
    assert not cache.exists()


@pytest.mark.parametrize("branch", ["", "-x", "a..b", "a b", "refs\n", "a:b", "x.lock", "/a", "a/"])
def test_a_branch_name_that_git_would_read_otherwise_is_refused(
    origin: Path, cache: Path, branch: str
) -> None:
    with pytest.raises(ConfigError, match="is not the name of a git branch"):
        opened(origin, cache, branch=branch)


def test_an_address_that_the_users_settings_rewrite_cannot_start_a_program(
    origin: Path, cache: Path, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f'[url "ext::touch {trap} "]\n\tinsteadOf = {origin}\n[protocol]\n\tallow = always\n'
    )
    with pytest.raises(SourceError, match=r"transport 'ext' not allowed"):
        opened(origin, cache, environment={**ENV, "HOME": str(home)})
    assert not trap.exists()


def test_links_are_files_of_the_commit_or_nothing(origin: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    for name, target in {
        "inside.yml": "dbt/models/a.yml",
        "chain.yml": "inside.yml",
        "out.yml": str(tmp_path / "secret.txt"),
        "up.yml": "../../secret.txt",
        "loop.yml": "loop.yml",
        "folder": "dbt",
        "dbt/shared.md": "../README.md",
    }.items():
        (origin / name).symlink_to(target)
    commit_files(origin, {})
    tree = opened(origin, cache)
    files = held(tree)
    assert files["inside.yml"] == files["chain.yml"] == "a\n"
    assert set(files) == {
        "README.md", "dbt/models/a.yml", "dbt/gone.yml", "dbt/shared.md", "inside.yml", "chain.yml",
    }  # fmt: skip
    assert not any(stat.S_ISLNK(each.lstat().st_mode) for each in tree.root.rglob("*"))
    assert held(opened(origin, cache, subpath="dbt"))["shared.md"] == "read\nme\n"


def test_submodules_filters_and_hooks_take_no_part(origin: Path, cache: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        (home / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {trap}\n")
        (home / "hooks" / hook).chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[core]\n\thooksPath = {home}/hooks\n\tautocrlf = true\n[filter "lfs"]\n\tsmudge = touch {trap}\n'
        f"\trequired = true\n"
    )
    other = tmp_path / "other"
    inner = commit_files(other, {"x.yml": "x"})
    git(origin, "update-index", "--add", "--cacheinfo", f"160000,{inner},vendored")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    (origin / ".gitattributes").write_text("*.csv filter=lfs\n*.yml export-ignore ident\n")
    (origin / "data.csv").write_text(pointer)
    (origin / ".gitmodules").write_text(f'[submodule "vendored"]\n\tpath = vendored\n\turl = {other}\n')
    git(origin, "add", "-f", ".gitattributes", "data.csv", ".gitmodules")
    git(origin, "commit", "-qm", "more")
    tree = opened(origin, cache, environment={**ENV, "HOME": str(home)})
    assert held(tree)["data.csv"] == pointer
    assert (tree.root / "dbt/models/a.yml").read_bytes() == b"a\n"
    assert not (tree.root / "vendored").exists()
    assert not trap.exists()


def test_hostile_paths_in_a_commit_are_not_written(origin: Path, cache: Path, tmp_path: Path) -> None:
    blob = git(origin, "rev-parse", "HEAD:README.md").strip()
    listing = b"".join(
        b"100644 " + name + b"\0" + bytes.fromhex(blob)
        for name in (b"..", b".git", b"good.yml", b"a/../../../x")
    )
    made = subprocess.run(
        ["git", "-C", str(origin), "hash-object", "-t", "tree", "-w", "--literally", "--stdin"],
        input=listing, env=ENV, capture_output=True, check=True,
    ).stdout.decode().strip()  # fmt: skip
    commit = git(origin, "commit-tree", "-m", "hostile", made).strip()
    git(origin, "update-ref", "refs/heads/hostile", commit)
    assert held(opened(origin, cache, branch="hostile")) == {"good.yml": "read\nme\n"}
    assert not list(tmp_path.rglob("x"))


def test_two_processes_that_fetch_at_once_both_get_the_whole_branch(origin: Path, cache: Path) -> None:
    commit_files(origin, {f"many/{number}.yml": os.urandom(64).hex() for number in range(300)})
    program = (
        "import sys; from pathlib import Path; from ktx.sources.repo import open_repository\n"
        "tree = open_repository(url=sys.argv[1], token=None, cache_dir=Path(sys.argv[2]), environment={'PATH': sys.argv[3]})\n"
        "print(tree.commit, len(tree.paths('.yml')))"
    )
    command = [sys.executable, "-c", program, str(origin), str(cache), ENV["PATH"]]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = {process.communicate()[0] for process in running}
    assert told == {f"{git(origin, 'rev-parse', 'HEAD').strip()} 302\n"}


def test_a_cache_inside_the_projects_repository_is_blind_to_its_settings(
    origin: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    commit_files(project, {"ktx.yaml": ""})
    git(project, "config", "url./nowhere.insteadOf", str(origin))
    assert held(opened(origin, project / ".ktx" / "cache"))


def test_a_folder_is_given_as_it_is_and_a_missing_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "file").write_text("")
    assert open_folder(tmp_path / "models") == Tree(root=(tmp_path / "models").resolve())
    with pytest.raises(ConfigError, match=r"There is no folder .*Did you mean `models`\?"):
        open_folder(tmp_path / "model")
    with pytest.raises(ConfigError, match="is a file, not a folder"):
        open_folder(tmp_path / "file")


def test_a_user_who_lets_git_open_bare_repositories_by_name_only_is_served(
    origin: Path, cache: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[safe]\n\tbareRepository = explicit\n")
    assert held(opened(origin / ".git", cache, environment={**ENV, "HOME": str(home)}))
