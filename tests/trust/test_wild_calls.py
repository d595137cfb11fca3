"""Whatever a file gives to an operator of torch, the process lives on; `bench/trust.py operators` tries far more."""

from tests.trust.wild_calls import deaths, titles, wild


def test_no_call_ends_the_process() -> None:
    found = list(deaths(0, 8 * len(titles()), seed=1))
    assert not found, "\n".join(map(str, found))


def test_the_calls_reach_the_kernels() -> None:
    among = titles()
    went_well = sum(wild(number, 2, among).run() for number in range(0, 4 * len(among), 7))
    assert went_well > len(among) // 5, "of 4/7 as many calls"
