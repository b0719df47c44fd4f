"""CLIP: a picture is compared with sentences. The towers come from open_clip and are frozen, except perhaps their layer norms.

The image tower embeds the whole picture; the head compares the embedding with those of the sentences that the YAML has for real
and for fake faces. The sentences are embedded once, when the network is first built, and stored with its weights.
"""

import logging
from functools import partial
from typing import Any  # open_clip models have no common type

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from explain_deepfakes.model_test_train.networks.pretrained import Pretrained, Source, Weights, load_pretrained
from explain_deepfakes.model_test_train.networks.registry import backbone, head
from explain_deepfakes.model_test_train.networks.transformer import TokenReadout
from explain_deepfakes.pipeline.errors import UserError


@backbone("clip/")
class ClipTower(nn.Module):
    """The image tower: pixels -> a vector, as a feature map of a single patch (b, channels, 1, 1).

    Its length is one, unless `normalised` is false.
    """

    def __init__(self, model: str, size: int, pretrained: Pretrained, normalised: bool = True) -> None:
        super().__init__()
        self.model, self.pretrained, self.normalised = model, pretrained, normalised
        self.visual = create_clip(model, pretrained).visual
        self.tokens, self.token_grid = TokenReadout(), self.visual.grid_size

    def forward(self, pixels: Tensor) -> Tensor:
        vector = self.visual(pixels)
        return (normalize(vector, dim=-1) if self.normalised else vector)[:, :, None, None]

    @torch.no_grad()
    def text_vectors(self, sentences: list[str]) -> tuple[Tensor, Tensor]:
        """Unit vectors (sentences, channels), and CLIP's learnt logit scale."""
        import open_clip

        clip = create_clip(self.model, self.pretrained).eval()
        return clip.encode_text(open_clip.get_tokenizer(self.model)(sentences), normalize=True), clip.logit_scale.exp()


def create_clip(model: str, pretrained: Pretrained) -> Any:
    import open_clip  # takes seconds to import, so other networks do not wait for it

    if model not in open_clip.list_models():
        raise UserError(f"backbone 'clip/{model}' is not among the networks of open_clip {open_clip.__version__}")
    previous_level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # open_clip would warn about random weights, which are intended here
    clip = open_clip.create_model(model, pretrained_text=False)
    logging.disable(previous_level)
    load_pretrained(clip, pretrained, source(model))
    return clip


def source(model: str) -> Source:
    from open_clip import pretrained as published

    tags = published.list_pretrained_tags_by_model(model)
    card = published.get_pretrained_cfg(model, tags[0]) if tags else {}
    page = f"https://huggingface.co/{card['hf_hub']}".rstrip("/") if card.get("hf_hub") else card.get("url") or "its authors"
    return Source(f"clip/{model}", page, partial(download, model, tags[0] if tags else None))


def download(model: str, tag: str | None) -> Weights:
    import open_clip

    return open_clip.create_model(model, pretrained=tag).state_dict()


@head("prompts")
class PromptHead(nn.Module):
    """Classifies the picture's similarity to the real and fake sentences, together with an adapted embedding."""

    text_vectors: Tensor
    sharpness: Tensor

    def __init__(
        self, channels: int, grid: tuple[int, int], real: list[str], fake: list[str], dim: int, dropout: float
    ) -> None:
        super().__init__()
        if not real or not fake:
            raise UserError("detector.real and detector.fake must each have at least one sentence")
        self.real, self.fake = list(real), list(fake)
        self.register_buffer("text_vectors", torch.zeros(len(real) + len(fake), channels))
        self.register_buffer("sharpness", torch.ones(()))  # CLIP's learnt logit scale
        self.adapter = nn.Sequential(nn.Linear(channels, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, channels))
        self.head = nn.Sequential(
            nn.Linear(channels + 3, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, 1), nn.Flatten(0)
        )

    def bind_backbone(self, backbone: nn.Module) -> None:
        """Embed the sentences with the text tower that belongs to the backbone."""
        if not isinstance(backbone, ClipTower):
            raise UserError("detector 'prompts' needs a backbone with a text tower: clip/<name>")
        vectors, sharpness = backbone.text_vectors([*self.real, *self.fake])
        self.text_vectors.copy_(vectors)
        self.sharpness.copy_(sharpness)

    def forward(self, features: Tensor) -> Tensor:
        log_shares = (self.sharpness * self.aux_outputs(features)).log_softmax(1)
        real, fake = (shares.mean(1) for shares in log_shares.split([len(self.real), len(self.fake)], 1))
        similarities = torch.stack((real, fake, fake - real), 1)
        return self.head(torch.cat((self.adapter(features.flatten(1)), similarities), 1))

    @property
    def aux_output_names(self) -> tuple[str, ...]:
        return tuple(f"{kind}: {text}" for kind, texts in (("real", self.real), ("fake", self.fake)) for text in texts)

    def aux_outputs(self, features: Tensor) -> Tensor:
        """Cosine similarity to each sentence (b, sentences)."""
        return features.flatten(1) @ self.text_vectors.mT
