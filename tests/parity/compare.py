"""How two sets of tensors are compared, and how a script reports. Reasons for the tolerances: docs/numerics.md."""
import numpy as np

FLOOR = 1e-6  # rms below which a tensor counts as vanished: errors are then measured against this rms
# Our error against float64 may be this many times the largest of the reference in float32's runs: of a tensor, of all together,
# of all together where rounding decides single ReLUs.
OWN_FACTOR, WHOLE_FACTOR, KINKED_FACTOR = 4.0, 3.0, 5.0
ROUNDING = 2.0**-24  # of one number: no yardstick is finer
RUN = 64  # numbers that the library sums in float32 for a batch statistic, where PyTorch may sum in double precision
RUNS = 6  # of the reference in float32, at least


def relative(a, b, floor=FLOOR):
    """||a-b|| / ||b||, with ||b|| at least floor * sqrt(numel)."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        return np.inf
    error = np.linalg.norm((a - b).ravel()) / max(np.linalg.norm(b.ravel()), floor * np.sqrt(b.size))
    return float(error) if np.isfinite(error) else np.inf


def kind_of(name):
    """The group a tensor of a checkpoint is reported under."""
    if name.startswith("optimizer."):
        return "momentum buffers"
    if name.startswith("queue"):
        return "queue"
    which = "query" if name.startswith("encoder_q.") else "key"
    return f"{which} " + ("running statistics" if "running_" in name else "parameters")


def rss(errors):
    return float(np.sqrt(sum(e * e for e in errors)))


def least(name):
    """The finest yardstick for a tensor."""
    return ROUNDING * np.sqrt(RUN if "running_" in name or name.startswith(("mean.", "variance.")) else 1)


def one_by_one(counts):
    """What rounding leaves of a result behind layers whose sums have so many terms, added up one by one: partial sums grow
    with the root of their number, so that n roundings come to n / sqrt(2) of a term, which is sqrt(n / 2) of the sum."""
    return ROUNDING * np.sqrt(sum(counts) / 2 / 3)


def judged(ours, exact, own, tolerance, floor=FLOOR, each=True, kinked=False, sums=0.0):
    """Lines of text, each with whether it holds. Reasons for what is asked: docs/numerics.md, "The yardstick".

    `each`: the error of every tensor is held against the float32 runs' of that tensor. `kinked`: rounding decides single
    ReLUs, so only all tensors together are comparable. `sums`: an error up to this is honest whatever the runs had."""
    if len(own) < (RUNS if each else 2):
        raise ValueError(f"{len(own)} runs of the reference in float32, wanted at least {RUNS}")
    errors = {n: relative(ours[n], exact[n], floor) for n in exact}
    theirs = [{n: relative(run[n], exact[n], floor) for n in exact} for run in own]
    yardstick = {n: max(least(n), *(run[n] for run in theirs)) for n in exact}
    ratios = {n: errors[n] / yardstick[n] for n in exact}
    worst, farthest = max(errors, key=errors.get), max(ratios, key=ratios.get)
    total, peer = rss(errors.values()), max(rss(map(least, exact)), *(rss(run.values()) for run in theirs))
    yield (f"{len(errors)} tensors, worst {errors[worst]:.1e} {worst} (float32 {max(yardstick.values()):.1e}, at most "
           f"{tolerance:.0e})", errors[worst] <= tolerance)
    if each and not kinked:
        yield (f"{ratios[farthest]:.2f} times float32's own in {farthest}, {errors[farthest]:.1e} (at most "
               f"{OWN_FACTOR:g})", ratios[farthest] <= OWN_FACTOR or errors[farthest] <= sums)
    limit = KINKED_FACTOR if kinked else WHOLE_FACTOR
    yield (f"root-sum-square {total:.1e}, float32 {peer:.1e}, ratio {total / peer:.2f} (at most {limit:g})",
           total <= max(limit * peer, sums))


class Verdict:
    """Collects checks, prints a line for each, ends with the exit status."""

    def __init__(self, title):
        self.title, self.checks, self.failed = title, 0, []

    def true(self, name, condition):
        self.checks += 1
        print(f"  {'ok  ' if condition else 'FAIL'} {name}", flush=True)
        if not condition:
            self.failed.append(name)

    def quiet(self, name, condition):
        """A check that prints only when it fails."""
        self.checks += 1
        if not condition:
            self.failed.append(name)
            print(f"  FAIL {name}", flush=True)

    def close(self, name, a, b, tolerance, floor=FLOOR):
        error = relative(a, b, floor)
        self.true(f"{name}: {error:.1e} (at most {tolerance:.0e})", error <= tolerance)

    def tensors(self, name, ours, exact, own, tolerance, floor=FLOOR, **how):
        """`ours` and the reference in float32's runs in `own` (a list of dicts) against `exact`; every tensor and the whole."""
        if set(ours) != set(exact):
            self.true(f"{name}: same tensors ({sorted(set(ours) ^ set(exact))[:4]} in one only)", False)
            return
        for text, holds in judged(ours, exact, own, tolerance, floor, **how):
            self.true(f"{name}: {text}", holds)

    def finish(self):
        print(f"{self.title}: {self.checks - len(self.failed)} of {self.checks} checks hold")
        for name in self.failed:
            print(f"  failed: {name}")
        return 1 if self.failed else 0
