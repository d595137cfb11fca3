"""An option that takes one value is given once: of `-t lion -t tiger`, nothing is passed over in silence."""

from collections import Counter
from typing import Any

from typer.core import TyperCommand


class EachOnce(TyperCommand):
    """A command that refuses what is given twice and counts once; flags may be repeated, they say the same."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        times = Counter(param.name for param in order)
        for param in self.get_params(ctx):
            option: Any = param
            takes_one = param.param_type_name == "option" and not (option.multiple or option.is_flag or option.count)
            if takes_one and times[param.name] > 1:
                ctx.fail(f"{max(param.opts, key=len)} takes one value, and is given {times[param.name]} times")
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed
