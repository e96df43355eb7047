"""Models with their renderers: Qwen3.5, the nano world, and whatever transformers loads."""

from zppo_core.models.loading import (
    context as context,
)
from zppo_core.models.loading import (
    load as load,
)
from zppo_core.models.loading import (
    load_renderer as load_renderer,
)
from zppo_core.models.loading import (
    mtp_weights as mtp_weights,
)
from zppo_core.models.loading import (
    quiet as quiet,
)
from zppo_core.models.loading import (
    shape as shape,
)
from zppo_core.models.loading import (
    weights_name as weights_name,
)
