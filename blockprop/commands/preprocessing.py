"""What a network expects of a photograph: as an option, itself, a file beside it or its weights say."""

from dataclasses import replace
from pathlib import Path

from blockprop.commands.console import explain, say
from blockprop.engine.network import Network
from blockprop.errors import SettingError
from blockprop.networks.known import Facts, recognized
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.preprocessing import NAMED, Preprocessing, beside, read_classes, read_preprocessing

UNKNOWN = (
    "{network} does not say what it expects of a photograph: pass --preprocessing imagenet if it was trained as "
    "torchvision's networks are, --preprocessing caffe for BGR in 0…255 less (104, 117, 123), or --preprocessing FILE; "
    'or put a file {beside} beside it, such as {{"size": 224, "range": 255, "mean": [104, 117, 123], "channels": '
    '"BGR"}} (the input is (range · picture − mean) / scale, for a picture in 0…1)'
)


def seeing(
    network: Network, path: str, preprocessing: str | None = None, photos: bool = True, quiet: bool = False
) -> Network:
    """The network with its preprocessing in front, if that is asked for or pictures are to be read.

    One that was trained by blockprop itself takes pictures as its examples were, without any.
    Raises SettingError, naming the option, if nobody says what it expects.
    """
    meta = network.meta
    if preprocessing is None and (not photos or meta.get("picture")):
        return network
    if preprocessing is None and not meta.get("preprocessing") and (meta.get("data") or meta.get("spec")):
        return network
    network = with_picture(network, path, preprocessing, quiet=quiet)
    if not network.meta.get("picture"):
        raise SettingError(UNKNOWN.format(network=path, beside=Path(path).with_suffix(".json").name))
    return network


def with_picture(
    network: Network, file: str | None, said: str | None = None, classes: str | None = None, quiet: bool = False
) -> Network:
    """The network with what it expects of a picture in front, and the names of its classes, as far as they are known.

    said: a file or a name of NAMED.   classes: a file with their names.
    """
    preprocessing, names = _said(said, file, network)
    facts = None if network.meta.get("picture") else recognized(network, file)
    told = []
    if facts and preprocessing is None and not network.meta.get("preprocessing"):
        preprocessing = _in_fixed_size(Preprocessing.from_dict(facts.preprocessing), network, quiet)
        told.append("what it expects of a picture")
    if classes:
        names = read_classes(classes)
    elif facts and names is None and not network.meta.get("classes") and facts.classes:
        names = list(facts.classes)
        told.append(f"the names of its {len(names)} classes")
    _tell(facts, told, quiet)
    if preprocessing is None and not network.meta.get("preprocessing"):
        if names is not None:
            network.meta["classes"] = names
        return network
    return with_preprocessing(network, preprocessing, names)


def _said(said: str | None, file: str | None, network: Network) -> tuple[Preprocessing | None, list[str] | None]:
    """(preprocessing, classes) as an option or a file beside the network says."""
    if said in NAMED and not Path(said).exists():
        return _sized(NAMED[said], network), None
    source = said or (beside(file) if file else None)
    if source is None:
        return None, None
    explain(f"what it expects of a picture is read from {source}")
    return read_preprocessing(source)


def _sized(preprocessing: Preprocessing, network: Network) -> Preprocessing:
    """For pictures of the size that the network names, if it names one."""
    size = network.meta.get("shape") or []
    if len(size) != 3 or preprocessing.height_width == tuple(size[1:]):
        return preprocessing
    return replace(preprocessing, size=(size[1], size[2]), shorter_side=None)


def _in_fixed_size(usual: Preprocessing, network: Network, quiet: bool) -> Preprocessing:
    """For pictures of the one size that an import has fixed, if it did; by default in the usual one."""
    fixed = network.meta.get("sizes", {}).get(network.inputs[0], ())
    if usual.height_width is None or len(fixed) != 4:
        return usual
    height, width = (there or by_default for there, by_default in zip(fixed[2:], usual.height_width, strict=True))
    if (height, width) == usual.height_width:
        return usual
    before = f"{usual.height_width[1]} x {usual.height_width[0]}"
    say(f"photographs are brought to {width} x {height}, the size that the import fixed; usual is {before}", quiet)
    return usual.in_size((height, width))


def _tell(facts: Facts | None, told: list[str], quiet: bool) -> None:
    if facts and told:
        say(f"recognized as {facts.title}, of which blockprop knows {' and '.join(told)}", quiet)
