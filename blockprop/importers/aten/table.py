"""The table of ATen operators: name -> handler. A handler gets the call and the operator's arguments by name."""

from collections.abc import Callable

from blockprop.importers.calls import Handler

ATEN: dict[str, Handler] = {}
"""By the operator's name, without overload and the underscore of in-place operators ("add" for aten.add_.Tensor)."""


def aten(*names: str) -> Callable[[Handler], Handler]:
    """Enter a handler under these names."""

    def enter(handler: Handler) -> Handler:
        for name in names:
            assert name not in ATEN, f"{name} has two handlers"
            ATEN[name] = handler
        return handler

    return enter
