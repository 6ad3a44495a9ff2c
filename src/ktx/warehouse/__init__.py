"""One `Warehouse` over one small `Driver` value per database."""
