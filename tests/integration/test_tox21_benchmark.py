"""The benchmark on Tox21 reads, splits and judges as it says."""

import argparse
import gzip
import importlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TABLE = """NR-AR,SR-p53,mol_id,smiles
0,,A,CCO
1,0,B,OCC
,1,C,c1ccccc1C(=O)O
0,0,D,not a molecule
"""
needs_rdkit = pytest.mark.skipif(
    importlib.util.find_spec("rdkit") is None, reason="RDKit is not installed: pip install 'keras_mtl[bench]'"
)


@pytest.fixture
def tox21(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("tox21")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(TABLE.encode()))
    return path


def run_of(tox21, joint, single):
    """A run whose AUC are these, by task, in both parts."""
    kinds = {"joint": joint, "single": single}
    return {kind: {"auc": {part: dict(auc) for part in tox21.PARTS}} for kind, auc in kinds.items()}


def test_an_empty_cell_is_a_missing_label(tox21):
    assert [tox21.label_of(cell) for cell in ("", "0", "1", "1.0")] == [-1, 0, 1, 1]


def test_other_cells_are_refused(tox21):
    with pytest.raises(ValueError, match="A label should be 0, 1 or empty. Received: '2'"):
        tox21.label_of("2")


@needs_rdkit
def test_the_table_is_read(tox21, table):
    assays = tox21.read(table)
    assert assays.names == ("NR_AR", "SR_p53")
    np.testing.assert_array_equal(assays.labels, [[0, -1], [1, 0], [-1, 1]])
    assert assays.num_unreadable == 1
    assert assays.molecules[0] == assays.molecules[1] == "CCO"  # one molecule, written in two ways


@needs_rdkit
def test_features_of_three_molecules(tox21, table):
    patterns, numbers = tox21.features(tox21.read(table).parsed)
    assert patterns.shape == (3, 2048 + 167)
    np.testing.assert_array_equal(patterns[0], patterns[1])
    assert np.exp(patterns[:, :2048]).max() > 2.5  # counts, not bits: atoms of the ring have the same surroundings
    assert set(np.unique(patterns[:, 2048:])) == {0.0, 1.0}
    descriptors = importlib.import_module("rdkit.Chem.Descriptors")
    names = [name for name, _ in descriptors.descList if name not in tox21.LEFT_OUT]
    assert numbers.shape == (3, len(names))
    np.testing.assert_allclose(numbers[:, names.index("MolWt")], [46.069, 46.069, 122.123], atol=1e-3)


def test_descriptors_are_standardized_by_the_training_rows(tox21):
    numbers = np.array([[0.0, 1.0, 5.0], [np.e - 1, np.nan, 5.0], [1e9, 3.0, 7.0], [-1e9, np.nan, 5.0]])
    scaled = tox21.standardized(numbers, np.array([0, 1]))
    assert scaled.dtype == "float32"
    np.testing.assert_allclose(scaled[:, 0], [-1, 1, 5, -5], atol=1e-6)
    np.testing.assert_allclose(scaled[[0, 1, 3], 1], 0)
    np.testing.assert_allclose(scaled[[0, 1], 2], 0)
    assert np.isfinite(scaled).all()


def test_a_column_without_a_known_training_row_is_zero_there(tox21):
    scaled = tox21.standardized(np.array([[np.nan], [np.nan], [2.0]]), np.array([0, 1]))
    np.testing.assert_allclose(scaled[:2], 0)
    assert np.isfinite(scaled).all()


def test_a_molecule_is_in_one_part(tox21):
    molecules = np.array([f"C{index % 300}" for index in range(500)])
    rows = tox21.split(molecules, seed=3)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(500))
    parts = [set(molecules[found]) for found in rows.values()]
    assert [len(part) for part in parts] == [240, 30, 30]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    assert tox21.num_leaking(molecules, rows) == 0


def test_a_split_is_its_seeds(tox21):
    molecules = np.array([f"C{index}" for index in range(100)])
    first, again, other = (tox21.split(molecules, seed)["test"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


def test_leaking_rows_are_counted(tox21):
    molecules = np.array(["CC", "C=C", "CC", "cc", "C=C"])
    # SMILES that differ in case or in a bond are different molecules.
    assert tox21.num_leaking(molecules, {"train": np.array([0, 1]), "test": np.array([2, 3])}) == 1
    assert tox21.num_leaking(molecules, {"train": np.array([1, 0]), "test": np.array([2, 4])}) == 2


def test_missing_labels_do_not_count(tox21):
    class Model:
        def predict(self, x, **_):
            return {"a": x, "b": 1 - x}

    x = np.array([[0.1], [0.4], [0.6], [0.9]])
    labels = {"a": np.array([0, -1, 0, 1]), "b": np.array([0, 1, -1, 1])}
    assert tox21.scores(Model(), x, labels) == {"a": 1.0, "b": 0.0}


def test_the_judgement_compares_within_a_seed(tox21):
    # The seeds differ by more than joint and single do.
    singles = [{"a": 0.70, "b": 0.60}, {"a": 0.80, "b": 0.90}, {"a": 0.90, "b": 0.75}]
    joints = [{"a": s["a"] + gain, "b": s["b"]} for s, gain in zip(singles, (0.020, 0.021, 0.019), strict=True)]
    runs = [run_of(tox21, joint, single) for joint, single in zip(joints, singles, strict=True)]
    validation, test, by_task = tox21.judgement(runs).split("\n")
    assert validation.startswith("Mean AUC, validation: joint (+0.0100 ± ")
    assert validation.endswith("better than single-task models.")
    assert test.startswith("Mean AUC, test: joint (+0.0100 ± ")
    assert "a (+0.0200 ± " in by_task.split("; ")[0]
    assert by_task.endswith("b (+0.0000 ± 0.0000) cannot be told from the single-task model.")


@pytest.mark.slow
def test_joint_and_single_models_are_matched(tox21):
    random = np.random.default_rng(0)
    assays = tox21.Assays(
        names=("a", "b"),
        labels=np.stack([random.integers(0, 2, 200), random.integers(-1, 2, 200)], axis=1).astype("int32"),
        molecules=np.array([f"C{index}" for index in range(200)]),
        parsed=[],
        num_unreadable=0,
    )
    inputs = (assays.labels[:, :1].astype("float32"), random.normal(size=(200, 4)))  # task a is what goes in
    settings = argparse.Namespace(units=[8], dropout=0.1, epochs=30, batch_size=32, learning_rate=0.05)
    result = tox21.run(assays, inputs, settings, seed=0)
    for kind in ("joint", "single"):
        assert {part: list(auc) for part, auc in result[kind]["auc"].items()} == {
            "validation": ["a", "b"],
            "test": ["a", "b"],
        }
        assert result[kind]["auc"]["test"]["a"] > 0.9
        assert result[kind]["seconds"] > 0


@needs_rdkit
@pytest.mark.slow
def test_the_benchmark_runs_in_two_processes(tox21, tmp_path, capsys):
    molecules = ["C" * length + end for length in range(1, 31) for end in ("", "O", "N", "Cl")]
    rows = [f"{index % 2},{index // 2 % 2},{index},{smiles}" for index, smiles in enumerate(molecules)]
    table, result = tmp_path / "table.csv", tmp_path / "tox21.json"
    table.write_text("\n".join(["NR-AR,SR-p53,mol_id,smiles", *rows]))
    few = ["--seeds", "2", "--units", "4", "--epochs", "1", "--workers", "2"]
    tox21.main(["--data", str(table), *few, "--json", str(result)])
    runs = json.loads(result.read_text(encoding="utf-8"))["runs"]
    assert len(runs) == 2
    assert runs[0]["joint"]["auc"] != runs[1]["joint"]["auc"]
    assert "120 rows, 0 more" in capsys.readouterr().out


def test_bad_arguments_are_refused_before_reading(tox21, table, capsys):
    for arguments, message in (
        (["--data", str(table), "--seeds", "1"], "--seeds should be at least 2. Received: 1"),
        (["--data", str(table.parent / "absent.csv")], "there is no file"),
    ):
        with pytest.raises(SystemExit):
            tox21.main(arguments)
        assert message in capsys.readouterr().err


@pytest.mark.data
@needs_rdkit
def test_the_real_table(tox21, pytestconfig):
    path = pytestconfig.rootpath.parent / "shared" / "data" / "tox21" / "tox21.csv.gz"
    if not path.exists():
        pytest.skip("needs Tox21 at ../shared/data/tox21")
    assays = tox21.read(path)
    assert (len(assays.molecules), assays.num_unreadable, len(assays.names)) == (8006, 8, 12)
    assert len(assays.molecules) - len(set(assays.molecules)) == 183
    missing = (assays.labels < 0).mean(axis=0)
    assert 0.06 < missing.min() < missing.max() < 0.27
    rows = tox21.split(assays.molecules, 0)
    assert tox21.num_leaking(assays.molecules, rows) == 0
