"""Tiny language models with random weights, one of each family, and tokenizers for them. Nothing is downloaded."""

import string
import struct

import torch
import transformers as tf
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

LETTERS = [*string.digits, "▁Mary", "▁John", "▁Anna", "▁and", "▁to", "▁gave", "▁a", "▁11", "11", "12", "112", "▁", "="]
WORDS = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", "[SEP]", "[MASK]", *LETTERS, "+", ".", ",", "s", "Mary", "▁store", "▁New", "▁York"]
PAD, UNK, BOS, EOS, SEP, MASK = range(6)
VOCABULARY = 48
IDS = {word: i for i, word in enumerate(WORDS)}

_SIZE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}
_GROUPED = {**_SIZE, "num_key_value_heads": 2}
_SPECIAL = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}


def _gpt2():
    return tf.GPT2LMHeadModel(tf.GPT2Config(n_embd=16, n_layer=2, n_head=4, n_positions=64, **_SPECIAL))


def _gpt_neox():
    return tf.GPTNeoXForCausalLM(tf.GPTNeoXConfig(**_SIZE, **_SPECIAL))


def _llama():
    return tf.LlamaForCausalLM(tf.LlamaConfig(**_GROUPED, **_SPECIAL))


def _mistral():
    return tf.MistralForCausalLM(tf.MistralConfig(**_GROUPED, sliding_window=4, **_SPECIAL))


def _qwen2():
    return tf.Qwen2ForCausalLM(tf.Qwen2Config(**_GROUPED, **_SPECIAL))


def _qwen3():
    return tf.Qwen3ForCausalLM(tf.Qwen3Config(**_GROUPED, head_dim=4, **_SPECIAL))


def _gemma2():  # transformers gives it eager attention, for its soft caps
    return tf.Gemma2ForCausalLM(tf.Gemma2Config(**_GROUPED, head_dim=4, query_pre_attn_scalar=4, sliding_window=4, **_SPECIAL))


def _phi3():
    return tf.Phi3ForCausalLM(tf.Phi3Config(**_GROUPED, **_SPECIAL))


def _phi():
    return tf.PhiForCausalLM(tf.PhiConfig(**_SIZE, **_SPECIAL))


def _cohere():
    return tf.CohereForCausalLM(tf.CohereConfig(**_GROUPED, **_SPECIAL))


def _gptj():  # its layers return tuples
    return tf.GPTJForCausalLM(tf.GPTJConfig(n_embd=16, n_layer=2, n_head=4, rotary_dim=4, n_positions=64, n_inner=24, **_SPECIAL))


def _opt():
    sizes = {"hidden_size": 16, "word_embed_proj_dim": 16, "ffn_dim": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    return tf.OPTForCausalLM(tf.OPTConfig(**sizes, max_position_embeddings=64, **_SPECIAL))


def _bert():
    return tf.BertForMaskedLM(tf.BertConfig(**_SIZE, vocab_size=VOCABULARY, pad_token_id=PAD))


def _roberta():  # counts positions from its padding token
    return tf.RobertaForMaskedLM(tf.RobertaConfig(**_SIZE, **{**_SPECIAL, "pad_token_id": 1}))


CAUSAL = {
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "phi3": _phi3,
    "opt": _opt,
}
ENCODERS = {"bert": _bert, "roberta": _roberta}
FAMILIES = {**CAUSAL, **ENCODERS}
SHARING = {"phi": _phi, "cohere": _cohere, "gptj": _gptj}  # decoders whose attention and hidden layer share a norm


def model(family, seed=0):
    """A model of the family, with weights large enough that attention and positions matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = (FAMILIES | SHARING)[family]()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return made.eval()


def tokenizer(*, encoder=False):
    """A fast tokenizer; an encoder's puts [BOS] and [SEP] around the text.

    Words are split off with the space before them, as `▁`, and cut into the longest pieces that there are: "112" is one token,
    "111" and " 112" are two, and a word that cannot be cut is unknown.
    """
    made = Tokenizer(models.WordPiece(IDS, unk_token="[UNK]", continuing_subword_prefix=""))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("▁", "merged_with_next"),
            pre_tokenizers.Split(Regex(r"[+=.,]"), "isolated"),
        ]
    )
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[BOS]", "eos_token": "[EOS]"}
    if encoder:
        special |= {"sep_token": "[SEP]", "mask_token": "[MASK]"}
        made.post_processor = processors.TemplateProcessing(
            single="[BOS] $A [SEP]", special_tokens=[("[BOS]", BOS), ("[SEP]", SEP)]
        )
    return tf.PreTrainedTokenizerFast(tokenizer_object=made, **special)


def stories(folder):
    """A trained model of children's stories, and its tokenizer as transformers makes those of Llama: a space before all texts."""
    raw, at, pieces = (folder / "tok512.bin").read_bytes(), 4, []
    while at < len(raw):
        (length,) = struct.unpack_from("<i", raw, at + 4)
        pieces.append(raw[at + 8 : at + 8 + length].decode().strip("\n").replace(" ", "▁"))
        at += 8 + length
    ids = {piece: i for i, piece in enumerate(pieces)}  # in order of their scores, which is that of the merges
    merges = [(p[:i], p[i:]) for p in pieces[259:] for i in range(1, len(p)) if p[:i] in ids and p[i:] in ids]
    made = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    return tf.LlamaForCausalLM.from_pretrained(folder).eval(), tf.PreTrainedTokenizerFast(tokenizer_object=made, **special)
