"""`ktx review`: decide about the joins that a scan is not sure of."""

import click

from ktx.cli.options import json_option, project_option
from ktx.cli.render.data import write_json, write_text
from ktx.cli.render.narrate import say
from ktx.ingest.review import Waiting, decide, list_waiting
from ktx.project import Project


@click.command()
@click.option("--accept", multiple=True, metavar="ID", help="Write this join into the manifest, for good.")
@click.option("--reject", multiple=True, metavar="ID", help="Never propose this join again.")
@click.option("-c", "--connection-id", help="Only what waits for this database.")
@project_option
@json_option
def review(
    *,
    project: Project,
    accept: tuple[str, ...],
    reject: tuple[str, ...],
    connection_id: str | None,
    as_json: bool,
) -> None:
    """List the joins that wait for a person, or decide about them; --accept and --reject can be repeated.

    Decisions are kept in the manifest, so in git: no scan undoes them.
    """
    if accept or reject:
        decided = decide(project, accept=accept, reject=reject)
        if as_json:
            write_json(decided)
        else:
            state = f"committed {decided.commit[:10]}" if decided.commit else "the manifest said so already"
            say(f"{len(accept)} accepted, {len(reject)} rejected; {state}.")
        return
    waiting = list_waiting(project, connection_id)
    if as_json:
        write_json({"waiting": waiting})
    elif waiting:
        write_text("\n".join(_line(one) for one in waiting))
        say("Decide with: ktx review --accept ID, or --reject ID")
    else:
        say("Nothing waits for a decision.")


def _line(one: Waiting) -> str:
    return f"{one.link.id}  {one.link.score:.2f}  {one.connection_id}: {one.link.text}  ({one.link.evidence})"
