import numpy as np
import pytest
import torch
from torch import nn

import commute as cm
from commute.errors import NetworkError
from commute.models.answers import Generated, TopToken, Written, answers_of
from commute.models.decoding import Readout
from commute.models.language import Continued, language
from commute.models.prompts import Prompt
from tests.models import families
from tests.models.families import IDS

TOKENIZER = families.tokenizer()
BATCH = {"x": np.array(["Mary", "Mary and John", "11", "Mary gave 11+12"])}
NUMBERS = ["0", "11"]


def decode_of(answers, tokenizer=TOKENIZER):
    problems = []
    made = answers_of(answers, tokenizer, families.VOCABULARY, problems)
    assert not problems
    return made


def problems_of(answers, tokenizer=TOKENIZER):
    problems = []
    assert answers_of(answers, tokenizer, families.VOCABULARY, problems) is None
    return problems


def scores(*best):
    """Scores of rows in which the first token is the likeliest, the second the next, …"""
    made = torch.zeros(len(best), families.VOCABULARY)
    for row, words in zip(made, best, strict=True):
        for i, word in enumerate(words):
            row[IDS[word]] = 10 - i
    return made


def written(*texts):
    """Tokens [batch, tokens] as a model writes them, given by their names."""
    rows = [[IDS[word] for word in text] for text in texts]
    longest = max(map(len, rows))
    return torch.tensor([row + [-1] * (longest - len(row)) for row in rows])


def test_labels_are_scored_among_each_other():
    decode = decode_of({"m": " Mary", "j": " John", 3: "Mary"})
    assert decode(scores(["s", "▁John", "▁Mary"], ["Mary", "▁Mary"], ["▁Mary"])) == ["j", 3, "m"]
    assert decode_of(["Mary", "John"])(scores(["▁John"])) == ["John"]
    assert decode_of({0: IDS["▁Mary"], 1: [IDS["▁John"]]}, None)(scores(["▁John"])) == [1]


def test_half_precision_scores_are_compared_as_they_are():
    assert decode_of(["Mary", "John"])(scores(["▁John"]).to(torch.bfloat16)) == ["John"]


def test_the_top_token_may_be_no_label():
    decode = decode_of(TopToken({"Mary": " Mary", "John": " John"}))
    assert decode(scores(["▁John"], ["▁Anna", "▁John"], ["s"])) == ["John", " Anna", "s"]


def test_another_token_with_the_text_of_a_label_is_not_the_label():
    """ "Mary" at the beginning of a text is another token than " Mary", which was asked for."""
    (answer,) = decode_of(TopToken(["Mary"]))(scores(["Mary"]))
    assert answer != "Mary"
    assert "Mary" in answer


@pytest.mark.parametrize("answers", [["Mary", "John"], TopToken(["Mary", "John"])])
def test_training_reads_the_scores_off_decode(answers):
    decode = decode_of(answers)
    given = scores(["▁Mary"], ["▁John"], ["s"]).requires_grad_()
    readout = Readout.of(decode, given, 3)
    compared = readout.scores(given, 3)
    assert compared.requires_grad
    chosen = readout.choices(np.array(["Mary", "John"]))
    assert compared[0].argmax() == chosen[0]
    assert compared[1].argmax() == chosen[1]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (["▁11"], "11"),
        (["▁11", "2"], "▁112"),  # a number that goes on
        (["▁11", ".", "12"], "▁11.12"),  # a fraction
        (["▁11", ",", "1"], "▁11,1"),
        (["▁11", ".", "▁and"], "11"),  # the end of a sentence
        (["▁11", "s"], "▁11s"),
        (["▁11", "▁and"], "11"),
        (["▁11", "="], "11"),
        (["▁11", "+", "1"], "11"),
        (["▁", "11"], None),  # the same text of other tokens is not the label
        (["=", "▁11"], "=▁11"),  # contained is not said
        (["▁New"], "New"),
        (["▁New", "▁York"], "New York"),  # the longest
        (["▁New", "▁York", "s"], "New"),  # "New Yorks" goes on with a word after "New"
        (["▁Mary", "s"], "▁Marys"),
        ([], ""),
    ],
)
def test_a_label_is_written_token_by_token(text, answer):
    decode = decode_of(Generated(["11", "New", "New York", "Mary", "Anna"]))
    (found,) = decode(written(text))
    if answer is None:
        assert found not in decode.labels
    else:
        assert found == answer.replace("▁", " ")


def test_a_label_of_several_tokens():
    decode = decode_of(Generated({112: " 112", 11: " 11", 1112: " 1112"}))
    assert decode.ids == ((IDS["▁11"], IDS["2"]), (IDS["▁11"],), (IDS["▁11"], IDS["12"]))
    assert decode.tokens == 4
    rows = written(["▁11", "2", "▁and"], ["▁11", "▁and"], ["▁11", "2", "0"], ["▁11", "12"], ["▁11", "2"])
    assert decode(rows) == [112, 11, " 1120", 1112, 112]


def test_a_letter_of_which_bytes_are_missing_goes_on():
    class Bytes:
        def __call__(self, texts, **_):
            return {"input_ids": [list(text.encode()) for text in texts]}

        def decode(self, ids, **_):
            return bytes(ids).decode(errors="replace")

    problems = []
    decode = answers_of(Generated({"Ren": "Ren"}), Bytes(), 256, problems)
    assert decode(torch.tensor([list("René".encode())[:4]])) != ["Ren"]
    assert decode(torch.tensor([list(b"Ren ")])) == ["Ren"]
    assert decode(torch.tensor([list("Ren…".encode())[:6]])) == ["Ren"]


@pytest.mark.parametrize(
    ("answers", "messages"),
    [
        ("Mary", ["given 'Mary'"]),
        (3, ["answers must be for each label its text"]),
        ({}, ["given {}"]),
        (["Mary"], ["must be at least 2"]),
        ({"a": " 112", "b": " Mary", "c": " Marys"}, ["'a' is ['▁11', '2']; 'c' is ['▁Mary', 's']; take other texts"]),
        ({"a": " Mary", "b": " Mary", "c": " John"}, ["'a' and 'b' are the same tokens ['▁Mary']"]),
        ({"a": " Mary", "b": ""}, ["'b' must be some of the model's 48 tokens; '' is ()"]),
        ({"a": " Mary", "b": 99}, ["99 is (99,)"]),
        ({"a": " Mary", "b": 1.5}, ["1.5 is ()"]),
        (["Mary", "Bob"], ["'Bob', ' Bob', has tokens unknown to the tokenizer: ['[UNK]']"]),
        (["Bob", "112"], ["'Bob'", "'112' is"]),
        (Generated(["112"], tokens=2), ["tokens must be more than the 2"]),
        (Generated(["112"], tokens=0), ["tokens must be a whole number"]),
    ],
)
def test_answers_that_cannot_be(answers, messages):
    problems = problems_of(answers)
    assert len(problems) == len(messages)
    for problem, message in zip(problems, messages, strict=True):
        assert message in problem


def test_texts_need_a_tokenizer():
    assert len(problems_of(["Mary", "John"], None)) == 2
    assert "need the tokenizer" in problems_of(Generated({"a": 3}), None)[0]


@pytest.fixture(scope="module")
def models():
    return {family: families.model(family) for family in families.FAMILIES}


def generating(model, prompts="{x}", **options):
    return language(model, TOKENIZER, prompts=prompts, answers=Generated(NUMBERS, **options))


@torch.no_grad()
def by_hand(model, ids, tokens):
    """Greedy writing of one prompt without padding and without a cache."""
    ids, new = list(ids), []
    while len(new) < tokens:
        new.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        if new[-1] == families.EOS:
            return new[:-1] + [-1] * (tokens - len(new) + 1)
        ids.append(new[-1])
    return new


@pytest.mark.parametrize("family", families.CAUSAL)
def test_generation_of_a_padded_batch_is_that_of_each_prompt(models, family):
    model = models[family]
    made = generating(model, tokens=6)
    call = made.encode(BATCH)
    with torch.no_grad():
        found = made.finish(call, model(**call)).tolist()
    prompts = [TOKENIZER(x)["input_ids"] for x in BATCH["x"]]
    assert [row + [-1] * (6 - len(row)) for row in found] == [by_hand(model, ids, 6) for ids in prompts]
    assert len({tuple(row) for row in found}) > 1


def test_generation_stops_at_the_end_of_the_text(models):
    """The likeliest token is made to be the end of the text."""
    model = families.model("llama")
    made = generating(model, tokens=6)
    call = made.encode(BATCH)
    first = by_hand(model, TOKENIZER(str(BATCH["x"][0]))["input_ids"], 1)[0]
    made = language(model, TOKENIZER, prompts="{x}", answers=Generated(NUMBERS, tokens=6))
    stopped = Continued(model, 6, (first,))
    with torch.no_grad():
        rows = stopped(call, model(**call)).tolist()
    assert rows[0] == [-1] * len(rows[0])
    calls = []
    with model.register_forward_hook(lambda *_: calls.append(1)), torch.no_grad():
        everything = Continued(model, 6, tuple(range(families.VOCABULARY)))
        assert everything(call, model(**call)).tolist() == [[-1]] * 4
    assert len(calls) == 1  # only the prompt's


def test_a_patch_in_the_prompt_stays_in_force_while_writing(models):
    """All of the source's first layer at every position, so that what is written is what the source's prompt writes."""
    model = models["qwen2"]
    made = generating(model, tokens=5)
    network = cm.Network(model, encode=made.encode, decode=lambda x: [str(r) for r in x.tolist()], finish=made.finish)
    base, source = {"x": np.array(["Mary and John"])}, {"x": np.array(["Mary gave 11"])}
    own, other = network.run(base)[0], network.run(source)[0]
    assert own != other
    words = cm.Feature(network.site("model.embed_tokens"))
    assert network.interchange(base, {words: source})[0] == other


def test_rebound_writes_with_the_other_model(models):
    made = generating(models["llama"], tokens=6)
    model = families.model("llama", seed=5)
    call = made.encode(BATCH)
    with torch.no_grad():
        ours, theirs = made.finish(call, models["llama"](**call)), made.finish.rebound(model)(call, model(**call))
    assert theirs[2].tolist() == by_hand(model, TOKENIZER("11")["input_ids"], 6)
    assert ours.tolist() != theirs.tolist()


def test_the_whole_way_through_a_network(models):
    """For each kind of answer, labels of a batch are those of its rows."""
    for family, answers in [
        ("gpt2", ["Mary", "John"]),
        ("phi3", TopToken(["Mary", "John"])),
        ("gemma2", Generated(["Mary", "John"])),
    ]:
        made = language(models[family], TOKENIZER, prompts="{x} to", answers=answers)
        network = cm.Network(models[family], encode=made.encode, decode=made.decode, finish=made.finish, positions=made.positions)
        assert network.run(BATCH).tolist() == [network.run({"x": x}) for x in BATCH["x"].tolist()]


@pytest.mark.parametrize(
    ("family", "options", "messages"),
    [
        ("gpt2", {"padding": "top"}, ["padding must be 'left' or 'right'"]),
        ("gpt2", {"prompts": 3}, ["prompts must be a template or a function"]),
        (
            "gpt2",
            {"prompts": "{} x", "answers": ["Bob", "112"], "padding": 3},
            ["must be named", "'Bob'", "single tokens", "padding"],
        ),
        ("gpt2", {"answers": Generated(["11"]), "padding": "right"}, ["pad on the left"]),
        ("gpt2", {"tokenizer": "gpt2"}, ["tokenizer must be one of transformers, or None; given str"]),
        ("gpt2", {"tokenizer": None, "answers": {0: 3, 1: 4}}, ["a template makes texts; give their tokenizer"]),
        ("bert", {}, ["BertForMaskedLM answers at a mask token; give a tokenizer that has one"]),
        ("bert", {"answers": Generated(["11"]), "tokenizer": families.tokenizer(encoder=True)}, ["does not write"]),
    ],
)
def test_all_that_is_wrong_is_told_at_once(models, family, options, messages):
    given = {"tokenizer": TOKENIZER, "prompts": "{x}", "answers": ["Mary", "John"], **options}
    with pytest.raises(NetworkError, match="a network from transformers") as error:
        language(models[family], given.pop("tokenizer"), **given)
    assert all(message in str(error.value) for message in messages)
    if len(messages) > 1:
        assert f"{len(messages)} problems" in str(error.value)


def test_models_that_are_no_language_models(models):
    for model, message in [
        (nn.Linear(2, 2), "given Linear"),
        (models["gpt2"].transformer, "GPT2Model has no language-model head"),
    ]:
        with pytest.raises(NetworkError, match=message):
            language(model, TOKENIZER, prompts="{x}", answers=["Mary", "John"])


def test_a_masked_model_answers_at_its_mask(models):
    tokenizer = families.tokenizer(encoder=True)
    made = language(models["bert"], tokenizer, prompts="{x}[MASK] gave", answers=["Mary", "John"])
    call = made.encode(BATCH)
    with torch.no_grad():
        output = models["bert"](**call)
    columns = [row.index(families.MASK) for row in call["input_ids"].tolist()]
    assert torch.equal(made.finish(call, output), output.logits[torch.arange(4), columns])
    without = language(models["bert"], tokenizer, prompts="{x} gave", answers=["Mary", "John"])
    with pytest.raises(NetworkError, match="row 0 has 0 mask tokens"):
        without.finish(without.encode(BATCH), output)


def test_marks_and_answers_of_a_function(models):
    def prompt(setting):
        return Prompt.filled("{subject} and", {"subject": setting["x"]})

    made = language(models["llama"], TOKENIZER, prompts=prompt, answers=["Mary", "John"])
    assert made.positions["subject"](BATCH).tolist() == [len(TOKENIZER(x)["input_ids"]) - 1 for x in BATCH["x"]]
    assert isinstance(generating(models["llama"]).decode, Written)


def test_a_trained_model_with_the_tokenizer_of_llama(shared_models):
    """Its tokenizer puts a space before all texts, cuts "girl" into three tokens and gives prompts a first token."""
    model, tokenizer = families.stories(shared_models / "stories260K")
    made = language(
        model,
        tokenizer,
        prompts="{start} there was a {who} named",
        answers=Generated(["Lily", "Li", "Tim", "Timmy"]),
    )
    assert made.decode.ids[0] == tuple(tokenizer.convert_tokens_to_ids(["▁Lily"]))
    batch = {"start": np.array(["Once upon a time,", "One day", "Once"]), "who": np.array(["little girl", "boy", "big girl"])}
    network = cm.Network(model, encode=made.encode, decode=made.decode, finish=made.finish, positions=made.positions)
    assert network.run(batch).tolist() == ["Lily", "Timmy", "Lily"]
    shorter = answers_of(Generated(["Lily", "Li", "Tim"]), tokenizer, 512, [])
    assert shorter(made.finish(made.encode(batch), model(**made.encode(batch)))).count("Tim") == 0
    texts = [f"{start} there was a {who} named" for start, who in zip(*batch.values(), strict=True)]
    for name, piece in [("who", ["l", "y", "l"]), ("end", ["▁named"] * 3)]:
        places = made.positions[name](batch)
        tokens = [tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])[i] for text, i in zip(texts, places, strict=True)]
        assert tokens == piece
    call = made.encode(batch)
    with torch.no_grad():
        together = made.finish(call, model(**call)).tolist()
        assert together == [by_hand(model, tokenizer(text)["input_ids"], len(together[0])) for text in texts]
    scored = language(model, tokenizer, prompts=made.encode.made, answers=["Lily", "Tim"])
    assert scored.decode.ids == tuple(tokenizer.convert_tokens_to_ids(["▁Lily", "▁Tim"]))


def test_answers_to_a_sum_do_not_begin_with_a_space(shared_models):
    _, tokenizer = families.stories(shared_models / "stories260K")
    problems = []
    decode = answers_of(Generated({11: "11", 1: "1"}), tokenizer, 512, problems)
    one = tokenizer.convert_tokens_to_ids("1")
    assert decode.ids == ((one, one), (one,))
    assert decode(torch.tensor([[one, one, -1], [one, -1, -1], [one, one, one]])) == [11, 1, "111"]
