"""The label that the name of a class folder implies: real, fake, or none. Unknown names are never guessed."""

import re
from pathlib import Path

from explain_deepfakes.pipeline.index import FAKE, REAL
from explain_deepfakes.preprocessing.corpus.layouts.tree import list_entries, parse_split


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


REAL_WORDS = _words_of("real reals original originals genuine authentic pristine bonafide unmanipulated unaltered untampered")
FAKE_WORDS = _words_of(
    "fake fakes deepfake deepfakes manipulated manipulation manipulations synthetic synthesized synthesised synthesis "
    "generated forged forgeries tampered swapped altered"
)
# Words in names of whole collections, not classes: `deepfake-detection-challenge`, `real-vs-fake`, `not_real`.
COLLECTION_WORDS = _words_of(
    "detection detector challenge competition dataset datasets database corpus benchmark bench eval evaluation vs versus "
    "not non"
)
# Manipulations and generators as published corpora name their folders, in letters and digits only. Ambiguous names are left
# out, such as LIA or FLOAT.
METHODS = _words_of(
    """
    deepfakes face2face faceshifter faceswap neuraltextures deepfakedetection dfd methoda methodb
    blendface blendswap dagan danet deepfacelab e4e e4s faceapp facedancer facereenact facevid2vid fomm fsgan fsrt
    hififace hyperreenact infoswap inswap inswapper liveportrait mcnet megafs mobilefaceswap mobileswap mraa oneshotfree
    pirender roop simswap talkingface tpsm tpsmm uniface
    anitalker aniportrait echomimic edtalk heygen iplap real3dportrait sadtalker videoretalking wav2lip
    attgan biggan collabdiff cyclegan ddim ddpm gaugan midjourney pixart progan rddm sd21 sdxl stablediffusion stargan
    starganv2 styleclip stylegan stylegan2 stylegan3 styleganxl vqgan
    """
)
AUDIO_LABEL = re.compile(r"(real|fake)[ _-]?audio", re.IGNORECASE)  # says nothing about the pictures


def class_label(folder_name: str) -> int | None:
    """Return the label of a folder name: 0 real, 1 fake, None if it implies neither or both."""
    first = re.split(r"[ _.-]", folder_name, maxsplit=1)[0]
    if _normalise(folder_name) in METHODS:
        return FAKE
    label = label_by_words(folder_name)
    return FAKE if label is None and _normalise(first) in METHODS and not _words(folder_name) & REAL_WORDS else label


def label_by_words(name: str) -> int | None:
    """Return the label by words that mean real or fake only, not by methods, since the folder may be named after a person."""
    words = _words(name)
    is_real, is_fake = bool(words & REAL_WORDS), bool(words & FAKE_WORDS)
    if words & COLLECTION_WORDS or is_real == is_fake:
        return None
    return REAL if is_real else FAKE


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", AUDIO_LABEL.sub("", name)).lower()))


def _normalise(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def label_of_folder(folder: Path) -> int | None:
    """Return the label of a folder by its name.

    It is also None if a folder in it implies the opposite: then it is a whole corpus, such as FakeAVCeleb.
    """
    label = class_label(folder.name)
    if label is None:
        return None
    inside = list_entries(folder)[0]
    inside += [inner for path in inside if parse_split(path.name) for inner in list_entries(path)[0]]
    return None if any(label_by_words(path.name) == 1 - label for path in inside) else label
