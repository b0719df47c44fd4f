"""Names of the map methods, in the order of methods.METHODS."""

METHOD_NAMES = (
    "best",
    "relevancy",
    "raw_attention",
    "rollout",
    "segmentation",
    "grad_cam",
    "hires_cam",
    "layer_cam",
    "input_gradient",
    "token_evidence",
    "published",
)
