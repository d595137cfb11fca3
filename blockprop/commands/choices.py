"""What can be chosen, and what is chosen by default, as the help says it: copied from the modules that have it.

Those load torch, which takes seconds; the help takes none of them. A test compares each with its home.
"""

SHIPPED = ("pictures", "digits")
"""`blockprop.networks.shipped.NAMES`"""
LOSSES = ("cross_entropy", "negative_log_likelihood", "mean_squared_error", "huber", "binary_cross_entropy")
"""`blockprop.engine.objectives.LOSSES`"""
TORCH_OPTIMIZERS = (
    *("adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "asgd"),
    *("nadam", "radam", "rmsprop", "rprop", "sgd"),
)
"""`blockprop.commands.optimizers.TORCH_OPTIMIZERS`, sorted"""
SCHEDULES = ("constant", "linear", "cosine", "one_cycle")
"""`blockprop.commands.optimizers.SCHEDULES`"""
ARCHITECTURES = ("googlenet", "resnet20_cifar10", "squeezenet1_1", "vgg19", "vgg19_decoder")
"""`blockprop.networks.architectures.ARCHITECTURES`"""
PUBLISHED = (
    *("googlenet", "mobilenetv2", "resnet18", "resnet50", "shufflenet_v2", "squeezenet1_1"),
    *("style_candy", "style_mosaic", "vgg19"),
)
"""`blockprop.networks.published.PUBLISHED`"""
METHODS = (
    *("gradient", "gradient_times_input", "smooth_grad", "smooth_grad_squared", "integrated_gradients"),
    *("guided", "deconvnet", "grad_cam", "guided_grad_cam"),
)
"""`blockprop.visualize.attribution.methods.METHODS`"""
MANY = ("smooth_grad", "smooth_grad_squared", "integrated_gradients")
"""Those of them that need many gradients, which have `passes`."""
CANVASES = ("fourier", "pixels")
"""`blockprop.visualize.pipeline.CANVASES`"""
UPDATES = ("adam", "plain", "normalized")
"""`blockprop.visualize.updates.OPTIMIZERS`"""
COLORS = ("style", "matched", "luminance")
"""`blockprop.visualize.style.stylize.COLORS`"""
COARSEST, MOST_SCALES = 180, 64
"""`blockprop.visualize.style.stylize`"""
STEPS = 128
"""`blockprop.visualize.maximize.STEPS`"""
TILE = 1024
"""`blockprop.visualize.tiling.TILE`"""
MOST_PIXELS = 80_000_000
"""`blockprop.pictures.image_files.MOST_PIXELS`"""
MOST_NODES = 200
"""`blockprop.learning.stepper.MOST_NODES`"""
WIDEST = "widest"
"""`blockprop.pictures.framing.WIDEST`"""
