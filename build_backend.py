"""What `pip` calls to build blockprop: setuptools, with a compiler from the registry where the machine has none."""

from collections.abc import Mapping
from typing import Any

from setuptools.build_meta import *  # noqa: F403  all that a builder can be asked for
from setuptools.build_meta import get_requires_for_build_editable as requires_for_editable
from setuptools.build_meta import get_requires_for_build_wheel as requires_for_wheel

from blockprop.native.building import requirements

Settings = Mapping[str, Any] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return [*requires_for_wheel(config_settings), *requirements()]


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    return [*requires_for_editable(config_settings), *requirements()]
