from tests.house.conftest import root

__all__ = ["root"]
