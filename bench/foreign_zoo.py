"""Models of other packages: their names by family, and how to build one with inputs of several sizes."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Example(NamedTuple):
    """What a model takes."""

    inputs: tuple[Tensor, ...]
    keywords: dict[str, Tensor]


Built = tuple[nn.Module, Example, dict[str, Example]]
"""(module, example, examples of other sizes by title)"""


class Family(NamedTuple):
    """The models of one package."""

    names: Callable[[], Iterable[str]]
    build: Callable[[str], Built]


def pictures(module: nn.Module, channels: int, side: int) -> Built:
    """A module for pictures, tried with another batch and with larger pictures."""

    def example(n: int, height: int, width: int) -> Example:
        return Example((torch.randn(n, channels, height, width),), {})

    others = {"batch": example(3, side, side), "size": example(2, side + 64, side + 32)}
    return module, example(1, side, side), others


def import_torchvision() -> Any:
    """torchvision; where its wheel does not find the libraries of a GPU, without kernels for detection."""
    try:
        import torchvision
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    return torchvision


SMALL = ("test_", "atto", "femto", "pico", "nano", "micro", "xxs", "xx_small", "tiny", "mini", "_s0", "_b0", "small",
         "_050", "18", "_xs", "_t", "_s")  # fmt: skip


def timm_names() -> list[str]:
    """One model of each of timm's files: the one whose name sounds smallest."""
    import_torchvision()
    import timm

    names = []
    for file in sorted({timm.models.model_entrypoint(name).__module__ for name in timm.list_models()}):
        models = timm.list_models(module=file.rpartition(".")[2])
        ranked = sorted(models, key=lambda name: (next((i for i, s in enumerate(SMALL) if s in name), 99), len(name)))
        names += ranked[:1]
    return names


def timm_model(name: str) -> Built:
    import_torchvision()
    import timm

    module = timm.create_model(name, pretrained=False)
    channels, side, _ = module.default_cfg["input_size"]
    return pictures(module, channels, min(side, 256))


TORCHVISION = [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11_bn", "vit_b_16", "wide_resnet50_2",
    "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large", "fcn_resnet50", "r3d_18", "mvit_v1_b",
]  # fmt: skip


def torchvision_model(name: str) -> Built:
    models = import_torchvision().models
    weights = {"weights_backbone": None} if name.startswith(("deeplab", "lraspp", "fcn")) else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = models.get_model(name, weights=None, **weights)
    if name in ("r3d_18", "mvit_v1_b"):

        def example(n: int) -> Example:
            return Example((torch.randn(n, 3, 16 if name == "mvit_v1_b" else 8, 224, 224),), {})

        return module, example(1), {"batch": example(2)}
    return pictures(module, 3, 299 if name == "inception_v3" else 224)


TEXT = {
    "albert": "AlbertModel", "bert": "BertModel", "bloom": "BloomModel", "cohere": "CohereModel",
    "deberta": "DebertaModel", "deberta-v2": "DebertaV2Model", "distilbert": "DistilBertModel",
    "electra": "ElectraModel", "ernie": "ErnieModel", "falcon": "FalconModel", "fnet": "FNetModel",
    "funnel": "FunnelModel", "gemma": "GemmaModel", "gemma2": "Gemma2Model", "gpt2": "GPT2Model",
    "gpt_bigcode": "GPTBigCodeModel", "gpt_neo": "GPTNeoModel", "gpt_neox": "GPTNeoXModel", "gptj": "GPTJModel",
    "granite": "GraniteModel", "layoutlm": "LayoutLMModel", "llama": "LlamaModel", "longformer": "LongformerModel",
    "mamba": "MambaModel", "mistral": "MistralModel", "mixtral": "MixtralModel", "mobilebert": "MobileBertModel",
    "modernbert": "ModernBertModel", "mpnet": "MPNetModel", "mpt": "MptModel", "nystromformer": "NystromformerModel",
    "olmo": "OlmoModel", "olmo2": "Olmo2Model", "opt": "OPTModel", "phi": "PhiModel", "phi3": "Phi3Model",
    "qwen2": "Qwen2Model", "qwen3": "Qwen3Model", "qwen2_moe": "Qwen2MoeModel", "rembert": "RemBertModel",
    "roberta": "RobertaModel", "roformer": "RoFormerModel", "rwkv": "RwkvModel", "squeezebert": "SqueezeBertModel",
    "stablelm": "StableLmModel", "starcoder2": "Starcoder2Model", "xglm": "XGLMModel", "xlm-roberta": "XLMRobertaModel",
    "xlnet": "XLNetModel", "t5": "T5EncoderModel", "xmod": "XmodModel", "ctrl": "CTRLModel",
}  # fmt: skip
VISION = {
    "beit": "BeitModel", "clip_vision_model": "CLIPVisionModel", "convnext": "ConvNextModel",
    "convnextv2": "ConvNextV2Model", "cvt": "CvtModel", "deit": "DeiTModel", "dinov2": "Dinov2Model", "dpt": "DPTModel",
    "efficientnet": "EfficientNetModel", "focalnet": "FocalNetModel", "glpn": "GLPNModel",
    "mobilenet_v1": "MobileNetV1Model", "mobilenet_v2": "MobileNetV2Model", "mobilevit": "MobileViTModel",
    "poolformer": "PoolFormerModel", "pvt": "PvtModel", "regnet": "RegNetModel", "resnet": "ResNetModel",
    "segformer": "SegformerModel", "siglip_vision_model": "SiglipVisionModel", "swin": "SwinModel",
    "swinv2": "Swinv2Model", "vit": "ViTModel", "vit_mae": "ViTMAEModel", "yolos": "YolosModel",
}  # fmt: skip
NARROW = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 99,
    "n_embd": 32, "n_layer": 2, "n_head": 4, "d_model": 32, "num_layers": 2, "num_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "embedding_size": 32, "ffn_dim": 48, "word_embed_proj_dim": 32, "n_inner": 48, "d_ff": 48,
    "d_kv": 8, "n_layers": 2, "n_heads": 4, "dim": 32, "hidden_dim": 48, "rotary_dim": 8, "attention_types": None,
    "num_attention_heads_": 4, "true_hidden_size": 32, "intra_bottleneck_size": 32, "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16, "num_experts": 4, "num_local_experts": 4, "pad_token_id": 0, "d_inner": 48,
    "dff": 48, "attention_hidden_size": 32, "decoder_num_layers": 2,
}  # fmt: skip


def narrow(config: Any) -> Any:
    """The configuration with small numbers where it has such."""
    present = config.to_dict()
    changes = {key: value for key, value in NARROW.items() if key in present and isinstance(present[key], int)}
    if present.get("attention_types"):
        changes["attention_types"] = [[["global", "local"], 1]]
    if isinstance(present.get("image_size"), int):
        changes = {key: value for key, value in changes.items() if key not in ("num_heads", "d_inner")}
    return type(config)(**changes)


def transformers_model(name: str) -> Built:
    import_torchvision()
    import transformers

    config = narrow(transformers.AutoConfig.for_model(name))
    config.use_cache = False
    module = getattr(transformers, (TEXT | VISION)[name])(config)
    if name in VISION:
        return pictures(module, getattr(config, "num_channels", 3), getattr(config, "image_size", 64) or 64)

    def example(n: int, length: int) -> Example:
        words = torch.randint(1, 90, (n, length))
        return Example((words,), {"attention_mask": torch.ones(n, length, dtype=torch.long)})

    return module, example(2, 8), {"batch": example(3, 8), "length": example(2, 12)}


def transformers_names() -> list[str]:
    import_torchvision()
    import transformers  # noqa: F401

    return [*TEXT, *VISION]


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
    import importlib

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


FAMILIES = {
    "timm": Family(timm_names, timm_model),
    "torchvision": Family(lambda: (import_torchvision(), TORCHVISION)[1], torchvision_model),
    "transformers": Family(transformers_names, transformers_model),
    "segmentation_models": Family(segmentation_names, segmentation_model),
    "vit_pytorch": Family(vit_names, vit_model),
    "open_clip": Family(clip_names, clip_model),
    "efficientnet_pytorch": Family(efficientnet_names, efficientnet_model),
}
