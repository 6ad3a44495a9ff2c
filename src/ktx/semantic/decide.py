"""A person's word on a join, written into the manifest: accepted as `manual`, or kept under `rejected_joins`. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from ktx.catalog import Relationship
from ktx.semantic.manifest import RejectedJoin, Shard, ShardJoin, ShardTable
from ktx.semantic.merge import known_names, make_inverse, make_join, read_condition, role_name


def accept_join(shards: Mapping[str, Shard], one: Relationship) -> dict[str, Shard]:
    """Give the shards with a join on both sides, marked `manual`; an earlier rejection of it is taken back."""
    made = replace(one, origin="manual", decision="accepted")
    changed = _without(shards, made)
    names = known_names(changed.values())
    own = _table(changed, names[made.source])
    is_role = made.source == made.target or any(join.to == names[made.target] for join in own.joins)
    role = role_name(made, names) if is_role else None
    own.joins.append(make_join(made, names, alias=role))
    if made.source != made.target:
        back = f"{names[made.source]}_by_{role}" if role else None
        _table(changed, names[made.target]).joins.append(make_inverse(made, names, alias=back))
    return changed


def reject_join(shards: Mapping[str, Shard], one: Relationship) -> dict[str, Shard]:
    """Give the shards without a join, and with the note that no scan shall propose it again."""
    changed = _without(shards, one)
    names = known_names(changed.values())
    on = make_join(one, names, alias=None).on
    _table(changed, names[one.source]).rejected_joins.append(RejectedJoin(to=names[one.target], on=on))
    return changed


def _without(shards: Mapping[str, Shard], one: Relationship) -> dict[str, Shard]:
    """Copy the shards without any trace of a join, on both sides and among the rejected."""
    changed = {name: shard.model_copy(deep=True) for name, shard in shards.items()}
    names = known_names(changed.values())
    own, target = names[one.source], names[one.target]
    pairs = frozenset(zip(one.source_columns, one.target_columns, strict=True))
    back = frozenset((other, mine) for mine, other in pairs)
    mine = _table(changed, own)
    mine.joins = [join for join in mine.joins if not _is(join, own, target, pairs, one)]
    mine.rejected_joins = [join for join in mine.rejected_joins if not _is(join, own, target, pairs, one)]
    if own != target:
        other = _table(changed, target)
        other.joins = [join for join in other.joins if not _is(join, target, own, back, one)]
    return changed


def _is(
    join: ShardJoin | RejectedJoin,
    own: str,
    target: str,
    pairs: frozenset[tuple[str, str]],
    one: Relationship,
) -> bool:
    alias = join.alias if isinstance(join, ShardJoin) else None
    read = read_condition(join.on, source=own, target=target, alias=alias) if join.to == target else None
    if read is None:
        return False
    condition = read[1][:2] if read[1] else None
    return frozenset(read[0]) == pairs and condition == one.condition


def _table(shards: Mapping[str, Shard], name: str) -> ShardTable:
    return next(shard.tables[name] for shard in shards.values() if name in shard.tables)
