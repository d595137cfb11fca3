"""Damaged files end in a sentence or a result, soon and in little memory; `bench/trust.py files` tries far more."""

from tests.trust.damaged_runs import tried

CASES = 320


def test_damaged_files_of_every_kind() -> None:
    found = list(tried(range(CASES), seed=1))
    assert len(found) == CASES
    faults = [case for case in found if case.fault]
    assert not faults, "\n".join(map(str, faults))
    by_kind = {kind: [case for case in found if case.kind.startswith(f"{kind},")] for kind in found_kinds(found)}
    assert len(by_kind) == 16
    for kind, cases in by_kind.items():
        assert any(case.came for case in cases), f"no damage to {kind} was noticed"
    assert sum(not case.came for case in found) > CASES // 20, "the damage is too large to reach far"


def found_kinds(found: list) -> set[str]:
    return {case.kind.split(",")[0] for case in found}
