"""Builds the kernels in C for an installation; where that cannot be, it is one without. All else: pyproject.toml."""

import sys
from pathlib import Path
from typing import ClassVar

from setuptools import Command, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build

from blockprop.errors import NativeError
from blockprop.native import building
from blockprop.native.sources import LIBRARY

ROOT = Path(__file__).parent


class BuildKernels(Command):
    """Into the folder of the build, or for an editable installation into the package itself."""

    description = "build the kernels in C"
    user_options: ClassVar[list[tuple[str, str, str]]] = []
    editable_mode = False

    def initialize_options(self) -> None:
        self.build_lib: str | None = None

    def finalize_options(self) -> None:
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self) -> None:
        library = LIBRARY if self.editable_mode else self.library
        if not building.is_wanted():
            library.unlink(missing_ok=True)  # of an earlier build
            return
        library.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.announce(f"native kernels: built by {building.build(library)}", level=2)
        except NativeError as error:
            library.unlink(missing_ok=True)
            print(f"blockprop: {error}", file=sys.stderr)

    @property
    def library(self) -> Path:
        """Its place in a wheel's build, also where the package itself has the file."""
        return Path(self.build_lib or "", LIBRARY.relative_to(ROOT))

    def get_outputs(self) -> list[str]:
        built = LIBRARY if self.editable_mode else self.library
        return [str(self.library)] if built.is_file() else []

    def get_output_mapping(self) -> dict[str, str]:
        return {path: str(LIBRARY) for path in self.get_outputs() if self.editable_mode}


class Build(build):
    sub_commands: ClassVar = [*build.sub_commands, ("build_kernels", None)]


class Wheel(bdist_wheel):
    """One wheel for all Pythons; for all machines only if it has no library."""

    def get_tag(self) -> tuple[str, str, str]:
        # Asked when all is built, and before the file is written that says whether the wheel is pure.
        self.root_is_pure = not self.get_finalized_command("build_kernels").get_outputs()
        return ("py3", "none", super().get_tag()[2])


setup(cmdclass={"build": Build, "build_kernels": BuildKernels, "bdist_wheel": Wheel})
