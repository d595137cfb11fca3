"""Training: the update, the order of examples, records, averages, augmentation, early stopping."""

import weakref

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Flatten, Linear, ReLU
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy, mean_squared_error
from blockprop.engine.sequential import Sequential
from blockprop.training.batches import batch_sizes, shuffled
from blockprop.training.evaluation import evaluate, predict
from blockprop.training.fit import fit
from tests.training.examples import data, net, noisy_net, same, train


def test_one_step_worked_by_hand() -> None:
    network = Sequential(Linear(1, 1))
    weight, bias = network.parameters.values()
    weight.fill_(2.0)
    bias.fill_(1.0)
    x, y = torch.tensor([[3.0]]), torch.tensor([[5.0]])  # y_hat = 7, L = 4, dL/dy = 4, dL/dw = 12, dL/db = 4
    records = list(fit(network, (x, y), mean_squared_error(), epochs=1, rate=0.125))
    assert [record.value for record in records] == [4.0]
    assert (weight.item(), bias.item()) == (2.0 - 0.125 * 12, 1.0 - 0.125 * 4)


def test_training_learns() -> None:
    network = net()
    records = train(network, epochs=30, rate=0.5)
    assert records[-1].value < 0.3 * records[0].value
    assert evaluate(network, data(200, seed=5), cross_entropy()).accuracy > 0.85


def test_a_whole_run_equals_a_loop_with_autograd() -> None:
    network, (x, y) = net(), data()
    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    for parameter, start in zip(model.parameters(), network.parameters.values(), strict=True):
        parameter.data.copy_(start)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for epoch in (1, 2, 3):
        for rows in shuffled(50, 0, epoch).split(8):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    records = train(network, momentum=0.9)
    assert [r.value for r in records] == pytest.approx(losses, rel=1e-4)
    for parameter, mine in zip(model.parameters(), network.parameters.values(), strict=True):
        torch.testing.assert_close(mine, parameter.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_updating_immediately_gives_the_same_weights(momentum: float) -> None:
    together, immediately = net(), net()
    train(together, momentum=momentum, weight_decay=0.01)
    train(immediately, momentum=momentum, weight_decay=0.01, immediate=True)
    assert same(together, immediately)


def test_updating_immediately_works_with_any_torch_optimizer_and_a_shared_block() -> None:
    def shared() -> Network:
        torch.manual_seed(0)
        fc = Linear(6, 6)
        return Sequential({"a": fc, "relu": ReLU(), "b": fc, "out": Linear(6, 3)})

    together, immediately = shared(), shared()
    train(together, optimizer=torch.optim.Adam)
    train(immediately, optimizer=torch.optim.Adam, immediate=True)
    assert same(together, immediately)


def test_immediately_means_that_one_blocks_gradient_exists_at_a_time() -> None:
    alive: list[int] = []
    most = []

    class Watched(Linear):
        def gradients(self, saved: Tensor, d_y: Tensor) -> dict:
            found = super().gradients(saved, d_y)
            for gradient in found.values():
                alive.append(1)
                _when_gone(gradient, alive)
            most.append(len(alive))
            return found

    def peak(immediate: bool) -> int:
        most.clear()
        network = Sequential(*(Watched(6, 6) for _ in range(6)), Linear(6, 3))
        train(network, epochs=1, immediate=immediate)
        return max(most)

    assert peak(immediate=True) == 2, "weight and bias of one block"
    assert peak(immediate=False) == 12


def _when_gone(tensor: Tensor, alive: list[int]) -> None:
    weakref.finalize(tensor, alive.pop)


def test_torch_optimizers_and_schedulers() -> None:
    network, peer = net(), net()
    records = train(
        network, optimizer=torch.optim.Adam, scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, gamma=0.5)
    )
    assert sorted({r.rate for r in records}, reverse=True) == pytest.approx([1e-3, 5e-4, 2.5e-4])
    train(peer, optimizer=torch.optim.Adam(peer.parameters.values()))
    assert not same(network, peer)
    records = train(
        net(),
        scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 21),
        schedule="step",
    )
    assert records[0].rate == 0.1
    assert records[-1].rate < 0.001
    train(net(), validation=data(20, 3), scheduler=lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0))


def test_records_count_steps_and_epochs() -> None:
    records = train(net(), validation=data(20, 3))
    assert [r.step for r in records] == list(range(1, 22))
    assert [r.epoch for r in records] == [1] * 7 + [2] * 7 + [3] * 7
    assert {r.steps for r in records} == {21}
    assert [r.step for r in records if r.validation_value is not None] == [7, 14, 21]
    assert all(0 <= r.validation_accuracy <= 1 for r in records if r.validation_value is not None)
    assert [r.seconds for r in records] == sorted(r.seconds for r in records)


def test_the_seed_decides_the_order_and_nothing_else_does() -> None:
    first, second, third = net(), net(), net()
    state = torch.get_rng_state()
    train(first, seed=3)
    assert torch.equal(state, torch.get_rng_state()), "the global generator is the user's"
    torch.rand(5)
    train(second, seed=3)
    train(third, seed=4)
    assert same(first, second)
    assert not same(first, third)
    assert sorted(shuffled(50, 3, 1).tolist()) == list(range(50))
    assert shuffled(50, 3, 1).tolist() != shuffled(50, 3, 2).tolist()


def test_a_single_left_over_example_joins_the_batch_before() -> None:
    assert batch_sizes(9, 4) == [4, 5]
    assert batch_sizes(10, 4) == [4, 4, 2]
    assert batch_sizes(1, 4) == [1]
    assert batch_sizes(3, 1) == [1, 1, 1]


def test_early_stopping_goes_back_to_the_best_weights() -> None:
    network, validation = net(), data(20, seed=9)
    records = train(network, epochs=200, rate=2.0, validation=validation, patience=3)
    values = [r.validation_value for r in records if r.validation_value is not None]
    assert len(values) < 200
    assert min(values) < min(values[-3:])
    assert evaluate(network, validation, cross_entropy()).value == pytest.approx(min(values))


def test_only_the_chosen_parameters_change() -> None:
    network, before = net(), net()
    train(network, wrt=["linear2.weight"])
    changed = [name for name, p in network.parameters.items() if not torch.equal(p, before.parameters[name])]
    assert changed == ["linear2.weight"]


def test_batch_norm_statistics_are_learned_and_dropout_is_off_afterwards() -> None:
    network = noisy_net()
    train(network)
    assert network.state["batchnorm1d1.running_mean"].abs().sum() > 0
    x = data()[0]
    assert torch.equal(network(x), network(x))
    assert torch.equal(predict(network, x, batch_size=7), predict(network, x, batch_size=7))


def test_the_average_of_the_weights_is_what_validation_sees_and_what_remains() -> None:
    plain, averaged = noisy_net(), noisy_net()
    states = []
    for _ in fit(plain, data(), cross_entropy(), epochs=3, batch_size=8):
        states.append({name: tensor.clone() for name, tensor in plain.state.items()})
    expected = noisy_net().state
    for step, state in enumerate(states, 1):
        d = min(0.6, (1 + step) / (10 + step))
        expected = {name: d * tensor + (1 - d) * state[name] for name, tensor in expected.items()}
    records = train(averaged, average=0.6, validation=data(20, 3))
    for name, tensor in averaged.state.items():
        assert torch.allclose(tensor, expected[name], atol=1e-6)
    assert not same(averaged, plain)
    found = evaluate(averaged, data(20, 3), cross_entropy())
    assert records[-1].validation_value == pytest.approx(found.value, abs=1e-6)


def test_pictures_are_augmented_anew_in_every_step_and_validation_ones_are_not() -> None:
    seen: list[Tensor] = []

    def darker(x: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(torch.rand(1, generator=generator))
        return x * 0.5

    x = torch.ones(12, 1, 2, 2)
    bright = Sequential(Flatten(), Linear(4, 2))
    values = [
        record.validation_value
        for record in fit(
            bright, (x, torch.zeros(12).long()), cross_entropy(), epochs=2, batch_size=4, augment=[darker],
            validation=(x, torch.zeros(12).long()),
        )
    ]  # fmt: skip
    assert len(seen) == 1 + 6  # one to try
    assert len({float(number) for number in seen[1:]}) == 6
    assert values[-1] == pytest.approx(evaluate(bright, (x, torch.zeros(12).long()), cross_entropy()).value)
