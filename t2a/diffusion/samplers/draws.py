"""Where samplers take their noise from."""

from collections.abc import Callable

from torch import Tensor

Draw = Callable[[], Tensor]
"""gives new noise of the latents' shape each time, each row from its own generator: see `t2a.diffusion.noise`"""
