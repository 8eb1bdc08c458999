"""The learner of policy/learning.py on public tables of which model answered which prompt rightly, beside simple rules.

    python benchmarks/routing.py DATA [--orders N]

DATA is a folder with checkouts of these repositories, as many as there are; nothing is downloaded, nothing of them is kept:

    RouteLLM    https://github.com/lm-sys/RouteLLM     Apache-2.0   MMLU, 14,042 prompts, and GSM8K, 1,319; two models
    RouterDC    https://github.com/shuhao02/RouterDC   no license   three sets of RouterBench, eleven models, dollars a prompt
    LLMRouter   https://github.com/ulab-uiuc/LLMRouter MIT          14 kinds of task, nine models

Online means: one pass over the prompts in a random order, and of each prompt the learner sees only the answer of the model it chose.
A kind of task (a subject, a data set) is the task's type. Nothing of the prompt's text is used, except by the rule "longer prompts to the
strong model". The same code runs as in the daemon: a Lesson for each model, a Thompson draw seeded by the prompt's number, `scores`.

Every table has beside the learner: chance, a rule by the prompt's length, the best single model, the best model for each kind (both known only afterwards), and the
oracle, which knows each answer beforehand. Prints JSON; means over the orders, with the standard deviation where there is more than one.
"""

import argparse
import csv
import json
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

from brain_daemon.model.interface import CostSpec, InterfaceSpec, InterfaceType, Invoke, InvokeKind, Tier
from brain_daemon.policy.evidence import NOTHING, History, Tally
from brain_daemon.policy.learning import Weights, lesson, scores

MMLU = "routellm/evals/mmlu"
GSM8K = "routellm/evals/gsm8k"
ROUTERBENCH = "datasets/routerbench_zs"
LLMROUTER = ("data/dcrouter_preprocessed", "data/example_data/query_data")
PRICES = [step / 100 for step in range(-40, 75, 5)]
WEAK, STRONG = "weak", "strong"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One row: its kind, its length in characters, and of each model whether it was right (0 to 1) and what it cost."""

    kind: str
    length: int
    right: Mapping[str, float]
    usd: Mapping[str, float]


class Learner:
    """What the daemon's ledger would hold so far, kept up to date prompt by prompt."""

    def __init__(
        self, models: Sequence[str], good_at: Mapping[str, Mapping[str, float]], usual_usd: Mapping[str, float]
    ) -> None:
        self.specs = {model: _spec(model, good_at.get(model, {}), usual_usd.get(model)) for model in models}
        self.pairs: dict[tuple[str, str], Tally] = {}
        self.everywhere: dict[str, Tally] = {}
        # A million tokens a task, so that the declared price of a million is what a task costs.
        self.usual = Tally(input_tokens=1e6, counted=1.0)

    def choose(self, kind: str, seed: str, weights: Weights) -> str:
        history = History(pairs=self.pairs, interfaces=self.everywhere, types={kind: self.usual})
        taught = {name: lesson(spec, kind, history=history) for name, spec in self.specs.items()}
        # `scores` takes costs as shares of the dearest one compared; here one dollar means the same for every kind.
        dearest = max((one.usd for one in taught.values() if one.usd is not None), default=0.0)
        found = scores(taught, seed, Weights(cost=weights.cost * dearest))
        return max(found, key=lambda name: found[name][0])

    def saw(self, kind: str, model: str, right: float, usd: float) -> None:
        one = Tally(good=right, bad=1 - right, judged=1, praised=round(right), usd=usd, priced=1.0)
        self.pairs[kind, model] = self.pairs.get((kind, model), NOTHING).plus(one)
        self.everywhere[model] = self.everywhere.get(model, NOTHING).plus(one)


def _spec(model: str, good_at: Mapping[str, float], usual_usd: float | None) -> InterfaceSpec:
    price = None if usual_usd is None else Decimal(str(round(usual_usd, 6)))
    return InterfaceSpec(
        name=model,
        type=InterfaceType.LLM,
        sha256="",
        invoke=Invoke(kind=InvokeKind.COMMAND, command=(model,)),
        cost=CostSpec(tier=Tier.PAID, input_per_million=price, output_per_million=price),
        good_at=tuple(good_at.items()),
    )


def online(prompts: Sequence[Prompt], learner: Learner, weights: Weights) -> list[str]:
    """The model chosen for each prompt, in their order."""
    chosen = []
    for number, prompt in enumerate(prompts):
        model = learner.choose(prompt.kind, str(number), weights)
        learner.saw(prompt.kind, model, prompt.right[model], prompt.usd[model])
        chosen.append(model)
    return chosen


def shuffled(prompts: Sequence[Prompt], order: int) -> list[Prompt]:
    found = list(prompts)
    random.Random(order).shuffle(found)
    return found


def by_kind(prompts: Sequence[Prompt]) -> dict[str, list[Prompt]]:
    kinds: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        kinds.setdefault(prompt.kind, []).append(prompt)
    return kinds


# Two models: how much of the strong model's gain for how many of its calls (the measures of RouteLLM)


def curve_figures(points: Sequence[tuple[float, float]], weak: float, strong: float) -> dict[str, float]:
    """APGR: the mean gain over the share of strong calls; CPT: the percent of strong calls for that percent of the gain."""
    curve = [(share, (accuracy - weak) / (strong - weak)) for share, accuracy in sorted(points)]
    area = sum((right - left) * (low + high) / 2 for (left, low), (right, high) in pairwise(curve))
    return {"apgr": area, "cpt50": 100 * _reached(curve, 0.5), "cpt80": 100 * _reached(curve, 0.8)}


def _reached(curve: Sequence[tuple[float, float]], gain: float) -> float:
    for (left, low), (right, high) in pairwise(curve):
        if high >= gain:
            return left + (right - left) * (gain - low) / (high - low) if high > low else left
    return 1.0


def ranked_figures(prompts: Sequence[Prompt], value: Callable[[Prompt], float]) -> dict[str, float]:
    """The curve of a rule that sends the prompts of highest value to the strong model."""
    total, accuracy = len(prompts), sum(prompt.right[WEAK] for prompt in prompts)
    points = [(0.0, accuracy / total)]
    for number, prompt in enumerate(sorted(prompts, key=value, reverse=True), 1):
        accuracy += prompt.right[STRONG] - prompt.right[WEAK]
        points.append((number / total, accuracy / total))
    return curve_figures(points, points[0][1], points[-1][1])


def gains(prompts: Sequence[Prompt], labels: Sequence[Prompt]) -> dict[str, float]:
    """By kind, what the strong model is expected to add, given prompts whose two answers are known."""
    learner = Learner((WEAK, STRONG), {}, {})
    for prompt in labels:
        for model in (WEAK, STRONG):
            learner.saw(prompt.kind, model, prompt.right[model], 0.0)
    history = History(pairs=learner.pairs, interfaces=learner.everywhere)
    expected = {
        (kind, model): lesson(spec, kind, history=history).expected
        for kind in by_kind(prompts)
        for model, spec in learner.specs.items()
    }
    return {kind: expected[kind, STRONG] - expected[kind, WEAK] for kind in by_kind(prompts)}


def two_models(prompts: Sequence[Prompt], orders: int, labels: int) -> dict[str, object]:
    """`labels` prompts have both answers known before, in the offline figures."""
    weak, strong = (statistics.fmean(one.right[model] for one in prompts) for model in (WEAK, STRONG))
    passes = [_sweep(shuffled(prompts, order), weak, strong) for order in range(orders)]
    labelled = []
    for order in range(orders):
        mixed = shuffled(prompts, order)
        known = gains(prompts, mixed[:labels])
        labelled.append(ranked_figures(mixed[labels:], lambda one, known=known: known[one.kind]))
    hindsight = {
        kind: statistics.fmean(one.right[STRONG] - one.right[WEAK] for one in those)
        for kind, those in by_kind(prompts).items()
    }
    chance = random.Random(0)
    return {
        "prompts": len(prompts),
        "kinds": len(hindsight),
        "accuracy": {"weak": weak, "strong_best_single": strong},
        "online": {
            "chance": ranked_figures(prompts, lambda _: chance.random()),
            "prompt_length": ranked_figures(prompts, lambda one: one.length),
            "learner": means(passes),
        },
        f"offline_{labels}_labels": {
            "learner": means(labelled),
            "best_per_kind": ranked_figures(prompts, lambda one: hindsight[one.kind]),
            "oracle": ranked_figures(prompts, lambda one: one.right[STRONG] - one.right[WEAK]),
        },
    }


def _sweep(prompts: Sequence[Prompt], weak: float, strong: float) -> dict[str, float]:
    """One pass for each price of a strong call; their points, with the two ends, make the curve."""
    points = [(0.0, weak), (1.0, strong)]
    for price in PRICES:
        chosen = online(prompts, Learner((WEAK, STRONG), {}, {WEAK: 0.0, STRONG: 1.0}), Weights(cost=price))
        right = statistics.fmean(one.right[model] for one, model in zip(prompts, chosen, strict=True))
        points.append((chosen.count(STRONG) / len(chosen), right))
    return curve_figures(points, weak, strong)


def read_routellm(folder: Path, answers: str) -> Iterator[Prompt]:
    """The answers without the prompts that RouteLLM lists as contaminated; each file is one kind."""
    bad = {_squeezed(line["eval_prompt"]) for line in _json_lines(folder / "contaminated_prompts.jsonl")}
    for path in sorted(folder.glob(answers)):
        for row in _rows(path):
            text, weak, strong = (*row.values(),)[:3]
            if _squeezed(text) not in bad:
                right = {WEAK: float(weak == "True"), STRONG: float(strong == "True")}
                yield Prompt(path.stem.removeprefix("mmlu_"), len(text), right, {WEAK: 0.0, STRONG: 1.0})


# Many models with prices: right answers less what they cost


def routerbench(folder: Path, orders: int) -> dict[str, object]:
    prompts = list(read_routerbench(folder))
    models = sorted(prompts[0].right)
    dear = statistics.fmean(one.usd["gpt-4-1106-preview"] for one in prompts)
    scaled = [Prompt(one.kind, one.length, one.right, {m: usd / dear for m, usd in one.usd.items()}) for one in prompts]
    return {
        "prompts": len(prompts),
        "models": len(models),
        "kinds": sorted({one.kind for one in prompts}),
        **{f"cost_weight_{weight}": _priced(scaled, models, weight, orders) for weight in (0.0, 0.1, 0.5)},
    }


def _priced(prompts: Sequence[Prompt], models: Sequence[str], weight: float, orders: int) -> dict[str, object]:
    usual = {model: statistics.fmean(one.usd[model] for one in prompts) for model in models}
    weights = Weights(cost=weight)
    kinds = by_kind(prompts)
    single = max(models, key=lambda m: statistics.fmean(_use(one, m, weight) for one in prompts))
    per_kind = {
        k: max(models, key=lambda m: statistics.fmean(_use(one, m, weight) for one in p)) for k, p in kinds.items()
    }
    cold, told = [], []
    for order in range(orders):
        mixed = shuffled(prompts, order)
        cold.append(_learned(mixed, online(mixed, Learner(models, {}, {}), weights), weight))
        good_at = _roughly(kinds, models, random.Random(order))
        told.append(_learned(mixed, online(mixed, Learner(models, good_at, usual), weights), weight))
    chance = random.Random(0)
    return {
        "chance": _outcome(prompts, [chance.choice(models) for _ in prompts], weight),
        "prompt_length": _outcome(prompts, _by_length(prompts, models, single), weight),
        "best_single": {"model": single, **_outcome(prompts, [single] * len(prompts), weight)},
        "best_per_kind": _outcome(prompts, [per_kind[one.kind] for one in prompts], weight),
        "oracle": _outcome(prompts, [max(models, key=lambda m, o=one: _use(o, m, weight)) for one in prompts], weight),
        "learner_cold": means(cold),
        "learner_with_scores_declared_within_0.1": means(told),
    }


def _by_length(prompts: Sequence[Prompt], models: Sequence[str], strong: str) -> list[str]:
    """The longer half to the best single model, the shorter half to the cheapest; without prices, to the one that is right most often
    of the others."""
    others = [model for model in models if model != strong]
    second = min(others, key=lambda m: (sum(one.usd[m] for one in prompts), -sum(one.right[m] for one in prompts)))
    middle = statistics.median(one.length for one in prompts)
    return [strong if one.length > middle else second for one in prompts]


def _roughly(
    kinds: Mapping[str, Sequence[Prompt]], models: Sequence[str], chance: random.Random
) -> Mapping[str, Mapping[str, float]]:
    """The scores a person who knows the models would declare: right but for an error of standard deviation 0.1."""
    return {
        model: {
            kind: min(max(statistics.fmean(one.right[model] for one in those) + chance.gauss(0, 0.1), 0.01), 0.99)
            for kind, those in kinds.items()
        }
        for model in models
    }


def _use(prompt: Prompt, model: str, weight: float) -> float:
    return prompt.right[model] - weight * prompt.usd[model]


def _outcome(prompts: Sequence[Prompt], chosen: Sequence[str], weight: float) -> dict[str, float]:
    """Accuracy, cost as a share of always asking the dearest, and use: right less weight times cost."""
    pairs = list(zip(prompts, chosen, strict=True))
    return {
        "accuracy": statistics.fmean(prompt.right[model] for prompt, model in pairs),
        "cost": statistics.fmean(prompt.usd[model] for prompt, model in pairs),
        "use": statistics.fmean(_use(prompt, model, weight) for prompt, model in pairs),
    }


def _learned(prompts: Sequence[Prompt], chosen: Sequence[str], weight: float) -> dict[str, float]:
    """The same, and the use in the last quarter, when most has been learned."""
    last = len(prompts) // 4
    return _outcome(prompts, chosen, weight) | {
        "use_last_quarter": _outcome(prompts[-last:], chosen[-last:], weight)["use"]
    }


def read_routerbench(folder: Path) -> Iterator[Prompt]:
    for path in sorted(folder.glob("*.csv")):
        for row in _rows(path):
            models = [key.removesuffix("|total_cost") for key in row if key.endswith("|total_cost")]
            if not all(row[model] for model in models):
                continue  # a few rows lack an answer
            right = {model: float(row[model]) for model in models}
            usd = {model: float(row[f"{model}|total_cost"]) for model in models}
            yield Prompt(row["eval_name"], len(row["prompt"]), right, usd)


def llmrouter(folder: Path, orders: int) -> dict[str, object]:
    prompts = list(read_llmrouter(folder))
    models = sorted(prompts[0].right)
    return {
        "prompts": len(prompts),
        "models": len(models),
        "kinds": len(by_kind(prompts)),
        **_priced(prompts, models, 0.0, orders),
    }


def read_llmrouter(folder: Path) -> Iterator[Prompt]:
    scored, asked = (folder / part for part in LLMROUTER)
    kinds = {
        line["query"]: line["task_name"]
        for path in sorted(asked.glob("default_query_*.jsonl"))
        for line in _json_lines(path)
    }
    for path in sorted(scored.glob("*.json")):
        for row in json.loads(path.read_text("utf-8")):
            right = {model: min(max(float(score), 0.0), 1.0) for model, score in row["scores"].items()}
            yield Prompt(kinds.get(row["question"], "other"), len(row["question"]), right, dict.fromkeys(right, 0.0))


# Files


def _rows(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(10**8)
    with path.open(encoding="utf-8", newline="") as handle:
        yield from csv.DictReader(handle)


def _json_lines(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as handle:
        yield from (json.loads(line) for line in handle)


def _squeezed(text: str) -> str:
    return "".join(text.split())


def means(passes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    found = {key: statistics.fmean(one[key] for one in passes) for key in passes[0]}
    spread = {f"{key}_sd": statistics.stdev(one[key] for one in passes) for key in passes[0]} if len(passes) > 1 else {}
    return {**found, **spread}


def rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--orders", type=int, default=20, help="passes, each in another order (MMLU takes at most 3)")
    options = parser.parse_args()
    places = {
        "mmlu": (
            options.data / "RouteLLM" / MMLU,
            lambda folder: two_models(list(read_routellm(folder, "responses/*.csv")), min(options.orders, 3), 1500),
        ),
        "gsm8k": (
            options.data / "RouteLLM" / GSM8K,
            lambda folder: two_models(list(read_routellm(folder, "*_responses.csv")), options.orders, 650),
        ),
        "routerbench": (options.data / "RouterDC" / ROUTERBENCH, lambda folder: routerbench(folder, options.orders)),
        "llmrouter": (options.data / "LLMRouter", lambda folder: llmrouter(folder, options.orders)),
    }
    found = {name: run(folder) for name, (folder, run) in places.items() if folder.is_dir()}
    if not found:
        sys.exit(f"there is no table below {options.data}: clone one of the repositories named by --help into it")
    print(json.dumps(rounded(found), indent=2))


if __name__ == "__main__":
    main()
