"""Published weights: what is in the file is in the network, or the network is as it was and an error says why not."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from blockprop.blocks import BatchNorm2d, Conv2d, ReLU
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.errors import FormatError, SettingError
from blockprop.networks.architectures import PREPROCESSING, resnet20_cifar10, vgg19, vgg19_decoder
from blockprop.networks.weights import load_weights, pretrained
from blockprop.saving.storage import load, save
from tests.conftest import DataFile


@pytest.fixture
def network() -> Network:
    return Sequential({"conv1": Conv2d(3, 4, 3), "bn1": BatchNorm2d(4), "relu1": ReLU(), "conv2": Conv2d(4, 2, 1)})


@pytest.fixture
def tensors(network: Network) -> dict[str, Tensor]:
    """What a file for the network would hold, with torch's names."""
    found = {name.replace("variance", "var"): torch.randn_like(tensor) for name, tensor in network.state.items()}
    return found | {"bn1.num_batches_tracked": torch.tensor(7)}


@pytest.fixture
def file(tmp_path: Path, tensors: dict[str, Tensor]) -> Path:
    return written(tmp_path / "weights.safetensors", tensors)


def written(path: Path, tensors: dict[str, Tensor]) -> Path:
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def test_every_tensor_comes_from_the_file(network: Network, file: Path, tensors: dict[str, Tensor]) -> None:
    places = {name: tensor.data_ptr() for name, tensor in network.state.items()}
    load_weights(network, file)
    for name, tensor in network.state.items():
        assert torch.equal(tensor, tensors[name.replace("variance", "var")])
    assert {name: tensor.data_ptr() for name, tensor in network.state.items()} == places  # an optimizer sees them, too


@pytest.mark.parametrize("theirs", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("ours", [torch.float32, torch.float64])
def test_numbers_take_the_networks_precision(
    network: Network, tmp_path: Path, tensors: dict[str, Tensor], theirs: torch.dtype, ours: torch.dtype
) -> None:
    tensors = {name: tensor.to(theirs) for name, tensor in tensors.items() if tensor.is_floating_point()}
    load_weights(network.to(dtype=ours), written(tmp_path / "other.safetensors", tensors))
    for name, tensor in network.state.items():
        assert tensor.dtype == ours
        assert torch.equal(tensor, tensors[name.replace("variance", "var")].to(ours))


def test_a_prefix_tells_networks_apart(network: Network, tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    both = {f"encoder.{name}": tensor for name, tensor in tensors.items()} | {"decoder.conv1.weight": torch.zeros(1)}
    path = written(tmp_path / "both.safetensors", both)
    load_weights(network, path, prefix="encoder.")
    assert torch.equal(network.state["conv1.weight"], tensors["conv1.weight"])
    with pytest.raises(FormatError, match=r"try prefix='decoder\.' or 'encoder\.'"):
        load_weights(network, path)


def test_one_error_lists_all_that_does_not_fit_and_changes_nothing(
    network: Network, tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    del tensors["conv1.bias"], tensors["bn1.running_var"]
    tensors |= {f"fc{i}.weight": torch.zeros(i) for i in range(6)}
    tensors["conv2.weight"] = torch.zeros(2, 4, 3, 3)
    path = written(tmp_path / "weights.safetensors", tensors)
    before = {name: tensor.clone() for name, tensor in network.state.items()}
    with pytest.raises(FormatError) as caught:
        load_weights(network, path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "missing: conv1.bias (4), bn1.running_variance (4);" in text
    assert "extra: fc0.weight (0), fc1.weight (1), fc2.weight (2) and 3 more;" in text
    assert "of another shape: conv2.weight (2 x 4 x 3 x 3, expected 2 x 4 x 1 x 1)" in text
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state.items())


def test_extra_tensors_can_be_allowed(network: Network, tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = written(tmp_path / "weights.safetensors", tensors | {"conv3.weight": torch.zeros(1)})
    with pytest.raises(FormatError, match=r"extra: conv3\.weight \(1\)"):
        load_weights(network, path)
    load_weights(network, path, allow_extra=True)
    assert torch.equal(network.state["conv1.weight"], tensors["conv1.weight"])


def test_whole_numbers_are_no_weights(network: Network, tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    tensors["conv2.bias"] = torch.tensor([1, 2])
    before = network.state["conv1.weight"].clone()
    with pytest.raises(FormatError, match=r"conv2\.bias holds torch\.int64"):
        load_weights(network, written(tmp_path / "weights.safetensors", tensors))
    assert torch.equal(network.state["conv1.weight"], before)


def test_other_files_are_explained(network: Network, tmp_path: Path, file: Path) -> None:
    with pytest.raises(FormatError, match="is not a file"):
        load_weights(network, tmp_path / "none.safetensors")
    with pytest.raises(FormatError, match="is not a file"):
        load_weights(network, tmp_path)
    for content in (b"", b"PK\x03\x04" * 9, file.read_bytes()[:-5]):
        (tmp_path / "bad.safetensors").write_bytes(content)
        with pytest.raises(FormatError, match=r"bad\.safetensors: expected a complete safetensors file"):
            load_weights(network, tmp_path / "bad.safetensors")


@pytest.fixture
def vgg_file(tmp_path: Path) -> Path:
    """A VGG to relu2_2 of a sixteenth of the width, and its inverse."""
    both = {"encoder": vgg19("relu2_2", width=4), "decoder": vgg19_decoder("conv2_2", width=4)}
    named = {f"{prefix}.{name}": t for prefix, network in both.items() for name, t in network.state.items()}
    return written(tmp_path / "vgg.safetensors", named)


def test_depth_and_width_of_a_vgg_are_read_off_its_file(vgg_file: Path) -> None:
    encoder, decoder = pretrained("vgg19", vgg_file), pretrained("vgg19_decoder", vgg_file)
    assert encoder.outputs == ("relu2_2",)
    assert encoder.blocks["conv1_1"].settings["channels_out"] == 4
    assert encoder.meta["preprocessing"] == PREPROCESSING["vgg19"]
    assert next(iter(decoder.blocks)) == "pad2_2"
    assert decoder(encoder(torch.zeros(1, 3, 8, 8))).shape == (1, 3, 8, 8)
    assert not any(tensor.is_meta for tensor in (encoder.state | decoder.state).values())


def test_a_vgg_can_end_sooner_than_its_file(vgg_file: Path) -> None:
    network = pretrained("vgg19", vgg_file, until="conv1_2")
    assert network.outputs == ("conv1_2",)
    full = pretrained("vgg19", vgg_file)
    x = torch.randn(1, 3, 8, 8)
    assert torch.equal(network(x), full.forward(x, keep=["conv1_2"])["conv1_2"])
    with pytest.raises(FormatError, match=r"missing: conv3_1\.weight"):
        pretrained("vgg19", vgg_file, until="conv3_1")


def test_a_vgg_without_conv0_pads_with_zeros(tmp_path: Path) -> None:
    original = vgg19("relu1_2", width=4, padding="zeros", with_conv0=False)
    network = pretrained("vgg19", written(tmp_path / "vgg.safetensors", original.state))
    assert repr(network) == repr(original)
    assert "preprocessing" not in network.meta


def test_what_pretrained_cannot_do_is_explained(tmp_path: Path, vgg_file: Path, file: Path) -> None:
    with pytest.raises(SettingError, match="did you mean 'vgg19'"):
        pretrained("vgg_19", vgg_file)
    with pytest.raises(SettingError, match=r"googlenet: .*until"):
        pretrained("googlenet", file, until="pool5")
    with pytest.raises(SettingError, match="there is no layer"):
        pretrained("vgg19", vgg_file, until="conv9_1")
    with pytest.raises(FormatError, match=r"vgg19\.safetensors: expected weights of VGG-19 .* holds features\.0"):
        pretrained("vgg19", written(tmp_path / "vgg19.safetensors", {"features.0.weight": torch.zeros(64, 3, 3, 3)}))
    with pytest.raises(FormatError, match="does not fit the network: missing"):
        pretrained("squeezenet1_1", file)


def test_a_pretrained_network_can_be_saved_with_what_it_wants_to_see(tmp_path: Path) -> None:
    file = written(tmp_path / "weights.safetensors", resnet20_cifar10().state)
    network = pretrained("resnet20_cifar10", file)
    save(network, tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    assert again.meta["architecture"] == "resnet20_cifar10"
    assert again.meta["shape"] == [3, 32, 32]
    assert again.meta["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(x), network(x))


def test_loading_leaves_the_global_random_numbers_alone(vgg_file: Path) -> None:
    before = torch.get_rng_state()
    pretrained("vgg19", vgg_file)
    assert torch.equal(torch.get_rng_state(), before)


def prepared(pictures: Tensor, name: str) -> Tensor:
    """RGB from 0 to 1 as the network wants it."""
    facts = PREPROCESSING[name]
    x = pictures.flip(1) if facts["channels"] == "BGR" else pictures
    mean, scale = (torch.tensor(facts[key]).view(3, 1, 1) for key in ("mean", "scale"))
    return (facts["range"] * x - mean) / scale


def tensor_of(image: Image.Image) -> Tensor:
    return torch.tensor(np.asarray(image.convert("RGB"))).permute(2, 0, 1).float() / 255


def middle(path: Path, shorter_side: int, size: tuple[int, int]) -> Tensor:
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    factor = shorter_side / min(image.size)
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BILINEAR)
    left, top = (image.width - size[1]) // 2, (image.height - size[0]) // 2
    return tensor_of(image.crop((left, top, left + size[1], top + size[0])))


@pytest.mark.parametrize(
    ("name", "file", "top1", "top5"),
    [("squeezenet1_1", "squeezenet1_1", 25, 31), ("googlenet", "googlenet_bvlc", 29, 31)],
)
def test_photographs_are_recognized(name: str, file: str, top1: int, top5: int, data_file: DataFile) -> None:
    network = pretrained(name, data_file(f"weights/{file}.safetensors"))
    rows = list(csv.DictReader(data_file("photos/labels.csv").read_text().splitlines()))
    facts = PREPROCESSING[name]
    pictures = [middle(data_file(f"photos/{row['file']}"), facts["shorter_side"], facts["size"]) for row in rows]
    ranked = network(prepared(torch.stack(pictures), name)).topk(5).indices
    right = ranked == torch.tensor([int(row["class_index"]) for row in rows])[:, None]
    assert (int(right[:, 0].sum()), int(right.any(dim=1).sum())) == (top1, top5)


def test_googlenet_agrees_with_an_independent_implementation(data_file: DataFile) -> None:
    """To within what the weights lost in float16: 0.4 where values reach 670, 7e-6 in the probabilities."""
    network = pretrained("googlenet", data_file("weights/googlenet_bvlc.safetensors"))
    with np.load(data_file("references/googlenet_reference.npz")) as file:
        reference = {name: torch.from_numpy(file[name])[None] for name in file.files}
    trace = network.forward(reference.pop("data"))
    torch.testing.assert_close(
        trace["loss3_classifier"].softmax(1), reference.pop("prob").view(1, 1000), atol=7e-6, rtol=0
    )
    assert len(reference) == 5
    for name, expected in reference.items():
        torch.testing.assert_close(trace[name.removesuffix("_output")], expected, atol=0.4, rtol=0)


@pytest.mark.parametrize(
    ("file", "last", "decibels"),
    [
        ("vgg19_normalised_conv3_1", "relu3_1", 25.8),
        ("vgg19_distilled16x_conv5_1", "relu5_1", 21.1),
        ("vgg19_distilled16x_conv4_1", "relu4_1", 23.5),
    ],
)
def test_vgg_and_its_inverse_give_the_picture_back(file: str, last: str, decibels: float, data_file: DataFile) -> None:
    path = data_file(f"weights/{file}.safetensors")
    encoder, decoder = pretrained("vgg19", path), pretrained("vgg19_decoder", path)
    assert encoder.outputs == (last,)
    with Image.open(data_file("art/content_tubingen.jpg")) as image:
        x = tensor_of(image.convert("RGB").resize((384, 288), Image.Resampling.BICUBIC))[None]
    error = (decoder(encoder(x)).clamp(0, 1) - x).square().mean()
    assert float(-10 * error.log10()) == pytest.approx(decibels, abs=0.06)  # stated with one digit after the point


def test_resnet20_knows_its_training_pictures(data_file: DataFile) -> None:
    network = pretrained("resnet20_cifar10", data_file("weights/resnet20_cifar10.safetensors"))
    with np.load(data_file("datasets/cifar10_200_lossless.npz")) as file:
        x, y = torch.from_numpy(file["x"]).permute(0, 3, 1, 2) / 255, torch.from_numpy(file["y"])
    assert int((network(prepared(x, "resnet20_cifar10")).argmax(1) == y).sum()) == 200


def test_resnet20_on_test_pictures(data_file: DataFile) -> None:
    network = pretrained("resnet20_cifar10", data_file("weights/resnet20_cifar10.safetensors"))
    with np.load(data_file("datasets/cifar10_20k_jpeg.npz")) as file:
        content, start, y = file["jpeg_test"], file["start_test"], torch.from_numpy(file["y_test"][:2000]).long()
    pictures = [Image.open(io.BytesIO(content[start[i] : start[i + 1]].tobytes())) for i in range(2000)]
    right = 0
    for i in range(0, 2000, 200):
        x = prepared(torch.stack([tensor_of(image) for image in pictures[i : i + 200]]), "resnet20_cifar10")
        right += int((network(x).argmax(1) == y[i : i + 200]).sum())
    assert right / 2000 == pytest.approx(0.821, abs=0.0015)
