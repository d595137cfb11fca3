"""Models of other packages: their names by family, and how to build one with inputs of several sizes."""

import foreign_pictures as seen
from foreign_example import Family, import_torchvision
from foreign_language import transformers_model, transformers_names

FAMILIES = {
    "timm": Family(seen.timm_names, seen.timm_model),
    "torchvision": Family(lambda: (import_torchvision(), seen.TORCHVISION)[1], seen.torchvision_model),
    "transformers": Family(transformers_names, transformers_model),
    "segmentation_models": Family(seen.segmentation_names, seen.segmentation_model),
    "vit_pytorch": Family(seen.vit_names, seen.vit_model),
    "open_clip": Family(seen.clip_names, seen.clip_model),
    "efficientnet_pytorch": Family(seen.efficientnet_names, seen.efficientnet_model),
    "monai": Family(seen.monai_names, seen.monai_model),
    "inner outputs": Family(seen.features_names, seen.features_model),
}
