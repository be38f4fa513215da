"""Checkpoints: whole or not there, and everything comes back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from SPRCore.errors import InputError, OutputError
from SPRCore.training.state import (
    Checkpoint,
    RunningMean,
    list_checkpoints,
    optimiser_tensors,
    read_checkpoint,
    remove_partial_files,
    restore_optimiser,
    write_checkpoint,
)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2))


def stepped(net, steps=3, optimiser=None):
    optimiser = optimiser or torch.optim.Adam(net.parameters(), lr=0.1, amsgrad=True)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimiser.zero_grad()
        net(torch.rand(2, 1, 4, 4, 4, generator=generator)).square().mean().backward()
        optimiser.step()
    return optimiser


def test_everything_comes_back(tmp_path):
    net = network()
    optimiser = stepped(net)
    tensors = {"network": net.state_dict(), "optimiser": optimiser_tensors(optimiser)}
    facts = {"best": -0.1 + 1e-17, "sums": {"loss": 1.25}}
    path = write_checkpoint(tmp_path, Checkpoint(step=3, tensors=tensors, facts=facts), keep=1)
    found = read_checkpoint(path)
    assert (found.step, found.facts) == (3, facts)
    other = network(1)
    other.load_state_dict(found.tensors["network"])
    again = torch.optim.Adam(other.parameters(), lr=0.1, amsgrad=True)
    restore_optimiser(again, found.tensors["optimiser"])
    stepped(net, 2, optimiser)
    stepped(other, 2, again)
    for name, value in net.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_a_fresh_optimiser_has_nothing_to_keep(tmp_path):
    net = network()
    optimiser = torch.optim.Adam(net.parameters())
    assert optimiser_tensors(optimiser) == {}
    restore_optimiser(optimiser, {})
    stepped(net, 1, optimiser)


def test_older_checkpoints_go(tmp_path):
    tensors = {"network": network().state_dict()}
    for step in (9, 10, 100):
        write_checkpoint(tmp_path, Checkpoint(step=step, tensors=tensors), keep=2)
    assert [read_checkpoint(path).step for path in list_checkpoints(tmp_path)] == [10, 100]


def test_half_a_file_is_never_seen(tmp_path, monkeypatch):
    import safetensors.torch

    tensors = {"network": network().state_dict()}
    write_checkpoint(tmp_path, Checkpoint(step=1, tensors=tensors), keep=1)

    def dies(flat, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", dies)
    with pytest.raises(OutputError, match="No space"):
        write_checkpoint(tmp_path, Checkpoint(step=2, tensors=tensors), keep=1)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["000000001.safetensors"]


def test_what_a_killed_process_left_is_swept(tmp_path):
    write_checkpoint(tmp_path, Checkpoint(step=1, tensors={"network": network().state_dict()}), keep=1)
    for place in (tmp_path, tmp_path / "checkpoints"):
        (place / ".partial-x").mkdir()
        (place / ".partial-x" / "000000002.safetensors").write_bytes(b"half")
    remove_partial_files(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["000000001.safetensors", "checkpoints"]


def damaged(path, kind):
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif kind == "other":
        path.write_bytes(b"\x80\x04not a checkpoint but a pickle")
    else:
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(1)}, path, metadata={"state": kind} if kind != "bare" else None)


@pytest.mark.parametrize("kind", ["cut", "other", "bare", "no json", "[]", '{"schema": 99, "step": 1}'])
def test_damage_is_reported_in_one_line(tmp_path, kind):
    path = write_checkpoint(tmp_path, Checkpoint(step=1, tensors={"network": network().state_dict()}), keep=1)
    damaged(path, kind)
    with pytest.raises(InputError, match="000000001") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_an_optimiser_of_other_parameters_is_refused():
    kept = optimiser_tensors(stepped(network()))
    other = torch.optim.Adam(nn.Conv3d(1, 3, 3).parameters())
    with pytest.raises(InputError, match="another parameter"):
        restore_optimiser(other, kept)


def test_the_running_mean_follows_the_weights_and_forgets_the_start():
    net = network()
    mean = RunningMean(net, 0.9)
    start = net[0].weight.detach().clone()
    with torch.no_grad():
        for step in range(1, 200):
            net[0].weight.copy_(start + 1.0)
            net[1].running_mean.fill_(float(step))
            mean.update(net, step)
            if step == 1:
                torch.testing.assert_close(mean.network[0].weight, start + (1 - 2 / 11))
    torch.testing.assert_close(mean.network[0].weight, start + 1.0)
    assert float(mean.network[1].running_mean[0]) == 199.0  # statistics are taken as they are
    assert not any(parameter.requires_grad for parameter in mean.network.parameters())
    assert not mean.network.training
