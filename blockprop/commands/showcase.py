"""The second part of the demonstration: what the network `pictures`, which comes with the package, sees and makes.

The photographs are samples that come with scikit-image and scikit-learn.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.networks.shipped import shipped
from blockprop.pictures.overlays import masked, overlay
from blockprop.pictures.picture_files import as_png
from blockprop.pictures.scaling import scaled
from blockprop.reports.page import Picture, Section
from blockprop.visualize import dream, each, maximize, saliency, segment, stylize
from blockprop.visualize.running import PictureRun

SEEN_SIDE = 32
"""Pixels of the shorter side of what the network looks at."""
THIRD, HALF = 288, 448
"""Pixels of the longer side of a picture on the page, where three stand side by side, or two."""
PAINTED = 256
"""Pixels of the longer side of what is painted."""
METHODS = {
    "gradient": "The gradient ∂S/∂x itself: which pixels would change the score most.",
    "guided": "Guided: only what is positive, forward and backward, goes on through a ReLU.",
}
CLASS_STEPS, DREAM_STEPS, STYLE_STEPS = 256, 10, 40
CLASS_L2, CLASS_VARIATION = 100.0, 5000.0
"""Strong penalties, so that little but the thing itself remains."""
DREAMS = {
    "stage2": "stage2, an early layer: edges and strokes.",
    "stage4": "stage4, a deep one: things, and parts of them.",
    "stage5": "stage5, the last one, which sees most of a thing at once.",
}
CAT = "Photograph by Stéfan van der Walt, public domain, from scikit-image."
FLOWER = "Photograph by vultilion, CC BY 2.0, from scikit-learn."
TEMPLE = "Photograph by danielbuechele, CC BY 2.0, from scikit-learn."

Say = Callable[[str], None]


def showcase(say: Say, seed: int = 0) -> Iterator[Section]:
    """Section by section: saliency, segmentation, class images, a dream, a style. say: is told what happens now."""
    network, cat, flower, temple = shipped("pictures"), *photographs()
    yield saliency_section(network, cat, say)
    yield segmentation_section(network, flower, say)
    yield class_section(network, say, seed)
    yield dream_section(network, temple, say, seed)
    yield style_section(network, (temple, cat), flower, say, seed)


def photographs() -> tuple[Tensor, Tensor, Tensor]:
    """A cat, a flower and a temple, (1, 3, h, w)."""
    from skimage.data import chelsea  # late, because they take a second
    from sklearn.datasets import load_sample_image

    cat, flower, temple = chelsea(), load_sample_image("flower.jpg"), load_sample_image("china.jpg")
    return _picture(cat), _picture(flower), _picture(temple)


def saliency_section(network: Network, photo: Tensor, say: Say) -> Section:
    """What speaks for a cat in the picture of one."""
    say("Looking for the cat")
    x = sized(photo, shorter=SEEN_SIDE)
    share = float(network(x).softmax(1)[0, network.meta["classes"].index("cat")])
    pictures = [Picture(_png(photo[0]), f"The network says: cat, {share:.0%}. {CAT}")]
    for method, words in METHODS.items():
        explained = saliency(network, x, "cat", method)
        pictures.append(Picture(_png(overlay(photo[0], explained.map[0])), words))
    text = Markup(
        "The score <i>S</i> of the class cat, back-propagated all the way to the pixels while all weights stay fixed. "
        f"The network saw the photograph in {x.shape[3]} × {x.shape[2]} pixels, like all that it has learned from."
    )
    return Section("Saliency: what makes it a cat", text, pictures)


def segmentation_section(network: Network, photo: Tensor, say: Say) -> Section:
    """Where the thing is, by the gradient of the likeliest class."""
    say("Cutting out the flower")
    x = sized(photo, shorter=SEEN_SIDE)
    classes, scores = network.meta["classes"], network(x).softmax(1)[0]
    explained = saliency(network, x, "top", "gradient")
    cut = segment(photo, explained.attribution.abs().amax(1)[0])
    told = f"{classes[int(scores.argmax())]}, {float(scores.max()):.0%}"
    pictures = [
        Picture(_png(photo[0]), f"The network says: {told}. {FLOWER}"),
        Picture(_png(overlay(photo[0], explained.map[0])), "The gradient of that class."),
        Picture(_png(masked(photo[0], cut.mask)), "What has the colors of the places that count most."),
    ]
    text = (
        "None of the ten classes is a flower, so the network is wrong, as it must be. But what it looks at is the "
        "flower: the places of the largest gradient are enough to cut it out."
    )
    return Section("Segmentation: where it is", text, pictures)


def class_section(network: Network, say: Say, seed: int) -> Section:
    """A picture for each class, made from noise."""
    say("Making a picture of each class")
    classes = network.meta["classes"]
    objective = each(network, classes)
    run = maximize(network, objective, SEEN_SIDE, CLASS_STEPS, l2=CLASS_L2, total_variation=CLASS_VARIATION, seed=seed)
    made = with_contrast(_finished(run))
    shares = network(made).softmax(1).diagonal()
    pictures = [
        Picture(_png(picture, 160), f"{name}, {float(share):.1%}")
        for picture, name, share in zip(made, classes, shares, strict=True)
    ]
    text = Markup(
        "No photographs: each picture began as gray noise, and followed the gradient of one score for "
        f"{CLASS_STEPS} steps, <i>x</i> ← <i>x</i> + <i>μ</i> ∂<i>S</i>/∂<i>x</i>. This is what the network takes for "
        "typical. Contrast is stretched; under each, how sure the network is of the picture as it stands here."
    )
    return Section("Class images: what it has in mind", text, pictures)


def dream_section(network: Network, photo: Tensor, say: Say, seed: int) -> Section:
    """More and more of what a layer finds."""
    say("Dreaming")
    small = sized(photo, longer=HALF)
    pictures = [Picture(_png(small[0], HALF), TEMPLE)]
    for layer, words in DREAMS.items():
        run = dream(network, small, layer, steps=DREAM_STEPS, seed=seed)
        pictures.append(Picture(_png(_finished(run)[0], HALF), words))
    text = Markup(
        "The photograph follows the gradient of ½ mean <i>y</i>² of a layer's output <i>y</i>, so that the layer finds "
        "more of what it finds anyway. The deeper the layer, the more complete the things."
    )
    return Section("A dream: more of what it finds anyway", text, pictures)


def style_section(network: Network, photos: Sequence[Tensor], painting: Tensor, say: Say, seed: int) -> Section:
    """Photographs out of the textures of another."""
    say("Painting")
    pictures = [Picture(_png(painting[0]), f"The manner. {FLOWER}")]
    for photo, words in zip(photos, ("The temple, out of petals.", "The cat, out of petals."), strict=True):
        run = stylize(network, sized(photo, longer=PAINTED), painting, None, STYLE_STEPS, seed=seed)
        pictures.append(Picture(_png(_finished(run)[0]), words))
    text = (
        "The content is what one layer says of a photograph, place by place; the style is which features go together "
        "at five layers, wherever they are (Gram matrices). The picture follows the gradient of both."
    )
    return Section("Style: one picture in the manner of another", text, pictures)


def _finished(run: PictureRun) -> Tensor:
    run.finish()
    return run.picture()


def sized(picture: Tensor, shorter: int | None = None, longer: int | None = None) -> Tensor:
    """The picture with one side of so many pixels."""
    height, width = picture.shape[2:]
    ratio = (shorter or 0) / min(height, width) if longer is None else longer / max(height, width)
    return scaled(picture, round(height * ratio), round(width * ratio)).clamp(0, 1)


def with_contrast(pictures: Tensor) -> Tensor:
    """Each picture stretched about gray, until 99 % of its numbers lie in 0…1 and one in a hundred is cut off."""
    far = (pictures - 0.5).abs().flatten(1).quantile(0.99, dim=1).view(-1, 1, 1, 1)
    return (0.5 + (pictures - 0.5) * (0.5 / far).clamp(min=1)).clamp(0, 1)


def _picture(pixels: np.ndarray) -> Tensor:
    return torch.tensor(pixels).permute(2, 0, 1)[None].float() / 255


def _png(picture: Tensor, longer: int = THIRD) -> bytes:
    return as_png(sized(picture[None], longer=longer)[0])
