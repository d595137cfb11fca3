"""Models of transformers from small configurations."""

from collections.abc import Callable
from typing import Any

import torch
from foreign_example import Built, Example, import_torchvision, pictures

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
    "stablelm": "StableLmModel", "starcoder2": "Starcoder2Model", "xglm": "XGLMModel",
    "xlm-roberta": "XLMRobertaModel", "xlnet": "XLNetModel", "t5": "T5EncoderModel", "xmod": "XmodModel",
    "ctrl": "CTRLModel", "biogpt": "BioGptModel", "camembert": "CamembertModel", "codegen": "CodeGenModel",
    "cohere2": "Cohere2Model", "convbert": "ConvBertModel", "data2vec-text": "Data2VecTextModel",
    "esm": "EsmModel", "exaone4": "Exaone4Model", "flaubert": "FlaubertModel",
    "gemma3_text": "Gemma3TextModel", "glm": "GlmModel", "glm4": "Glm4Model", "gpt_oss": "GptOssModel",
    "helium": "HeliumModel", "ibert": "IBertModel", "luke": "LukeModel", "mamba2": "Mamba2Model",
    "megatron-bert": "MegatronBertModel", "nemotron": "NemotronModel",
    "nomic_bert": "NomicBertModel", "olmo3": "Olmo3Model", "persimmon": "PersimmonModel",
    "recurrent_gemma": "RecurrentGemmaModel", "roberta-prelayernorm": "RobertaPreLayerNormModel",
    "smollm3": "SmolLM3Model", "splinter": "SplinterModel", "xlm": "XLMModel", "yoso": "YosoModel",
    "big_bird": "BigBirdModel", "canine": "CanineModel", "reformer": "ReformerModel", "jamba": "JambaModel",
}  # fmt: skip
VISION = {
    "beit": "BeitModel", "clip_vision_model": "CLIPVisionModel", "convnext": "ConvNextModel",
    "convnextv2": "ConvNextV2Model", "cvt": "CvtModel", "deit": "DeiTModel", "dinov2": "Dinov2Model",
    "dpt": "DPTModel", "efficientnet": "EfficientNetModel", "focalnet": "FocalNetModel", "glpn": "GLPNModel",
    "mobilenet_v1": "MobileNetV1Model", "mobilenet_v2": "MobileNetV2Model", "mobilevit": "MobileViTModel",
    "poolformer": "PoolFormerModel", "pvt": "PvtModel", "regnet": "RegNetModel", "resnet": "ResNetModel",
    "segformer": "SegformerModel", "siglip_vision_model": "SiglipVisionModel", "swin": "SwinModel",
    "swinv2": "Swinv2Model", "vit": "ViTModel", "vit_mae": "ViTMAEModel", "yolos": "YolosModel", "bit": "BitModel",
    "data2vec-vision": "Data2VecVisionModel",
    "detr": "DetrForObjectDetection", "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel", "hiera": "HieraModel", "ijepa": "IJepaModel", "imagegpt": "ImageGPTModel",
    "levit": "LevitModel", "mobilevitv2": "MobileViTV2Model", "pvt_v2": "PvtV2Model",
    "swiftformer": "SwiftFormerModel", "swin2sr": "Swin2SRModel", "textnet": "TextNetModel",
    "vit_msn": "ViTMSNModel", "vitdet": "VitDetModel",
   
}  # fmt: skip
PAIRS = {
    "bart": "BartModel", "blenderbot": "BlenderbotModel", "led": "LEDModel", "longt5": "LongT5Model",
    "m2m_100": "M2M100Model", "marian": "MarianModel", "mbart": "MBartModel", "mt5": "MT5Model", "mvp": "MvpModel",
    "pegasus": "PegasusModel", "plbart": "PLBartModel", "prophetnet": "ProphetNetModel",
    "switch_transformers": "SwitchTransformersModel", "t5-both": "T5Model", "umt5": "UMT5Model", "fsmt": "FSMTModel",
}  # fmt: skip
"""Encoders with decoders."""
SOUND = {
    "audio-spectrogram-transformer": "ASTModel", "data2vec-audio": "Data2VecAudioModel", "hubert": "HubertModel",
    "sew": "SEWModel", "unispeech": "UniSpeechModel", "wav2vec2": "Wav2Vec2Model", "wavlm": "WavLMModel",
    "wav2vec2-conformer": "Wav2Vec2ConformerModel", "whisper": "WhisperModel", "encodec": "EncodecModel",
    "speech_to_text": "Speech2TextModel", "wav2vec2-bert": "Wav2Vec2BertModel",
}  # fmt: skip
BOTH = {
    "blip": "BlipModel", "clip": "CLIPModel", "clipseg": "CLIPSegModel", "siglip": "SiglipModel", "vilt": "ViltModel",
    "altclip": "AltCLIPModel", "chinese_clip": "ChineseCLIPModel", "flava": "FlavaModel",
}  # fmt: skip
"""Pictures with words."""
OTHERS = {
    "patchtsmixer": "PatchTSMixerModel", "patchtst": "PatchTSTModel", "timesformer": "TimesformerModel",
    "videomae": "VideoMAEModel", "vivit": "VivitModel",
}  # fmt: skip
HEADS = {
    "bert sequence": "BertForSequenceClassification", "bert words": "BertForMaskedLM",
    "bert spans": "BertForQuestionAnswering", "gpt2 sequence": "GPT2ForSequenceClassification",
    "llama sequence": "LlamaForSequenceClassification", "gpt2 words": "GPT2LMHeadModel",
    "llama words": "LlamaForCausalLM", "roberta tokens": "RobertaForTokenClassification", "bert states": "BertModel",
    "llama states": "LlamaModel", "distilbert states": "DistilBertModel", "t5 states": "T5EncoderModel",
    "gpt_neox states": "GPTNeoXModel", "opt states": "OPTModel",
}  # fmt: skip
"""Models with a head, or with all hidden states among their outputs."""
NARROW = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 99,
    "n_embd": 32, "n_layer": 2, "n_head": 4, "d_model": 32, "num_layers": 2, "num_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "embedding_size": 32, "ffn_dim": 48, "word_embed_proj_dim": 32, "n_inner": 48, "d_ff": 48,
    "d_kv": 8, "n_layers": 2, "n_heads": 4, "dim": 32, "hidden_dim": 48, "rotary_dim": 8, "attention_types": None,
    "true_hidden_size": 32, "intra_bottleneck_size": 32, "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16, "num_experts": 4, "num_local_experts": 4, "pad_token_id": 0, "d_inner": 48,
    "dff": 48, "attention_hidden_size": 32, "decoder_num_layers": 2,
    "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "num_decoder_layers": 2, "num_encoder_layers": 2, "emb_dim": 32,
    "projection_dim": 32, "encoder_num_layers": 2, "num_encoder_attention_heads": 4, "num_decoder_attention_heads": 4,
}  # fmt: skip


SETTINGS: dict[str, dict[str, Any]] = {
    "xmod": {"default_language": "en_XX"}, "reformer": {"axial_pos_embds_dim": (16, 16), "axial_pos_shape": (8, 16)},
    "esm": {"vocab_size": 99, "pad_token_id": 0}, "mamba2": {"num_heads": 8, "head_dim": 8},
    "nemotron": {"num_key_value_heads": 2, "head_dim": 8},
    "efficientnet": {"hidden_dim": 2560}, "detr": {"use_timm_backbone": False, "backbone": None},
    "swin2sr": {"depths": [2, 2], "num_heads": [2, 2], "embed_dim": 16},
}  # fmt: skip
"""What else a configuration wants."""


def narrow(config: Any, **settings: Any) -> Any:
    """The configuration with small numbers where it has such."""
    present = config.to_dict()
    changes = {key: value for key, value in NARROW.items() if key in present and isinstance(present[key], int)}
    if present.get("attention_types"):
        changes["attention_types"] = [[["global", "local"], 1]]
    if isinstance(present.get("image_size"), int):
        changes = {key: value for key, value in changes.items() if key not in ("num_heads", "d_inner")}
    inner = {key: narrow(value) for key, value in vars(config).items() if isinstance(value, type(config).__bases__[-1])}
    return type(config)(**changes | inner | settings)


def configured(name: str, kind: str, **settings: Any) -> Any:
    """(model of that class from a small configuration, the configuration)"""
    import transformers

    config = narrow(transformers.AutoConfig.for_model(name), **SETTINGS.get(name, {}))
    config.use_cache = False
    for key, value in settings.items():
        setattr(config, key, value)
    return getattr(transformers, kind)(config), config


def words(n: int, length: int) -> torch.Tensor:
    return torch.randint(2, 90, (n, length))


def text(n: int, length: int) -> Example:
    """Words that all count."""
    return Example((torch.randint(1, 90, (n, length)),), {"attention_mask": torch.ones(n, length, dtype=torch.long)})


def lengths(example: Callable[[int, int], Example], size: int, other: int) -> tuple[Example, dict[str, Example]]:
    return example(2, size), {"batch": example(3, size), "length": example(2, other)}


def text_model(name: str) -> Built:
    module, _ = configured(name, TEXT[name])
    size = 64 if name in ("longformer", "big_bird", "reformer", "canine") else 8
    return module, *lengths(text, size, size + size // 2)


def vision_model(name: str) -> Built:
    module, config = configured(name, VISION[name])
    if name == "imagegpt":
        return module, *lengths(lambda n, length: Example((words(n, length),), {}), 16, 24)
    side = 64 if name in ("swin2sr", "textnet", "efficientnet", "detr") else getattr(config, "image_size", 64) or 64
    return pictures(module, getattr(config, "num_channels", 3), side if isinstance(side, int) else side[0])


def pair_model(name: str) -> Built:
    module, _ = configured(name.removesuffix("-both"), PAIRS[name])

    def example(n: int, length: int) -> Example:
        mask = torch.ones(n, length, dtype=torch.long)
        return Example((words(n, length),), {"attention_mask": mask, "decoder_input_ids": words(n, length - 2)})

    return module, *lengths(example, 8, 12)


def sound_model(name: str) -> Built:
    module, config = configured(name, SOUND[name])
    if name == "audio-spectrogram-transformer":
        return module, *batches(lambda n: Example((torch.randn(n, config.max_length, config.num_mel_bins),), {}))
    if name == "whisper":
        size = 2 * config.max_source_positions
        return module, *batches(
            lambda n: Example((torch.randn(n, config.num_mel_bins, size),), {"decoder_input_ids": words(n, 6)})
        )
    if name == "speech_to_text":
        return module, *lengths(
            lambda n, length: Example((torch.randn(n, length, 80),), {"decoder_input_ids": words(n, 6)}), 40, 60
        )
    if name == "wav2vec2-bert":
        return module, *lengths(lambda n, length: Example((torch.randn(n, length, 160),), {}), 20, 30)
    if name == "encodec":
        return module, *lengths(lambda n, length: Example((torch.randn(n, 1, length),), {}), 3200, 4800)
    return module, *lengths(lambda n, length: Example((torch.randn(n, length),), {}), 4000, 6000)


def batches(example: Callable[[int], Example]) -> tuple[Example, dict[str, Example]]:
    return example(2), {"batch": example(3)}


def both_model(name: str) -> Built:
    module, config = configured(name, BOTH[name])
    vision = getattr(config, "vision_config", None) or getattr(config, "image_config", config)
    side = vision.image_size

    def example(n: int, length: int) -> Example:
        given = {
            "pixel_values": torch.randn(n, 3, side, side),
            "attention_mask": torch.ones(n, length, dtype=torch.long),
        }
        return Example((words(n, length),), given)

    return module, *lengths(example, 8, 12)


def other_model(name: str) -> Built:
    module, config = configured(name, OTHERS[name])
    if name.startswith("patch"):
        return module, *batches(
            lambda n: Example((torch.randn(n, config.context_length, config.num_input_channels),), {})
        )
    side = config.image_size
    return module, *batches(lambda n: Example((torch.randn(n, config.num_frames, 3, side, side),), {}))


def head_model(name: str) -> Built:
    base, _, head = name.partition(" ")
    module, _ = configured(base, HEADS[name], output_hidden_states=head == "states", pad_token_id=0)
    return module, *lengths(text, 8, 12)


BUILDERS = [
    (TEXT, text_model), (VISION, vision_model), (PAIRS, pair_model), (SOUND, sound_model), (BOTH, both_model),
    (OTHERS, other_model), (HEADS, head_model),
]  # fmt: skip


def transformers_model(name: str) -> Built:
    import_torchvision()
    return next(build for names, build in BUILDERS if name in names)(name)


def transformers_names() -> list[str]:
    import_torchvision()
    import transformers  # noqa: F401

    return [name for names, _ in BUILDERS for name in names]
