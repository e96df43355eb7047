"""Where the data sets of the 31 benchmarks are: commits of the hub, and ids that they had before.

Nothing here was loaded from the hub: the commits are those that public repositories pin for these
data sets (decision 0029 says how each was found). A data set that is not listed is read at its
branch `main`, and the commit that it then was is said on stderr.
"""

REVISIONS: dict[str, str] = {
    "lmms-lab-encoder/ai2d": "c83a9b9692933aff8349157c88a413df9d02c4e5",
    "UnipatAI/BabyVision": "849cbeea2b1d00ad334e9e1e2b49a1960c9ff3f3",
    "princeton-nlp/CharXiv": "f441eb632fc62f6f777830a0f47619e6e86459b0",
    "FlagEval/EmbSpatial-Bench": "3c0e6b34b632de666a51091727c0128d07a54a6a",
    "lmms-lab-encoder/DocVQA": "539088ef8a8ada01ac8e2e6d4e372586748a265e",
    "MathLLMs/MathVision": "2837ddb3f13abaf6b3997c12d80753e5470bd46a",
    "AI4Math/MathVista": "2b6ad69445fbb5695c9b165475e8decdbeb97747",
    "MMMU/MMMU_Pro": "563f3e84bb3b90893083a1f039cfa13077f2302b",
    "lmms-lab-encoder/MMVet": "b310d12d0d9e765db953da28a7ef7ff43620dc83",
    "ling99/OCRBench_v2": "c7e7cdf23bdb6774661e9b0caf0d9935a42feb8b",
    "We-Math/We-Math": "527c44d4d94c4e3c7c98157460146a8b18c8420a",
    "opencompass/AIME2025": "a6ad95f611d72cf628a80b58bd0432ef6638f958",
    "MathArena/aime_2026": "d2de22f3c656b4f56cf8981212186377d1e23bc3",
    "ceval/ceval-exam": "617524a00b307ff6f9933702f724131fe12ca7ce",
    "Idavidrein/gpqa": "633f5ee89ab8ad4522a9f850766b73f62147ffdd",
    "cais/hle": "5a81a4c7271a2a2a312b9a690f0c2fde837e4c29",
    "cais/mmlu": "c30699e8356da336a370243923dbaf21066bb9fe",
    "TIGER-Lab/MMLU-Pro": "b189ec765aa7ed75c8acfea42df31fdae71f97be",
    "edinburgh-dawg/mmlu-redux-2.0": "372ea425445d51e1ba1188c56e5e893f8138621f",
    "ScaleAI/MultiChallenge": "670fd81f270314d0f8f82b34fcfe2187fd28f699",
    "yale-nlp/MMVU": "b937f414a87e9012acba49d95669020b24fa9ee9",
    "OpenGVLab/MVBench": "a776e554280b99b70f00cc3eacd69a65e0727efc",
    "lmms-eval/Video-MME": "ead1408f75b618502df9a1d8e0950166bf0a2a0b",
    "lmms-eval/VideoMMMU": "d1c35ac933123d79e877b7f1b9506afb0309cf1b",
}

# moved on the hub in July 2026; copies still lie under the old ids: new id -> old ones
FORMERLY: dict[str, tuple[str, ...]] = {
    "lmms-lab-encoder/ai2d": ("lmms-lab/ai2d",),
    "lmms-lab-encoder/DocVQA": ("lmms-lab/DocVQA",),
    "lmms-lab-encoder/MMVet": ("lmms-lab/MMVet",),
    "lmms-eval/Video-MME": ("lmms-lab/Video-MME",),
    "lmms-eval/VideoMMMU": ("lmms-lab/VideoMMMU",),
}
