"""The paper in miniature on ACDC: `python benchmarks/acdc_miniature.py --work DIR [--only STEP ...]`.

Tunes the solver over the paper's ranges and over wider ones, a hyper model, and a training; sweeps; trains the best;
compares on test patients; reports. Six validation patients (two for the dense grid) and twelve test patients,
end-diastole onto end-systole. Steps resume after an interruption and print their command. About an hour on two
cores.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from pairs import DATA
from PIL import Image

HERE = Path(__file__).resolve().parent
TREE = HERE.parent
MODELS, RECIPES = TREE / "Training/models", TREE / "Training/recipes/acdc"
NAMES = "1=RV,2=MYO,3=LV"
WIDE = "alpha=0.001:0.6:log,lambda_max=0.05:3:log"
SUFFIX = ".sprmodel.safetensors"
KEPT = {"validation": "patient008, ED to ES", "test": "patient043, ED to ES"}
COMMANDS = "commands.txt"
SAVED = ("study.json", "surface.jsonl", "rows.jsonl")


def spr(options, *words):
    """Run a command of `spr` in the working folder."""
    words = [str(word) for word in words]
    shown = "spr " + shlex.join(words).replace(f"{TREE}/", "").replace(f"{options.work}/", "").replace(f"{DATA}/", "")
    print("$", shown, flush=True)
    with (options.work / COMMANDS).open("a+", encoding="utf-8") as stream:
        stream.seek(0)
        if shown not in stream.read().splitlines():
            stream.write(f"{shown}\n")
    subprocess.run([sys.executable, "-m", "SPRCore.cli", *words], cwd=options.work, check=True)


def lists(options):
    """Lists of pairs."""
    for name, chosen in (
        ("validation", ["validation", "--patients", "6"]),
        ("dense", ["validation", "--patients", "2"]),
        ("test", ["test"]),
    ):
        words = ["--set", *chosen, "--one-way", "--out", str(options.work / f"{name}.csv")]
        subprocess.run([sys.executable, str(HERE / "acdc_pairs.py"), *words], check=True)


def tune_solver(options):
    """The instance solver over the ranges in which the paper tuned."""
    _tune(options, "instance", "instance-paper", "--preset", "heart")


def tune_wide(options):
    """The same over ranges that reach to smaller values."""
    _tune(options, "instance", "instance-wide", "--ranges", WIDE, trials=options.wide_trials)


def sweep_uniform(options):
    """The solver with one stiffness everywhere."""
    spr(options, "sweep", "uniform", *_on("validation"), "--grid", "lambda=0.5:3:0.5", "--out", "uniform-sweep")


def tune_hyper(options):
    """The hyper model: nothing is trained."""
    _tune(options, options.hyper, "hyper", trials=options.hyper_trials)


def sweep_hyper(options):
    """The hyper model on a dense grid, with the images of one pair."""
    kept = ["--keep", KEPT["validation"]]
    spr(options, "sweep", options.hyper, *_on("dense"), "--points", 20, *kept, "--out", "hyper-sweep")


def tune_recipe(options):
    """A training for each trial: one epoch, from the network with uniform regularization."""
    changes = [*_training(options, epochs=1), "validation.every=1"]
    words = ["--set", *changes, "--ranges", WIDE, "--trials", options.recipe_trials, "--processes", options.processes]
    spr(options, "tune", RECIPES / "vxm-spr-beta.yaml", *words, "--study", "recipe", "--out", "recipe-study")


def train_best(options):
    """A longer training at the best setting."""
    best = [f"loss.{name}={value:.4g}" for name, value in _best(options, "recipe-study").items()]
    changes = [*_training(options, options.epochs), *best, "output=best", "name=best"]
    spr(options, "train", RECIPES / "vxm-spr-beta.yaml", "--resume", "--set", *changes)


def benchmark(options):
    """All methods on the test patients; what an earlier run has measured of SyN and the solver is taken from there."""
    uniform = _best_of_sweep(options.work / "uniform-sweep/surface.jsonl")["lambda"]
    known = _known(options, {"syn", "instance", *(["uniform"] if uniform == 1 else [])})
    best = ",".join(f"{name}={value:.4g}" for name, value in _best(options, "instance-paper-study").items())
    methods = ["demons", f"instance tuned=instance@{best}"]
    methods += [] if "uniform" in known else [f"uniform=uniform:{uniform:g}"]
    methods += ["syn"] if importlib.util.find_spec("ants") and "syn" not in known else []
    methods += [f"VXM start={options.start}", f"VXM-SPR={options.work / 'best' / f'best{SUFFIX}'}"]
    methods += [f"Hyper-VXM-SPR={next((options.work / 'hyper-study').glob(f'*{SUFFIX}'))}"]
    methods += [f"Hyper-VXM-SPR semi={options.semi}"]
    kept = ["--keep", KEPT["test"]]
    words = [word for method in methods for word in ("--methods", method)]
    spr(options, "benchmark", *_on("test"), *words, *kept, "--label-names", NAMES, "--out", "benchmark")


def report(options):
    """Tables and figures of all results."""
    found = [name for name in _RUNS if (options.work / name).is_dir()]
    twins = "instance=uniform,instance tuned=uniform,VXM-SPR=VXM start,Hyper-VXM-SPR=VXM start"
    words = ["--label-names", NAMES, "--twins", twins, "--caption", "ACDC, 12 test patients, ED to ES"]
    spr(options, "report", *found, *words, "--out", "report")
    options.out.mkdir(parents=True, exist_ok=True)
    shutil.copytree(options.work / "report", options.out, dirs_exist_ok=True)
    shutil.copy(options.work / COMMANDS, options.out / COMMANDS)
    for figure in (options.out / "figures").glob("*.png"):
        with Image.open(figure) as image:  # 256 colors are a third of the size, for a repository
            whole = image.convert("RGB")
        palette = whole.quantize(256, Image.Quantize.MAXCOVERAGE)
        whole.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(figure, optimize=True)
    for name in found:
        for part in SAVED if name != "known" else ():  # they are in the tree already
            if (options.work / name / part).is_file():
                (options.out / name).mkdir(exist_ok=True)
                shutil.copy(options.work / name / part, options.out / name / part)


_RUNS = ("known", "benchmark", "instance-paper-study", "instance-wide-study", "uniform-sweep", "hyper-study")
_RUNS += ("hyper-sweep", "recipe-study")
STEPS = {
    "lists": lists,
    "tune-solver": tune_solver,
    "tune-wide": tune_wide,
    "sweep-uniform": sweep_uniform,
    "tune-hyper": tune_hyper,
    "sweep-hyper": sweep_hyper,
    "tune-recipe": tune_recipe,
    "train-best": train_best,
    "benchmark": benchmark,
    "report": report,
}


def _known(options, methods):
    """Take rows of methods on the same pairs from an earlier run; return which there are."""
    lines = (TREE / "docs/results/acdc_models/solvers/rows.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    kept = [row for row in rows if "kind" in row or (row["method"] in methods and row["group"] == "ED to ES")]
    (options.work / "known").mkdir(exist_ok=True)
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in kept)
    (options.work / "known/rows.jsonl").write_text(text, encoding="utf-8")
    return {row["method"] for row in kept if "kind" not in row}


def _on(which):
    return ["--pairs", f"{which}.csv", "--init", "none"]


def _tune(options, target, study, *words, trials=None):
    # The pruner counts pairs here: never among the first five trials or before the second pair.
    how = ["--trials", trials or options.trials, "--pruner", 5, 2, 1, "--processes", options.processes]
    spr(options, "tune", target, *_on("validation"), *words, *how, "--study", study, "--out", f"{study}-study")


def _training(options, epochs):
    return [f"data.folder={DATA / 'acdc'}", f"start={options.start}", f"optimiser.epochs={epochs}"]


def _best(options, folder):
    study = json.loads((options.work / folder / "study.json").read_text(encoding="utf-8"))
    return next(trial["params"] for trial in study["trials"] if trial["number"] == study["best"])


def _best_of_sweep(path):
    """The setting of the highest mean Dice."""
    scores = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        point = json.loads(line)
        if point.get("dice_mean") is not None:
            scores.setdefault(tuple(point["setting"].items()), []).append(point["dice_mean"])
    return dict(max(scores, key=lambda setting: sum(scores[setting]) / len(scores[setting])))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for all runs")
    parser.add_argument("--out", type=Path, default=TREE / "docs/results/acdc", help="folder of the results")
    parser.add_argument("--hyper", default="cardiac-cine-hyper-spr", help="hyper model: its name or full path")
    parser.add_argument("--semi", default="cardiac-cine-hyper-spr-semi", help="the same, trained with labels")
    parser.add_argument(
        "--start", type=Path, default=MODELS / f"cardiac-cine-vxm{SUFFIX}", help="where trainings begin"
    )
    parser.add_argument("--trials", type=int, default=24, help="of the solver, paper's ranges")
    parser.add_argument("--wide-trials", type=int, default=14, help="of the solver, wide ranges")
    parser.add_argument("--hyper-trials", type=int, default=30, help="of the hyper model")
    parser.add_argument("--recipe-trials", type=int, default=6, help="each a training of one epoch")
    parser.add_argument("--epochs", type=int, default=5, help="of the best training: 120 steps each")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS))
    options = parser.parse_args()
    for name in ("work", "out", "start"):
        setattr(options, name, getattr(options, name).resolve())
    options.work.mkdir(parents=True, exist_ok=True)
    for step in options.only:
        STEPS[step](options)


if __name__ == "__main__":
    main()
