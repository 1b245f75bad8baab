import copy

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, processors
from tokenizers import models as tokenizer_models
from tokenizers.pre_tokenizers import ByteLevel
from torch.testing import assert_close
from transformers import PreTrainedTokenizerFast

import commute as cm
from commute.errors import NetworkError
from commute.models.language import language
from commute.models.prompts import Prompt, Prompts, template_problems
from tests.models import families

TEMPLATE = "{first} and {second}{rest} gave"
BATCH = {
    "first": np.array(["Mary", "Mary", "Mary", "Mary"]),
    "second": np.array(["John", "Anna", "John", "Mary"]),
    "rest": np.array(["", " to Mary and John", " and", " gave 11+12"]),
}
LABELS = ["Mary", "John", "Anna"]
SIDES = ["left", "right"]


@pytest.fixture(scope="module")
def models():
    return {family: families.model(family) for family in families.FAMILIES}


def parts(model, *, prompts=TEMPLATE, answers=LABELS, **options):
    return language(model, families.tokenizer(encoder=not model.can_generate()), prompts=prompts, answers=answers, **options)


def template(family):
    return TEMPLATE if family in families.CAUSAL else TEMPLATE.replace(" gave", "[MASK] gave")


def row(batch, i):
    return {k: x[i : i + 1] for k, x in batch.items()}


@torch.no_grad()
def scores(model, made, batch):
    """Scores [batch, vocabulary] where the answer is read, and the last hidden states at "second", [batch, width]."""
    call = made.encode(batch)
    seen = []
    table = model.get_output_embeddings()
    options = {k: x for k, x in call.items() if k != "logits_to_keep"}
    with table.register_forward_pre_hook(lambda _, args: seen.append(args[0])):
        model(**options)
    columns = call["attention_mask"].bool().nonzero()
    places = made.positions["second"](batch)
    columns = [columns[columns[:, 0] == i][place, 1] for i, place in enumerate(places)]
    return made.finish(call, model(**call)), seen[0][torch.arange(len(places)), columns]


@pytest.mark.parametrize("padding", SIDES)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_one_prompt_and_a_padded_batch_agree(models, family, padding):
    model = models[family]
    made = parts(model, prompts=template(family), padding=padding)
    together, named = scores(model, made, BATCH)
    assert not torch.equal(together[0], together[1])
    for i in range(4):
        alone, one = scores(model, made, row(BATCH, i))
        assert_close(together[i : i + 1], alone, rtol=0, atol=1e-5)
        assert_close(named[i : i + 1], one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_one_prompt_is_what_the_model_makes_of_its_tokens(models, family):
    """The call of a prompt that needs no padding gives what the model gives by its own defaults."""
    model = models[family]
    made = parts(model, prompts=template(family))
    batch = row(BATCH, 3)
    call = made.encode(batch)
    with torch.no_grad():
        logits = model(input_ids=call["input_ids"]).logits[0]
    place = made.positions["end" if family in families.CAUSAL else "mask"](batch)[0]
    assert_close(scores(model, made, batch)[0][0], logits[place], rtol=0, atol=1e-5)


def test_padding_matters_where_it_is_not_masked(models):
    """Guards the tests above: positions that count padding give other scores."""
    made = parts(models["gpt2"])
    call = made.encode(BATCH)
    with torch.no_grad():
        right = made.finish(call, models["gpt2"](**call))
        wrong = made.finish(call, models["gpt2"](**{**call, "position_ids": None}))
    assert (right - wrong)[0].abs().max() > 1e-2
    assert_close(right[1], wrong[1])  # the longest prompt


@pytest.mark.parametrize("padding", SIDES)
def test_the_call(padding):
    encode = Prompts("{x} and", families.tokenizer(), families.VOCABULARY, padding, options={"use_cache": False})
    call = encode({"x": np.array(["Mary", "Mary to John"])})
    assert call["use_cache"] is False
    real = [[False, False, True, True], [True] * 4] if padding == "left" else [[True, True, False, False], [True] * 4]
    positions = [[0, 0, 0, 1], [0, 1, 2, 3]] if padding == "left" else [[0, 1, 1, 1], [0, 1, 2, 3]]
    assert call["attention_mask"].tolist() == np.array(real).astype(int).tolist()
    assert call["position_ids"].tolist() == positions
    words = families.tokenizer().convert_ids_to_tokens(call["input_ids"][call["attention_mask"].bool()].tolist())
    assert words == ["Mary", "▁and", "Mary", "▁to", "▁John", "▁and"]
    assert {x.dtype for x in call.values() if isinstance(x, torch.Tensor)} == {torch.int64}
    assert "position_ids" not in Prompts("{x} and", families.tokenizer(), 48, first_position=None)({"x": np.array(["Mary"])})


def test_named_positions_are_the_last_tokens_of_fields():
    """On a batch of mixed length, with fields of several tokens, before and after the parts of mixed length."""
    encode = Prompts("Mary{rest} and {x}{rest}{x}", families.tokenizer(), families.VOCABULARY)
    batch = {"rest": np.array([" gave", " to a"]), "x": np.array(["111", "Mary"])}
    tokens = [families.tokenizer().tokenize(f"Mary{rest} and {x}{rest}{x}") for rest, x in zip(*batch.values(), strict=True)]
    found = {name: f(batch).tolist() for name, f in encode.positions.items()}
    assert found["rest"] == [1, 2]
    assert found["x"] == [tokens[0].index("1"), tokens[1].index("▁Mary")]
    assert found["end"] == found["x.2"] == [len(t) - 1 for t in tokens]
    assert list(found) == ["rest", "x", "rest.2", "x.2", "end"]


def test_special_tokens_are_counted_and_never_named():
    encode = Prompts("{x}[MASK] gave", families.tokenizer(encoder=True), families.VOCABULARY, "right")
    batch = {"x": np.array(["Mary", "Mary to"])}
    assert {k: f(batch).tolist() for k, f in encode.positions.items()} == {"x": [1, 2], "end": [4, 5], "mask": [2, 3]}


def test_a_function_makes_texts_prompts_or_tokens():
    batch = {"x": np.array(["Mary", "John"])}
    tokenizer = families.tokenizer()

    def prompt(setting):
        return Prompt.filled("Mary and {subject} gave", {"subject": setting["x"]})

    encode = Prompts(prompt, tokenizer, families.VOCABULARY)
    assert encode.positions["subject"](batch).tolist() == [2, 2]
    assert "anything" in encode.positions
    same = Prompts(lambda s: f"Mary and {s['x']} gave", tokenizer, families.VOCABULARY)
    tokens = Prompts(lambda s: tokenizer(f"Mary and {s['x']} gave")["input_ids"], None, families.VOCABULARY)
    for other in (same, tokens):
        assert torch.equal(other(batch)["input_ids"], encode(batch)["input_ids"])
        assert other.positions["end"](batch).tolist() == [3, 3]


def test_the_prompt_function_sees_labels_as_they_are():
    seen = []
    encode = Prompts(lambda s: seen.append(s) or "Mary", families.tokenizer(), families.VOCABULARY)
    mixed = np.empty(4, dtype=object)
    mixed[:] = [1, True, (1, 2), 1]
    encode({"x": np.array([3, 3, 3, 3]), "y": np.array([True, True, False, True]), "z": mixed})
    assert sorted(map(repr, seen)) == [
        "{'x': 3, 'y': False, 'z': (1, 2)}",
        "{'x': 3, 'y': True, 'z': 1}",
        "{'x': 3, 'y': True, 'z': True}",
    ]


def test_each_distinct_prompt_is_made_once_and_tokenised_once():
    made, tokenised = [], []
    tokenizer = families.tokenizer()

    class Counting:
        is_fast = True

        def __call__(self, texts, **options):
            tokenised.extend(texts)
            return tokenizer(texts, **options)

    encode = Prompts(lambda s: made.append(s) or ("Mary" if s["x"] % 2 else "Mary and"), Counting(), families.VOCABULARY)
    batch = {"x": np.arange(1000) % 4}
    ids = encode(batch)["input_ids"]
    assert ids.shape == (1000, 2)
    assert len(made) == 4
    assert sorted(tokenised) == ["Mary", "Mary and"]
    encode.positions["end"](batch)
    assert len(tokenised) == 2


def test_the_tokenizer_is_left_as_it_is():
    tokenizer = families.tokenizer()
    tokenizer.padding_side = "right"
    tokenizer.pad_token = None
    before = copy.deepcopy(tokenizer.__dict__), tokenizer.backend_tokenizer.to_str()
    encode = Prompts("{first} and", tokenizer, families.VOCABULARY)
    call = encode(BATCH)
    encode.positions["first"](BATCH)
    assert (tokenizer.padding_side, tokenizer.pad_token) == ("right", None)
    assert tokenizer.backend_tokenizer.to_str() == before[1]
    assert call["input_ids"].shape == (4, 2)
    mixed = encode({"first": np.array(["Mary", "Mary to"])})
    assert mixed["input_ids"][0, 0] == families.EOS


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("{frist} gave", "there is no value 'frist'; did you mean 'first'?"),
        (lambda s: 3.5, "must return a text, a Prompt or token ids; for {'first': 'Mary'"),
        (lambda s: [0, 99], "the prompt [0, 99] has tokens 0 to 99; the model knows 48 tokens"),
        (lambda s: "", "has no tokens"),
        (lambda s: [], "has no tokens"),
        (lambda s: "[BOS][BOS]Mary", "begins twice"),
    ],
)
def test_prompts_that_cannot_be(prompts, message):
    tokenizer = families.tokenizer()
    with pytest.raises(NetworkError) as error:
        Prompts(prompts, tokenizer, families.VOCABULARY)(BATCH)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("made", "name", "message"),
    [
        (Prompt("Mary gave", {"subject": (0, 4)}), "subjct", "'Mary gave' lacks a mark: there is no mark 'subjct'; did you mean"),
        (
            Prompt("Mary gave", {"subject": (4, 4)}),
            "subject",
            "has a mark 'subject' at characters 4 to 4; it must hold some of 9",
        ),
        (Prompt("Mary gave", {"subject": (5, 99)}), "subject", "at characters 5 to 99"),
        ("Mary gave", "mask", "'Mary gave' has 0 mask tokens"),
        ("Mary[MASK][MASK]", "mask", "has 2 mask tokens; it must have one"),
        ([1, 2], "subject", "the prompt [1, 2] lacks a mark"),
    ],
)
def test_positions_that_a_prompt_lacks(made, name, message):
    encode = Prompts(lambda s: made, families.tokenizer(encoder=True), families.VOCABULARY)
    with pytest.raises(NetworkError) as error:
        encode.positions[name](BATCH)
    assert message in str(error.value)


def test_characters_that_no_token_holds():
    class Forgetful:
        """Tells of every token that it holds nothing, as of special tokens."""

        is_fast = True

        def __call__(self, texts, **options):
            return {"input_ids": [[3, 4]] * len(texts), "offset_mapping": [[(0, 0), (0, 0)]] * len(texts)}

    with pytest.raises(NetworkError, match="which no token holds"):
        Prompts("{first}", Forgetful(), families.VOCABULARY).positions["first"](BATCH)


def test_a_slow_tokenizer_has_no_named_positions_but_the_end():
    class Slow:
        is_fast = False

        def __call__(self, texts, **options):
            assert not options["return_offsets_mapping"]
            return {"input_ids": [[6 + len(word) for word in text.split()] for text in texts]}

    encode = Prompts("{first} gave", Slow(), families.VOCABULARY)
    assert encode(BATCH)["input_ids"].tolist() == [[10, 10]] * 4
    assert encode.positions["end"](BATCH).tolist() == [1] * 4
    with pytest.raises(NetworkError, match="slow tokenizer does not tell where tokens are; use a fast one"):
        encode.positions["first"](BATCH)


@pytest.mark.parametrize("template", ["{} gave", "{0} gave", "{first gave", "gave}"])
def test_templates_that_cannot_be(template):
    assert len(template_problems(template)) == 1


def test_templates_format():
    filled = Prompt.filled("{a:02d}{{}} {b!r} {c[0]} {a}", {"a": 7, "b": "x", "c": (5, 6)})
    assert filled == Prompt("07{} 'x' 5 7", {"a": (0, 2), "b": (5, 8), "c": (9, 10), "a.2": (11, 12)})


def test_the_network_reads_and_patches_named_positions_of_a_padded_batch(models):
    """Another row's value at "second" is put in its place, whatever the length of the prompts."""
    model = models["llama"]
    made = parts(model)
    network = cm.Network(model, encode=made.encode, decode=made.decode, finish=made.finish, positions=made.positions)
    site = network.site("model.layers.0", position="second")
    read = network.activations(BATCH, [site])[site]
    for i in range(4):
        assert_close(read[i : i + 1], network.activations(row(BATCH, i), [site])[site], rtol=0, atol=1e-5)
    source = {k: x[::-1] for k, x in BATCH.items()}
    feature = cm.Feature(site)
    together = network.interchange(BATCH, {feature: source})
    assert together.tolist() == [network.interchange(row(BATCH, i), {feature: row(source, i)})[0] for i in range(4)]


@pytest.mark.parametrize("trimmed", [False, True])
def test_positions_in_bytes(trimmed):
    """With the tokenizer of GPT-2, whose tokens hold the space before them or part of a letter."""
    made = Tokenizer(tokenizer_models.BPE({c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}, []))
    made.pre_tokenizer = ByteLevel(add_prefix_space=False)
    made.post_processor = processors.ByteLevel(trim_offsets=trimmed)
    encode = Prompts("{a} met {b}!", PreTrainedTokenizerFast(tokenizer_object=made), 256)
    batch = {"a": np.array(["Zoë", "日本"]), "b": np.array(["Ann", "é"])}
    ends = [[len(text.encode()) - 1 for text in texts] for texts in (["Zoë", "日本"], ["Zoë met Ann", "日本 met é"])]
    assert [encode.positions[name](batch).tolist() for name in "ab"] == ends
