"""What a class folder's name says: real, fake, or nothing that is known. What is not known is never guessed."""

import re
from pathlib import Path

from pipeline.index import FAKE, REAL
from preprocessing.corpus.layouts.tree import entries_of, split_of_word


def _set_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


REAL_WORDS = _set_of("real reals original originals genuine authentic pristine bonafide unmanipulated unaltered untampered")
FAKE_WORDS = _set_of(
    "fake fakes deepfake deepfakes manipulated manipulation manipulations synthetic synthesized synthesised synthesis "
    "generated forged forgeries tampered swapped altered"
)
# Of collections, not of classes: `deepfake-detection-challenge`, `real-vs-fake`, `not_real`.
OF_NO_CLASS = _set_of(
    "detection detector challenge competition dataset datasets database corpus benchmark bench eval evaluation vs versus "
    "not non"
)
# Manipulations and generators as the field's corpora name their folders, in letters and digits only. Left out are those
# that may be something else, such as LIA or FLOAT.
METHODS = _set_of(
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
OF_SOUND = re.compile(r"(real|fake)[ _-]?audio", re.IGNORECASE)  # says nothing of the picture beside it


def class_label(folder_name: str) -> int | None:
    """0 real, 1 fake, None neither or both."""
    first = re.split(r"[ _.-]", folder_name, maxsplit=1)[0]
    if _plain(folder_name) in METHODS:
        return FAKE
    label = label_by_words(folder_name)
    return FAKE if label is None and _plain(first) in METHODS and not _words(folder_name) & REAL_WORDS else label


def label_by_words(name: str) -> int | None:
    """The same, where only words that mean real or fake count: the name may be a person's."""
    words = _words(name)
    is_real, is_fake = bool(words & REAL_WORDS), bool(words & FAKE_WORDS)
    if words & OF_NO_CLASS or is_real == is_fake:
        return None
    return REAL if is_real else FAKE


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", OF_SOUND.sub("", name)).lower()))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def label_of_folder(folder: Path) -> int | None:
    """By its name; None too where a folder in it says the opposite: then it is a whole corpus, such as FakeAVCeleb."""
    label = class_label(folder.name)
    if label is None:
        return None
    inside = entries_of(folder)[0]
    inside += [below for path in inside if split_of_word(path.name) for below in entries_of(path)[0]]
    return None if any(label_by_words(path.name) == 1 - label for path in inside) else label
