import numpy as np
import pytest
import torch

import commute as cm
from commute.models.decoding import Readout

LOGITS = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
POSITIONS = torch.randn(5, 3, 7, generator=torch.Generator().manual_seed(1))
NAMES = np.array(["w", "x", "y", "z"])


@pytest.mark.parametrize(
    ("decode", "output", "scores", "labels"),
    [
        (lambda x: x.argmax(-1), LOGITS, LOGITS, (0, 1, 2, 3)),
        (lambda x: torch.argmax(x, dim=1).tolist(), LOGITS, LOGITS, (0, 1, 2, 3)),
        (lambda x: NAMES[x.argmax(-1).numpy()], LOGITS, LOGITS, ("w", "x", "y", "z")),
        (lambda x: [(int(i), "!") for i in x.argmax(-1)], LOGITS, LOGITS, tuple((i, "!") for i in range(4))),
        (lambda x: x[:, -1, :5].argmax(-1) + 10, POSITIONS, POSITIONS[:, -1, :5], (10, 11, 12, 13, 14)),
        (lambda x: x["logits"].argmax(-1), {"logits": LOGITS}, LOGITS, (0, 1, 2, 3)),
        (lambda x: x[:, :2].argmax(-1).bool(), LOGITS, LOGITS[:, :2], (False, True)),
        (lambda x: x[:, 0] > 1.5, LOGITS, torch.stack([torch.zeros(5), LOGITS[:, 0] - 1.5], -1), (False, True)),
        (lambda x: x[:, 0] < x[:, 1], LOGITS, torch.stack([torch.zeros(5), LOGITS[:, 1] - LOGITS[:, 0]], -1), (False, True)),
        (lambda x: NAMES[(x[:, 0] >= 0).long()], LOGITS, torch.stack([LOGITS[:, 0], torch.zeros(5)], -1), ("x", "w")),
    ],
)
def test_the_decision_is_read_off_decode(decode, output, scores, labels):
    readout = Readout.of(decode, output, 5)
    assert torch.equal(readout.scores(output, 5), scores)
    assert readout.labels == labels
    chosen = [labels[i] for i in readout.scores(output, 5).argmax(-1)]
    assert chosen == (decode(output).tolist() if hasattr(decode(output), "tolist") else decode(output))


@pytest.mark.parametrize("compare", [torch.gt, torch.ge, torch.lt, torch.le])
def test_equal_scores_are_decided_as_decode_decides(compare):
    output = torch.tensor([-1.0, 0.0, 1.0])
    readout = Readout.of(lambda x: compare(x, 0), output, 3)
    assert [readout.labels[i] for i in readout.scores(output, 3).argmax(-1)] == compare(output, 0).tolist()


def test_choices_with_one_label_are_one_class():
    assert Readout.of(lambda x: NAMES[x.argmax(-1) // 2], LOGITS, 5).classes.tolist() == [0, 0, 2, 2]


def test_scores_carry_gradients():
    logits = LOGITS.clone().requires_grad_()
    readout = Readout.of(lambda x: x.argmax(-1), LOGITS, 5)
    readout.scores(logits, 5).sum().backward()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "decode",
    [lambda x: x.numpy().argmax(-1), lambda x: x[:, 0], lambda x: (x > 0).any(-1), lambda x: (x[:, 0] > 0) & (x[:, 1] > 0)],
)
def test_a_decode_without_one_decision_a_row_is_an_error(decode):
    with pytest.raises(cm.CommuteError, match="one decision a row"):
        Readout.of(decode, LOGITS, 5)


def test_an_answer_that_decode_cannot_give_is_an_error():
    readout = Readout.of(lambda x: NAMES[x.argmax(-1) // 2], LOGITS, 5)
    with pytest.raises(cm.CommuteError, match="'z', but decode never returns it; it returns 'w', 'x'"):
        readout.choices(np.array(["z"]))
    with pytest.raises(cm.CommuteError, match="'w', but decode returns it for 2 choices"):
        readout.choices(np.array(["w"]))
