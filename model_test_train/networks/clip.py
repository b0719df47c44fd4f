"""CLIP: pictures compared with words. The towers come from open_clip and are frozen, or all but their layer norms are.

The image tower gives a vector for the whole picture; the detector sets it beside the sentences that its YAML has for real and
for fake faces. Those are put into vectors once, when the network is first built, and stay with its weights.
"""

import logging
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from model_test_train.networks.pretrained import Pretrained, Source, Weights, load_pretrained
from model_test_train.networks.registry import backbone, head
from model_test_train.networks.transformer import Tokens
from pipeline.errors import UserError


@backbone("clip/")
class ClipTower(nn.Module):
    """The image tower: pixels -> a vector of length 1, as a feature map of one place (b, channels, 1, 1)."""

    def __init__(self, model: str, size: int, pretrained: Pretrained) -> None:
        super().__init__()
        self.model, self.pretrained = model, pretrained
        self.visual = both_towers(model, pretrained).visual
        self.tokens, self.token_grid = Tokens(), self.visual.grid_size

    def forward(self, pixels: Tensor) -> Tensor:
        return normalize(self.visual(pixels), dim=-1)[:, :, None, None]

    @torch.no_grad()
    def text_vectors(self, sentences: list[str]) -> tuple[Tensor, Tensor]:
        """(sentences, channels), of length 1 each; and how sharply CLIP learnt to tell sentences apart."""
        import open_clip

        clip = both_towers(self.model, self.pretrained).eval()
        return clip.encode_text(open_clip.get_tokenizer(self.model)(sentences), normalize=True), clip.logit_scale.exp()


def both_towers(model: str, pretrained: Pretrained) -> Any:
    import open_clip  # takes seconds, which other networks need not wait

    if model not in open_clip.list_models():
        raise UserError(f"backbone 'clip/{model}' is not among open_clip {open_clip.__version__}'s networks")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it warns that the weights are random, which they are to be
    clip = open_clip.create_model(model, pretrained_text=False)
    logging.disable(before)
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
class PromptDetector(nn.Module):
    """How like the sentences for real and for fake a picture is, beside what a small adapter makes of its vector."""

    text_vectors: Tensor
    sharpness: Tensor

    def __init__(
        self, channels: int, grid: tuple[int, int], real: list[str], fake: list[str], dim: int, dropout: float
    ) -> None:
        super().__init__()
        if not real or not fake:
            raise UserError("detector.real and detector.fake must name a sentence each, at least")
        self.real, self.fake = list(real), list(fake)
        self.register_buffer("text_vectors", torch.zeros(len(real) + len(fake), channels))
        self.register_buffer("sharpness", torch.ones(()))  # by which CLIP learnt to tell sentences apart
        self.adapter = nn.Sequential(nn.Linear(channels, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, channels))
        self.head = nn.Sequential(
            nn.Linear(channels + 3, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, 1), nn.Flatten(0)
        )

    def meet(self, backbone: nn.Module) -> None:
        if not isinstance(backbone, ClipTower):
            raise UserError("detector 'prompts' needs a backbone that knows words: clip/<name>")
        vectors, sharpness = backbone.text_vectors([*self.real, *self.fake])
        self.text_vectors.copy_(vectors)
        self.sharpness.copy_(sharpness)

    def forward(self, features: Tensor) -> Tensor:
        beside_others = (self.sharpness * self.tell(features)).log_softmax(1)
        real, fake = (part.mean(1) for part in beside_others.split([len(self.real), len(self.fake)], 1))
        compared = torch.stack((real, fake, fake - real), 1)
        return self.head(torch.cat((self.adapter(features.flatten(1)), compared), 1))

    @property
    def told(self) -> tuple[str, ...]:
        return tuple(f"{kind}: {text}" for kind, texts in (("real", self.real), ("fake", self.fake)) for text in texts)

    def tell(self, features: Tensor) -> Tensor:
        """How like each sentence (b, sentences), -1 to 1."""
        return features.flatten(1) @ self.text_vectors.mT
