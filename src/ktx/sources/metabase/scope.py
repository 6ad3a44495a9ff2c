"""Which collections and cards count: all, only the chosen ones with all they hold, or all but those."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from ktx.sources.metabase.wire import CardInfo, CollectionInfo

SyncMode = Literal["ALL", "ONLY", "EXCEPT"]
ROOT: Final = "root"
_NOT_CONTENT: Final = frozenset({"trash", "instance-analytics"})


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The choice, with collections as text (`12`, `root`) and cards as numbers."""

    mode: SyncMode = "ALL"
    collections: frozenset[str] = frozenset()
    items: frozenset[int] = frozenset()


def scope_of(mode: SyncMode, collections: Iterable[object], items: Iterable[object]) -> Scope:
    """Read a choice as it stands in a configuration: ids as numbers or text, cards also as `card/12`."""
    cards = (str(one).rpartition("/")[2].strip() for one in items)
    return Scope(
        mode=mode,
        collections=frozenset(str(one).strip() for one in collections),
        items=frozenset(int(one) for one in cards if one.isdigit()),
    )


@dataclass(frozen=True, kw_only=True)
class Folders:
    """The tree of collections."""

    by_id: Mapping[int, CollectionInfo] = field(default_factory=dict[int, CollectionInfo])

    def above(self, id_: int | None) -> tuple[str, ...]:
        """Give a collection and all above it, the root first."""
        if id_ is None:
            return (ROOT,)
        known = self.by_id.get(id_)
        parents = [part for part in (known.location or "").split("/") if part.isdigit()] if known else []
        return (ROOT, *parents, str(id_))

    def path(self, id_: int | None) -> tuple[str, ...]:
        """Give the names from the top to a collection; none for the root."""
        names: list[str] = []
        for part in self.above(id_)[1:]:
            known = self.by_id.get(int(part))
            names.append(known.name if known is not None else f"collection {part}")
        return tuple(names)

    def is_content(self, id_: int | None) -> bool:
        """Tell whether a collection is a shared one that is in use: no trash, nobody's own, nothing archived."""
        chain = (self.by_id.get(int(part)) for part in self.above(id_)[1:])
        return all(one is None or _is_content(one) for one in chain)


def holds(scope: Scope, folders: Folders, collection_id: int | None, card_id: int | None = None) -> bool:
    """Tell whether something that lies in a collection is in scope."""
    is_chosen = card_id in scope.items or any(
        one in scope.collections for one in folders.above(collection_id)
    )
    match scope.mode:
        case "ONLY":
            return is_chosen
        case "EXCEPT":
            return not is_chosen and folders.is_content(collection_id)
        case "ALL":
            return folders.is_content(collection_id)


def has_card(scope: Scope, folders: Folders, card: CardInfo) -> bool:
    """Tell whether a card is in scope."""
    return not card.archived and holds(scope, folders, card.collection_id, card.id)


def _is_content(one: CollectionInfo) -> bool:
    return not (
        one.archived or one.is_personal or one.personal_owner_id is not None or one.type in _NOT_CONTENT
    )
