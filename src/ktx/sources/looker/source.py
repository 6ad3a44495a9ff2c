"""Looker as a context source."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ktx.events import Emit
from ktx.sources.api import Api
from ktx.sources.evidence import Snapshot
from ktx.sources.looker.explores import Layout
from ktx.sources.looker.fetch import Reader, Session
from ktx.sources.looker.pages import Fields, folder_pages, model_pages, unit_plans
from ktx.sources.looker.wire import ExploreInfo
from ktx.sources.source import Interpretation, Shelf, Target, targets_by_id

_INSTRUCTIONS = """\
These documents are explores, dashboards and Looks of a Looker. Explores hold LookML: what could be said exactly (dimensions, \
measures, joins over plain tables) was imported already, so refer to those and do not write them again. Derived tables and \
templates were not imported; write one only where its SQL is in front of you. Dashboards and Looks show which fields answer \
which question, under which filters; their titles and text tiles carry business terms and rules. A custom field or table \
calculation that several tiles repeat is a measure worth having. Filter values and personal boards are worth nothing."""


@dataclass(frozen=True, kw_only=True)
class LookerSource:
    """A Looker instance; `connection_mappings` gives for each of its database connections ours, or None."""

    base_url: str
    client_id: str
    client_secret: str = field(repr=False)
    connection_mappings: Mapping[str, str | None]
    connection_id: str
    shelf: Shelf
    proxy: str | None = None
    sleep: Callable[[float], None] = time.sleep

    @property
    def instructions(self) -> str:
        """What a model should know about these documents."""
        return _INSTRUCTIONS

    def fetch(self, *, emit: Emit) -> Snapshot:
        """Read models, explores, dashboards and Looks.

        Raises:
            SourceError: the models cannot be listed.
            ConfigError: the credentials were refused.
        """
        url = self.base_url.rstrip("/").removesuffix("/api/4.0").removesuffix("/api")
        api = Api(
            tool="Looker",
            base_url=url,
            headers={},
            login_hint=f"check `client_id` and `client_secret` of the connection `{self.connection_id}`",
            proxy=self.proxy,
            sleep=self.sleep,
        )
        session = Session(api=api, client_id=self.client_id, client_secret=self.client_secret)
        with api:
            try:
                return Reader(session=session, url=url, shelf=self.shelf, emit=emit).read()
            finally:
                session.log_out()

    def interpret(self, snapshot: Snapshot, targets: Sequence[Target]) -> Interpretation:
        """Say what the snapshot defines: each view on its table, on the connection that its model's is mapped to."""
        layout = Layout(targets=targets_by_id(targets), connections=self.connection_mappings)
        for document in snapshot.documents:
            if isinstance(document.data, ExploreInfo):
                layout.add(document.data)
        definitions = sorted((draft.built() for draft in layout.drafts.values()), key=lambda one: one.name)
        fields = Fields(layout=layout)
        return Interpretation(
            definitions=tuple(definitions),
            pages=(*model_pages(snapshot, fields), *folder_pages(snapshot, fields)),
            units=tuple(unit_plans(snapshot, fields)),
            unmapped=layout.unmapped,
        )
