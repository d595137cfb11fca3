"""Tables through the commands: the same row has the same answer whatever else its file holds, and all is said."""

from pathlib import Path

import numpy as np
import pytest

from blockprop.blocks import Linear
from blockprop.cli import main
from blockprop.engine.sequential import Sequential
from blockprop.saving.storage import save
from tests.commands.running import Output, run_json, sentence


def answers(result: dict) -> list[dict]:
    return [{guess["class"]: guess["probability"] for guess in row["classes"]} for row in result["predictions"]]


def test_a_truth_value_alone_is_what_it_is_beside_a_word(capsys: Output) -> None:
    Path("train.csv").write_text("smoker,kind\n" + "true,ill\nfalse,well\nunknown,well\n" * 60)
    run_json(capsys, "train", "train.csv", "--out", "net.safetensors", "--epochs", "10")
    files = {"one": "true\n", "two": "true\nunknown\n", "capitals": "TRUE\nfalse\n", "number": "True\n1\n"}
    for name, cells in files.items():
        Path(f"{name}.csv").write_text("smoker\n" + cells)
    first = [answers(run_json(capsys, "predict", "net.safetensors", f"{name}.csv"))[0] for name in files]
    assert first[0]["ill"] > 0.9
    assert first == [pytest.approx(first[0])] * 4
    Path("new.csv").write_text("smoker,kind\ntrue,ill\nfalse,well\n")
    assert run_json(capsys, "evaluate", "net.safetensors", "new.csv")["accuracy"] == 1


def sizes(mark: str = ".") -> str:
    values = np.random.default_rng(0).uniform(0, 100, 400).round(2)
    return "size;kind\n" + "".join(f"{value:.2f};{'high' if value > 50 else 'low'}\n" for value in values).replace(
        ".", mark
    )


def test_one_odd_cell_among_numbers_costs_nothing_and_is_said(capsys: Output) -> None:
    Path("clean.csv").write_text(sizes())
    lines = sizes().splitlines()
    lines[6] = "?;low"
    lines[99] = "4O.2;low"
    Path("marks.csv").write_text("\n".join(lines))
    clean, marks = (run_json(capsys, "train", f"{name}.csv") for name in ("clean", "marks"))
    assert marks["accuracy"] == pytest.approx(clean["accuracy"], abs=0.05)
    assert "size: '?' is no number and counts as missing (row 7)" in marks["notes"]
    assert "size: '4O.2' is no number and counts as missing (row 100)" in marks["notes"]
    assert marks["columns"][0]["missing"] in (1, 2)  # of the rows that it was trained on


def test_decimal_commas_are_the_same_numbers(capsys: Output) -> None:
    Path("en.csv").write_text(sizes("."))
    Path("de.csv").write_text(sizes(","))
    en, de = (run_json(capsys, "train", f"{name}.csv", "--out", f"{name}.safetensors") for name in ("en", "de"))
    assert de["test_loss"] == en["test_loss"]
    Path("new.csv").write_text("size\n40.25\n")
    told = sentence(capsys, "predict", "de.safetensors", "new.csv")
    assert "size: '40.25' (row 2) has a decimal point, and the numbers in this column have a decimal comma" in told


def test_every_row_has_its_prediction_in_its_place(capsys: Output) -> None:
    Path("train.csv").write_text("a,b,kind\n" + "1,x,u\n2,y,v\n3,y,v\n" * 20)
    run_json(capsys, "train", "train.csv", "--out", "net.safetensors")
    Path("new.csv").write_text("# new\nb,a,kind\n\nx,1,u\n,,\nz,odd,\n,3,v\ny,2,v\n")
    result = run_json(capsys, "predict", "net.safetensors", "new.csv")
    assert [row["example"] for row in result["predictions"]] == [f"new.csv:{row}" for row in (4, 5, 6, 7, 8)]
    assert result["notes"] == [
        "new.csv: row 1: taken for comments, because of the #",
        "a: 'odd' is no number and counts as missing (row 6)",
        "a: nothing stands in row 5, as never in training; that counts as the average",
        "b: 'z' was never seen (row 6)",
        "b: nothing stands in rows 5 and 7, as never in training; that counts as the average",
    ]
    tested = run_json(capsys, "evaluate", "net.safetensors", "new.csv")
    assert tested["examples"] == 3
    assert tested["notes"][1] == "kind: no label in rows 5 and 6: left out"


def test_train_shows_what_the_columns_became_and_info_repeats_it(capsys: Output) -> None:
    rows = "".join(f"{i},{i % 7 + 0.5} kg,{'red' if i % 2 else 'blue'},n{i},{i % 7}\n" for i in range(60))
    Path("train.csv").write_text("id,weight,color,name,price\n" + rows)
    assert main(["train", "train.csv", "--epochs", "1", "--test-fraction", "0"]) == 0
    printed = capsys.readouterr()
    table = [
        "column  becomes                                     missing",
        "id      number, 29.5 ± 17.32",
        "weight  number in kg, 3.4 ± 1.989",
        "color   2 categories: blue, red",
        "name    left out: 60 different texts in 60 rows",
        "price   to predict: 7 classes: 0, 1, 2, 3, 4, 5, 6",
    ]
    assert printed.out.splitlines()[:6] == table
    assert "id: it seems to number the rows; --drop id leaves it out" in " ".join(printed.err.split())
    assert main(["info", "network.safetensors"]) == 0
    shown = capsys.readouterr().out
    assert "\n".join(table) in shown
    assert "id: it seems to number the rows" in shown
    assert run_json(capsys, "info", "network.safetensors")["columns"][3]["kind"] == "left out"


def test_columns_as_people_want_them(capsys: Output) -> None:
    rows = "".join(f"{i},0{i % 5}7,{i % 3},{i % 7 * 0.5}\n" for i in range(60))
    Path("train.csv").write_text("id,code,size,price\n" + rows)
    wanted = ["--drop", "id", "--text", "size", "--number", "code"]
    columns = run_json(capsys, "train", "train.csv", "--epochs", "1", *wanted)["columns"]
    assert [column["kind"] for column in columns] == ["left out", "number", "category", "target"]
    kinds = [column["kind"] for column in run_json(capsys, "train", "train.csv", "--epochs", "1")["columns"]]
    assert kinds == ["number", "category", "number", "target"]
    assert "no column 'sise'; did you mean 'size'?" in sentence(capsys, "train", "train.csv", "--drop", "sise")
    assert "'price' is to be predicted" in sentence(capsys, "train", "train.csv", "--drop", "price", "-t", "price")


def test_numbers_that_could_be_two_are_named(capsys: Output) -> None:
    rows = "".join(f'"{i % 9 + 1},{100 + i}",{i % 2}\n' for i in range(60))
    Path("train.csv").write_text("people,rich\n" + rows)
    told = sentence(capsys, "train", "train.csv")
    assert "people: '1,100' (row 2) may be 1100 or 1.1; say which with --decimal point or --decimal comma" in told
    for mark, mean in (("point", 4979.5), ("comma", 4.9795)):
        result = run_json(capsys, "train", "train.csv", "--decimal", mark, "--epochs", "1", "--test-fraction", "0")
        assert f"{mean:.6g} ±" in result["columns"][0]["becomes"]


def test_a_file_without_names_loses_no_example(capsys: Output) -> None:
    rows = [f"{5 + i % 3}.{i % 10},{i % 4}.5,{'setosa' if i % 3 else 'virginica'}" for i in range(30)]
    Path("train.csv").write_text("\n".join(rows))
    assert main(["train", "train.csv", "--test-fraction", "0", "--validation-fraction", "0"]) == 0
    printed = capsys.readouterr()
    assert "training examples         30" in printed.out
    assert "is taken for an example, not for names; --header takes it for names" in printed.err
    Path("new.csv").write_text("6.3,2.5\n7.1,0.5\n")
    found = run_json(capsys, "predict", "network.safetensors", "new.csv")["predictions"]
    assert [row["example"] for row in found] == ["new.csv:1", "new.csv:2"]
    tested = run_json(capsys, "evaluate", "network.safetensors", "train.csv")
    assert tested["examples"] == 30


def test_training_goes_on_with_the_same_meaning_of_cells(capsys: Output) -> None:
    Path("first.csv").write_text("a,kind\n" + "1,x\n3,y\n" * 30)
    Path("second.csv").write_text("a,kind\n" + "1,x\n2,x\n5,y\n" * 30)
    run_json(capsys, "train", "first.csv", "--out", "net.safetensors", "--epochs", "1")
    again = ["train", "second.csv", "--network", "net.safetensors", "--epochs", "1"]
    first, second = (run_json(capsys, "info", "net.safetensors")["columns"], run_json(capsys, *again)["columns"])
    assert first == second
    assert "the network settles what the columns are" in sentence(capsys, *again, "--drop", "a")


def test_evaluate_and_predict_agree_on_every_row(capsys: Output) -> None:
    generator = np.random.default_rng(1)
    kinds = ["12", "3,5 m", "?", "NA", "yes", "YES", "rot", "2024-01-05", "7.0"]
    Path("train.csv").write_text("a;b;kind\n" + "".join(f"{i % 9};{'ab'[i % 2]};{'uv'[i % 2]}\n" for i in range(90)))
    run_json(capsys, "train", "train.csv", "--out", "net.safetensors", "--epochs", "2")
    rows = [f"{generator.choice(kinds)};{generator.choice(kinds)};{generator.choice(['u', 'v'])}" for _ in range(40)]
    Path("new.csv").write_text("a;b;kind\n" + "\n".join(row.replace("3,5 m", "3 m") for row in rows))
    said = answers(run_json(capsys, "predict", "net.safetensors", "new.csv"))
    right = [max(shares, key=shares.get) == row[-1] for shares, row in zip(said, rows, strict=True)]
    assert run_json(capsys, "evaluate", "net.safetensors", "new.csv")["accuracy"] == pytest.approx(np.mean(right))


def test_other_classes_go_on_from_the_same_columns(capsys: Output) -> None:
    Path("first.csv").write_text("a,b,kind\n" + "1,u,x\n3,v,y\n" * 30)
    Path("second.csv").write_text("a,b,kind\n" + "2,u,p\n5,v,q\n4,w,r\n" * 30)
    run_json(capsys, "train", "first.csv", "--out", "net.safetensors", "--epochs", "1")
    result = run_json(capsys, "train", "second.csv", "--network", "net.safetensors", "--epochs", "1")
    assert [column["becomes"] for column in result["columns"]] == [
        "number, 2 ± 1",
        "2 categories: u, v",
        "to predict: 3 classes: p, q, r",
    ]
    assert any(note.startswith("b: 'w' was never seen (rows 4, 7, 10") for note in result["notes"])
    assert run_json(capsys, "evaluate", "network.safetensors", "second.csv")["part"] == "held out in training"


def test_a_network_that_does_not_know_columns_takes_no_table(capsys: Output) -> None:
    save(Sequential(Linear(1, 2)), "net.safetensors")
    Path("new.csv").write_text("a,kind\n1,u\n2,v\n")
    for command in ("predict", "evaluate"):
        told = sentence(capsys, command, "net.safetensors", "new.csv")
        assert "the network does not say how a table's columns become numbers" in told


def test_several_tables_are_told_apart(capsys: Output) -> None:
    Path("train.csv").write_text("a,kind\n" + "x,u\ny,v\n" * 20)
    run_json(capsys, "train", "train.csv", "--out", "net.safetensors", "--epochs", "1")
    for name in ("one", "two"):
        Path(f"{name}.csv").write_text(f"a\nx\n{name}\n")
    result = run_json(capsys, "predict", "net.safetensors", "one.csv", "two.csv")
    assert result["notes"] == [f"{name}.csv: a: '{name}' was never seen (row 3)" for name in ("one", "two")]
    assert [row["example"] for row in result["predictions"]] == ["one.csv:2", "one.csv:3", "two.csv:2", "two.csv:3"]


def test_numbers_to_predict_are_numbers_in_every_file(capsys: Output) -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    np.savez("train.npz", x=x, y=x.sum(1))
    run_json(capsys, "train", "train.npz", "--out", "net.safetensors", "--epochs", "2")
    np.savez("new.npz", x=x[:8], y=np.array([1.0, 2.0] * 4))
    assert "accuracy" not in run_json(capsys, "evaluate", "net.safetensors", "new.npz")
