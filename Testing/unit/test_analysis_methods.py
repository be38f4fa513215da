"""Methods and lists of pairs as users write them."""

from __future__ import annotations

import pytest

from SPRCore.analysis.methods import parse_methods
from SPRCore.baselines import BASELINES
from SPRCore.errors import InputError
from SPRCore.io import write_bundle
from SPRCore.io.bundles import Bundle
from SPRCore.io.pairs import load_pair, read_pairs
from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior, UniformPrior


@pytest.fixture
def bundle(tmp_path, tiny_network, card_for):
    """A bundle of a hyper model with alpha and lambda_max in 0.1 to 4."""
    network = tiny_network("hyper-voxelmorph")
    path = tmp_path / "m.sprmodel.safetensors"
    card = card_for(network, name="tiny")
    write_bundle(Bundle(card=card, tensors=dict(network.state_dict())), path)
    return path


@pytest.mark.parametrize(
    ("text", "label", "prior"),
    [
        ("instance", "instance", BetaPrior()),
        ("instance@alpha=0.2,lambda_max=3", "instance@alpha=0.2,lambda_max=3", BetaPrior(alpha=0.2, lambda_max=3.0)),
        ("soft=instance@sigma=0.1", "soft", GaussianPrior(sigma=0.1)),
        ("tv=instance@tv=0.1", "tv", TotalVariationPrior(tv=0.1)),
        ("tv=instance@lambda_max=10,tv=0.1", "tv", TotalVariationPrior(tv=0.1, lambda_max=10.0)),
        ("instance@lambda_max=10", "instance@lambda_max=10", BetaPrior(lambda_max=10.0)),
        ("uniform", "uniform", UniformPrior()),
        ("uniform:0.25", "uniform:0.25", UniformPrior(strength=0.25)),
        ("u=uniform@lambda=2", "u", UniformPrior(strength=2.0)),
    ],
)
def test_the_instance_solver(text, label, prior):
    (method,) = parse_methods([text])
    assert (method.label, method.kind, method.prior, method.model) == (label, "instance", prior, None)


def test_a_list_is_divided_at_commas_but_not_within_values():
    found = parse_methods(["instance@alpha=0.2,lambda_max=3,uniform:1, uniform:2", "instance"])
    assert [method.label for method in found] == [
        "instance@alpha=0.2,lambda_max=3",
        "uniform:1",
        "uniform:2",
        "instance",
    ]


def test_a_model_by_its_path(bundle):
    usual, tuned, refined = parse_methods([f"{bundle},best={bundle}@lambda=2,{bundle}@refine=20"])
    assert (usual.label, usual.kind, usual.path) == ("tiny", "model", bundle)
    assert len(usual.model) == 64
    assert tuned.label == "best"
    assert tuned.setting == {"prior": "uniform", "lambda": 2.0}
    assert (refined.label, refined.refine) == ("tiny@refine=20", 20)
    assert refined.setting["refine"] == 20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "got none"),
        ("instance,instance", "two called 'instance'"),
        ("nonsense", "syn, syn-cc"),
        ("instance@alpha=x", "a number"),
        ("instance@alpha=1@lambda_max=2", "alpha=1@lambda_max=2"),
        ("instance@alpha=0.1,sigma=2", "no one prior"),
        ("instance@alpha=0.1,tv=2", "no one prior"),
        ("instance@alpha=-1", "alpha"),
        ("instance@tv=0", "tv"),
        ("instance@refine=3", "refine"),
        ("uniform:many", "a number"),
        ("instance@lambdamax=1", "lambda_max"),
    ],
)
def test_wrong_words_are_told(text, words):
    with pytest.raises(InputError, match=words):
        parse_methods([text])


def test_a_value_that_a_model_does_not_take(bundle):
    with pytest.raises(InputError, match=r"0\.1 to 4"):
        parse_methods([f"{bundle}@lambda=9"])
    with pytest.raises(InputError, match="alpha"):
        parse_methods([f"{bundle}@alpha=1"])


def test_a_baseline_that_is_not_installed_is_told_before_anything_runs(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"SPRCore\[baselines\]"):
        parse_methods(["instance,syn"])


def test_no_values_for_a_baseline():
    with pytest.raises(InputError, match="baseline"):
        parse_methods(["syn@alpha=1"])


def test_the_setting_of_a_baseline_is_saved():
    assert BASELINES["syn-cc"].iterations == (100, 70, 50, 20)


@pytest.fixture
def listed(tmp_path):
    """Write a list of pairs and the files it names."""
    for name in "fmabk":
        (tmp_path / f"{name}.nii.gz").touch()

    def write(text):
        path = tmp_path / "list.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_list_of_pairs(listed, tmp_path):
    path = listed(
        "pair, subject,group,fixed,moving,fixed_labels,moving_labels,fixed_mask\n"
        '"one, there",s1,there,f.nii.gz,m.nii.gz,a.nii.gz,b.nii.gz,k.nii.gz\n'
        f"back,s1,back,{tmp_path}/m.nii.gz,f.nii.gz,,,\n"
    )
    one, back = read_pairs(path)
    assert (one.pair, one.subject, one.group) == ("one, there", "s1", "there")
    assert one.fixed == tmp_path / "f.nii.gz"
    assert one.fixed_mask == tmp_path / "k.nii.gz"
    assert back.fixed_labels is None
    assert back.digest != one.digest


def test_pairs_without_names_are_called_by_their_number(listed):
    first, second = read_pairs(listed("fixed,moving\nf.nii.gz,m.nii.gz\nm.nii.gz,f.nii.gz\n"))
    assert (first.pair, first.subject, second.pair) == ("1", "1", "2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fixed\nf.nii.gz\n", "no column 'moving'"),
        ("fixed,moving,lables\n", "labels"),
        ("fixed,moving\n", "no pair"),
        ("fixed,moving\nf.nii.gz\n", "line 2, moving"),
        ("fixed,moving\nf.nii.gz,x.nii.gz\n", r"line 2, moving.*x\.nii\.gz"),
        ("fixed,moving,fixed_labels\nf.nii.gz,m.nii.gz,a.nii.gz\n", "labels"),
        ("pair,fixed,moving\nq,f.nii.gz,m.nii.gz\nq,f.nii.gz,m.nii.gz\n", "two pairs called 'q'"),
    ],
)
def test_a_list_that_cannot_be_used(listed, text, words):
    with pytest.raises(InputError, match=words):
        read_pairs(listed(text))


def test_no_list(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_pairs(tmp_path / "list.csv")


def test_an_image_that_is_none_is_told_with_its_name(listed):
    (pair,) = read_pairs(listed("fixed,moving\nf.nii.gz,m.nii.gz\n"))
    with pytest.raises(InputError, match=r"f\.nii\.gz"):
        load_pair(pair)
