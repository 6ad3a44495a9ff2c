"""Lane reports as answers show them."""

from collections.abc import Iterable

from ktx.search.query import LaneReport
from ktx.serve.answers import LaneStatus


def lane_statuses(lanes: Iterable[LaneReport]) -> list[LaneStatus]:
    """Give the lane reports of a search in the form of an answer."""
    return [
        LaneStatus(
            lane=lane.lane,
            status=lane.status,
            requested_candidate_pool_limit=lane.requested_pool,
            effective_candidate_pool_limit=lane.effective_pool,
            returned_candidate_count=lane.returned,
            weight=lane.weight,
            reason=lane.reason,
        )
        for lane in lanes
    ]
