"""Datasets of real and fake faces: where they come from, under which terms, and which layout they arrive in."""

from dataclasses import dataclass

from explain_deepfakes.pipeline.errors import UserError

SCRIPT, KAGGLE, HUB = "script", "kaggle", "hub"  # tools that download a dataset


@dataclass(frozen=True)
class KnownDataset:
    title: str
    page: str
    terms: str  # in a few words; the page has the binding text
    content: str
    layout: str
    tool: str = ""  # empty: there is no public tool
    source: str = ""  # of the tool: name of the competition, or repository of the hub


FORM = "research only; request it by a form on the page"
KNOWN_DATASETS = {
    "FACEFORENSICS": KnownDataset(
        "FaceForensics++ and DeepFakeDetection",
        "https://github.com/ondyari/FaceForensics",
        "research only; a form on the page gets you the download script",
        "1,000 originals, 5 x 1,000 fakes, and 363 + 3,068 videos of actors; about 30 GB in c23",
        "FACEFORENSICS",
        SCRIPT,
    ),
    "DFDC": KnownDataset(
        "Deepfake Detection Challenge",
        "https://ai.meta.com/datasets/dfdc",
        "rules of the competition on Kaggle, which you accept there",
        "about 119,000 videos, 470 GB",
        "DFDC",
        KAGGLE,
        "deepfake-detection-challenge",
    ),
    "DFDCP": KnownDataset(
        "Preview of the Deepfake Detection Challenge",
        "https://ai.meta.com/datasets/dfdc",
        "research only; an account on the page",
        "about 5,200 videos",
        "DFDCP",
    ),
    "CELEBDF": KnownDataset(
        "Celeb-DF v1 and v2",
        "https://github.com/yuezunli/celeb-deepfakeforensics",
        FORM,
        "v2: 590 + 300 real and 5,639 fake videos, about 10 GB",
        "CELEBDF",
    ),
    "CELEBDF++": KnownDataset(
        "Celeb-DF++", "https://github.com/OUC-VAS/Celeb-DF-PP", FORM, "Celeb-DF with fakes of 22 methods", "CELEBDF"
    ),
    "DEEPERFORENSICS": KnownDataset(
        "DeeperForensics-1.0",
        "https://github.com/EndlessSora/DeeperForensics-1.0",
        FORM,
        "11,000 fakes and 48,000 recordings of 100 actors; its real videos are those of FaceForensics++",
        "DEEPERFORENSICS",
    ),
    "FFIW": KnownDataset(
        "Face Forensics in the Wild", "https://github.com/tfzhou/FFIW", FORM, "10,000 real and 10,000 fake videos", "FFIW"
    ),
    "FAKEAVCELEB": KnownDataset(
        "FakeAVCeleb", "https://github.com/DASH-Lab/FakeAVCeleb", FORM, "500 real and about 20,000 fake videos", "FAKEAVCELEB"
    ),
    "LAVDF": KnownDataset(
        "LAV-DF: partly manipulated clips",
        "https://github.com/ControlNet/LAV-DF",
        "CC BY-NC 4.0; a form on the page",
        "about 136,000 clips",
        "LAVDF",
        HUB,
        "ControlNet/LAV-DF",
    ),
    "AVDEEPFAKE1M": KnownDataset(
        "AV-Deepfake1M: partly manipulated clips",
        "https://github.com/ControlNet/AV-Deepfake1M",
        "CC BY-NC 4.0; a form on the page",
        "about 1,100,000 clips",
        "AVDEEPFAKE1M",
        HUB,
        "ControlNet/AV-Deepfake1M",
    ),
    "DF40": KnownDataset(
        "DF40", "https://github.com/YZY-stack/DF40", "CC BY-NC 4.0", "crops of the fakes of 40 methods", "DF40"
    ),
    "WILDDEEPFAKE": KnownDataset(
        "WildDeepfake",
        "https://github.com/OpenTAI/wild-deepfake",
        FORM,
        "7,314 sequences of crops from 707 videos",
        "WILDDEEPFAKE",
        HUB,
        "xingjunm/WildDeepfake",
    ),
    "FORGERYNET": KnownDataset(
        "ForgeryNet",
        "https://yinanhe.github.io/projects/forgerynet.html",
        "research only; see the page",
        "2.9 million pictures and 221,000 videos",
        "FORGERYNET",
    ),
    "DEEPFAKEEVAL": KnownDataset(
        "Deepfake-Eval-2024",
        "https://huggingface.co/datasets/nuriachandra/Deepfake-Eval-2024",
        "research only; request access on the page",
        "45 hours of videos from social media",
        "DEEPFAKEEVAL",
        HUB,
        "nuriachandra/Deepfake-Eval-2024",
    ),
    "DEEPSPEAK": KnownDataset(
        "DeepSpeak 2.0",
        "https://huggingface.co/datasets/faridlab/deepspeak_v2",
        "free for academic institutions, after a form on the page",
        "52 hours of real and fake videos from webcams",
        "DEEPSPEAK",
        HUB,
        "faridlab/deepspeak_v2",
    ),
    "KODF": KnownDataset(
        "KoDF: Korean people",
        "https://deepbrainai-research.github.io/kodf",
        FORM,
        "62,000 real and 176,000 fake videos",
        "KODF",
    ),
    "UADFV": KnownDataset(
        "UADFV", "https://github.com/yuezunli/WIFS2018_In_Ictu_Oculi", FORM, "49 real and 49 fake videos", "FOLDER"
    ),
}


def find_dataset(name: str) -> KnownDataset:
    dataset = KNOWN_DATASETS.get(name.upper().replace("-", ""))
    if not dataset:
        raise UserError(f"'{name}' is not a known dataset; there are: {', '.join(KNOWN_DATASETS)}")
    return dataset
