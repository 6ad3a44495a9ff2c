"""Which warehouses can be asked."""

from ktx.serve.answers import ConnectionInfo, ConnectionList
from ktx.serve.desk import Desk


def connection_list(desk: Desk) -> ConnectionList:
    """List the warehouses of the project by id."""
    return ConnectionList(
        connections=[
            ConnectionInfo(id=name, name=name, connection_type=connection.driver)
            for name, connection in sorted(desk.project.warehouses.items())
        ]
    )
