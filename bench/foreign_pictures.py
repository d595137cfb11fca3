"""Models for pictures of timm, torchvision and packages built on them."""

import importlib
import warnings
from typing import Any

import torch
from foreign_example import Built, Example, import_torchvision, pictures
from torch import Tensor, nn

SMALL = ("test_", "atto", "femto", "pico", "nano", "micro", "xxs", "xx_small", "tiny", "mini", "_s0", "_b0", "small",
         "_050", "18", "_xs", "_t", "_s")  # fmt: skip


TIMM_INSTEAD = {
    "levit_384_s8": "levit_128s", "samvit_base_patch16": "samvit_base_patch16_224", "vgg11": "vgg11_bn",
    "sam2_hiera_tiny": "hieradet_small", "gcvit_tiny": "gcvit_xxtiny", "mobilenetv5_300m": "mobilenetv5_base",
}  # fmt: skip
"""Smaller ones whose names do not sound so."""
TIMM_DEPTH = ("beit_base", "cait", "deepseek_vit", "eva02", "gemma4_vit", "naflexvit", "qwen3_vit", "samvit",
              "convmixer", "tnt")  # fmt: skip
"""Those that are built with two layers."""
TIMM_LARGE = ("inception", "nasnet", "pnasnet", "halonet", "sequencer")
"""Those that take no small pictures."""


def timm_names() -> list[str]:
    """One model of each of timm's files: the one whose name sounds smallest."""
    import_torchvision()
    import timm

    names = []
    for file in sorted({timm.models.model_entrypoint(name).__module__ for name in timm.list_models()}):
        models = timm.list_models(module=file.rpartition(".")[2])
        ranked = sorted(models, key=lambda name: (next((i for i, s in enumerate(SMALL) if s in name), 99), len(name)))
        names += [TIMM_INSTEAD.get(ranked[0], ranked[0])]
    return names


def timm_model(name: str) -> Built:
    import_torchvision()
    import timm

    module = timm.create_model(name, pretrained=False, **({"depth": 2} if name.startswith(TIMM_DEPTH) else {}))
    channels, side, _ = module.default_cfg["input_size"]
    fixed = module.default_cfg.get("fixed_input_size") or name.startswith(TIMM_LARGE)
    return pictures(module, channels, min(side, 256 if fixed else 128))


TORCHVISION = [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11_bn", "vit_b_16", "wide_resnet50_2",
    "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large", "fcn_resnet50", "deeplabv3_resnet50", "r3d_18",
    "mc3_18", "r2plus1d_18", "mvit_v1_b", "swin3d_t", "s3d", "raft_small",
]  # fmt: skip


VIDEO = ("r3d_18", "mc3_18", "r2plus1d_18", "mvit_v1_b", "swin3d_t", "s3d")


def torchvision_model(name: str) -> Built:
    models = import_torchvision().models
    weights = {"weights_backbone": None} if name.startswith(("deeplab", "lraspp", "fcn")) else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = models.get_model(name, weights=None, **weights)
    if name == "raft_small":
        two = [Example((torch.randn(n, 3, 128, 128), torch.randn(n, 3, 128, 128)), {}) for n in (1, 2)]
        return module, two[0], {"batch": two[1]}
    if name in VIDEO:
        frames = 16 if name in ("mvit_v1_b", "s3d") else 8
        side = 224 if name in ("mvit_v1_b", "swin3d_t", "s3d") else 112
        one, two = (Example((torch.randn(n, 3, frames, side, side),), {}) for n in (1, 2))
        return module, one, {"batch": two}
    return pictures(module, 3, 299 if name == "inception_v3" else 224)


def segmentation_names() -> list[str]:
    import_torchvision()
    import segmentation_models_pytorch  # noqa: F401

    return ["Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet",
            "Segformer"]  # fmt: skip


def segmentation_model(name: str) -> Built:
    import_torchvision()
    import segmentation_models_pytorch as package

    return pictures(getattr(package, name)("resnet18", encoder_weights=None, classes=2), 3, 128)


VIT: dict[str, dict[str, Any]] = {
    "vit.ViT": {}, "simple_vit.SimpleViT": {}, "deepvit.DeepViT": {}, "cait.CaiT": {"depth": 2, "cls_depth": 1},
    "pit.PiT": {"depth": (1, 1, 1)}, "na_vit_nested_tensor.NaViT": {}, "local_vit.LocalViT": {},
    "xcit.XCiT": {"depth": 2, "cls_depth": 1}, "rvt.RvT": {}, "parallel_vit.ViT": {"num_parallel_branches": 2},
    "vit_for_small_dataset.ViT": {}, "vit_with_patch_dropout.ViT": {}, "learnable_memory_vit.ViT": {},
}  # fmt: skip
VIT_SPECIAL: dict[str, dict[str, Any]] = {
    "crossformer.CrossFormer": {"num_classes": 10, "dim": (16, 32, 64, 128), "depth": (1, 1, 1, 1)},
    "twins_svt.TwinsSVT": {"num_classes": 10, "s1_emb_dim": 16, "s2_emb_dim": 32, "s3_emb_dim": 64, "s4_emb_dim": 64},
    "regionvit.RegionViT": {"dim": (16, 32, 64, 64), "depth": (1, 1, 1, 1), "num_classes": 10},
    "scalable_vit.ScalableViT": {"num_classes": 10, "dim": 16, "heads": (2, 4, 8, 16), "depth": (1, 1, 1, 1),
                                 "ssa_dim_key": (8, 8, 8, 8), "reduction_factor": (8, 4, 2, 1),
                                 "window_size": (64, 32, None, None)},
    "max_vit.MaxViT": {"num_classes": 10, "dim": 16, "depth": (1, 1, 1, 1), "dim_head": 8, "window_size": 7},
    "nest.NesT": {"image_size": 64, "patch_size": 4, "dim": 16, "heads": 2, "num_hierarchies": 3,
                  "block_repeats": (1, 1, 1), "num_classes": 10},
    "mobile_vit.MobileViT": {"image_size": (256, 256), "dims": [96, 120, 144], "num_classes": 10,
                             "channels": [16, 32, 48, 48, 64, 64, 80, 80, 96, 96, 384]},
    "t2t.T2TViT": {"dim": 32, "image_size": 64, "depth": 2, "heads": 2, "mlp_dim": 48, "num_classes": 10},
    "cvt.CvT": {"num_classes": 10, "s1_emb_dim": 16, "s2_emb_dim": 32, "s3_emb_dim": 64, "s3_depth": 2},
    "sep_vit.SepViT": {"num_classes": 10, "dim": 16, "dim_head": 8, "heads": (1, 2, 4, 8), "depth": (1, 1, 1, 1),
                       "window_size": 7},
}  # fmt: skip
SIDES = {"nest.NesT": 64, "t2t.T2TViT": 64, "mobile_vit.MobileViT": 256}


def vit_names() -> list[str]:
    import_torchvision()
    import vit_pytorch  # noqa: F401

    return [*VIT, *VIT_SPECIAL]


def vit_model(name: str) -> Built:
    import_torchvision()
    file, kind = name.split(".")
    factory = getattr(importlib.import_module(f"vit_pytorch.{file}"), kind)
    common = {"image_size": 64, "patch_size": 16, "num_classes": 10, "dim": 32, "depth": 2, "heads": 2, "mlp_dim": 48}
    settings = VIT_SPECIAL[name] if name in VIT_SPECIAL else common | VIT[name]
    return pictures(factory(**settings), 3, SIDES.get(name, 224 if name in VIT_SPECIAL else 64))


def clip_names() -> list[str]:
    import_torchvision()
    import open_clip  # noqa: F401

    return ["ViT-S-32-alt", "RN50", "convnext_tiny", "coca_ViT-B-32"]


def clip_model(name: str) -> Built:
    import_torchvision()
    import open_clip

    module = open_clip.create_model(name, pretrained=None)
    side = module.visual.image_size
    side = side if isinstance(side, int) else side[0]

    def example(n: int) -> Example:
        return Example((torch.randn(n, 3, side, side), torch.randint(1, 400, (n, 77))), {})

    return module, example(2), {"batch": example(3)}


def efficientnet_names() -> list[str]:
    import efficientnet_pytorch  # noqa: F401

    return ["efficientnet-b0", "efficientnet-b1"]


def efficientnet_model(name: str) -> Built:
    from efficientnet_pytorch import EfficientNet

    return pictures(EfficientNet.from_name(name), 3, 224)


MONAI: dict[str, tuple[dict[str, Any], int, int]] = {
    "UNet": ({"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": (4, 8, 16), "strides": (2, 2),
              "num_res_units": 2}, 2, 64),
    "BasicUNet": ({"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "features": (4, 4, 8, 8, 16, 4)}, 2, 64),
    "DynUNet": ({"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "kernel_size": [3, 3, 3],
                 "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 16]}, 3, 32),
    "AttentionUnet": ({"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": (4, 8, 16),
                       "strides": (2, 2)}, 2, 64),
    "SegResNet": ({"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "init_filters": 8}, 3, 32),
    "VNet": ({"spatial_dims": 3, "in_channels": 1, "out_channels": 2}, 3, 32),
    "UNETR": ({"in_channels": 1, "out_channels": 2, "img_size": 32, "feature_size": 4, "hidden_size": 24,
               "mlp_dim": 48, "num_heads": 4}, 3, 32),
    "SwinUNETR": ({"in_channels": 1, "out_channels": 2, "feature_size": 12, "spatial_dims": 3}, 3, 64),
    "ViT": ({"in_channels": 1, "img_size": 32, "patch_size": 16, "hidden_size": 24, "mlp_dim": 48, "num_layers": 2,
             "num_heads": 4, "classification": True, "spatial_dims": 2}, 2, 32),
    "DenseNet121": ({"spatial_dims": 2, "in_channels": 1, "out_channels": 2}, 2, 64),
    "FlexibleUNet": ({"in_channels": 1, "out_channels": 2, "backbone": "efficientnet-b0", "spatial_dims": 2}, 2, 64),
    "HighResNet": ({"spatial_dims": 2, "in_channels": 1, "out_channels": 2}, 2, 32),
    "AutoEncoder": ({"spatial_dims": 2, "in_channels": 1, "out_channels": 1, "channels": (4, 8),
                     "strides": (2, 2)}, 2, 32),
}  # fmt: skip


def monai_names() -> list[str]:
    import_torchvision()
    import monai  # noqa: F401

    return list(MONAI)


def monai_model(name: str) -> Built:
    import_torchvision()
    from monai.networks import nets

    settings, axes, side = MONAI[name]

    def example(n: int, *sides: int) -> Example:
        return Example((torch.randn(n, 1, *sides),), {})

    larger = (side + 32, side + 64, side)[:axes]
    others = {"batch": example(3, *axes * [side]), "size": example(2, *larger)}
    return getattr(nets, name)(**settings), example(1, *axes * [side]), others


FEATURES = ["timm resnet18", "timm convnext_atto", "timm test_vit", "timm swin_s3_tiny_224", "timm pvt_v2_b0",
            "timm mobilenetv3_small_050", "IntermediateLayerGetter", "create_feature_extractor", "hooks"]  # fmt: skip


def features_model(name: str) -> Built:
    """A model that gives its inner outputs."""
    models = import_torchvision().models
    package, _, kind = name.partition(" ")
    if package == "timm":
        import timm

        module = timm.create_model(kind, pretrained=False, features_only=True)
        return pictures(module, 3, 160 if kind.startswith("test") else 224)
    body = models.resnet18(weights=None)
    layers = {"layer1": "fine", "layer3": "coarse"}
    if name == "IntermediateLayerGetter":
        from torchvision.models._utils import IntermediateLayerGetter

        return pictures(IntermediateLayerGetter(body, layers), 3, 128)
    if name == "create_feature_extractor":
        from torchvision.models.feature_extraction import create_feature_extractor

        return pictures(create_feature_extractor(body, layers), 3, 128)
    return pictures(Collected(body, list(layers)), 3, 128)


class Collected(nn.Module):
    """A body with outputs of inner parts, which hooks write down."""

    def __init__(self, body: nn.Module, parts: list[str]):
        super().__init__()
        self.body, self.seen = body, {}
        for part in parts:
            body.get_submodule(part).register_forward_hook(self._noting(part))

    def _noting(self, part: str) -> Any:
        def note(_: nn.Module, __: Any, y: Tensor) -> None:
            self.seen[part] = y

        return note

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.seen.clear()
        return {"y": self.body(x), **self.seen}


def features_names() -> list[str]:
    import_torchvision()
    import timm  # noqa: F401

    return FEATURES
