"""Makes survival.json: lengths of answers, and the product-limit estimate that lifelines gives.

    pip install lifelines==0.30.3
    python3 tests/golden/make_survival_golden.py > tests/golden/survival.json

An answer that was cut off after c tokens was at risk of ending after each length below c, so it goes
to lifelines as censored at c - 1/2.
"""

import json

import numpy
from lifelines import KaplanMeierFitter

LENGTHS_MAX = 60  # One bin for each length in our table.


def case(rng, answers, cut_share):
    lengths = 1 + rng.poisson(rng.uniform(5, 40), answers)
    cuts = rng.integers(1, LENGTHS_MAX, answers)
    is_cut = (rng.random(answers) < cut_share) & (cuts <= lengths)
    tokens = numpy.minimum(numpy.where(is_cut, cuts, lengths), LENGTHS_MAX)
    fitter = KaplanMeierFitter()
    fitter.fit(numpy.where(is_cut, tokens - 0.5, tokens), ~is_cut)
    # P(length >= t) = P(length > t - 1).
    at_least = [float(fitter.predict(t - 1)) for t in range(1, LENGTHS_MAX + 1)]
    return {
        "ended": [int(t) for t in tokens[~is_cut]],
        "cut_off": [int(t) for t in tokens[is_cut]],
        "at_least": [round(p, 12) for p in at_least],
    }


def main():
    rng = numpy.random.default_rng(20261128)
    cases = [case(rng, answers, share)
             for answers, share in [(3, 0), (50, 0), (50, 0.3), (200, 0.6), (400, 0.9)]]
    print(json.dumps(cases, separators=(",", ":")))


main()
